"""FLOOR 1: the engine's audio, and its way in and out of WAV files.

Inside the engine sound is mono int16 in frames of 20 ms: the caller's side at 16 kHz, which is what recognisers want,
the agent's at the session's output rate, which is as good as its voice. Whoever brings or takes other sound resamples
it once, at the edge.
"""

from __future__ import annotations

import math
import struct
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from duologue.errors import AudioError

INPUT_RATE_HZ: Final = 16_000  # the caller's side
OUTPUT_RATES_HZ: Final = (8_000, 16_000, 24_000, 48_000)  # the agent's side; a frame is a whole number of samples
OUTPUT_RATE_HZ: Final = 24_000  # unless the session is told otherwise: above it today's voices have nothing
FRAME_MS: Final = 20
FRAME_SECONDS: Final = FRAME_MS / 1000
FRAME_SAMPLES: Final = INPUT_RATE_HZ * FRAME_MS // 1000  # of the caller
FRAME_BYTES: Final = FRAME_SAMPLES * 2
SILENCE: Final = bytes(FRAME_BYTES)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Samples: TypeAlias = "NDArray[np.int16]"


@dataclass(frozen=True, slots=True)
class Frame:
    """20 ms of the caller: mono 16 kHz int16.

    `pcm`: 640 bytes, little-endian. `at`: session seconds of the first sample, by sample count.
    """

    pcm: bytes
    at: float

    @property
    def samples(self) -> Samples:
        """The 320 samples, read-only, without a copy."""
        import numpy as np

        return np.frombuffer(self.pcm, dtype="<i2")

    @property
    def end(self) -> float:
        """Session seconds just past the last sample."""
        return self.at + FRAME_SECONDS


def frame_samples(rate_hz: int) -> int:
    """Samples of 20 ms at `rate_hz`: 160, 320, 480, 960 for `OUTPUT_RATES_HZ`."""
    return rate_hz * FRAME_MS // 1000


def frames(pcm: bytes, *, start: float = 0.0) -> Iterator[Frame]:
    """Cut `pcm` (mono 16 kHz int16) into frames; the last one is filled up with silence."""
    for index, offset in enumerate(range(0, len(pcm), FRAME_BYTES)):
        piece = pcm[offset : offset + FRAME_BYTES]
        yield Frame(piece.ljust(FRAME_BYTES, b"\0"), start + index * FRAME_SECONDS)


def level_dbfs(samples: Samples) -> float:
    """Root mean square of int16 `samples` (any shape) in dB below full scale; -inf for silence or no samples."""
    import numpy as np

    if samples.size == 0:
        return -math.inf
    rms = math.sqrt(float(np.mean(np.square(samples.astype(np.float64)))))
    return 20 * math.log10(rms / 32768) if rms > 0 else -math.inf


def band_dbfs(samples: Samples, low_hz: float, high_hz: float, *, sample_rate_hz: int) -> float:
    """What of the `level_dbfs` of int16 `samples` (shape (n,)) lies between two frequencies; -inf for nothing.

    The constant and half of the rate are left out: neither is sound.
    """
    import numpy as np

    if samples.size == 0:
        return -math.inf
    hz = np.fft.rfftfreq(len(samples), 1 / sample_rate_hz)
    inside = np.fft.rfft(to_float(samples))[(hz > 0) & (hz >= low_hz) & (hz < min(high_hz, sample_rate_hz / 2))]
    power = 2 * float(np.sum(np.abs(inside) ** 2)) / len(samples) ** 2 if inside.size else 0.0
    return 10 * math.log10(power) if power > 0 else -math.inf


def to_float(samples: Samples) -> NDArray[np.float32]:
    """int16 to float32 in [-1, 1), same shape."""
    import numpy as np

    return samples.astype(np.float32) / np.float32(32768)


def to_int16(samples: NDArray[np.floating]) -> Samples:
    """Float in [-1, 1] to int16, same shape; what lies outside is clipped."""
    import numpy as np

    clipped: Samples = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return clipped


def write_wav(path: Path, *channels: Samples, sample_rate_hz: int = INPUT_RATE_HZ) -> None:
    """Write int16 `channels` (each shape (n,)) side by side; shorter ones are filled up with silence."""
    import numpy as np

    longest = max((len(channel) for channel in channels), default=0)
    interleaved = np.zeros((longest, len(channels)), dtype="<i2")
    for index, channel in enumerate(channels):
        interleaved[: len(channel), index] = channel
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(_wav_header(interleaved.nbytes, len(channels), sample_rate_hz))
        file.write(interleaved.data)


def _wav_header(size: int, channels: int, sample_rate_hz: int) -> bytes:
    """Of 16-bit PCM. By hand: `wave`'s writer complains on stderr, once more, of a file that could not be written."""
    rate = (channels, sample_rate_hz, sample_rate_hz * channels * 2, channels * 2, 16)
    chunks = (b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, *rate, b"data", size)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *chunks)


def read_wav(path: Path) -> tuple[NDArray[np.int16], int]:
    """Samples of shape (n, channels) and the rate in Hz of a 16-bit WAV file. Raises `AudioError`."""
    import numpy as np

    try:
        with wave.open(str(path), "rb") as source:
            if source.getsampwidth() != 2:
                raise AudioError(
                    f"{path}: {source.getsampwidth() * 8}-bit samples, expected 16",
                    hint="Convert it, or open it with duologue_pipelines.transports.media.read_audio",
                )
            samples = np.frombuffer(source.readframes(source.getnframes()), dtype="<i2")
            return samples.reshape(-1, source.getnchannels()), source.getframerate()
    except (wave.Error, EOFError) as error:
        raise AudioError(f"{path}: not a WAV file ({error})", hint="Check the file in a player") from error
    except OSError as error:
        raise AudioError(f"{path}: {error.strerror or error}", hint="Check the path") from error
