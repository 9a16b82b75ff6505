"""A session's whole state as JSON, and the conversation going on in another process: another agent, another loop."""

import json

import pytest

from duologue import tool
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.messages import ToolCall, ToolSpec
from duologue.errors import ProtocolError
from duologue.runtime.replay import replay_file
from duologue.runtime.session_setup import Persona
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.virtual_time import pass_time

OPEN_DOOR = ToolSpec("open_door", "Open the door.", {"type": "object", "properties": {}})


@pytest.fixture
def migrate(call, until, tmp_path):
    """Talk until a session second, take the state as JSON, break off; then go on elsewhere. (before, after)."""

    def run(at, before, after):
        taken = []

        async def during(session, transport):
            await until(session, at)
            taken.append(json.dumps(session.snapshot()))
            transport.break_off("the process is shut down")

        first = call(**before, during=during, hang_up=60.0).go()
        trace = tmp_path / "after.jsonl"
        options = {"snapshot": json.loads(taken[0]), "trace": trace}
        second = call(**after, session_options=options).go()
        assert second.session.id == first.session.id
        assert replay_file(trace).difference is None  # what it took over with is in the trace
        return first, second

    return run


STORY = "There was a clock that ran backwards. " + "It told the time of yesterday, and of the day before. " * 3


def test_while_the_agent_speaks_the_rest_is_said_and_nothing_twice(migrate):
    _, second = migrate(
        5.0,
        {"speech": [(1.0, 1.0)], "turns": ["tell me a story"], "replies": [ScriptedReply(STORY, token_s=0.001)]},
        {"replies": [], "hang_up": 20.0},
    )
    assert second.llm.requests == []  # the text was complete: it is said, not made anew
    (_, question), (_, heard), (_, rest) = second.said()
    assert question == "tell me a story" and 20 < len(heard) < len(STORY)
    assert f"{heard} {rest}" == STORY.strip()
    assert second.times[0] >= 5.0  # session seconds go on


def test_while_the_model_writes_it_is_asked_to_go_on_where_it_was_heard(migrate):
    _, second = migrate(
        5.0,
        {"speech": [(1.0, 1.0)], "turns": ["tell me a story"], "replies": [ScriptedReply(STORY, token_s=0.15)]},
        {"replies": [ScriptedReply("The end.")], "hang_up": 8.0},
    )
    request = second.llm.requests[0]
    assert "You were cut off in mid-answer" in request.messages[0].text
    assert request.messages[-1].role == "assistant" and STORY.startswith(request.messages[-1].text)
    assert second.said()[-1] == ("agent", "The end.")


def test_before_anything_was_heard_the_question_is_answered_anew(migrate):
    _, second = migrate(
        2.7,
        {"speech": [(1.0, 1.0)], "turns": ["hello"], "replies": [ScriptedReply("Hi.", first_token_s=5.0)]},
        {"replies": [ScriptedReply("Hi again.")], "hang_up": 5.0},
    )
    assert "cut off" not in second.llm.requests[0].messages[0].text
    assert second.said() == [("user", "hello"), ("agent", "Hi again.")]


def test_while_the_user_speaks_the_words_before_and_after_are_one_turn(migrate):
    _, second = migrate(
        3.0,
        {"speech": [(1.0, 4.0)], "turns": ["could you tell me the way to the old museum please"]},
        {"speech": [(0.0, 1.0)], "turns": ["to the museum"], "replies": [ScriptedReply("Gladly.")], "hang_up": 6.0},
    )
    said = second.said()
    assert said[0][1].startswith("could you tell me") and said[0][1].endswith("to the museum")
    assert said[1] == ("agent", "Gladly.")
    assert len(second.all(act.TurnEnded)) == 1


def test_in_the_silence_behind_the_user_s_words_they_are_answered(migrate):
    _, second = migrate(
        2.2,
        {"speech": [(1.0, 1.0)], "turns": ["what time is it"], "replies": [ScriptedReply("Five.")]},
        {"replies": [ScriptedReply("Five o'clock.")], "hang_up": 6.0},
    )
    assert second.said() == [("user", "what time is it"), ("agent", "Five o'clock.")]


def using(call_id, name, text=""):
    return ScriptedReply(text, tool_calls=(ToolCall(call_id, name, "{}"),))


RUNS = []


@tool
async def look() -> str:
    """Look it up."""
    RUNS.append("look")
    await pass_time(4.0)
    return "It rains."


@tool(cancellable=False)
async def pay() -> str:
    """Pay."""
    RUNS.append("pay")
    await pass_time(0.5)
    return "Paid."


def test_a_tool_that_may_run_twice_does_and_what_was_heard_before_it_stays(migrate):
    RUNS.clear()
    _, second = migrate(
        4.5,
        {
            "speech": [(1.0, 1.0)],
            "turns": ["weather"],
            "tools": [look],
            "replies": [using("c1", "look", "Let me have a look. ")],
        },
        {"tools": [look], "replies": [ScriptedReply("Rain it is.")], "hang_up": 12.0},
    )
    assert RUNS == ["look", "look"]
    assert second.said() == [("user", "weather"), ("agent", "Let me have a look. Rain it is.")]
    request = second.llm.requests[0]
    assert [message.role for message in request.messages][-2:] == ["assistant", "tool"]
    assert request.messages[-1].text == "It rains."


def test_what_was_not_heard_of_the_words_before_a_tool_is_said_after_the_migration(migrate):
    _, second = migrate(
        3.0,
        {
            "speech": [(1.0, 1.0)],
            "turns": ["weather"],
            "tools": [look],
            "replies": [using("c1", "look", "Let me have a good look at the sky over there. ")],
        },
        {"tools": [look], "replies": [ScriptedReply("Rain it is.")], "hang_up": 12.0},
    )
    assert second.said()[1] == ("agent", "Let me have a good look at the sky over there. Rain it is.")


def test_of_a_tool_that_may_not_run_twice_the_model_is_told_that_nobody_knows(migrate):
    RUNS.clear()
    slow_pay = using("c1", "pay")
    _, second = migrate(
        2.75,
        {"speech": [(1.0, 1.0)], "turns": ["pay now"], "tools": [pay], "replies": [slow_pay]},
        {"tools": [pay], "replies": [ScriptedReply("I am not sure.")], "hang_up": 6.0},
    )
    assert RUNS == ["pay"]
    assert second.llm.requests[0].messages[-1].text.startswith("Unknown: the tool was running")
    assert second.said()[-1] == ("agent", "I am not sure.")


def test_tools_of_the_caller_s_side_go_with_the_state_and_a_pending_one_still_returns(migrate, until):
    async def during(session, transport):
        await until(session, 6.0)
        session.return_tool("c1", "open")
        session.request_reply()

    _, second = migrate(
        4.0,
        {
            "speech": [(1.0, 1.0)],
            "turns": ["open the door"],
            "replies": [using("c1", "open_door")],
            "remote_tools": [OPEN_DOOR],
        },
        {"replies": [ScriptedReply("Come in.")], "hang_up": 10.0, "during": during},
    )
    assert second.all(act.RunTool) == []  # it was asked for before
    assert second.said() == [("user", "open the door"), ("agent", "Come in.")]
    assert second.llm.requests[0].tools == (OPEN_DOOR,) and second.results() == [("c1", "open")]


def test_an_apology_and_a_filler_of_the_old_process_are_no_history_of_the_new(migrate):
    _, second = migrate(
        5.6,
        {"speech": [(1.0, 1.0)], "turns": ["weather"], "tools": [look], "replies": [using("c1", "look")]},
        {"tools": [look], "replies": [ScriptedReply("Rain it is.")], "hang_up": 14.0},
    )
    assert second.said() == [("user", "weather"), ("agent", "Rain it is.")]


def test_a_session_is_taken_over_without_a_second_greeting(migrate):
    hello = Persona("host", "You are a host.", greeting="Welcome, dear friend.")
    _, second = migrate(3.0, {"persona": hello}, {"persona": hello, "hang_up": 3.0})
    assert second.all(ev.SayRequested) == [] and second.said() == [("agent", "Welcome, dear friend.")]


def test_what_was_due_when_it_was_taken_over_is_not_done_to_what_died(call, until):
    """Here the end of the silence behind the words: the speculative reply that it would release is not there."""
    taken = []

    async def during(session, transport):
        await until(session, 2.3)
        taken.append(session.snapshot())

    call([(1.0, 1.0)], ["what time is it"], [ScriptedReply("Five.")], during=during, hang_up=2.4).go()
    state = json.loads(json.dumps(taken[0]))
    assert state["conversation"]["state"]["reply"]["released"] is False
    state["conversation"]["state"]["now"] = 60.0
    done = call(replies=[ScriptedReply("Five o'clock.")], hang_up=6.0, session_options={"snapshot": state}).go()
    assert done.said() == [("user", "what time is it"), ("agent", "Five o'clock.")] and done.session.error is None


@pytest.mark.parametrize(
    ("snapshot", "problem"),
    [
        ({}, "a snapshot of version None, expected one of"),
        ({"version": 3}, "version 3, expected one of .1, 2.. Take it with the release that restores it, or the one"),
        ({"version": 1}, "can't be read: 'conversation'"),
        ({"version": 1, "conversation": {}}, "not a snapshot of a conversation"),
        ({"version": 2, "conversation": {"policy": {}, "state": {"mood": 1}}}, "State has no mood"),
        ({"version": 1, "conversation": {"state": {}, "system": "", "summary": "", "items": [1]}}, "can't be read"),
    ],
)
def test_a_state_that_is_none_is_refused_with_the_reason(call, snapshot, problem):
    with pytest.raises(ProtocolError, match=problem):
        call(session_options={"snapshot": snapshot}).go()


def test_tools_of_the_caller_s_side_that_are_none_are_refused(call):
    taken = []

    async def during(session, transport):
        taken.append({**session.snapshot(), "remote_tools": [{"name": "x"}]})

    call(during=during, hang_up=0.5).go()
    with pytest.raises(ProtocolError, match="remote_tools can't be read: KeyError"):
        call(session_options={"snapshot": taken[0]}).go()
