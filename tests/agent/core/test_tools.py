"""Tools of a reply: run when it is released, waited for with a deadline, remembered once."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.history import CallItem, OutputItem, ToolRound
from duologue.core.messages import ToolCall
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
