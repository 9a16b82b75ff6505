"""What is measured, in which unit, and what it may cost: the rows of the table and the budgets beside them.

A budget is printed with ✓ or ✗ and never fails anything: times are the machine's, and tests do not time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import numpy as np


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `p50_max`, `p95_max`: our budget for the two, None where there is none."""

    key: str
    label: str
    unit: str = "ms"
    p50_max: float | None = None
    p95_max: float | None = None


ROWS: Final = (
    Row("response", "last voiced sample → first audible sample"),
    Row("overhead", "overhead above the configured waits", p50_max=2, p95_max=10),
    Row("hold", "first voiced sample → agent silent", p50_max=60),
    Row("noise_dead_air", "300 ms cough while the agent talks: dead air", p50_max=600),
    Row("noise_words_lost", "… words of the reply lost", "words", p50_max=0),
    Row("heard_error", "words in the history against words heard, off by", "words", p50_max=1),
    Row("cpu", "CPU a session-second, sessions streaming both ways", p50_max=6),
    Row("memory", "memory a session", "MB", p50_max=1),
    Row("growth", "memory growth a session-minute", "MB", p50_max=0.01),
    Row("import", "import duologue", p50_max=150),
    Row("import_all", "import of all that a session needs, without models"),
    Row("vendors", "vendor packages loaded by the import", "packages", p50_max=0),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One cell. `p50` alone where there is one value only. `word`: said instead of a number ("reply lost").

    `provisional`: measured for less time than a verdict on it takes.
    """

    p50: float | None = None
    p95: float | None = None
    count: int = 0
    word: str = ""
    provisional: bool = False

    def within(self, row: Row) -> bool | None:
        """Whether the budget of `row` is kept; None where there is no budget, no number or no verdict yet."""
        if self.p50 is None or row.p50_max is None or self.provisional:
            return None
        p95_kept = row.p95_max is None or self.p95 is None or self.p95 <= row.p95_max
        return self.p50 <= row.p50_max and p95_kept


@dataclass(slots=True)
class Contender:
    """One column: a framework in one configuration. `notes`: what could not be measured, and why."""

    name: str
    version: str = ""
    figures: dict[str, Figure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain data for report.json, with the verdict on each budget."""
        verdicts = {row.key: self.figures[row.key].within(row) for row in ROWS if row.key in self.figures}
        return {**asdict(self), "within_budget": verdicts}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Self:
        """What `as_json` wrote."""
        figures = {key: Figure(**figure) for key, figure in written["figures"].items()}
        return cls(written["name"], written["version"], figures, list(written["notes"]))


def spread(values: Iterable[float]) -> Figure:
    """Median and 95th percentile (linear interpolation) of `values`; an empty figure for none."""
    measured: Sequence[float] = sorted(values)
    if not measured:
        return Figure()
    return Figure(float(np.percentile(measured, 50)), float(np.percentile(measured, 95)), len(measured))
