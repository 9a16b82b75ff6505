"""The core's depth: one seed, one conversation against the modelled world."""

import json
import traceback
from collections.abc import Iterator

from duologue.core.codec import to_data
from duologue.sim.outcome import Outcome
from duologue.sim.world import World


def hold(seed: int) -> World:
    """Hold the conversation of `seed`; what it raises, if anything, is a violation too."""
    world = World(seed)
    try:
        world.run()
    except Exception as error:  # whatever the core raises is what we are looking for
        place = traceback.extract_tb(error.__traceback__)[-1]
        world.watch.blame("nothing raises", f"{type(error).__name__}: {error} ({place.name}, line {place.lineno})")
    world.tally.conversations = 1
    world.tally.seconds = world.now
    return world


def simulate(seed: int) -> Outcome:
    """Hold the conversation of `seed` and say what came of it."""
    world = hold(seed)
    return Outcome(seed, tuple(world.watch.violations), world.tally)


def log(seed: int) -> Iterator[str]:
    """The conversation of `seed`, told step by step: the same lines, to the byte, every time."""
    world = hold(seed)
    scenario = world.scenario
    yield f"seed {seed}: faults {', '.join(sorted(scenario.faults)) or 'none'}; remote player {scenario.remote}"
    yield f"policy {encode_plain(scenario.policy)}"
    for step in world.watch.steps:
        told = encode_plain(step.payload) if step.kind == "event" else step.kind
        yield f"{step.at:10.6f} > {told}"
        for action in step.actions:
            yield f"{'':10} < {encode_plain(action)}"
    for violation in world.watch.violations:
        yield f"{violation.at:10.6f} ! {violation.rule}: {violation.text}"


def encode_plain(item: object) -> str:
    """An event, action or policy as one line, without what is empty."""
    data = to_data(item)
    told = json.dumps(
        {key: value for key, value in data.items() if value not in ((), [], None, "")}, ensure_ascii=False
    )
    return f"{type(item).__name__} {told}"
