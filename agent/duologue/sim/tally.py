"""What is counted over many conversations, and how the counts of several workers come together."""

from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any


@dataclass(slots=True)
class Tally:
    """Counts of one conversation or of many. Latencies are seconds of virtual time."""

    conversations: int = 0
    seconds: float = 0.0
    events: int = 0
    turns: int = 0
    dismissed: int = 0
    replies: int = 0
    speculative: int = 0
    reused: int = 0
    tools: int = 0
    interruptions: int = 0
    yielded: int = 0
    backchannels: int = 0
    survived: int = 0
    refused: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    responses_s: list[float] = field(default_factory=list)
    yields_s: list[float] = field(default_factory=list)

    def fault(self, name: str) -> None:
        """One more of the fault `name` was injected."""
        self.faults[name] = self.faults.get(name, 0) + 1

    def add(self, other: "Tally") -> None:
        """Add another's counts."""
        for entry in fields(self):
            mine, theirs = getattr(self, entry.name), getattr(other, entry.name)
            if isinstance(mine, dict):
                for name, count in theirs.items():
                    mine[name] = mine.get(name, 0) + count
            elif isinstance(mine, list):
                mine.extend(theirs)
            else:
                setattr(self, entry.name, mine + theirs)

    def report(self) -> dict[str, Any]:
        """The counts as JSON-able data; latencies as medians in milliseconds, None without any."""
        return {
            "conversations": self.conversations,
            "hours_of_talk": round(self.seconds / 3600, 2),
            "events": self.events,
            "turns": self.turns,
            "turns_dismissed": self.dismissed,
            "replies": self.replies,
            "speculative_replies": {"begun": self.speculative, "reused": self.reused},
            "tools_run": self.tools,
            "interruptions": {"made": self.interruptions, "yielded": self.yielded},
            "backchannels": {"made": self.backchannels, "survived": self.survived},
            "events_refused": self.refused,
            "response_ms_median": _median_ms(self.responses_s),
            "yield_ms_median": _median_ms(self.yields_s),
            "faults": dict(sorted(self.faults.items())),
        }


def _median_ms(seconds: list[float]) -> int | None:
    return round(1000 * median(seconds)) if seconds else None
