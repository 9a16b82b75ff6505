"""A snapshot with anything in it is refused by name, or is a conversation that can be held."""

import json
import random

from agent.fuzz import doctoring
from agent.fuzz.conftest import POLICY, caller, make_agent
from duologue.core.conversation import Conversation
from duologue.errors import ProtocolError
from duologue.testing.virtual_time import pass_time, run

EVENTS_AFTER = 50


def live_on(rng, conversation, count=EVENTS_AFTER):
    """Feed `conversation` with anything and meet its deadlines. Whatever is wrong with an event, it is said."""
    for _ in range(count):
        try:
            conversation.feed(doctoring.random_event(rng, conversation))
        except ProtocolError:
            continue
        if conversation.deadline is not None and rng.random() < 0.3:
            conversation.advance(conversation.deadline)
    json.dumps(conversation.snapshot())
    conversation.prompt(conversation.reply)


def restored(snapshot):
    """The conversation of a snapshot that may be anything; None if it is refused."""
    try:
        return Conversation.restore(POLICY, snapshot)
    except (ProtocolError, ValueError):
        return None


def check(rng, snapshot):
    """Whether it was taken for one; then it must be one."""
    conversation = restored(snapshot)
    if conversation is None:
        return False
    if rng.random() < 0.5:
        conversation.take_over()
    live_on(rng, conversation)
    return True


def by_shape(snapshots):
    """(snapshot, path) for everything that stands in some snapshot, each shape once."""
    found = {}
    for snapshot in snapshots:
        for path in doctoring.walk(snapshot["conversation"]):
            found.setdefault(doctoring.shape(path), (snapshot["conversation"], path))
    return list(found.values())


def test_the_recorded_call_has_been_through_everything(recorded):
    """Or the fuzzers would prove little."""
    states = [Conversation.restore(POLICY, snapshot["conversation"]) for snapshot in recorded.snapshots]
    assert {state.phase for state in states} >= {
        "listening", "user_speaking", "endpointing", "thinking", "agent_speaking", "overlap",
    }  # fmt: skip
    assert len(by_shape(recorded.snapshots)) > 100
    for state in states[::10]:
        live_on(random.Random(1), state)


def test_each_field_with_anything_in_it_is_refused_or_lived_with(recorded):
    holes, taken, refused = [], 0, 0
    for snapshot, path in by_shape(recorded.snapshots):
        for number, value in enumerate(doctoring.ODD_VALUES):
            with doctoring.noting(holes, f"{'.'.join(map(str, path))} = {value!r:.40}"):
                lived = check(random.Random(number), doctoring.doctored(snapshot, path, value))
                taken, refused = taken + lived, refused + (not lived)
    assert not holes, "\n".join(holes)
    assert taken > 300 and refused > 1000  # both ways are met, or this proves nothing


def test_several_fields_at_once_in_states_of_every_kind(recorded):
    holes = []
    for seed in range(int(1500 * doctoring.TIMES)):
        rng = random.Random(seed)
        conversation = restored(rng.choice(recorded.snapshots)["conversation"])
        with doctoring.noting(holes, f"seed {seed}, before anything was doctored"):
            live_on(rng, conversation, rng.choice((0, 3, 20)))
        snapshot = json.loads(json.dumps(conversation.snapshot()))
        for _ in range(rng.choice((1, 2, 4))):
            path = rng.choice(list(doctoring.walk(snapshot)))
            donor = rng.choice(recorded.snapshots)["conversation"]
            snapshot = doctoring.doctored(snapshot, path, doctoring.odd_value(rng, snapshot, path, donor))
        with doctoring.noting(holes, f"seed {seed}"):
            check(rng, snapshot)
    assert not holes, "\n".join(holes)


def test_a_session_refuses_it_by_name_or_is_held(recorded):
    async def hold(snapshot, rng):
        transport = caller(hang_up=3.0)
        async with make_agent().session(transport, snapshot=snapshot) as session:
            for _ in range(20):
                await pass_time(0.1)
                transport.event(doctoring.random_event(rng, session.conversation, doctoring.OF_THE_CALLER))
            await session.wait_closed()
        json.dumps(session.snapshot())

    holes, refused = [], 0
    for seed in range(int(150 * doctoring.TIMES)):
        rng = random.Random(seed)
        snapshot = rng.choice(recorded.snapshots)
        path = rng.choice(list(doctoring.walk(snapshot)))
        donor = rng.choice(recorded.snapshots)
        snapshot = doctoring.doctored(snapshot, path, doctoring.odd_value(rng, snapshot, path, donor))
        with doctoring.noting(holes, f"seed {seed}: {'.'.join(map(str, path))}"):
            try:
                run(hold(snapshot, rng))
            except ProtocolError:
                refused += 1
    assert not holes, "\n".join(holes)
    assert 0 < refused < 150 * doctoring.TIMES
