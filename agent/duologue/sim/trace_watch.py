"""A trace of the whole runtime, shown to the core's checkers: what the runtime told the core must keep every rule."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from duologue.core.codec import decode
from duologue.core.conversation import Conversation
from duologue.core.machines import Phase
from duologue.core.state import State
from duologue.sim.checkers import CHECKERS
from duologue.sim.scenario import Scenario
from duologue.sim.tally import Tally
from duologue.sim.watch import Step, Watch


class TraceWorld:
    """One process's part of a conversation, as its trace tells it. `steps` are those of a core that is told the same.

    What is heard is not in a trace: `audible` stays 0, and the recording is looked at elsewhere.
    """

    audible = 0

    def __init__(self, path: Path, seed: int, scenario: Scenario) -> None:
        self.path = path
        self.seed = seed
        self.scenario = scenario
        self.tally = Tally()
        self.now = 0.0
        lines = self._entries()
        self.begun: dict[str, Any] = next(lines)["conversation"]
        self.conversation = Conversation.restore(scenario.policy, self.begun)
        self.watch = Watch(self, CHECKERS)
        for line in lines:
            self._step(line)
        self.watch.over()

    def _entries(self) -> Iterator[dict[str, Any]]:
        with self.path.open(encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                if line["kind"] not in ("action", "note"):
                    yield line

    def _step(self, line: dict[str, Any]) -> None:
        conversation = self.conversation
        self.now = at = float(line["at"])
        if line["kind"] == "advance":
            step = Step("advance", float(line["until"]), None, conversation.advance(float(line["until"])))
        elif line["kind"] == "take_over":
            self.watch.migrated(self.begun, conversation.snapshot())
            step = Step("take_over", at, self.begun, conversation.take_over())
        else:
            event = decode({key: value for key, value in line.items() if key != "kind"})
            self.watch.before(event)
            step = Step("event", event.at, event, conversation.feed(event))
        self.watch.stepped(step)
        self.watch.settled(step)

    @property
    def state(self) -> State:
        """The core's state, to look at."""
        return self.conversation.core.state

    @property
    def closed(self) -> bool:
        """Whether the core has closed the session."""
        return self.conversation.phase is Phase.CLOSED
