"""What hands change between turns: items, the policy, keys; and what a running summary makes of it."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Phase
from duologue.core.history import AgentItem, CallItem, OutputItem, SystemItem, UserItem, item_tokens
from duologue.core.machines import TurnState
from duologue.core.messages import Message, ToolCall
from duologue.core.state import Timer
from duologue.errors import ProtocolError

ANSWER = "It is five o'clock. And the sun is out."
NOTE = SystemItem("The train is late.")


def ids(talk):
    return [item.id for item in talk.conversation.history]


def refused(talk, event, problem):
    before = talk.conversation.snapshot()
    with pytest.raises(ProtocolError, match=problem):
        talk.feed(event)
    assert talk.conversation.snapshot() == before


# --- items: put in ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "order"),
    [
        (None, ["turn_1", "reply_1", "item_1"]),
        ("root", ["item_1", "turn_1", "reply_1"]),
        ("turn_1", ["turn_1", "item_1", "reply_1"]),
        ("reply_1", ["turn_1", "reply_1", "item_1"]),
    ],
)
def test_an_item_stands_behind_the_one_that_is_named(begin, after, order):
    talk = begin().greeted()
    assert talk.feed(ev.ItemInserted(3.5, NOTE, after)) == [] and ids(talk) == order
    assert talk.conversation.core.history.tokens == sum(map(item_tokens, talk.conversation.history))


def test_items_without_an_id_are_given_one_that_stays_in_another_process(begin):
    talk = begin().greeted()
    talk.feed(ev.ItemInserted(3.5, NOTE), ev.ItemInserted(3.5, UserItem(0, "I said so.")))
    talk.feed(ev.ItemInserted(3.5, AgentItem(0, "Did you?")), ev.ItemInserted(3.5, SystemItem("Yes.", id="mine")))
    talk.feed(ev.ItemInserted(3.6, CallItem("c", "clock", "{}")), ev.ItemInserted(3.6, OutputItem("c", "17:00")))
    assert ids(talk) == ["turn_1", "reply_1", "item_1", "item_2", "item_3", "mine", "call_c", "output_c"]
    other = talk.moved_elsewhere()
    assert ids(other) == ids(talk)
    other.feed(ev.ItemRemoved(4.0, "item_2"), ev.ItemInserted(4.0, NOTE))
    assert ids(other)[-1] == "item_7"  # a number is given once


@pytest.mark.parametrize(
    ("item", "after", "problem"),
    [
        (NOTE, "nowhere", "there is no item 'nowhere'"),
        (SystemItem("x", id="turn_1"), None, "'turn_1' is the name of a turn or reply of the conversation's own"),
        (AgentItem(7, "not yet"), None, "'reply_7' is the name of a turn or reply of the conversation's own"),
        (SystemItem("x", id="root"), None, "an item can't be called 'root'"),
        (OutputItem("c", "17:00"), None, "no call 'c' waits for a result"),
        (OutputItem("c", "17:00"), "root", "no call 'c' waits for a result"),
    ],
)
def test_what_can_t_stand_there_is_refused(begin, item, after, problem):
    refused(begin().greeted(), ev.ItemInserted(3.5, item, after), problem)


def test_a_call_has_one_result(begin):
    talk = begin()
    talk.feed(ev.ItemInserted(1.0, CallItem("c", "clock", "{}")), ev.ItemInserted(1.0, OutputItem("c", "17:00")))
    refused(talk, ev.ItemInserted(1.1, OutputItem("c", "18:00", id="second"), None), "no call 'c' waits for a result")


def test_the_prompt_shows_a_result_behind_its_call_wherever_it_stands(begin):
    talk = begin()
    talk.feed(ev.ItemInserted(1.0, CallItem("c", "clock", "{}")))
    assert talk.conversation.core.history.messages()[1:] == [
        Message("assistant", tool_calls=(ToolCall("c", "clock", "{}"),)),
        Message("tool", "No result yet.", call_id="c"),
    ]
    talk.feed(ev.ItemInserted(1.0, NOTE), ev.ItemInserted(1.1, OutputItem("c", "17:00")))
    assert [message.role for message in talk.conversation.core.history.messages()[1:]] == [
        "assistant",
        "tool",
        "system",
    ]
    assert talk.conversation.core.history.messages()[2].text == "17:00"


def test_calls_of_two_replies_are_two_messages(begin):
    talk = begin()
    talk.feed(
        ev.ItemInserted(1.0, CallItem("a", "clock", "{}", 8)), ev.ItemInserted(1.0, CallItem("b", "clock", "{}", 9))
    )
    assert [message.role for message in talk.conversation.core.history.messages()[1:]] == ["assistant", "tool"] * 2


# --- items: taken out -------------------------------------------------------------------------------------------------


def test_an_item_is_taken_out_and_what_is_not_there_is_refused(begin):
    talk = begin().greeted()
    talk.feed(ev.ItemRemoved(3.5, "turn_1"))
    assert ids(talk) == ["reply_1"]
    refused(talk, ev.ItemRemoved(3.6, "turn_1"), "there is no item 'turn_1'")
    refused(talk, ev.ItemRemoved(3.6, "root"), "the root is no item")


def test_a_call_goes_with_its_result_whatever_that_is_called(begin):
    talk = begin()
    talk.feed(ev.ItemInserted(1.0, CallItem("c", "clock", "{}", id="question")))
    talk.feed(ev.ItemInserted(1.0, NOTE), ev.ItemInserted(1.0, OutputItem("c", "17:00", id="answer")))
    talk.feed(ev.ItemRemoved(1.1, "question"))
    assert ids(talk) == ["item_2"] and talk.conversation.core.history.tokens == item_tokens(NOTE)


def test_a_result_before_its_call_goes_with_it_and_outdates_the_summary_that_it_is_in(begin):
    talk = begin(items_max=6)
    talk.feed(
        ev.ItemInserted(0.1, CallItem("c", "clock", "{}")), ev.ItemInserted(0.1, OutputItem("c", "17:00"), "root")
    )
    talk.feed(*(ev.ItemInserted(0.1 * n, UserItem(0, f"Note {n}."), "output_c") for n in range(2, 7)))
    assert talk.state.summarising == 4 and talk.conversation.history[-1].id == "call_c"
    talk.feed(ev.ItemRemoved(1.0, "call_c"), ev.SummaryMade(1.1, 4, "A result and three notes."))
    assert talk.conversation.summary == "" and len(ids(talk)) == 5


def test_a_call_without_a_result_goes_alone(begin):
    talk = begin()
    talk.feed(ev.ItemInserted(1.0, CallItem("c", "clock", "{}")), ev.ItemRemoved(1.1, "call_c"))
    assert talk.conversation.history == ()


# --- items while a summary is made ------------------------------------------------------------------------------------


def summarising(begin):
    """Five notes in a history of four items: a summary of the first three is being made."""
    talk = begin(items_max=4)
    talk.feed(*(ev.TypedTurn(0.1 * n, f"Note {n}.", reply=False) for n in range(1, 6)))
    assert talk.all(act.SummariseHistory) == [act.SummariseHistory(3)]
    return talk


@pytest.mark.parametrize(
    "edit",
    [
        ev.ItemRemoved(0.6, "turn_2"),
        ev.ItemRemoved(0.6, "turn_3"),
        ev.ItemInserted(0.6, NOTE, "root"),
        ev.ItemInserted(0.6, NOTE, "turn_2"),
    ],
)
def test_a_summary_of_what_was_changed_meanwhile_is_dropped(begin, edit):
    talk = summarising(begin)
    talk.feed(edit)
    left = ids(talk)
    assert talk.feed(ev.SummaryMade(1.0, 3, "Three notes."))[:1] == ([] if len(left) < 5 else [act.SummariseHistory(4)])
    assert talk.conversation.summary == "" and ids(talk) == left


@pytest.mark.parametrize(
    ("edit", "left"),
    [
        (ev.ItemRemoved(0.6, "turn_4"), ["turn_5"]),
        (ev.ItemInserted(0.6, NOTE, "turn_3"), ["item_1", "turn_4", "turn_5"]),
        (ev.ItemInserted(0.6, NOTE), ["turn_4", "turn_5", "item_1"]),
    ],
)
def test_a_change_behind_what_is_summed_up_leaves_it_be(begin, edit, left):
    talk = summarising(begin)
    talk.feed(edit, ev.SummaryMade(1.0, 3, "Three notes."))
    assert talk.conversation.summary == "Three notes." and ids(talk) == left


def test_a_removal_that_leaves_less_than_is_summed_up_is_no_illegal_conversation(begin):
    """Found by the simulator: seed 2319."""
    talk = summarising(begin)
    talk.feed(*(ev.ItemRemoved(0.6, f"turn_{number}") for number in (1, 2, 3)))
    assert ids(talk) == ["turn_4", "turn_5"] and talk.state.summary_outdated
    other = talk.moved_elsewhere()
    assert (other.state.summarising, other.state.summary_outdated) == (0, False)


# --- replies are corrected after their end ----------------------------------------------------------------------------


def with_tools(begin):
    """Reply 1, heard in two stretches with a tool between them; the second begins at its 13th character."""
    talk = begin().answering("Let me look. ")
    talk.feed(ev.ToolRequested(2.1, 1, "a", "clock", "{}"), ev.ToolReturned(2.2, "a", "17:00"))
    talk.feed(ev.ReplyGenerated(2.3, 1), ev.ReplyText(2.4, 1, "It is five."), ev.ReplyGenerated(2.5, 1))
    talk.feed(ev.ReplyEnded(3.0, 1, "Let me look. It is five."))
    assert ids(talk) == ["turn_1", "reply_1", "call_a", "output_a", "reply_1_13"]
    return talk


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        ("Let me look. It is", ["Let me look.", "It is"]),
        ("Let me look. ", ["Let me look.", ""]),
        ("Let me", ["Let me", ""]),
        ("", ["", ""]),
    ],
)
def test_a_reply_is_corrected_to_the_word_across_its_tools(begin, heard, said):
    talk = with_tools(begin)
    assert talk.feed(ev.HeardCorrected(3.5, 1, heard)) == [act.TruncateHistory(1, heard)]
    spoken = [item for item in talk.conversation.history if isinstance(item, AgentItem)]
    assert [item.text for item in spoken] == said and [item.cut for item in spoken] == [False, True]
    again = talk.moved_elsewhere()
    assert again.conversation.core.history.tokens == talk.conversation.core.history.tokens


def test_a_reply_of_which_nothing_had_been_heard_is_put_before_its_tools(begin):
    talk = begin().asked()
    talk.feed(ev.ToolRequested(1.9, 1, "a", "clock", "{}"), ev.ReplyGenerated(1.9, 1), ev.ToolReturned(1.95, "a", "5"))
    talk.feed(ev.InterruptRequested(2.0), ev.ReplyEnded(2.1, 1, "", cut=True))
    assert ids(talk) == ["turn_1", "call_a", "output_a"]
    assert talk.feed(ev.HeardCorrected(2.5, 1, "Let me")) == [act.TruncateHistory(1, "Let me")]
    assert ids(talk) == ["turn_1", "reply_1", "call_a", "output_a"] and talk.conversation.history[1].cut


def test_what_was_put_in_is_nobody_s_to_correct(begin):
    talk = begin()
    talk.feed(ev.ItemInserted(1.0, AgentItem(0, "Hello.")))
    assert talk.feed(ev.HeardCorrected(1.1, 0, "He")) == [] and talk.said == [("agent", "Hello.")]


# --- another policy ---------------------------------------------------------------------------------------------------


def test_silence_is_counted_anew_with_other_numbers(begin):
    talk = begin().pause()
    talk.feed(talk.policy_of(1.7, complete_s=1.0))
    assert talk.conversation.deadline == 2.45
    talk.feed(talk.policy_of(1.8, patience=0.1))
    talk.advance(1.8)
    assert talk.last(act.ReleaseReply) == act.ReleaseReply(1) and talk.phase == Phase.THINKING


def test_a_policy_moves_with_the_session(begin):
    talk = begin()
    talk.feed(talk.policy_of(0.5, mode="manual", idle_s=7.0, backchannels=("aye",)))
    other = talk.moved_elsewhere()
    assert other.conversation.policy == talk.conversation.policy and other.conversation.deadline == 7.5


@pytest.mark.parametrize("change", [{"enabled": False}, {"mode": "manual"}], ids=["no barge-in", "manual"])
@pytest.mark.parametrize("burst", [False, True], ids=["first burst", "second burst"])
def test_a_held_agent_goes_on_when_no_voice_may_stop_it_any_more(begin, change, burst):
    talk = begin().talked_over()
    if burst:
        talk.feed(ev.SpeechStopped(3.1, until=3.08), ev.SpeechStarted(3.2, since=3.18))
    assert talk.feed(talk.policy_of(3.25, **change)) == [act.ResumePlayout(1)]
    assert talk.phase == Phase.OVERLAP and talk.turn.state is TurnState.SPEAKING
    assert not {Timer.HOLD, Timer.VOICE, Timer.VERDICT} & set(talk.state.timers)
    talk.feed(ev.PartialTranscript(3.5, 2, "and tomorrow then", 3))
    assert talk.all(act.CancelReply) == [] and talk.all(act.OverlapJudged) == []
    talk.feed(ev.ReplyEnded(5.0, 1, ANSWER), ev.SpeechStopped(6.0, until=5.95))
    if change == {"mode": "manual"}:
        talk.feed(ev.TurnCommitted(7.0))
    talk.feed(ev.FinalTranscript(7.1, 2, talk.turn.mark, "And tomorrow then?"))
    assert talk.said[-1] == ("user", "And tomorrow then?") and talk.last(act.BeginReply).turn == 2


def test_a_held_agent_that_was_not_heard_yet_goes_on_unheard(begin):
    talk = begin().asked()
    talk.feed(ev.SpeechStarted(1.9, since=1.88))
    assert talk.feed(talk.policy_of(2.0, enabled=False)) == [act.ResumePlayout(1)]
    talk.feed(ev.ReplyHeard(2.1, 1))
    assert talk.phase == Phase.OVERLAP


def test_a_wary_hold_does_not_come_after_the_policy_forbids_it(begin):
    talk = begin(alarms_max=1).talked_over()
    talk.feed(ev.SpeechStopped(3.2, until=3.15), ev.FinalTranscript(3.3, 2, 1, ""), ev.SpeechStarted(4.0, since=3.95))
    assert Timer.HOLD in talk.state.timers
    assert talk.feed(talk.policy_of(4.1, enabled=False)) == [] and talk.advance(9.0) == []


def test_the_words_of_a_parked_turn_wait_for_the_agent_s_end_when_they_may_not_stop_it_any_more(begin):
    talk = begin().parked()
    talk.feed(talk.policy_of(3.5, enabled=False))
    assert talk.advance(6.0) == [] and talk.phase == Phase.AGENT_SPEAKING
    talk.feed(ev.FinalTranscript(6.0, 2, 1, "What about tomorrow?"), ev.ReplyEnded(7.0, 1, ANSWER))
    talk.advance(7.1)
    assert talk.said[-1] == ("user", "What about tomorrow?")


def test_what_becomes_the_hand_s_is_not_judged(begin):
    """Found by the simulator: seed 4789."""
    talk = begin(enabled=False).answering()
    talk.feed(ev.SpeechStarted(2.2, since=2.15), ev.ReplyEnded(3.0, 1, ANSWER))
    assert talk.turn.unjudged
    talk.feed(talk.policy_of(3.1, mode="manual"), ev.SpeechStopped(3.2, until=3.15), ev.TurnCommitted(3.3))
    talk.feed(ev.FinalTranscript(3.4, 2, 2, "mm-hm"))
    assert talk.said[-1] == ("user", "mm-hm") and talk.last(act.BeginReply).turn == 2


def test_another_policy_is_no_idleness_and_idle_time_counts_anew(begin):
    talk = begin(idle_s=10.0)
    talk.feed(talk.policy_of(9.0, idle_s=4.0))
    assert talk.conversation.deadline == 13.0
    talk.feed(talk.policy_of(12.0, idle_s=None))
    assert Timer.IDLE not in talk.state.timers


@pytest.mark.parametrize(("limit", "closes"), [(20.0, 20.0), (5.0, 8.0), (None, None)])
def test_the_session_s_time_limit_may_change(begin, limit, closes):
    talk = begin(session_s_max=10.0, idle_s=None, farewell="")
    talk.feed(talk.policy_of(8.0, session_s_max=limit))
    assert talk.state.timers.get(Timer.SESSION) == closes
    assert talk.advance(99.0) == ([] if closes is None else [act.CloseSession("time limit")])


def test_a_time_limit_is_not_set_while_closing(begin):
    talk = begin().answering()
    talk.feed(ev.CloseRequested(2.5, "bye"), talk.policy_of(2.6, session_s_max=9.0))
    assert Timer.SESSION not in talk.state.timers


def test_fillers_may_be_taken_away_while_one_is_due(begin):
    talk = begin().asked()
    talk.feed(talk.policy_of(2.0, fillers=()))
    assert talk.advance(6.0) == []


def test_a_smaller_budget_is_kept_at_once(begin):
    talk = begin()
    talk.feed(*(ev.TypedTurn(0.1 * n, f"Note {n}.", reply=False) for n in range(1, 9)))
    assert talk.feed(talk.policy_of(1.0, items_max=4)) == [] and len(ids(talk)) == 2
    assert "Note 6." in talk.conversation.summary


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_no_idleness(begin):
    talk = begin(idle_s=10.0)
    talk.advance(10.0)
    talk.feed(ev.ReplyEnded(11.0, 1, "Are you still there?"))
    assert talk.feed(ev.KeyPressed(20.0, "5")) == [] and talk.conversation.deadline == 30.0
    assert talk.advance(30.0) == [act.BeginReply(2, 0, text="Are you still there?", persona="test")]


def test_a_key_over_the_agent_disturbs_nobody(begin):
    talk = begin().answering()
    assert talk.feed(ev.KeyPressed(2.5, "#")) == [] and talk.phase == Phase.AGENT_SPEAKING
