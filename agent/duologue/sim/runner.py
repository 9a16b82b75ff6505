"""Many conversations, on all cores: seeds in chunks, a process each, and the counts put together again.

A conversation depends on its seed alone, so how the seeds are shared out changes nothing but the time it takes.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from duologue.sim.outcome import Outcome
from duologue.sim.tally import Tally

CHUNK: Final = {"core": 100, "whole": 5}  # conversations: about half a second of work
FAILURES_KEPT: Final = 50
# Each depth's `simulate(seed) -> Outcome` and `log(seed) -> lines`. Named, so that a worker process finds them itself.
DEPTHS: Final = {"core": "duologue.sim.core_sim", "whole": "duologue.sim.whole_sim"}


@dataclass(slots=True)
class Report:
    """What came of a run. `failures`: outcomes with violations, the first ones; `failed`: how many there were."""

    depth: str
    tally: Tally = field(default_factory=Tally)
    failures: list[Outcome] = field(default_factory=list)
    failed: int = 0
    wall_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count one conversation in."""
        self.tally.add(outcome.tally)
        if outcome.violations:
            self.failed += 1
            if len(self.failures) < FAILURES_KEPT:
                self.failures.append(outcome)

    def merge(self, other: "Report") -> None:
        """Count another worker's conversations in."""
        self.tally.add(other.tally)
        self.failed += other.failed
        self.failures = (self.failures + other.failures)[:FAILURES_KEPT]

    def command(self, seed: int) -> str:
        """What replays one conversation, byte for byte."""
        return f"duologue sim --replay {seed}" + (" --whole" if self.depth == "whole" else "")

    def as_data(self) -> dict[str, Any]:
        """All of it as JSON-able data."""
        return {
            "depth": self.depth,
            **self.tally.report(),
            "wall_seconds": round(self.wall_s, 1),
            "conversations_per_second": round(self.tally.conversations / self.wall_s, 1) if self.wall_s else None,
            "failed": self.failed,
            "failures": [
                {
                    "seed": outcome.seed,
                    "replay": self.command(outcome.seed),
                    "violations": [{"rule": v.rule, "at": v.at, "text": v.text} for v in outcome.violations],
                }
                for outcome in self.failures
            ],
        }


def depth_function(depth: str, name: str) -> Callable[[int], Any]:
    """`simulate` or `log` of a depth."""
    found: Callable[[int], Any] = getattr(import_module(DEPTHS[depth]), name)
    return found


def run_chunk(depth: str, first: int, count: int) -> Report:
    """Hold `count` conversations from seed `first` on, in this process."""
    simulate = depth_function(depth, "simulate")
    report = Report(depth)
    for seed in range(first, first + count):
        report.add(simulate(seed))
    return report


def run_many(
    depth: str,
    *,
    first: int = 0,
    conversations: int,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Report:
    """Hold `conversations` from seed `first` on. `workers`: processes, None for one a core; 1 stays in this one.

    `progress` is told how many are done.
    """
    begun = time.perf_counter()
    report = Report(depth)
    chunks = list(_chunks(first, conversations, CHUNK[depth]))
    workers = min(workers or _cores(), len(chunks))
    for part in _parts(depth, chunks, workers):
        report.merge(part)
        progress(report.tally.conversations)
    report.wall_s = time.perf_counter() - begun
    return report


def _parts(depth: str, chunks: list[tuple[int, int]], workers: int) -> Iterator[Report]:
    if workers <= 1:
        for first, count in chunks:
            yield run_chunk(depth, first, count)
        return
    # Spawned, not forked: a fork copies locks and event loops of whoever calls.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = [pool.submit(run_chunk, depth, first, count) for first, count in chunks]
        for part in running:
            yield part.result()


def _chunks(first: int, count: int, size: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + count, size):
        yield start, min(size, first + count - start)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
