"""How a session begins and ends: by whom, with what error, and with nothing left behind."""

import asyncio
import contextlib

import pytest

from duologue import tool
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Conversation
from duologue.core.messages import ToolCall
from duologue.core.policy import HistoryPolicy, Policy, ReplyPolicy
from duologue.errors import InternalError, ProtocolError, TransportError
from duologue.runtime.broadcast import EVENTS_WAITING_MAX
from duologue.runtime.session_setup import Note, Persona
from duologue.testing.memory_transport import MemoryTransport
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.virtual_time import pass_time, run

ASK = [(1.0, 1.0)]


def nothing_left(done):
    """No stream is open and no task of the session lives: `virtual_time.run` has seen to the tasks."""
    assert done.llm.open_streams == 0 and done.tts.opened == done.tts.closed
    return all(stream.closed for stream in done.asr.streams)


# --- leaving ----------------------------------------------------------------------------------------------------------


def test_leaving_the_body_lets_the_agent_finish_and_closing_twice_is_once(call):
    made = call(ASK, ["hello"], [ScriptedReply("Hello to you, and welcome.")])

    async def main():
        transport = MemoryTransport([(1.0, made_voice())], hang_up=False)
        async with made.agent().session(transport) as session:
            await pass_time(3.2)
        assert session.closed and session.error is None
        await session.close()
        await session.wait_closed()
        return session

    session = run(main())
    assert session.conversation.history[1].text == "Hello to you, and welcome."


def made_voice():
    return b"\x10\x27\xf0\xd8" * 8000


def test_an_error_in_the_body_ends_the_session_at_once_and_is_the_body_s(call):
    made = call(ASK, ["hello"])

    async def main():
        transport = MemoryTransport([(1.0, made_voice())], hang_up=False)
        with pytest.raises(KeyError, match="mine"):
            async with made.agent().session(transport) as session:
                await pass_time(4.0)
                raise KeyError("mine")
        assert session.closed and session.now() < 4.1
        return session

    session = run(main())
    assert session.error is None
    assert session.conversation.history[1].text.startswith("It is five")  # what was heard by then is kept


def test_a_body_that_is_cancelled_leaves_nothing_behind(call):
    made = call(ASK, ["hello"])

    async def main():
        async def talk():
            async with made.agent().session(MemoryTransport([(1.0, made_voice())], hang_up=False)):
                await pass_time(100)

        talking = asyncio.ensure_future(talk())
        await pass_time(4.0)
        talking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await talking

    run(main())
    assert nothing_left(made)


def test_the_caller_s_hanging_up_in_mid_reply_keeps_what_was_heard(call):
    done = call(ASK, ["tell me a story"], hang_up=4.0).go()
    assert done.one(act.CloseSession).reason == "hung up" and done.session.error is None
    assert done.said()[1][1].startswith("It is five")
    assert nothing_left(done)


# --- failing ----------------------------------------------------------------------------------------------------------


def test_a_task_that_crashes_ends_the_session_with_an_internal_error(call, until):
    async def during(session, transport):
        await until(session, 4.0)

        async def broken():
            raise ZeroDivisionError("division by zero")

        session._tasks.spawn(broken())
        session._tasks.spawn(broken())  # the first is the one that counts

    done = call(ASK, ["tell me a story"], during=during).go()
    assert isinstance(done.session.error, InternalError)
    assert str(done.session.error) == "ZeroDivisionError: division by zero. Please report it with the trace"
    assert done.one(act.CloseSession).reason.startswith("failed: ZeroDivisionError")
    assert [note.source for note in done.all(Note) if note.source != "llm"] == ["internal"]
    assert done.said()[1][1].startswith("It is five") and not done.audible(4.05, 6.0)
    assert nothing_left(done)


def test_an_action_that_breaks_ends_the_session_rather_than_hang_it(call, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("division by zero")

    done = call(ASK, ["hello"])
    monkeypatch.setattr("duologue.runtime.reply_player.ReplyPlayer.begin", broken)
    done.go()
    assert isinstance(done.session.error, InternalError) and done.session.now() < 3.0
    assert done.all(act.CloseSession) == []
    assert nothing_left(done)


class BrokenTransport(MemoryTransport):
    """`breaks`: which of its calls raises what from which second on."""

    breaks = ("play", 4.0, TransportError("the socket is closed"))

    def _broken(self, name):
        what, since, error = self.breaks
        if what == name and self.now >= since:
            raise error

    def play(self, pcm, reply):
        self._broken("play")
        super().play(pcm, reply)

    def cut_reply(self, reply):
        self._broken("cut_reply")
        return super().cut_reply(reply)

    async def aclose(self):
        broken, self.breaks = self.breaks, ("nothing", 0.0, None)
        await super().aclose()
        if broken[0] == "aclose":
            raise broken[2]


@pytest.mark.parametrize(
    ("breaks", "error"),
    [
        (("play", 4.0, TransportError("the socket is closed")), "the socket is closed"),
        (("play", 4.0, OSError("broken pipe")), "OSError: broken pipe"),
        (("cut_reply", 4.0, TransportError("the socket is closed")), "the socket is closed"),
    ],
)
def test_a_transport_that_can_t_play_ends_the_session_with_its_error(call, breaks, error):
    made = call(ASK, ["tell me a story"])

    async def main():
        transport = BrokenTransport([(1.0, made_voice()), (5.0, made_voice())], hang_up=False)
        transport.breaks = breaks
        async with made.agent().session(transport) as session:
            await session.wait_closed()
            assert 4.0 <= session.now() < 6.0
        return session

    session = run(main())
    assert isinstance(session.error, TransportError) and str(session.error) == error
    assert session.conversation.history[0].text == "tell me a story"
    assert nothing_left(made)


def test_a_transport_that_fails_to_hang_up_leaves_no_task(call):
    made = call(ASK, ["tell me a story"])

    async def main():
        transport = BrokenTransport([(1.0, made_voice())], hang_up=False)
        transport.breaks = ("aclose", 0.0, OSError("already closed"))
        async with made.agent().session(transport) as session:
            await pass_time(4.0)
        notes = [entry["text"] for _, kind, entry in session.trace.entries if kind == "note"]
        assert "it did not close: OSError: already closed" in notes

    run(main())
    assert nothing_left(made)


def test_a_transport_that_crashes_is_the_transport_s_fault(call):
    class Crashing(MemoryTransport):
        async def run(self, sink):
            await pass_time(1.0)
            raise LookupError("no such peer")

    made = call()

    async def main():
        async with made.agent().session(Crashing()) as session:
            await session.wait_closed()
        assert isinstance(session.error, TransportError) and "LookupError: no such peer" in str(session.error)

    run(main())


def test_a_core_that_refuses_its_own_deadline_ends_the_session(call, monkeypatch):
    made = call(ASK, ["hello"])

    def refuse(self, now):
        raise ProtocolError("no such step")

    async def during(session, transport):
        await pass_time(0.5)
        monkeypatch.setattr("duologue.core.conversation.Conversation.advance", refuse)
        session._shell._on_deadline()

    made.during = during
    done = made.go()
    assert isinstance(done.session.error, InternalError) and "no such step" in str(done.session.error)


# --- what comes out of order ------------------------------------------------------------------------------------------


def test_a_program_is_told_what_comes_out_of_order_and_nothing_is_changed(call, until):
    async def during(session, transport):
        with pytest.raises(ProtocolError, match="turn committed by hand can't happen while listening"):
            session.commit_turn()
        with pytest.raises(ProtocolError):
            session.clear_turn()

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=5.0, during=during).go()
    assert done.said() == [("user", "hello"), ("agent", "Hi.")]


def test_a_caller_s_side_can_t_know_our_phase_it_is_noted_and_dropped(call, until):
    async def during(session, transport):
        transport.event(ev.TurnCommitted(0.0))

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=5.0, during=during).go()
    assert [note.text for note in done.all(Note) if note.source == "transport"] == [
        "dropped: turn committed by hand can't happen while listening"
    ]
    assert done.said() == [("user", "hello"), ("agent", "Hi.")]


def test_a_transport_may_tell_something_from_inside_a_cut(call):
    class Telling(MemoryTransport):
        def cut_reply(self, reply):
            self._sink.event(ev.TurnCleared(0.0))
            self._sink.played(reply, 7)  # which is noted and dropped: it plays in our sight
            return super().cut_reply(reply)

    made = call([(1.0, 1.0), (4.0, 0.3)], ["tell me a story"], hang_up=6.0)

    async def main():
        async with made.agent().session(Telling([(1.0, made_voice()), (4.0, made_voice())], hang_up=6.0)) as session:
            events = [event async for event in session.events()]
        assert session.error is None
        return events

    told = [type(event) for event in run(main())]
    assert told.index(act.HoldPlayout) < told.index(ev.TurnCleared) < told.index(act.ResumePlayout)


# --- readers ----------------------------------------------------------------------------------------------------------


def test_a_reader_that_sleeps_loses_the_oldest_and_holds_nobody_up(call):
    made = call()

    async def main():
        slow = []
        async with made.agent().session(MemoryTransport(hang_up=False)) as session:
            reading = session.events()
            session.note("test", "0")
            first = asyncio.ensure_future(anext(reading))
            await pass_time(0.1)
            for number in range(1, EVENTS_WAITING_MAX + 500):
                session.note("test", str(number))
            await session.close(finish=False)
            slow.append(await first)
            slow += [event async for event in reading]
        assert [event async for event in session.events()] == []
        return slow

    told = run(main())
    assert len(told) <= EVENTS_WAITING_MAX + 1
    notes = [int(event.text) for event in told if isinstance(event, Note) and event.source == "test"]
    assert notes == list(range(notes[0], EVENTS_WAITING_MAX + 500)) and notes[0] > 400
    assert isinstance(told[-1], act.CloseSession)


def test_two_readers_see_the_same_and_one_may_leave(call):
    made = call(ASK, ["hello"], [ScriptedReply("Hi.")])

    async def main():
        async with made.agent().session(MemoryTransport([(1.0, made_voice())], hang_up=5.0)) as session:

            async def whole():
                return [event async for event in session.events()]

            async def some():
                async for event in session.events():
                    if isinstance(event, act.TurnEnded):
                        return event.text

            return await asyncio.gather(whole(), whole(), some())

    first, second, text = run(main())
    assert isinstance(first[0], Note) and not isinstance(second[0], Note)  # what came before goes to the first reader
    assert first[1:] == second and len(second) > 10 and text == "hello"
    assert not any(isinstance(event, ev.HeardSoFar) for event in first)


# --- memory -----------------------------------------------------------------------------------------------------------


def long_talk(call, replies, **more):
    policy = Policy(
        history=HistoryPolicy(tokens_max=120, keep_fraction=0.3),
        reply=ReplyPolicy(speculate=False),
    )
    speech = [(1.0 + 6.0 * turn, 1.0) for turn in range(6)]
    turns = [f"turn {turn} with quite a lot of words in it" for turn in range(6)]
    return call(speech, turns, replies, policy=policy, hang_up=40.0, **more).go()


def test_the_older_part_is_summarised_by_the_model_and_metered(call):
    def reply(request):
        if request.output_tokens_max == 400:
            assert request.messages[-1].text.startswith("Summarise the conversation")
            return ScriptedReply("They talked about turns.")
        return ScriptedReply("Yes indeed, and there is a lot to be said about this one, if you would like to know.")

    done = long_talk(call, ScriptedLlm(reply))
    assert done.session.conversation.summary == "They talked about turns."
    assert done.all(act.SummariseHistory) and done.session.error is None
    assert done.session.meter.requests == len(done.llm.requests)
    prompt = next(request.messages for request in done.llm.requests if request.messages[-1].text.startswith("turn 5"))
    assert prompt[1].text.endswith("They talked about turns.") and len(prompt) < 10


def test_where_that_fails_an_extract_takes_its_place(call):
    def reply(request):
        if request.output_tokens_max == 400:
            return ScriptedReply("They", fail_after=1)
        return ScriptedReply("Yes indeed, and there is a lot to be said about this one, if you would like to know.")

    done = long_talk(call, ScriptedLlm(reply))
    assert any("no summary, an extract takes its place" in note.text for note in done.all(Note))
    assert "User: turn 0" in done.session.conversation.summary


# --- doing by hand ----------------------------------------------------------------------------------------------------


def test_a_turn_may_be_taken_back_and_images_shown_with_the_next(call, until):
    async def during(session, transport):
        await until(session, 1.5)
        session.clear_turn()
        session.show("https://example.org/cat.png")

    done = call([(1.0, 1.0), (4.0, 1.0)], ["never mind", "what is it"], [ScriptedReply("A cat.")], hang_up=8.0,
                during=during).go()  # fmt: skip
    assert done.one(act.TurnDismissed).reason == "cleared"
    assert done.said() == [("user", "what is it"), ("agent", "A cat.")]
    assert done.llm.requests[-1].messages[-1].images == ("https://example.org/cat.png",)


def test_replies_may_be_left_to_the_program(call, until):
    async def during(session, transport):
        session.set_endpointing(automatic=True, reply_automatically=False)
        await until(session, 5.0)
        assert done.llm.requests == []
        session.request_reply()

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=8.0, during=during)
    done.go()
    assert done.said() == [("user", "hello"), ("agent", "Hi.")]


def test_who_speaks_next_is_whoever_was_named_last(call, until):
    async def during(session, transport):
        session.use_persona(Persona("other", "You are another."))
        assert session.phase == "listening" and not session.closed

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], hang_up=5.0, during=during).go()
    assert done.llm.requests[0].messages[0].text == "You are another."


def test_a_crash_keeps_what_was_heard(call, monkeypatch):
    made = call(ASK, ["hello"], [ScriptedReply("One two three four five six seven eight nine ten. " * 3)])

    async def during(session, transport):
        await pass_time(4.5)
        monkeypatch.setattr(Conversation, "advance", lambda self, now: 1 / 0)
        session.say("more")

    made.during = during
    made.go()
    assert isinstance(made.raised, InternalError)
    who, text = made.said()[-1]
    assert who == "agent" and text.startswith("One two three")


def test_a_tool_that_will_not_stop_is_left_behind_and_told(call):
    @tool
    async def stubborn() -> str:
        "Never ends."
        for _ in range(3):
            with contextlib.suppress(asyncio.CancelledError):
                await pass_time(100.0)
        return ""

    reply = ScriptedReply("", tool_calls=(ToolCall("1", "stubborn", "{}"),))
    made = call(ASK, ["hello"], [reply], tools=[stubborn], hang_up=4.0)
    run(made.talk(), tasks_left="cancel", limit_s=1000.0)
    assert any("did not stop" in text for _, kind, what in made.session.trace.entries for text in [str(what)])
