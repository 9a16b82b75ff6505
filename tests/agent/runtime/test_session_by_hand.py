"""What a program may do to a session: when, from where, and what it is told when it may not."""

import asyncio
import threading

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.errors import ProtocolError
from duologue.runtime.session_setup import Note, Persona
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.virtual_time import pass_time

ASK = [(1.0, 1.0)]


@pytest.mark.parametrize(
    "do",
    [
        lambda session: session.say("Hello?"),
        lambda session: session.type("Hello?"),
        lambda session: session.show("https://example.org/cat.png"),
        lambda session: session.request_reply(),
        lambda session: session.return_tool("c1", "done"),
        lambda session: session.open_turn(),
        lambda session: session.commit_turn(),
        lambda session: session.clear_turn(),
        lambda session: session.interrupt(),
        lambda session: session.set_endpointing(automatic=False),
        lambda session: session.use_persona(Persona("other")),
        lambda session: session.post(ev.SayRequested(0.0, "Hello?")),
    ],
)
def test_what_a_program_does_after_the_end_is_refused_rather_than_lost(call, do):
    session = call(hang_up=1.0).go().session
    before = session.conversation.snapshot()
    with pytest.raises(ProtocolError, match=r"came when the session was over. See session\.closed"):
        do(session)
    with pytest.raises(ProtocolError, match=r"can't be cut when the session is over. See session\.closed"):
        session.truncate_reply(1, 100)
    assert session.conversation.snapshot() == before


def test_what_the_caller_s_side_tells_after_the_end_is_dropped_in_silence(call):
    done = call(hang_up=1.0).go()
    done.session.event(ev.TurnCommitted(0.0))
    done.session.event(ev.TypedTurn(0.0, "Hello?"))
    done.session.audio(bytes(640))
    done.session.note("test", "late")
    assert done.said() == []


def test_an_observer_is_refused_in_the_very_step_that_ends_the_session(call):
    async def during(session, transport):
        def too_late(event):
            if isinstance(event, act.CloseSession):
                session.say("Wait!")

        session.observe(too_late)

    done = call(hang_up=1.0, during=during).go()
    (note,) = [note for note in done.all(Note) if note.source == "observer"]
    assert "SayRequested came when the session was over" in note.text and note.severity == "error"


def test_what_an_observer_does_out_of_order_is_noted_and_the_session_lives(call):
    async def during(session, transport):
        def hasty(event):
            if isinstance(event, act.OpenRecognition):
                session.say("Hm?")
            if isinstance(event, act.TurnEnded):
                session.commit_turn()

        session.observe(hasty)

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=8.0, during=during).go()
    assert [note.text for note in done.all(Note) if note.source == "program"] == [
        "dropped: turn committed by hand can't happen while thinking"
    ]
    assert [text for _, text in done.said()] == ["hello", "Hi.", "Hm?"] and done.session.error is None


def test_what_waits_for_its_turn_when_the_session_ends_is_noted(call):
    async def during(session, transport):
        def last_words(event):
            if isinstance(event, ev.ImagesShown):
                session.post(ev.CloseRequested(session.now(), "enough", finish=False))
                session.say("Wait!")

        session.observe(last_words)
        session.show("https://example.org/cat.png")

    done = call(hang_up=1.0, during=during).go()
    assert done.trace_notes("program") == ["dropped: SayRequested came when the session was over"]


def test_a_thread_may_do_what_a_program_does_and_is_told_by_a_note(call):
    async def during(session, transport):
        await asyncio.to_thread(session.say, "From a thread.")
        await asyncio.to_thread(session.commit_turn)
        await pass_time(5.0)
        await session.close("enough")
        with pytest.raises(ProtocolError, match="the session was over"):
            await asyncio.to_thread(session.say, "Too late.")

    done = call(hang_up=20.0, during=during).go()
    assert done.said() == [("agent", "From a thread.")]
    assert done.trace_notes("program") == ["dropped: turn committed by hand can't happen while thinking"]


def test_a_thread_s_words_that_come_as_the_session_ends_are_noted(call):
    async def during(session, transport):
        thread = threading.Thread(target=session.say, args=("Too late.",))
        thread.start()
        thread.join()  # it has posted, and the loop has not come round to it
        session.post(ev.CloseRequested(session.now(), "enough", finish=False))

    done = call(hang_up=20.0, during=during).go()
    assert done.trace_notes("program")[-1].startswith("dropped: SayRequested came when the session was over")


@pytest.mark.parametrize(
    "event",
    [
        ev.SpeechStarted(0.0, 0.0),
        ev.FinalTranscript(0.0, 1, 1, "hello"),
        ev.ReplyEnded(0.0, 1, "never said"),
        ev.ToolRequested(0.0, 1, "c1", "pay", "{}"),
        ev.SummaryMade(0.0, 1, "nothing"),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_only_a_stage_can_know_is_refused_from_anybody_else(call, event):
    async def during(session, transport):
        with pytest.raises(ProtocolError, match=f"{type(event).__name__} is for the session's own stages to tell"):
            session.post(event)
        transport.event(event)

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=5.0, during=during).go()
    assert done.trace_notes("transport") == [f"dropped: {type(event).__name__} is for the session's own stages to tell"]
    assert done.said() == [("user", "hello"), ("agent", "Hi.")]
