"""From a synthesiser's own samples to mono 16 kHz int16, resampled as a stream, at the loudness asked for."""

import numpy as np
import soxr
from numpy.typing import NDArray

from duologue.audio import SAMPLE_RATE_HZ, to_int16


class PcmStream:
    """The audio of one synthesis. The resampler gives its bytes late, but each sample at its own time."""

    def __init__(self, sample_rate_hz: int, loudness: float) -> None:
        self._loudness = np.float32(loudness)
        same = sample_rate_hz == SAMPLE_RATE_HZ
        self._resampler = None if same else soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")

    def push_samples(self, samples: NDArray[np.float32], *, last: bool = False) -> bytes:
        """What can be given out after `samples` (float, shape (n,), full scale 1.0); maybe nothing yet."""
        louder = samples.astype(np.float32, copy=False) * self._loudness
        if self._resampler is not None:
            louder = self._resampler.resample_chunk(louder, last=last)
        return to_int16(louder).astype("<i2", copy=False).tobytes()

    def finish(self) -> bytes:
        """The rest; nothing may be pushed after it."""
        return self.push_samples(np.zeros(0, dtype=np.float32), last=True)
