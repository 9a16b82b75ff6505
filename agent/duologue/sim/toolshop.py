"""The modelled tools of the core's world."""

from typing import TYPE_CHECKING

from duologue.core import actions as act
from duologue.core import events as ev

if TYPE_CHECKING:
    from duologue.sim.world import World


class Toolshop:
    """Tools of ours and of the remote player: quick, slow, failing, silent, or late although they were stopped."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._running: dict[str, bool] = {}

    def request(self, reply: int, call_id: str) -> ev.ToolRequested:
        """What the model wants, drawn."""
        world = self._world
        return ev.ToolRequested(
            world.now,
            reply,
            call_id,
            world.rng.choice(("weather", "timetable", "camera")),
            "{}",
            timeout_s=world.rng.choice((None, 1.5)),
            remote=world.rng.random() < 0.3,
            cancellable=world.rng.random() < 0.7,
        )

    def run(self, action: act.RunTool) -> None:
        """It begins its work."""
        world = self._world
        self._running[action.call_id] = True
        if world.strikes("tool silent"):
            return
        delay_s = world.rng.uniform(0.05, 0.8)
        if world.strikes("tool slow"):
            delay_s += world.rng.uniform(0.5, 9.0)
        failed = world.strikes("tool failing")
        schedule = world.plan if action.remote else world.later
        schedule(delay_s, self._return, action.call_id, failed)

    def cancel(self, call_id: str) -> None:
        """Nobody waits for it any more."""
        self._running.pop(call_id, None)

    def _return(self, call_id: str, failed: bool) -> None:
        world = self._world
        if self._running.pop(call_id, False) or world.strikes("tool late"):
            output = "Failed: no such city" if failed else "It is fine."
            world.post(ev.ToolReturned(world.now, call_id, output, failed))
