"""Tools of a reply: run when it is released, waited for with a deadline, remembered once."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.history import CallItem, OutputItem, ToolRound
from duologue.core.messages import Message, ToolCall
from duologue.core.state import Timer
from duologue.core.tools import CALLS_MAX, OUTPUT_CHARS_MAX


def wanted(call_id="a", at=2.1, reply=1, **how):
    return ev.ToolRequested(at, reply, call_id, "clock", "{}", **how)


def test_a_tool_runs_at_once_for_a_reply_that_may_be_heard(begin):
    assert begin().answering().feed(wanted(remote=True)) == [act.RunTool(1, "a", "clock", "{}", remote=True)]


def test_a_speculative_reply_has_no_effects_before_it_is_released(begin):
    talk = begin().pause()
    assert talk.feed(wanted(at=1.7), wanted("b", at=1.7), ev.ReplyGenerated(1.75, 1)) == []
    done = talk.advance(1.85)
    assert done[-3:] == [
        act.ReleaseReply(1),
        act.RunTool(1, "a", "clock", "{}"),
        act.RunTool(1, "b", "clock", "{}"),
    ]


def test_tools_of_another_reply_are_not_run(begin):
    assert begin().answering().feed(wanted(reply=9)) == [] == begin().feed(wanted(at=0.1))


def test_the_model_goes_on_when_it_is_done_and_all_have_answered(begin):
    talk = begin().answering("Let me look. ")
    talk.feed(wanted(), wanted("b"))
    assert talk.feed(ev.ToolReturned(2.2, "b", "2"), ev.ToolReturned(2.3, "a", "1")) == []
    assert talk.feed(ev.ReplyGenerated(2.4, 1)) == [act.ContinueReply(1)]
    assert talk.reply.rounds == [
        ToolRound(13, (ToolCall("a", "clock", "{}"), ToolCall("b", "clock", "{}")), (("a", "1"), ("b", "2")))
    ]
    assert not talk.reply.generated and talk.conversation.prompt(1)[-1].text == "2"


def test_a_result_may_be_the_last_thing_waited_for(begin):
    talk = begin().answering()
    talk.feed(wanted(), ev.ReplyGenerated(2.2, 1))
    assert talk.feed(ev.ToolReturned(2.3, "a", "")) == [act.ContinueReply(1)]
    assert talk.reply.rounds[0].results == (("a", ""),)


def test_after_too_many_rounds_the_model_goes_on_without_tools(begin):
    talk = begin(tool_rounds_max=2).answering()
    for call_id, tools in (("a", True), ("b", False)):
        talk.feed(wanted(call_id, at=3.0), ev.ReplyGenerated(3.0, 1), ev.ToolReturned(3.0, call_id, "x"))
        assert talk.last(act.ContinueReply) == act.ContinueReply(1, tools=tools)


def test_a_tool_that_takes_too_long_has_failed(begin):
    talk = begin().answering()
    talk.feed(wanted(timeout_s=0.5), wanted("b", timeout_s=5.0), ev.ReplyGenerated(2.2, 1))
    assert talk.advance(2.6) == [act.CancelTool("a", "timeout")]
    assert talk.feed(ev.ToolReturned(2.7, "a", "late")) == []
    assert talk.feed(ev.ToolReturned(2.8, "b", "2")) == [act.ContinueReply(1)]
    assert talk.reply.rounds[0].results == (("a", "Failed: no answer within 0.5 seconds."), ("b", "2"))


def test_a_tool_without_a_limit_of_its_own_has_the_policy_s(begin):
    talk = begin(tool_s_max=3.0, fillers=()).answering()
    talk.feed(wanted(), ev.ReplyGenerated(2.2, 1))
    assert talk.conversation.deadline == 5.1
    assert talk.advance(5.1) == [act.CancelTool("a", "timeout"), act.ContinueReply(1)]


def test_a_tool_may_be_given_no_time_at_all(begin):
    talk = begin()
    talk.feed(ev.ReplyRequested(0.0), ev.ToolRequested(0.0, 1, "a", "clock", "{}", timeout_s=0.0))
    assert talk.advance(0.0) == [act.CancelTool("a", "timeout")]


def test_a_model_that_wants_too_many_tools_is_refused(begin):
    talk = begin().answering()
    talk.feed(*(wanted(str(number)) for number in range(CALLS_MAX + 1)))
    assert len(talk.all(act.RunTool)) == CALLS_MAX
    assert talk.reply.calls[-1].output == f"Refused: more than {CALLS_MAX} calls at once."


def test_a_long_result_is_cut(begin):
    talk = begin().answering()
    talk.feed(wanted(), ev.ToolReturned(2.2, "a", "x" * (OUTPUT_CHARS_MAX + 1)))
    assert len(talk.reply.calls[0].output) == OUTPUT_CHARS_MAX


def test_a_result_that_nobody_waits_for_is_dropped(begin):
    talk = begin().answering()
    talk.advance(2.2)
    before = talk.conversation.snapshot()
    assert talk.feed(ev.ToolReturned(2.2, "none", "x")) == [] and talk.conversation.snapshot() == before


def test_tools_are_stopped_with_their_reply_if_they_may(begin):
    talk = begin().answering()
    talk.feed(wanted(), wanted("b", cancellable=False), wanted("c"), ev.ToolReturned(2.2, "c", "3"))
    assert talk.feed(ev.InterruptRequested(2.3)) == [
        act.CancelTool("a", "stopped"),
        act.CancelReply(1, "stopped"),
    ]
    talk.feed(ev.ReplyEnded(2.4, 1, "It", cut=True), ev.ToolReturned(5.0, "b", "booked"))
    assert talk.conversation.history[-2:] == (CallItem("b", "clock", "{}", 0), OutputItem("b", "booked"))
    assert talk.state.orphans == []


def test_what_a_speculative_reply_wanted_is_forgotten_with_it(begin):
    talk = begin().pause()
    talk.feed(wanted(at=1.65, cancellable=False))
    assert talk.feed(ev.TurnCleared(1.7))[1] == act.CancelReply(1, "cleared")
    assert talk.state.orphans == []


# --- covering the wait ----------------------------------------------------------------------------------------------


def test_a_tool_that_takes_long_is_covered_once_a_reply(begin):
    talk = begin().answering()
    talk.feed(wanted())
    assert talk.advance(3.3) == [act.SpeakFiller(1, "One moment.")]
    talk.feed(ev.ReplyGenerated(3.4, 1), ev.ToolReturned(3.5, "a", "1"), wanted("b", at=3.6))
    assert talk.advance(9.0) == []
    talk.feed(ev.ReplyEnded(9.0, 1, "It is."), ev.ReplyRequested(9.1))
    talk.feed(wanted("c", at=9.2, reply=2))
    assert talk.advance(10.5) == [act.SpeakFiller(2, "Let me check.")]


def test_a_tool_that_answers_in_time_is_not_covered(begin):
    talk = begin().answering()
    talk.feed(wanted(), ev.ToolReturned(2.5, "a", "1"))
    assert talk.advance(3.3) == []


def test_a_wait_is_not_covered_while_the_user_speaks(begin):
    talk = begin().answering()
    talk.feed(wanted(), ev.SpeechStarted(3.0, since=2.95))
    assert talk.advance(3.5) == []


@pytest.mark.parametrize("how", ["no fillers", "scripted"])
def test_there_may_be_nothing_to_cover_a_wait_with(begin, how):
    talk = begin(fillers=() if how == "no fillers" else ("Hm.",))
    talk.feed(ev.SayRequested(0.1, "Hello.") if how == "scripted" else ev.ReplyRequested(0.1))
    assert Timer.FILLER not in talk.state.timers


def test_the_model_has_its_time_anew_when_it_goes_on_with_results(begin):
    talk = begin(fillers=("Hm.",), late_after_s=30.0).asked()
    talk.feed(wanted(at=2.0), ev.ReplyGenerated(2.0, 1))
    assert talk.advance(21.0) == [act.SpeakFiller(1, "Hm.")]
    assert talk.feed(ev.ToolReturned(21.0, "a", "1")) == [act.ContinueReply(1)]
    assert talk.advance(22.0) == [] and talk.state.timers[Timer.UNHEARD] == 41.0


def test_a_model_that_is_late_with_the_results_is_covered(begin):
    talk = begin().asked()
    talk.feed(wanted(at=2.0), ev.ReplyGenerated(2.0, 1), ev.ToolReturned(2.5, "a", "1"))
    assert talk.advance(6.4) == []
    assert talk.advance(6.5) == [act.SpeakFiller(1, "One moment.")]


# --- tools of the caller's side ---------------------------------------------------------------------------------------


def asked_far(begin, **how):
    """Reply 1 has wanted a tool of the caller's side and is done."""
    talk = begin(**how).answering("Let me look. ")
    assert talk.feed(wanted(remote=True), ev.ReplyGenerated(2.2, 1)) == [
        act.RunTool(1, "a", "clock", "{}", remote=True),
        act.FinishReply(1),
    ]
    return talk


def test_a_tool_of_the_caller_s_side_ends_the_reply_and_nothing_hurries_it(begin):
    talk = asked_far(begin, idle_s=None)
    assert talk.advance(100.0) == []  # no time-out, no filler, no going on
    assert talk.feed(ev.ReplyEnded(100.0, 1, "Let me look. ")) == [act.ReplyOver(1, "", "Let me look. ")]
    assert [item.id for item in talk.conversation.history] == ["turn_1", "reply_1", "call_a"]
    assert talk.conversation.core.history.messages()[-1].text == "No result yet."


def test_its_result_is_welcome_however_late_and_stands_behind_its_call_in_the_prompt(begin):
    talk = asked_far(begin, idle_s=None)
    talk.feed(ev.ReplyEnded(3.0, 1, "Let me look. "), ev.TypedTurn(4.0, "Never mind.", reply=False))
    assert talk.conversation.awaits_tool("a")
    assert talk.feed(ev.ToolReturned(50.0, "a", "x" * (OUTPUT_CHARS_MAX + 1))) == talk.all(act.ContinueReply) == []
    assert [item.id for item in talk.conversation.history] == ["turn_1", "reply_1", "call_a", "turn_2", "output_a"]
    assert [m.role for m in talk.conversation.core.history.messages()[1:]] == ["user", "assistant", "tool", "user"]
    assert len(talk.conversation.history[-1].output) == OUTPUT_CHARS_MAX
    assert not talk.conversation.awaits_tool("a")
    before = talk.conversation.history
    talk.feed(ev.ToolReturned(51.0, "a", "again"))
    assert talk.conversation.history == before


def test_a_reply_on_request_goes_on_with_its_result(begin):
    talk = asked_far(begin)
    assert talk.conversation.awaits_tool("a")
    assert talk.feed(ev.ToolReturned(2.5, "a", "17:00"), ev.ReplyRequested(2.6, "more")) == []
    assert not talk.conversation.awaits_tool("a")
    assert talk.feed(ev.ReplyEnded(3.0, 1, "Let me look. "))[-1] == act.BeginReply(2, 0, persona="test", tag="more")
    assert talk.conversation.prompt(2)[-1] == Message("tool", "17:00", call_id="a")


def test_tools_of_ours_in_the_same_round_are_waited_for(begin):
    talk = begin().answering()
    talk.feed(wanted(remote=True), wanted("b"), wanted("c", remote=True), ev.ReplyGenerated(2.2, 1))
    assert talk.all(act.FinishReply) == [] and talk.conversation.awaits_tool("c")
    assert talk.feed(ev.ToolReturned(2.4, "c", "3")) == []
    assert talk.feed(ev.ToolReturned(2.5, "b", "2")) == [act.FinishReply(1)]
    assert talk.reply.rounds[0].results == (("b", "2"), ("c", "3"))
    talk.feed(ev.ToolReturned(2.6, "a", "1"), ev.ToolReturned(2.7, "none", "0"))
    assert talk.reply.rounds[0].results == (("b", "2"), ("c", "3"), ("a", "1"))


@pytest.mark.parametrize("generated", [False, True])
def test_a_call_of_the_caller_s_side_outlives_the_cut_of_its_reply(begin, generated):
    talk = begin().answering("Let me look. ")
    talk.feed(wanted(remote=True, cancellable=True), *([ev.ReplyGenerated(2.2, 1)] if generated else []))
    assert talk.feed(ev.InterruptRequested(2.5)) == [act.CancelReply(1, "stopped")]
    talk.feed(ev.ReplyEnded(2.6, 1, "Let me", cut=True))
    assert talk.conversation.awaits_tool("a")
    talk.feed(ev.ToolReturned(9.0, "a", "17:00"))
    assert [item.id for item in talk.conversation.history] == ["turn_1", "reply_1", "call_a", "output_a"]


def test_a_result_for_a_call_that_was_taken_out_is_dropped(begin):
    talk = asked_far(begin)
    talk.feed(ev.ReplyEnded(3.0, 1, "Let me look. "), ev.ItemRemoved(4.0, "call_a"))
    assert not talk.conversation.awaits_tool("a")
    talk.feed(ev.ToolReturned(5.0, "a", "17:00"))
    assert talk.said[-1] == ("agent", "Let me look.") and len(talk.conversation.history) == 2


def test_a_reply_that_the_caller_s_side_ended_moves_and_still_ends(begin):
    talk = asked_far(begin)
    other = talk.moved_elsewhere()
    other.feed(ev.ToolReturned(9.0, "a", "17:00"))
    assert [item.id for item in other.conversation.history][-1] == "output_a"


def test_a_call_s_id_is_known_wherever_the_call_is(begin):
    talk = begin().answering()
    assert not talk.conversation.knows_tool_call("a")
    talk.feed(ev.ToolRequested(2.1, 1, "a", "clock", "{}"))
    talk.feed(ev.ToolRequested(2.1, 1, "b", "pay", "{}", cancellable=False))
    assert talk.conversation.knows_tool_call("a")
    talk.feed(ev.ToolReturned(2.2, "a", "17:00"))
    talk.feed(ev.InterruptRequested(2.3))
    assert talk.conversation.knows_tool_call("b") and not talk.conversation.knows_tool_call("c")  # it still runs
    talk.feed(ev.ReplyEnded(2.4, 1, "It is", cut=True), ev.ToolReturned(2.5, "b", "paid"))
    assert talk.conversation.knows_tool_call("b")  # it is remembered
    again = begin().answering()
    again.feed(ev.ToolRequested(2.1, 1, "a", "clock", "{}"), ev.ReplyGenerated(2.2, 1), ev.ToolReturned(2.3, "a", "5"))
    assert again.conversation.knows_tool_call("a")  # of a round that is over
