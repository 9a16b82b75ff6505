"""The audio of one turn that a recogniser still needs, with session times that survive trimming and gaps."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from duologue.audio import FRAME_SAMPLES, INPUT_RATE_HZ, Frame, to_float
from duologue.ports.asr import AUDIO_SECONDS_MAX

BYTES_PER_SECOND: Final = INPUT_RATE_HZ * 2
_BYTES_MAX: Final = int(AUDIO_SECONDS_MAX * BYTES_PER_SECOND)


@dataclass(frozen=True, slots=True)
class Clip:
    """A stretch of a turn, safe to hand to a thread.

    `pcm`: mono 16 kHz int16. `first`: index of its first sample within the turn. `at`: that sample's session seconds.
    """

    pcm: bytes
    first: int
    at: float

    def since(self, index: int) -> "Clip":
        """The part from sample `index` of the turn on."""
        skip = max(0, min(index - self.first, len(self.pcm) // 2))
        return Clip(self.pcm[skip * 2 :], self.first + skip, self.at + skip / INPUT_RATE_HZ)

    @property
    def end(self) -> int:
        """Index, within the turn, just past the last sample."""
        return self.first + len(self.pcm) // 2

    @property
    def samples(self) -> NDArray[np.float32]:
        """float32 in -1..1, shape (n,)."""
        return to_float(np.frombuffer(self.pcm, "<i2"))

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.pcm) / BYTES_PER_SECOND


class TurnAudio:
    """Grows by `push`, shrinks from the front by `drop_before`, never holds more than `AUDIO_SECONDS_MAX`."""

    def __init__(self) -> None:
        self._pcm = bytearray()
        self._first = 0
        self._origin: float | None = None
        self.dropped_seconds = 0.0  # lost at the bound, in all

    @property
    def seconds(self) -> float:
        """Length of what is held."""
        return len(self._pcm) / BYTES_PER_SECOND

    @property
    def end(self) -> int:
        """Index, within the turn, just past the last sample."""
        return self._first + len(self._pcm) // 2

    def push_frame(self, frame: Frame) -> None:
        """Append `frame`; where frames are missing before it silence is put, so that sample count stays time."""
        if self._origin is None:
            self._origin = frame.at
        missing = round((frame.at - self._origin) * INPUT_RATE_HZ) - self.end
        if missing >= FRAME_SAMPLES:
            self._pcm += bytes(min(missing * 2, _BYTES_MAX))
        self._pcm += frame.pcm
        excess = len(self._pcm) - _BYTES_MAX
        if excess > 0:
            self._drop(excess)
            self.dropped_seconds += excess / BYTES_PER_SECOND

    def snapshot(self) -> Clip:
        """What is held now."""
        return Clip(bytes(self._pcm), self._first, (self._origin or 0.0) + self._first / INPUT_RATE_HZ)

    def drop_before(self, at: float) -> None:
        """Let go of the audio before `at` (session seconds)."""
        index = round((at - (self._origin or 0.0)) * INPUT_RATE_HZ)
        self._drop(max(0, min(len(self._pcm), (index - self._first) * 2)))

    def drop_to(self, index: int) -> None:
        """Let go of the samples before `index` (within the turn)."""
        self._drop(max(0, min(len(self._pcm), (index - self._first) * 2)))

    def _drop(self, count: int) -> None:
        del self._pcm[:count]
        self._first += count // 2
