"""The agent ends the call: its reply is said to the end, and what the tool did is remembered."""

import asyncio

import pytest

from duologue import Session, tool
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.messages import ToolCall
from duologue.core.policy import LimitsPolicy, Policy
from duologue.runtime.session_setup import Note
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.virtual_time import pass_time

ASK = [(1.0, 1.0)]
FAREWELL = "It was a pleasure to talk to you. Goodbye, and until next time."


@tool
async def hang_up(session: Session) -> str:
    """The caller wants to end the call."""
    session.hang_up("the caller asked for it")
    return "The call ends after your answer."


@tool
async def close(session: Session) -> str:
    """The caller wants to end the call."""
    await session.close("the caller asked for it")
    return "The call ends after your answer."


@tool
async def close_in_a_group(session: Session) -> str:
    """The caller wants to end the call."""
    async with asyncio.TaskGroup() as group:
        group.create_task(session.close("the caller asked for it"))
    return "The call ends after your answer."


@tool
def hang_up_from_a_thread(session: Session) -> str:
    """The caller wants to end the call."""
    session.hang_up("the caller asked for it")
    return "The call ends after your answer."


def using(name, text=""):
    return ScriptedReply(text, tool_calls=(ToolCall("c1", name, "{}"),))


def outputs(done):
    """What the history remembers of tools' results."""
    return [item.output for item in done.session.conversation.history if hasattr(item, "output")]


@pytest.mark.parametrize("ends", [hang_up, close, close_in_a_group, hang_up_from_a_thread], ids=lambda t: t.spec.name)
def test_a_tool_ends_the_call_and_its_reply_is_said_and_remembered(call, ends):
    script = [using(ends.spec.name), ScriptedReply(FAREWELL)]
    done = call(ASK, ["i have to go"], script, tools=[ends], hang_up=60.0).go()
    assert done.said() == [("user", "i have to go"), ("agent", FAREWELL)]
    assert outputs(done) == ["The call ends after your answer."]
    assert not done.session.conversation.history[-1].cut
    assert done.one(act.CloseSession).reason == "the caller asked for it"
    assert done.all(act.CancelTool) == [] == done.all(act.CancelReply)
    assert done.session.now() < 10.0 and done.session.error is None


def test_what_was_said_before_the_tool_is_said_to_its_end_too(call):
    script = [using("hang_up", f"{FAREWELL} "), ScriptedReply("")]
    done = call(ASK, ["i have to go"], script, tools=[hang_up], hang_up=60.0).go()
    assert done.said()[1] == ("agent", FAREWELL) and not done.one(ev.ReplyEnded).cut
    assert done.one(act.CloseSession) and done.session.now() < 10.0


def test_nothing_else_begins_once_the_agent_has_hung_up(call, until):
    async def during(session, transport):
        await until(session, 4.0)
        session.say("One more thing.")

    script = [using("hang_up"), ScriptedReply(FAREWELL)]
    done = call(ASK, ["i have to go"], script, tools=[hang_up], hang_up=60.0, during=during).go()
    assert done.one(act.RefuseSay) == act.RefuseSay("One more thing.", "closing")
    assert done.said()[-1] == ("agent", FAREWELL)


def test_a_caller_who_hangs_up_first_ends_it_there_and_then(call):
    done = call(ASK, ["i have to go"], [using("hang_up"), ScriptedReply(FAREWELL)], tools=[hang_up], hang_up=4.0).go()
    assert done.session.now() < 4.1
    who, heard = done.said()[-1]
    assert who == "agent" and FAREWELL.startswith(heard) and heard != FAREWELL
    assert outputs(done) == ["The call ends after your answer."]


def test_a_farewell_without_end_is_cut_at_the_bound(call):
    policy = Policy(limits=LimitsPolicy(close_s_max=3.0))
    script = [using("hang_up"), ScriptedReply(FAREWELL * 20)]
    done = call(ASK, ["i have to go"], script, tools=[hang_up], hang_up=60.0, policy=policy).go()
    asked = done.times[done.events.index(done.one(ev.CloseRequested))]
    assert asked + 3.0 <= done.session.now() < asked + 3.2
    assert done.one(act.CancelReply).reason == "closing"


def test_a_program_hangs_up_and_goes_on_at_once(call, until):
    async def during(session, transport):
        await until(session, 3.5)
        session.hang_up("enough")
        assert not session.closed and session.now() == pytest.approx(3.5)
        await session.wait_closed()
        session.hang_up("twice")  # it is over: nothing is left to be done

    done = call(ASK, ["hello"], [ScriptedReply(FAREWELL)], hang_up=60.0, during=during).go()
    assert done.said()[1] == ("agent", FAREWELL) and done.one(act.CloseSession).reason == "enough"


def test_a_program_that_closes_is_told_when_it_is_over_as_before(call, until):
    async def during(session, transport):
        await until(session, 3.5)
        await session.close("enough")
        assert session.closed

    done = call(ASK, ["hello"], [ScriptedReply(FAREWELL)], hang_up=60.0, during=during).go()
    assert done.said()[1] == ("agent", FAREWELL)


def test_a_tool_that_closes_a_call_of_another_session_waits_for_it(call):
    other = call(hang_up=False, session_options={"trace": None})

    @tool
    async def ask_a_colleague() -> str:
        """Ring somebody else up."""
        from duologue.testing.memory_transport import MemoryTransport

        async with other.agent().session(MemoryTransport(hang_up=False)) as second:
            await pass_time(0.5)
            await second.close("answered")
            assert second.closed
        return "They know."

    script = [using("ask_a_colleague"), ScriptedReply("They know it.")]
    done = call(ASK, ["who knows"], script, tools=[ask_a_colleague], hang_up=8.0).go()
    assert outputs(done) == ["They know."]
    assert [note for note in done.all(Note) if note.severity == "error"] == []
