"""From voiced or unvoiced windows to onsets and offsets: the part that all our detectors share.

A detector says of each window how sure it is that somebody speaks; this decides when that is speech. Two thresholds
keep it from fluttering, a least length keeps clicks out, and a short hangover bridges the gaps inside words. How long
a silence ends a *turn* is the core's business and not decided here.
"""

from dataclasses import dataclass
from typing import Final

from duologue.ports.vad import Offset, Onset

# Stamps are sums of 20 ms steps: a microsecond is far above their rounding and far below a sample.
_SLACK_SECONDS: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When probabilities make speech.

    `onset`: at least this begins or continues speech. `offset`: below this is silence, between the two whatever it was.
    `min_speech_seconds`: voiced audio before an onset is reported. `hangover_seconds`: silence before an offset is.
    `onset_lag_seconds`, `offset_lag_seconds`: how late the detector hears speech begin and end (its median, measured
    on clean speech); reported times are set back by it.
    """

    onset: float
    offset: float
    min_speech_seconds: float
    hangover_seconds: float
    onset_lag_seconds: float = 0.0
    offset_lag_seconds: float = 0.0


class Hysteresis:
    """Feed it windows in order; it answers with the event that each one completes."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._told: float | None = None  # the latest time reported: none may be earlier
        self._end_run()

    def _end_run(self) -> None:
        self.speaking = False
        self._began: float | None = None
        self._voiced_until = 0.0
        self._voiced_seconds = 0.0

    @property
    def pending(self) -> bool:
        """Whether speech is on or may be about to be reported."""
        return self.speaking or self._began is not None

    def add_probability(self, probability: float, start: float, end: float) -> Onset | Offset | None:
        """Take the window from `start` to `end` (session seconds), voiced with `probability` (0..1)."""
        limit = self._thresholds
        if probability >= limit.onset or (self.speaking and probability >= limit.offset):
            return self._voiced(start, end)
        if self._began is None or end - self._voiced_until < limit.hangover_seconds - _SLACK_SECONDS:
            return None
        was_speaking, until = self.speaking, self._voiced_until
        self._end_run()
        return Offset(self._tell(until - limit.offset_lag_seconds)) if was_speaking else None

    def _voiced(self, start: float, end: float) -> Onset | None:
        if self._began is None:
            self._began, self._voiced_seconds = start, 0.0
        self._voiced_until = end
        self._voiced_seconds += end - start
        if self.speaking or self._voiced_seconds < self._thresholds.min_speech_seconds - _SLACK_SECONDS:
            return None
        self.speaking = True
        return Onset(self._tell(self._began - self._thresholds.onset_lag_seconds))

    def _tell(self, at: float) -> float:
        self._told = max(at, 0.0 if self._told is None else self._told)
        return self._told
