"""A detector that hears what it is told to: by loudness, or by a list of times. For tests and simulations."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from duologue.audio import FRAME_SECONDS, Frame
from duologue.errors import ConfigurationError, StageError
from duologue.ports.vad import Offset, Onset

_SLACK_SECONDS: Final = 1e-6  # session times are sums of 20 ms: far above their rounding, far below a sample


@dataclass(frozen=True, slots=True)
class VadScript:
    """`peak`: a frame that exceeds it is voiced. `speech`: (onset, offset) in session seconds, instead of loudness.

    `onset_delay_s`: from the first voiced sample to the report. `offset_delay_s`: from the last one.
    """

    peak: int
    speech: tuple[tuple[float, float], ...] | None
    onset_delay_s: float
    offset_delay_s: float


class ScriptedVad:
    """The `scripted` detector.

    By default any frame with a peak above 1500 is voiced, an onset is reported with the first one (20 ms) and an offset
    60 ms after the last one. With `speech`, a list of (onset, offset) in session seconds, loudness is not looked at.
    `faults`:
    numbers of the frames (of all streams together, from 0) whose `push_frame` raises a `StageError`.
    """

    name = "scripted"

    def __init__(
        self,
        *,
        peak: int = 1500,
        speech: Sequence[tuple[float, float]] | None = None,
        onset_delay_s: float = FRAME_SECONDS,
        offset_delay_s: float = 0.06,
        faults: Collection[int] = (),
    ) -> None:
        if onset_delay_s < 0 or offset_delay_s < 0:
            raise ConfigurationError(f"delays must not be negative, got {onset_delay_s} and {offset_delay_s}")
        times = [time for pair in speech or () for time in pair]
        if times != sorted(times):
            raise ConfigurationError(f"speech must be a list of (onset, offset) in rising order, got {speech!r}")
        self._script = VadScript(peak, None if speech is None else tuple(speech), onset_delay_s, offset_delay_s)
        self._faults = frozenset(faults)
        self._frames = 0

    async def warm_up(self) -> None:
        """There is nothing to load."""

    async def aclose(self) -> None:
        """There is nothing to free."""

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    def open(self) -> "ScriptedVadStream":
        """A stream for one session."""
        return ScriptedVadStream(self._script, self._count_frame)

    def _count_frame(self) -> None:
        self._frames += 1
        if self._frames - 1 in self._faults:
            raise StageError("vad", f"scripted fault at frame {self._frames - 1}", retryable=True)


class ScriptedVadStream:
    """The detector's state for one session."""

    def __init__(self, script: VadScript, count_frame: Callable[[], None]) -> None:
        self._script = script
        self._count_frame = count_frame
        self._speaking = False
        self._since: float | None = None
        self._until = 0.0
        self._planned = deque(self._script.speech or ())

    def push_frame(self, frame: Frame) -> Onset | Offset | None:
        """Take one frame."""
        self._count_frame()
        if self._script.speech is not None:
            return self._by_time(frame.end)
        return self._by_loudness(frame)

    def _by_loudness(self, frame: Frame) -> Onset | Offset | None:
        voiced = int(np.max(np.abs(frame.samples.astype(np.int32)))) > self._script.peak
        if voiced:
            if self._since is None:
                self._since = frame.at
            self._until = frame.end
        if self._since is None:
            return None
        if not self._speaking and frame.end >= self._since + self._script.onset_delay_s - _SLACK_SECONDS:
            self._speaking = True
            return Onset(self._since)
        if voiced or frame.end < self._until + self._script.offset_delay_s - _SLACK_SECONDS:
            return None
        self._since = None
        if not self._speaking:
            return None
        self._speaking = False
        return Offset(self._until)

    def _by_time(self, now: float) -> Onset | Offset | None:
        if not self._planned:
            return None
        onset, offset = self._planned[0]
        if not self._speaking and now >= onset + self._script.onset_delay_s - _SLACK_SECONDS:
            self._speaking = True
            return Onset(onset)
        if self._speaking and now >= offset + self._script.offset_delay_s - _SLACK_SECONDS:
            self._speaking = False
            self._planned.popleft()
            return Offset(offset)
        return None
