"""The whole depth: one seed, one conversation through frames, tasks and trace, in virtual time."""

import asyncio
import json
import traceback
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from duologue.errors import DuologueError
from duologue.sim.core_sim import encode_plain
from duologue.sim.outcome import VIOLATIONS_MAX, Outcome, Violation
from duologue.sim.tally import Tally
from duologue.sim.trace_watch import TraceWorld
from duologue.sim.whole_checkers import WHOLE_CHECKERS, Evidence, Heard
from duologue.sim.whole_world import WholeWorld
from duologue.testing import virtual_time

LOOP_S_MAX: Final = 900.0  # of virtual time: a session that lives longer never ends
# Which rule is broken when the loop refuses to go on.
LOOP_RULES: Final = {
    virtual_time.DeadlockError: "ends",
    virtual_time.TimeLimitError: "ends",
    virtual_time.TasksLeftError: "no orphan task",
}


class Held:
    """A conversation that was held, with all that was found."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.world: WholeWorld | None = None
        self.violations: list[Violation] = []
        self.traces: list[TraceWorld] = []
        try:
            virtual_time.run(self._main(folder), limit_s=LOOP_S_MAX)
        except Exception as error:  # whatever the runtime raises is what we are looking for
            place = traceback.extract_tb(error.__traceback__)[-1]
            rule = next((name for kind, name in LOOP_RULES.items() if isinstance(error, kind)), "nothing raises")
            self._blame(rule, 0.0, f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})")
        if self.world is not None:
            self.violations = self.world.violations + self.violations
            self._examine(self.world)

    async def _main(self, folder: Path) -> None:
        world = self.world = WholeWorld(self.seed, folder)
        await world.hold()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            names = sorted(getattr(task.get_coro(), "__qualname__", "?") for task in left)
            self._blame("no orphan task", asyncio.get_running_loop().time(), f"left: {', '.join(names)}")

    def _blame(self, rule: str, at: float, text: str) -> None:
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(rule, round(at, 6), text))

    def _examine(self, world: WholeWorld) -> None:
        parts = []
        for part in world.parts:
            try:
                trace = TraceWorld(part.trace, self.seed, world.scenario)
            except DuologueError as error:
                self._blame("traces replay", 0.0, f"{part.trace.name} can't be replayed: {error}")
                continue
            self.traces.append(trace)
            self.violations += trace.watch.violations
            world.tally.events += trace.tally.events
            world.tally.dismissed += trace.tally.dismissed
            parts.append(Heard(world, part, trace))
        evidence = Evidence(world, parts)
        for kind in WHOLE_CHECKERS:
            for text in kind().check(evidence):
                self._blame(kind.name, 0.0, text)


def simulate(seed: int) -> Outcome:
    """Hold the conversation of `seed` and say what came of it."""
    with TemporaryDirectory(prefix="duologue-sim-") as folder:
        held = Held(seed, Path(folder))
        tally = held.world.tally if held.world else Tally()
        tally.conversations = 1
        return Outcome(seed, tuple(held.violations[:VIOLATIONS_MAX]), tally)


def log(seed: int) -> Iterator[str]:
    """The traces of the conversation of `seed`, and what was found: the same lines, to the byte, every time."""
    with TemporaryDirectory(prefix="duologue-sim-") as folder:
        held = Held(seed, Path(folder))
        if held.world:
            scenario = held.world.scenario
            yield f"seed {seed}: faults {', '.join(sorted(scenario.faults)) or 'none'}; remote player {scenario.remote}"
            yield f"policy {encode_plain(scenario.policy)}"
        for path in sorted(Path(folder).iterdir()):
            yield f"process {path.stem}"
            for number, text in enumerate(path.read_text(encoding="utf-8").splitlines()):
                yield text if number else _without_id(text)
        for violation in held.violations:
            yield f"{violation.at:10.6f} ! {violation.rule}: {violation.text}"


def _without_id(header: str) -> str:
    """A trace's first line without the session's random name."""
    return json.dumps({key: value for key, value in json.loads(header).items() if key != "session"}, ensure_ascii=False)
