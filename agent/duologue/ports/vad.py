"""Voice activity detection: frames in, onset and offset out.

Contract: `push_frame` is synchronous and takes well under a millisecond a frame (it runs on the event loop); onsets and
offsets alternate, an onset first; their times never decrease and never lie past the end of the frame that was pushed;
silence gives nothing; two streams of one detector know nothing of each other. An offset is reported soon (about 60 ms)
after the last voiced sample: how long a silence ends the turn is the core's business, not the detector's.
"""

from dataclasses import dataclass
from typing import Protocol

from duologue.audio import Frame
from duologue.ports.stage import Stage


@dataclass(frozen=True, slots=True)
class Onset:
    """Speech began. `since`: session seconds of the first voiced sample, as near as the detector can tell."""

    since: float


@dataclass(frozen=True, slots=True)
class Offset:
    """Speech paused or ended. `until`: session seconds of the last voiced sample."""

    until: float


class VadStream(Protocol):
    """The detector's state for one session."""

    def push_frame(self, frame: Frame) -> Onset | Offset | None:
        """Take one frame; say whether speech began or paused in it."""
        ...


class Vad(Stage, Protocol):
    """A voice activity detector."""

    def open(self) -> VadStream:
        """A stream for one session."""
        ...
