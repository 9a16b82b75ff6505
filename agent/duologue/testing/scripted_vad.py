"""A detector that does as it is told: loud frames are voice, with the delays that a test states."""

from typing import Final

import numpy as np

from duologue.audio import FRAME_SECONDS, Frame
from duologue.errors import StageError
from duologue.ports.vad import Offset, Onset

PEAK_MIN: Final = 1500  # of int16: scripted speech is louder, scripted silence is zero


class ScriptedVadStream:
    """One session's state of a `ScriptedVad`."""

    def __init__(self, vad: "ScriptedVad") -> None:
        self._vad = vad
        self._on = False
        self._since: float | None = None
        self._until = 0.0

    def push(self, frame: Frame) -> Onset | Offset | None:
        """Onset after `onset_frames` loud frames in a row, offset after `offset_frames` quiet ones."""
        self._vad.take_fault()
        loud = int(np.max(np.abs(frame.samples.astype(np.int32)))) > PEAK_MIN
        if loud:
            self._until = frame.end
            self._since = frame.at if self._since is None else self._since
            if not self._on and frame.end - self._since > (self._vad.onset_frames - 0.5) * FRAME_SECONDS:
                self._on = True
                return Onset(self._since)
        elif self._on:
            if frame.end - self._until > (self._vad.offset_frames - 0.5) * FRAME_SECONDS:
                self._on, self._since = False, None
                return Offset(self._until)
        else:
            self._since = None
        return None

    def reset(self) -> None:
        """Forget everything heard."""
        self._on, self._since = False, None


class ScriptedVad:
    """The `scripted` detector.

    `onset_frames`: loud frames before the onset is reported; `offset_frames`: quiet ones before the offset is.
    `faults`: numbers of the frames (all streams counted together, from 0) whose `push` raises a `StageError`.
    """

    name = "scripted"

    def __init__(self, *, onset_frames: int = 1, offset_frames: int = 3, faults: tuple[int, ...] = ()) -> None:
        self.onset_frames = onset_frames
        self.offset_frames = offset_frames
        self._faults = frozenset(faults)
        self._frames = 0

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    async def warm_up(self) -> None:
        """There is nothing to load."""

    async def aclose(self) -> None:
        """There is nothing to free."""

    def open(self) -> ScriptedVadStream:
        """A stream for one session."""
        return ScriptedVadStream(self)

    def take_fault(self) -> None:
        """Count a frame; raise if it is one that was to fail."""
        self._frames += 1
        if self._frames - 1 in self._faults:
            raise StageError("vad", f"scripted fault at frame {self._frames - 1}", retryable=True)
