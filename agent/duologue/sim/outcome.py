"""What comes of one conversation, at either depth."""

from dataclasses import dataclass
from typing import Final

from duologue.sim.tally import Tally

VIOLATIONS_MAX: Final = 20  # of one conversation: one tells enough, twenty tell how it went on


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule was broken. `rule`: the checker's name; `at`: session seconds."""

    rule: str
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One conversation: its seed, the rules it broke, and its counts."""

    seed: int
    violations: tuple[Violation, ...]
    tally: Tally
