"""Replies and what waits for the floor: begun, heard, cut, remembered, refused; idleness and the end."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Phase
from duologue.core.history import AgentItem, UserItem
from duologue.core.options import ReplyOptions
from duologue.core.state import Timer
from duologue.errors import ProtocolError

APOLOGY = "Sorry, something went wrong. Could you say that again?"


# --- the life of one reply --------------------------------------------------------------------------------------------


def test_a_reply_is_remembered_as_it_was_heard(begin):
    talk = begin().answering()
    assert talk.phase == Phase.AGENT_SPEAKING
    talk.feed(ev.ReplyGenerated(2.1, 1), ev.ReplyEnded(3.0, 1, "It is five o'clock. And the sun is out."))
    assert talk.conversation.history[-1] == AgentItem(1, "It is five o'clock. And the sun is out.", persona="test")
    assert talk.phase == Phase.LISTENING


@pytest.mark.parametrize(
    "event", [ev.ReplyHeard(1.7, 1), ev.ReplyEnded(1.7, 1, "")], ids=lambda event: type(event).__name__
)
def test_nothing_of_a_speculative_reply_may_be_heard(begin, event):
    talk = begin().pause()
    with pytest.raises(ProtocolError, match=r"reply 1 (was heard|ended) before its turn was over"):
        talk.feed(event)


def test_results_of_another_reply_are_late_and_dropped(begin):
    talk = begin().answering()
    talk.advance(2.5)
    before = talk.conversation.snapshot()
    assert talk.feed(ev.ReplyText(2.5, 9, "x"), ev.ReplyGenerated(2.5, 9), ev.ReplyHeard(2.5, 9)) == []
    assert talk.feed(ev.HeardSoFar(2.5, 9, "x"), ev.ReplyFailed(2.5, 9, "llm", "x"), ev.ReplyEnded(2.5, 9, "x")) == []
    assert talk.conversation.snapshot() == before


def test_a_cut_is_taken_at_the_last_report_when_nobody_confirms_it(begin):
    talk = begin().talked_over()
    talk.feed(ev.HeardSoFar(3.0, 1, "It is"), ev.PartialTranscript(3.2, 2, "what about tomorrow then", 4))
    assert talk.advance(4.2) == [act.TruncateHistory(1, "It is"), act.ReplyOver(1, "", "It is", "interrupted")]
    assert talk.feed(ev.ReplyEnded(4.5, 1, "It is five", cut=True)) == [act.TruncateHistory(1, "It is five")]
    assert talk.feed(ev.HeardCorrected(4.6, 1, "It is five o'clock.")) == [
        act.TruncateHistory(1, "It is five o'clock.")
    ]
    assert talk.conversation.history[-1] == AgentItem(1, "It is five o'clock.", cut=True, persona="test")


def test_what_is_not_remembered_can_t_be_corrected(begin):
    assert begin().greeted().feed(ev.HeardCorrected(3.5, 7, "x")) == []


def test_the_turn_is_answered_only_when_it_is_known_what_was_heard_of_the_cut_reply(begin):
    talk = begin().talked_over()
    talk.feed(ev.SpeechStopped(3.5, until=3.45), ev.FinalTranscript(3.6, 2, 1, "And tomorrow?"))
    assert talk.advance(4.0) == []
    talk.feed(ev.ReplyEnded(4.1, 1, "It is", cut=True))
    assert talk.said[-2:] == [("agent", "It is"), ("user", "And tomorrow?")]


def test_two_cuts_wait_for_both_confirmations(begin):
    talk = begin().pause()
    talk.feed(ev.ImagesShown(1.7, ("data:a",)))
    talk.advance(1.85)
    assert talk.all(act.ReleaseReply) == [] and Timer.CUT in talk.state.timers
    talk.feed(ev.ReplyEnded(1.9, 9, "", cut=True))
    assert len(talk.state.cutting) == 1
    talk.feed(ev.ReplyEnded(1.9, 1, "", cut=True))
    assert Timer.CUT not in talk.state.timers and talk.last(act.BeginReply) == act.BeginReply(2, 1, persona="test")


def test_one_confirmation_leaves_the_other_waited_for(begin):
    talk = begin().pause()
    talk.feed(
        ev.SpeechStarted(1.7, since=1.68), ev.SpeechStopped(1.9, until=1.88),
        ev.PartialTranscript(2.0, 1, "What time is it in Rome"),
    )  # fmt: skip
    talk.advance(3.9)
    talk.feed(ev.TypedTurn(4.0, "Never mind."))
    assert [reply.number for reply in talk.state.cutting] == [1, 2]
    talk.feed(ev.ReplyEnded(4.1, 2, "", cut=True))
    assert Timer.CUT in talk.state.timers and talk.phase == Phase.LISTENING


def test_a_stage_that_fails_is_apologised_for_after_what_was_made(begin):
    talk = begin().answering()
    talk.feed(ev.ReplyFailed(2.5, 1, "llm", "stream broke"), ev.ReplyEnded(3.0, 1, "It is five o'clock."))
    assert talk.conversation.history[-1].cut
    assert talk.last(act.BeginReply) == act.BeginReply(
        2, 0, text=APOLOGY, persona="test", options=ReplyOptions(in_history=False)
    )
    talk.feed(ev.ReplyFailed(3.1, 2, "tts", "broke"), ev.ReplyEnded(3.2, 2, ""))
    assert talk.phase == Phase.LISTENING and len(talk.all(act.BeginReply)) == 2


def test_an_apology_is_not_made_after_a_later_turn_was_answered(begin):
    talk = begin(enabled=False).answering()
    talk.feed(ev.ReplyFailed(2.5, 1, "llm", "broke"), ev.SpeechStarted(2.6, since=2.6), ev.ReplyEnded(3.0, 1, "It"))
    talk.feed(ev.SpeechStopped(3.5, until=3.45), ev.FinalTranscript(3.6, 2, 1, "And tomorrow?"))
    talk.advance(3.9)
    talk.feed(ev.ReplyHeard(4.0, 2), ev.ReplyEnded(5.0, 2, "Sun."))
    assert talk.phase == Phase.LISTENING and [a.text for a in talk.all(act.BeginReply)] == [None, None]


def test_a_speculative_reply_that_fails_is_made_anew_at_the_endpoint(begin):
    talk = begin().pause()
    talk.feed(ev.ReplyFailed(1.65, 1, "llm", "503"), ev.ReplyEnded(1.66, 1, "", cut=True))
    assert len(talk.all(act.BeginReply)) == 1
    talk.advance(1.85)
    assert talk.last(act.BeginReply) == act.BeginReply(2, 1, persona="test")


# --- a reply that nobody hears ----------------------------------------------------------------------------------------


def test_a_model_that_takes_long_is_covered_and_in_the_end_given_up(begin):
    talk = begin().asked()
    assert talk.advance(5.85) == [act.SpeakFiller(1, "One moment.")]
    talk.feed(ev.ReplyHeard(6.0, 1))
    assert talk.advance(21.85) == [act.CancelReply(1, "late")]
    talk.feed(ev.ReplyEnded(21.9, 1, "", cut=True))
    assert talk.last(act.BeginReply) == act.BeginReply(
        2, 0, text=APOLOGY, persona="test", options=ReplyOptions(in_history=False)
    )


def test_a_reply_that_is_heard_is_not_given_up(begin):
    talk = begin(idle_s=None).answering()
    assert talk.advance(60.0) == []


def test_giving_up_waits_for_tools_and_for_the_user(begin):
    tools = begin(fillers=()).asked()
    tools.feed(ev.ToolRequested(2.0, 1, "a", "f", "{}", timeout_s=60.0))
    assert tools.advance(30.0) == [] and tools.state.timers[Timer.UNHEARD] == 41.85
    voice = begin(unheard_s_max=1.0).asked()
    voice.feed(ev.SpeechStarted(2.5, since=2.45))
    assert voice.advance(3.0) == [] and voice.phase == Phase.OVERLAP


def test_an_apology_that_is_not_heard_is_not_apologised_for(begin):
    talk = begin(unheard_s_max=2.0).asked()
    talk.advance(3.85)
    talk.feed(ev.ReplyEnded(3.9, 1, "", cut=True))
    assert talk.advance(5.9) == [act.CancelReply(2, "late")]
    talk.feed(ev.ReplyEnded(6.0, 2, "", cut=True))
    assert talk.phase == Phase.LISTENING


# --- what waits for the floor -----------------------------------------------------------------------------------------


def test_what_is_to_be_said_waits_for_the_floor(begin):
    talk = begin().voice()
    assert talk.feed(ev.SayRequested(1.2, "Five minutes left.", interruptible=False, in_history=False)) == []
    talk.feed(ev.SpeechStopped(1.5, until=1.45), ev.FinalTranscript(1.6, 1, 1, ""))
    assert talk.advance(2.1)[-1] == act.BeginReply(
        1, 0, text="Five minutes left.", persona="test", options=ReplyOptions(in_history=False)
    )
    assert not talk.reply.interruptible
    talk.feed(ev.ReplyHeard(2.2, 1), ev.ReplyEnded(3.0, 1, "Five minutes left."))
    assert talk.said == []


def test_one_more_than_the_queue_holds_is_refused(begin):
    talk = begin(queue_max=1).answering()
    assert talk.feed(ev.SayRequested(2.5, "One."), ev.SayRequested(2.6, "Two.")) == [
        act.RefuseSay("Two.", "too much is waiting to be said")
    ]


def test_a_stop_button_silences_the_agent_and_what_it_was_going_to_say(begin):
    talk = begin().answering()
    talk.feed(ev.SayRequested(2.5, "One."), ev.ReplyRequested(2.6))
    assert talk.feed(ev.InterruptRequested(2.7)) == [act.RefuseSay("One.", "stopped"), act.CancelReply(1, "stopped")]
    talk.feed(ev.ReplyEnded(2.8, 1, "It is", cut=True))
    assert talk.last(act.BeginReply) == act.BeginReply(2, 0, persona="test")


def test_a_stop_button_while_nobody_speaks_does_nothing(begin):
    assert begin().feed(ev.InterruptRequested(0.5)) == []
    assert begin().pause().feed(ev.InterruptRequested(1.7)) == []


@pytest.mark.parametrize(("stopped", "phase"), [(False, Phase.USER_SPEAKING), (True, Phase.ENDPOINTING)])
def test_a_stop_button_in_the_overlap_gives_the_user_the_floor(begin, stopped, phase):
    talk = begin().talked_over()
    if stopped:
        talk.feed(ev.SpeechStopped(3.1, until=3.08))
    assert talk.feed(ev.InterruptRequested(3.15)) == [act.CancelReply(1, "stopped")]
    assert talk.phase == phase and not talk.turn.unjudged


def test_a_reply_that_was_stopped_unheard_is_not_owed(begin):
    talk = begin().asked()
    talk.feed(ev.SpeechStarted(4.0, since=3.95), ev.InterruptRequested(4.1), ev.ReplyEnded(4.2, 1, "", cut=True))
    assert (talk.turn.merged, talk.turn.owed) == (0, 0)


def test_a_reply_outside_the_history_leaves_no_trace_when_it_is_cut(begin):
    talk = begin()
    talk.feed(
        ev.ReplyRequested(0.5, options=ReplyOptions(in_history=False)),
        ev.ReplyHeard(0.6, 1),
        ev.InterruptRequested(0.7),
    )
    assert talk.feed(ev.ReplyEnded(0.8, 1, "Psst", cut=True)) == [act.ReplyOver(1, "", "Psst", "stopped")]
    assert talk.said == []


# --- typed turns ------------------------------------------------------------------------------------------------------


def test_a_typed_turn_is_answered(begin):
    talk = begin()
    talk.feed(ev.ImagesShown(0.4, ("data:a",)))
    assert talk.feed(ev.TypedTurn(0.5, "What is this?", ("data:b",))) == [
        act.TurnEnded(1, "What is this?", ("data:a", "data:b")),
        act.BeginReply(1, 1, persona="test"),
    ]
    assert talk.conversation.history == (UserItem(1, "What is this?", ("data:a", "data:b")),)


@pytest.mark.parametrize("way", ["asked", "answering", "parked"])
def test_a_typed_turn_silences_the_agent(begin, way):
    talk = getattr(begin(), way)()
    assert talk.feed(ev.TypedTurn(3.5, "And tomorrow?"))[-1] == act.CancelReply(1, "superseded")
    assert talk.state.turn is None
    talk.feed(ev.ReplyEnded(3.6, 1, "It is", cut=True))
    assert talk.said[-2:] == [("agent", "It is"), ("user", "And tomorrow?")]


def test_typed_turns_are_answered_in_their_order_before_what_waits(begin):
    talk = begin().answering()
    talk.feed(ev.SayRequested(2.3, "Five minutes left."), ev.TypedTurn(2.5, "One."), ev.TypedTurn(2.5, "Two."))
    talk.feed(ev.ReplyEnded(2.6, 1, "It is", cut=True))
    assert [(queued.kind, queued.text) for queued in talk.state.queue] == [
        ("typed", "Two."),
        ("say", "Five minutes left."),
    ]


def test_a_typed_turn_waits_for_a_reply_that_can_t_be_interrupted(begin):
    talk = begin()
    talk.feed(ev.SayRequested(0.5, "Hold the line.", interruptible=False), ev.TypedTurn(0.6, "Hello?"))
    assert talk.all(act.CancelReply) == [] and len(talk.state.queue) == 1


@pytest.mark.parametrize("way", ["voice", "pause"])
def test_what_is_typed_while_speaking_is_part_of_the_turn(begin, way):
    talk = getattr(begin(), way)()
    talk.feed(ev.TypedTurn(1.65, "B-L-A-U", ("data:a",)))
    assert talk.turn.words == ("B-L-A-U" if way == "voice" else "B-L-A-U What time is it?")
    assert talk.state.images == ["data:a"]


def test_what_is_typed_over_the_agent_needs_no_judging(begin):
    talk = begin().talked_over()
    assert talk.feed(ev.TypedTurn(3.1, "ok")) == [
        act.OverlapJudged(2, 1, "interruption", "typed"),
        act.CancelReply(1, "interrupted"),
    ]
    talk.feed(
        ev.ReplyEnded(3.15, 1, "It", cut=True), ev.SpeechStopped(3.2, until=3.15), ev.FinalTranscript(3.3, 2, 1, "")
    )
    talk.advance(4.0)
    assert talk.said[-1] == ("user", "ok")


def test_what_is_typed_over_a_reply_that_can_t_be_interrupted_is_answered_after_it(begin):
    talk = begin()
    talk.feed(ev.SayRequested(0.5, "Hold the line.", interruptible=False), ev.ReplyHeard(0.6, 1))
    talk.feed(ev.SpeechStarted(1.0, since=0.95), ev.TypedTurn(1.1, "ok"), ev.SpeechStopped(1.2, until=1.15))
    talk.feed(ev.FinalTranscript(1.3, 1, 1, ""), ev.ReplyEnded(2.0, 1, "Hold the line."))
    talk.advance(3.0)
    assert talk.all(act.HoldPlayout) == []
    assert talk.said == [("agent", "Hold the line."), ("user", "ok")]


def test_a_note_joins_the_history_and_asks_for_no_reply(begin):
    talk = begin().answering()
    assert talk.feed(ev.TypedTurn(2.5, "The user is in Rome.", reply=False)) == [
        act.TurnEnded(2, "The user is in Rome."),
        act.TurnDismissed(2, "no reply wanted", "The user is in Rome."),
    ]
    assert talk.phase == Phase.AGENT_SPEAKING


# --- memory -----------------------------------------------------------------------------------------------------------


def full(begin, **policy):
    """Six notes in a history of four items."""
    talk = begin(**{"items_max": 4, **policy})
    talk.feed(*(ev.TypedTurn(0.1 * n, f"Note {n}.", reply=False) for n in range(1, 6)))
    return talk


def test_a_summary_takes_the_place_of_the_oldest(begin):
    talk = full(begin)
    assert talk.all(act.SummariseHistory) == [act.SummariseHistory(3)]
    talk.feed(ev.SummaryMade(1.0, 2, "of something else"), ev.SummaryMade(1.0, 3, "Three notes."))
    assert talk.conversation.summary == "Three notes." and [text for _, text in talk.said] == ["Note 4.", "Note 5."]
    talk.feed(ev.SummaryMade(1.1, 3, "again"))
    assert talk.conversation.summary == "Three notes."


def test_where_no_summary_could_be_made_an_extract_stands(begin):
    talk = full(begin)
    talk.feed(ev.SummaryMade(1.0, 3, ""))
    assert talk.conversation.summary == "User: Note 1.\nUser: Note 2.\nUser: Note 3."


def test_a_summary_that_comes_after_the_hard_limit_is_late_and_dropped(begin):
    talk = full(begin)
    talk.feed(*(ev.TypedTurn(1.0, f"Note {n}.", reply=False) for n in range(6, 10)))
    assert len(talk.said) == 4 and "Note 5." in talk.conversation.summary
    talk.feed(ev.TypedTurn(1.1, "Note 10.", reply=False))
    assert len(talk.all(act.SummariseHistory)) == 1
    talk.feed(ev.SummaryMade(1.2, 3, "Three notes."))
    assert "Note 5." in talk.conversation.summary and len(talk.said) == 5
    assert talk.all(act.SummariseHistory)[1:] == [act.SummariseHistory(3)]


def test_the_history_is_bounded_even_if_the_floor_is_never_free(begin):
    talk = begin(items_max=4).voice(0.05)
    talk.feed(*(ev.TypedTurn(1.0, f"Note {n}.", reply=False) for n in range(40)))
    assert talk.phase == Phase.USER_SPEAKING and len(talk.said) <= 6


# --- idleness and the end ---------------------------------------------------------------------------------------------


def test_silence_is_asked_after_and_in_the_end_the_agent_says_goodbye(begin):
    talk = begin(idle_s=10.0)
    assert talk.advance(10.0) == [act.BeginReply(1, 0, text="Are you still there?", persona="test")]
    talk.feed(ev.ReplyHeard(10.1, 1), ev.ReplyEnded(12.0, 1, "Are you still there?"))
    assert talk.advance(22.0) == [act.BeginReply(2, 0, text="Goodbye.", persona="test")]
    assert talk.feed(ev.ReplyHeard(22.1, 2), ev.ReplyEnded(23.0, 2, "Goodbye.")) == [
        act.ReplyOver(2, "", "Goodbye."),
        act.CloseSession("idle"),
    ]
    assert talk.phase == Phase.CLOSED and talk.conversation.deadline is None


def test_an_answer_begins_the_count_of_idle_prompts_anew(begin):
    talk = begin(idle_s=10.0)
    talk.advance(10.0)
    talk.feed(
        ev.ReplyEnded(12.0, 1, "Are you still there?"), ev.TypedTurn(13.0, "Yes"), ev.ReplyEnded(14.0, 2, "Good.")
    )
    assert talk.advance(24.0) == [act.BeginReply(3, 0, text="Are you still there?", persona="test")]


def test_voice_is_no_idleness(begin):
    talk = begin(idle_s=10.0).voice(9.0)
    assert Timer.IDLE not in talk.state.timers and talk.advance(30.0) == []


def test_idleness_may_be_without_limit(begin):
    assert begin(idle_s=None, session_s_max=None).advance(9999.0) == []


def test_the_session_ends_at_its_time_limit_with_a_farewell_and_refuses_what_waits(begin):
    talk = begin(session_s_max=3.0).answering()
    talk.feed(ev.SayRequested(2.5, "One."), ev.ReplyRequested(2.6))
    assert talk.advance(3.0) == [act.RefuseSay("One.", "closing"), act.RefuseSay("", "closing")]
    talk.feed(ev.ReplyEnded(4.0, 1, "It is five."))
    assert talk.last(act.BeginReply).text == "Goodbye."
    talk.feed(ev.ReplyEnded(5.0, 2, "Goodbye."))
    assert talk.last(act.CloseSession) == act.CloseSession("time limit")


def test_without_a_farewell_the_session_just_ends(begin):
    assert begin(session_s_max=3.0, farewell="").advance(3.0) == [act.CloseSession("time limit")]


def test_the_first_reason_to_close_stands(begin):
    talk = begin(idle_prompts=(), idle_s=1.0)
    talk.advance(1.0)
    assert talk.state.closing == "idle"
    talk.feed(ev.CloseRequested(1.1, "bye"))
    assert talk.state.closing == "idle"


def test_closing_lets_the_agent_finish(begin):
    talk = begin().answering()
    assert talk.feed(ev.CloseRequested(2.5, "bye")) == []
    assert talk.feed(ev.SayRequested(2.6, "One."), ev.TypedTurn(2.6, "Two.")) == [
        act.RefuseSay("One.", "closing"),
        act.RefuseSay("Two.", "closing"),
    ]
    assert talk.feed(ev.ReplyEnded(3.0, 1, "It is five.")) == [
        act.ReplyOver(1, "", "It is five."),
        act.CloseSession("bye"),
    ]


def test_an_agent_that_finds_no_end_is_silenced_and_what_was_heard_is_kept(begin):
    talk = begin(close_s_max=5.0).answering()
    talk.feed(ev.CloseRequested(2.5, ""))
    assert talk.advance(7.5) == [act.CancelReply(1, "closing")]
    assert talk.feed(ev.ReplyEnded(7.6, 1, "It is", cut=True)) == [
        act.TruncateHistory(1, "It is"),
        act.ReplyOver(1, "", "It is", "closing"),
        act.CloseSession("closed"),
    ]
    assert talk.said[-1] == ("agent", "It is")


def test_closing_at_once_silences_the_agent_and_refuses_what_waits(begin):
    talk = begin().answering()
    talk.feed(ev.SayRequested(2.5, "One."))
    assert talk.feed(ev.CloseRequested(2.6, "hung up", finish=False)) == [
        act.RefuseSay("One.", "closing"),
        act.CancelReply(1, "closing"),
    ]
    assert talk.advance(3.6) == [
        act.TruncateHistory(1, ""),
        act.ReplyOver(1, "", "", "closing"),
        act.CloseSession("hung up"),
    ]
    assert talk.feed(ev.ReplyEnded(3.7, 1, "It", cut=True)) == [act.TruncateHistory(1, "It")]
    assert talk.said[-1] == ("agent", "It")


def test_closing_may_be_asked_for_again(begin):
    talk = begin().answering()
    talk.feed(ev.CloseRequested(2.5, "bye"), ev.CloseRequested(2.6, "hung up", finish=False))
    assert talk.last(act.CancelReply) == act.CancelReply(1, "closing") and talk.state.timers[Timer.CLOSE] == 17.5


def test_while_the_cut_is_not_confirmed_nothing_else_is_said(begin):
    talk = begin().answering()
    talk.feed(ev.InterruptRequested(2.5), ev.SayRequested(2.6, "One."))
    assert len(talk.all(act.BeginReply)) == 1
    assert talk.advance(3.5)[-1] == act.BeginReply(2, 0, text="One.", persona="test")
