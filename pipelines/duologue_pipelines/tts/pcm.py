"""From a synthesiser's own samples to mono int16 at the rate that was asked for, at the loudness asked for.

The one place where the agent's voice is resampled, in one step and as a stream: behind it every rate is the session's.
"""

import numpy as np
import soxr
from numpy.typing import NDArray

from duologue.audio import to_int16


class PcmStream:
    """The audio of one synthesis, from `own_rate_hz` to `sample_rate_hz`; loudness is a linear gain.

    The resampler gives its bytes late, but each sample at its own time.
    """

    def __init__(self, own_rate_hz: int, sample_rate_hz: int, loudness: float) -> None:
        self._loudness = np.float32(loudness)
        same = own_rate_hz == sample_rate_hz
        self._resampler = None if same else soxr.ResampleStream(own_rate_hz, sample_rate_hz, 1, dtype="float32")

    def push_samples(self, samples: NDArray[np.float32], *, last: bool = False) -> bytes:
        """What can be given out after `samples` (float, shape (n,), full scale 1.0); maybe nothing yet."""
        louder = samples.astype(np.float32, copy=False) * self._loudness
        if self._resampler is not None:
            louder = self._resampler.resample_chunk(louder, last=last)
        return to_int16(louder).astype("<i2", copy=False).tobytes()

    def finish(self) -> bytes:
        """The rest; nothing may be pushed after it."""
        return self.push_samples(np.zeros(0, dtype=np.float32), last=True)
