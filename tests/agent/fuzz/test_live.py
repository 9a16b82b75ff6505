"""A live session in a storm: whatever the caller's side, its player and the program do, it is said what was wrong with
it, and the conversation goes on."""

import random
from dataclasses import replace

import pytest

from agent.fuzz import doctoring
from agent.fuzz.conftest import POLICY, caller, make_agent, remote_caller
from duologue import Note, Persona, events
from duologue.core.history import OutputItem, UserItem
from duologue.core.policy import LimitsPolicy
from duologue.errors import ProtocolError
from duologue.testing.virtual_time import pass_time, run

STORM_S = 30.0
PATIENT = replace(POLICY, limits=LimitsPolicy(idle_s=None))  # it is ended by nobody, then
CALL_IDS = ("call-1", "call-2", "call-1-2", "call-3", "nobody's", "")
SAMPLES = (0, 1, 320, 16_000, 40_000, 10**9, -1, -(10**9))


def by_hand(rng, session):
    """Something that a program may do, at a moment that need not suit."""
    text = rng.choice(doctoring.TEXTS)
    rng.choice(
        [
            lambda: session.say(text, interruptible=rng.random() < 0.8, in_history=rng.random() < 0.5),
            lambda: session.type(text, images=["https://example.org/a.png"] * rng.choice((0, 1, 9))),
            lambda: session.type(text, reply=False),
            lambda: session.show("https://example.org/a.png"),
            lambda: session.request_reply(instructions=rng.choice((None, text)), in_history=rng.random() < 0.5),
            session.open_turn,
            session.commit_turn,
            session.clear_turn,
            session.interrupt,
            lambda: session.set_endpointing(automatic=rng.random() < 0.7, reply_automatically=rng.random() < 0.7),
            lambda: session.use_persona(Persona(rng.choice(("a", "b")), "You are another.")),
            lambda: session.return_tool(rng.choice(CALL_IDS), text, failed=rng.random() < 0.5),
            lambda: session.return_tool(rng.choice(CALL_IDS), text, failed=rng.random() < 0.5),
            lambda: session.insert(OutputItem(rng.choice(CALL_IDS), text), rng.choice((None, "root", "turn_1", text))),
            lambda: session.insert(UserItem(0, text, id=rng.choice(("", "put", "turn_1"))), "root"),
            lambda: session.remove(rng.choice([item.id for item in session.conversation.history] or [text])),
            lambda: session.request_reply(text, text_only=True, voice=rng.choice((None, "x"))),
            lambda: session.request_reply(text, temperature=rng.choice((1, 9)), tool_choice=text),
            session.snapshot,
        ]
    )()


def report(rng, session, transport):
    """What a remote player says: of a reply that it plays, or never had, forwards, backwards, beyond its end."""
    live = session.conversation.reply
    transport.report_playout(rng.choice((live, live, live - 1, live + 1, 0, -1, 10**6)), rng.choice(SAMPLES))


async def storm(rng, session, transport, kinds):
    """Thirty seconds of it; now and then much at once."""
    while session.now() < STORM_S and not session.closed:
        await pass_time(rng.choice((0.0, 0.0, 0.02, 0.1, 0.5, 1.5)))
        what = rng.random()
        if what < 0.4:
            event = doctoring.random_event(rng, session.conversation, kinds)
            if isinstance(event, events.PolicyChanged):  # a limit on time is an end by right
                event = replace(event, policy=replace(event.policy, limits=PATIENT.limits))
            transport.event(event)
        elif what < 0.7 and hasattr(transport, "report_playout"):
            report(rng, session, transport)
        else:
            try:
                by_hand(rng, session)
            except ProtocolError:
                continue


async def calm_down(session):
    """Whatever the storm left open is closed, and a question is asked. Whether it is answered, and aloud."""
    for clear in (session.clear_turn, session.interrupt):
        try:
            clear()
        except ProtocolError:
            continue
    session.set_endpointing(automatic=True, reply_automatically=True)
    await pass_time(2.0)
    before = session.conversation.reply
    session.type("are you still there?")
    await pass_time(60.0)
    return before


def talk(seed, *, remote, kinds):
    """A whole call in a storm: the session, and all that it told."""
    rng = random.Random(seed)
    told = []

    async def main():
        transport = (remote_caller if remote else caller)(hang_up=False, record=False)
        async with make_agent().session(transport, policy=PATIENT) as session:
            session.observe(told.append)
            await storm(rng, session, transport, kinds)
            assert not session.closed, f"it ended: {session.error}"
            asked = len(told)
            await calm_down(session)
            assert any(isinstance(event, events.ReplyEnded) for event in told[asked:]), "nobody answers any more"
        return session

    return run(main(), limit_s=3600.0), told


def nothing_heard_is_lost_or_made_up(session, told):
    """What was heard of a reply is a beginning of what it said, but for what a repeated hold may say of it."""
    texts = {}
    for event in told:
        if isinstance(event, events.ReplyText):
            texts[event.reply] = texts.get(event.reply, "") + event.text
        elif isinstance(event, events.ReplyEnded):
            assert texts.get(event.reply, "").startswith(event.heard.rstrip()), event
    assert [event for event in told if isinstance(event, Note) and event.severity == "error"] == []


@pytest.mark.parametrize("remote", [False, True], ids=["local player", "remote player"])
def test_whatever_the_caller_s_side_and_the_program_do_the_conversation_goes_on(remote):
    holes = []
    for seed in range(int(25 * doctoring.TIMES)):
        with doctoring.noting(holes, f"seed {seed}"):
            session, told = talk(seed, remote=remote, kinds=doctoring.OF_THE_CALLER)
            assert session.error is None
            nothing_heard_is_lost_or_made_up(session, told)
    assert not holes, "\n".join(holes)


def test_nor_can_a_transport_that_tells_what_is_none_of_its_business_end_it():
    holes, kinds = [], [kind for kind in doctoring.EVENTS if kind is not events.CloseRequested]
    for seed in range(int(25 * doctoring.TIMES)):
        with doctoring.noting(holes, f"seed {seed}"):
            session, _ = talk(seed, remote=True, kinds=kinds)
            assert session.error is None
    assert not holes, "\n".join(holes)
