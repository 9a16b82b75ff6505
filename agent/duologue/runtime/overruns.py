"""What took longer on the event loop than it may: told in the trace, so that no latency stays unexplained."""

from typing import Final

from duologue.runtime.services import TakeNote

QUIET_S: Final = 10.0  # of one kind: an overloaded machine shall not be drowned in notes about it
BLOCKING_S_MAX: Final = 0.005  # of one call on the loop: a quarter of a frame
LATE_S_MAX: Final = 0.050  # of a deadline: a listener begins to notice


class Overruns:
    """Notes each kind at most once in `QUIET_S`, with how often it happened since. Times are session seconds."""

    def __init__(self, note: TakeNote) -> None:
        self._note = note
        self._noted_at: dict[str, float] = {}
        self._since: dict[str, int] = {}

    def blocked(self, source: str, seconds: float, now: float) -> None:
        """`source` has held the loop for `seconds`."""
        if seconds > BLOCKING_S_MAX:
            self._tell(source, f"held the event loop for {seconds * 1000:.0f} ms", now)

    def late(self, seconds: float, now: float) -> None:
        """A deadline was met so much too late: somebody held the loop, or the machine is busy."""
        if seconds > LATE_S_MAX:
            self._tell("loop", f"a deadline was met {seconds * 1000:.0f} ms late", now)

    def _tell(self, source: str, text: str, now: float) -> None:
        self._since[source] = self._since.get(source, 0) + 1
        if now - self._noted_at.get(source, -QUIET_S) >= QUIET_S:
            again = self._since.pop(source)
            self._noted_at[source] = now
            self._note(source, text if again == 1 else f"{text}; {again} times since the last note", "warning")
