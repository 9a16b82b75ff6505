"""Tools in a call: side by side, slow, failing, stopped with their reply, or run by the caller's side."""

import asyncio

import pytest

from duologue import Session, tool
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.messages import ToolCall, ToolSpec
from duologue.core.policy import Policy, ReplyPolicy
from duologue.errors import ConfigurationError
from duologue.runtime.session_setup import Note
from duologue.runtime.tool_runner import LINGER_S
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.virtual_time import pass_time

ASK = [(1.0, 1.0)]
DONE: list[str] = []


@tool
async def fast(city: str) -> str:
    """Quick."""
    await pass_time(0.3)
    return f"rain in {city}"


@tool
async def slow(city: str) -> str:
    """Slow."""
    await pass_time(3.0)
    return f"snow in {city}"


@tool(cancellable=False)
async def pay(amount: int) -> str:
    """Not to be stopped."""
    await pass_time(6.0)
    DONE.append("paid")
    return "paid"


@tool(timeout_s=1.0)
async def hangs() -> str:
    """Never answers."""
    await pass_time(1000)
    return ""


@tool
async def broken() -> str:
    """Raises."""
    raise RuntimeError("out of order")


def calling(*calls, text=""):
    made = [ToolCall(f"c{i}", name, arguments) for i, (name, arguments) in enumerate(calls)]
    return ScriptedReply(text, tool_calls=tuple(made))


def results(request):
    return {message.call_id: message.text for message in request.messages if message.role == "tool"}


def test_a_tool_runs_and_the_model_goes_on_with_its_result(call):
    script = [calling(("fast", '{"city": "Rome"}'), text="Let me look. "), ScriptedReply("It rains.")]
    done = call(ASK, ["how is the weather"], script, tools=[fast], hang_up=8.0).go()
    first, second = done.llm.requests
    assert [spec.name for spec in first.tools] == ["fast"] and second.tools == first.tools
    assert results(second) == {"c0": "rain in Rome"}
    assert [message.role for message in second.messages] == ["system", "user", "assistant", "tool"]
    assert second.messages[2].text == "Let me look." and second.messages[2].tool_calls[0].name == "fast"
    assert done.said()[1] == ("agent", "Let me look. It rains.")
    assert done.results() == [("c0", "rain in Rome")]
    assert done.session.meter.stages["tool"] == pytest.approx([0.3])
    assert done.one(act.RunTool).name == "fast"


def test_a_speculative_reply_runs_no_tool_before_the_turn_is_over(call):
    script = [calling(("fast", '{"city": "Rome"}')), ScriptedReply("It rains.")]
    done = call(ASK, ["how is the weather"], script, tools=[fast], hang_up=8.0).go()
    order = [type(event).__name__ for event in done.events if isinstance(event, act.ReleaseReply | act.RunTool)]
    assert order == ["ReleaseReply", "RunTool"]


def test_tools_run_beside_each_other_and_a_filler_covers_the_slow_one(call):
    script = [
        calling(("fast", '{"city": "Rome"}'), ("slow", '{"city": "Oslo"}'), ("fast", '{"city": "Bonn"}')),
        ScriptedReply("So it is."),
    ]
    done = call(ASK, ["how is the weather"], script, tools=[fast, slow], hang_up=12.0).go()
    returned = [done.times[done.events.index(event)] for event in done.all(ev.ToolReturned)]
    begun = done.times[done.events.index(done.all(act.RunTool)[0])]
    assert [round(at - begun, 3) for at in returned] == [0.3, 0.3, 3.0]
    assert done.one(act.SpeakFiller).text == "One moment." and "One moment." in done.tts.spoken
    assert done.audible(begun + 1.35, begun + 1.6)
    assert done.said()[1] == ("agent", "So it is.")
    assert results(done.llm.requests[1]) == {"c0": "rain in Rome", "c1": "snow in Oslo", "c2": "rain in Bonn"}


def test_a_failing_an_unknown_and_a_wrongly_called_tool_are_told_to_the_model(call):
    script = [calling(("broken", "{}"), ("fsat", "{}"), ("fast", '{"town": 1}')), ScriptedReply("That failed.")]
    done = call(ASK, ["try"], script, tools=[fast, broken], hang_up=8.0).go()
    told = results(done.llm.requests[1])
    assert told["c0"] == "Failed: RuntimeError: out of order"
    assert "there is no tool 'fsat'" in told["c1"] and "fast" in told["c1"]
    assert "city: Field required" in told["c2"] and "town: Extra inputs" in told["c2"]
    assert all(event.failed for event in done.all(ev.ToolReturned))
    assert [note.source for note in done.all(Note) if note.source == "tool"] == ["tool"] * 3
    assert done.said()[1] == ("agent", "That failed.") and done.session.error is None


def test_without_any_tools_a_call_is_answered_too(call):
    done = call(ASK, ["try"], [calling(("fast", "{}")), ScriptedReply("I can't.")], hang_up=8.0).go()
    assert results(done.llm.requests[1])["c0"].endswith("There is: none")


def test_a_tool_that_takes_too_long_is_stopped_and_counts_as_failed(call):
    done = call(ASK, ["try"], [calling(("hangs", "")), ScriptedReply("No answer.")], tools=[hangs], hang_up=8.0).go()
    assert done.one(act.CancelTool).reason == "timeout"
    assert results(done.llm.requests[1])["c0"] == "Failed: no answer within 1 seconds."
    assert done.said()[1] == ("agent", "No answer.")
    assert done.all(ev.ToolReturned) == []


def test_an_interruption_stops_a_tool_that_allows_it(call):
    script = [calling(("slow", '{"city": "Rome"}'), text="Let me look at that for you. "), ScriptedReply("Fine.")]
    done = call(
        [(1.0, 1.0), (3.5, 1.5)], ["how is the weather", "no stop it please"], script, tools=[slow], hang_up=9.0
    ).go()
    assert done.one(act.CancelTool).reason == "interrupted"
    assert done.all(ev.ToolReturned) == []
    assert len(done.llm.requests) == 2 and done.said()[-1] == ("agent", "Fine.")


def test_one_that_may_not_be_stopped_finishes_and_its_result_is_remembered(call):
    DONE.clear()
    script = [calling(("pay", '{"amount": 5}'), text="I pay that for you now. "), ScriptedReply("Fine.")]
    done = call([(1.0, 1.0), (3.5, 1.5)], ["pay the bill", "no stop it please"], script, tools=[pay], hang_up=12.0).go()
    assert DONE == ["paid"] and done.all(act.CancelTool) == []
    assert done.results() == [("c0", "paid")]
    assert [item.id for item in done.session.conversation.history[-2:]] == ["call_c0", "output_c0"]


def test_at_the_end_of_the_session_it_is_given_a_moment(call, until):
    DONE.clear()
    done = call(ASK, ["pay the bill"], [calling(("pay", '{"amount": 5}'))], tools=[pay], hang_up=4.0).go()
    assert DONE == ["paid"] and done.session.closed

    @tool(cancellable=False)
    async def endless() -> str:
        await pass_time(1000)
        return ""

    done = call(ASK, ["go"], [calling(("endless", "{}"))], tools=[endless], hang_up=4.0).go()
    assert 4.0 + LINGER_S <= done.session.now() < 4.1 + LINGER_S


OPEN_DOOR = ToolSpec("open_door", "Open the door.", {"type": "object", "properties": {}})


def test_a_tool_of_the_caller_s_side_is_called_by_event_and_its_result_comes_as_one(call, until):
    async def during(session, transport):
        async for event in session.events():
            if isinstance(event, act.RunTool):
                assert event.remote and (event.name, event.arguments) == ("open_door", "{}")
                await pass_time(0.5)
                session.return_tool(event.call_id, "It is open.")
                session.request_reply()

    script = [calling(("open_door", "{}")), ScriptedReply("Come in.")]
    done = call(ASK, ["open the door"], script, remote_tools=[OPEN_DOOR], hang_up=8.0, during=during).go()
    assert done.llm.requests[0].tools == (OPEN_DOOR,)
    assert results(done.llm.requests[1]) == {"c0": "It is open."}
    assert done.said()[1] == ("agent", "Come in.")


def test_a_caller_s_side_that_never_returns_ends_the_reply_and_nothing_goes_on_by_itself(call):
    policy = Policy(reply=ReplyPolicy(tool_s_max=2.0, filler_after_s=0.5))
    script = [calling(("open_door", "{}"), text="I ask the door. "), ScriptedReply("It stays shut.")]
    done = call(ASK, ["open the door"], script, remote_tools=[OPEN_DOOR], policy=policy, hang_up=12.0).go()
    assert done.all(act.CancelTool) == done.all(act.ContinueReply) == done.all(act.SpeakFiller) == []
    assert done.one(act.FinishReply).reply == done.one(ev.ReplyEnded).reply == 1
    assert done.said() == [("user", "open the door"), ("agent", "I ask the door.")] and len(done.llm.requests) == 1


def test_results_of_the_caller_s_side_come_in_any_order_and_the_next_reply_has_them(call, until):
    async def during(session, transport):
        await until(session, 6.0)
        session.return_tool("c1", "shut")
        session.return_tool("c0", "open")
        session.request_reply("after")

    script = [calling(("open_door", "{}"), ("open_door", "{}")), ScriptedReply("One is open.")]
    done = call(ASK, ["open both"], script, remote_tools=[OPEN_DOOR], hang_up=10.0, during=during).go()
    assert done.results() == [("c1", "shut"), ("c0", "open")]
    assert results(done.llm.requests[1]) == {"c0": "open", "c1": "shut"}
    assert done.all(act.ReplyOver)[-1].tag == "after" and done.said()[-1] == ("agent", "One is open.")


def test_the_caller_s_side_may_change_its_tools_and_its_name_goes_before_ours(call, until):
    async def during(session, transport):
        session.set_remote_tools([OPEN_DOOR, ToolSpec("fast", "Theirs.", {})])

    done = call(ASK, ["hello"], [ScriptedReply("Hi.")], tools=[fast, slow], during=during, hang_up=4.0).go()
    assert [(spec.name, spec.description) for spec in done.llm.requests[0].tools] == [
        ("slow", "Slow."),
        ("open_door", "Open the door."),
        ("fast", "Theirs."),
    ]


def test_a_result_that_nobody_waits_for_is_dropped_with_a_note(call, until):
    async def during(session, transport):
        session.return_tool("nobody", "asked")

    done = call(during=during, hang_up=1.0).go()
    assert done.said() == [] and done.session.error is None and done.all(ev.ToolReturned) == []
    assert "dropped: no call 'nobody' waits for a result" in [note.text for note in done.all(Note)]


def test_a_tool_may_be_cancelled_by_its_own_author(call):
    @tool(timeout_s=1.0)
    async def gives_up() -> str:
        raise asyncio.CancelledError

    done = call(ASK, ["go"], [calling(("gives_up", "{}")), ScriptedReply("Well.")], tools=[gives_up], hang_up=8.0).go()
    assert done.said()[1] == ("agent", "Well.") and done.session.error is None


# --- the session, and what the program gave it to carry --------------------------------------------------------------


@tool
async def note_down(text: str, session: Session) -> str:
    """Note something down for the caller."""
    session.user_data["notes"].append(text)
    session.show("https://example.org/noted.png")
    return f"noted for {session.user_data['name']}"


@tool
def note_down_in_a_thread(text: str, session: Session) -> str:
    """Note something down for the caller."""
    session.user_data["notes"].append(text)
    session.say("By the way: it is noted.")
    return f"noted for {session.user_data['name']}"


@pytest.mark.parametrize("noting", [note_down, note_down_in_a_thread], ids=lambda made: made.spec.name)
def test_a_tool_gets_the_session_and_what_it_carries(call, noting):
    data = {"name": "Ada", "notes": []}
    script = [calling((noting.spec.name, '{"text": "milk"}')), ScriptedReply("Noted.")]
    done = call(ASK, ["note milk"], script, tools=[noting], session_options={"user_data": data}, hang_up=8.0).go()
    assert done.session.user_data is data and data["notes"] == ["milk"]
    assert results(done.llm.requests[1]) == {"c0": "noted for Ada"}
    assert done.said()[1] == ("agent", "Noted.") and done.session.error is None
    if noting is note_down_in_a_thread:
        assert done.said()[-1] == ("agent", "By the way: it is noted.")


def test_a_session_carries_nothing_unless_it_is_given_something(call):
    assert call(hang_up=0.5).go().session.user_data is None


def test_tools_of_one_call_stand_beside_the_agent_s(call):
    script = [calling(("slow", '{"city": "Oslo"}'), ("fast", '{"city": "Rome"}')), ScriptedReply("So it is.")]
    options = {"session_options": {"tools": [slow]}}
    done = call(ASK, ["how is the weather"], script, tools=[fast], hang_up=12.0, **options).go()
    assert [spec.name for spec in done.llm.requests[0].tools] == ["fast", "slow"]
    assert results(done.llm.requests[1]) == {"c0": "snow in Oslo", "c1": "rain in Rome"}


@pytest.mark.parametrize(
    ("more", "problem"),
    [([fast], r"two tools are called 'fast'\. Rename one"), ([print], r"is no tool\. Decorate the function")],
)
def test_tools_of_one_call_that_can_t_be_are_refused_before_it_begins(call, more, problem):
    made = call(tools=[fast], session_options={"tools": more})
    with pytest.raises(ConfigurationError, match=problem):
        made.go()
    assert made.session is None
