"""Turns that the caller opens and ends: push-to-talk, manual commits, replies on request."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Phase
from duologue.core.machines import TurnState
from duologue.core.state import Timer
from duologue.errors import ProtocolError

ANSWER = "It is five o'clock. And the sun is out."


def test_a_turn_by_hand_ends_by_commit_and_never_by_silence(begin):
    talk = begin(mode="manual")
    talk.feed(ev.TurnOpened(1.0), ev.SpeechStarted(1.2, since=1.15), ev.SpeechStopped(1.5, until=1.45),
              ev.FinalTranscript(1.6, 1, 1, "What time is it?"))  # fmt: skip
    talk.advance(20.0)
    assert talk.phase == Phase.ENDPOINTING and talk.all(act.BeginReply) == []
    assert talk.feed(ev.TurnCommitted(20.0)) == [act.FinaliseRecognition(1, mark=2)]
    talk.feed(ev.FinalTranscript(20.1, 1, 2, "What time is it?"))
    assert talk.last(act.BeginReply) == act.BeginReply(1, 1, persona="test")


def test_a_commit_counts_once(begin):
    talk = begin(mode="manual")
    talk.feed(ev.TurnOpened(1.0), ev.TurnCommitted(2.0))
    assert talk.feed(ev.TurnCommitted(2.1)) == []
    assert talk.conversation.deadline == 4.0


def test_a_commit_in_mid_voice_ends_the_turn_there(begin):
    talk = begin(mode="manual")
    talk.feed(ev.TurnOpened(1.0), ev.SpeechStarted(1.2, since=1.15), ev.TurnCommitted(2.0))
    assert (talk.turn.voice_until, talk.turn.voiced_s) == (2.0, pytest.approx(0.85))
    assert talk.feed(ev.SpeechStopped(2.1, until=2.05)) == []
    talk.feed(ev.FinalTranscript(2.2, 1, 1, "What time is it?"))
    assert talk.last(act.BeginReply) == act.BeginReply(1, 1, persona="test") and not talk.state.turn


def test_a_commit_says_that_a_parked_turn_was_meant_and_it_waits_for_the_agent(begin):
    talk = begin().parked()
    assert talk.feed(ev.TurnCommitted(3.5)) == [] and talk.turn.state is TurnState.OVER
    assert talk.feed(ev.FinalTranscript(3.6, 2, 1, "Mm-hm.")) == [] and talk.phase == Phase.AGENT_SPEAKING
    talk.feed(ev.ReplyEnded(5.0, 1, ANSWER))
    assert talk.said[-2:] == [("agent", ANSWER), ("user", "Mm-hm.")]
    assert talk.last(act.BeginReply).turn == 2


def test_voice_without_the_button_is_nobody_s_turn(begin):
    talk = begin(mode="manual").voice()
    talk.feed(ev.SpeechStopped(1.5, until=1.45))
    assert talk.actions == [] and talk.phase == Phase.LISTENING


def test_pressing_again_before_the_final_goes_on_with_the_turn(begin):
    talk = begin(mode="manual")
    talk.feed(ev.TurnOpened(1.0), ev.TurnCommitted(2.0), ev.TurnOpened(2.1), ev.FinalTranscript(2.2, 1, 1, "One"))
    talk.advance(10.0)
    assert talk.phase == Phase.USER_SPEAKING and talk.turn.state is TurnState.SPEAKING
    talk.feed(ev.TurnCommitted(10.0), ev.FinalTranscript(10.1, 1, 2, "One two"))
    assert talk.said == [("user", "One two")]


def test_the_hand_may_go_on_with_what_the_voice_began_but_not_press_twice(begin):
    talk = begin().voice()
    assert talk.feed(ev.TurnOpened(1.2)) == []
    with pytest.raises(ProtocolError, match="open already"):
        talk.feed(ev.TurnOpened(1.3))
    talk.feed(ev.SpeechStopped(1.5, until=1.45))
    talk.advance(9.0)
    assert talk.phase == Phase.ENDPOINTING


def test_pressing_silences_the_agent_if_it_is_held_or_if_asked_to(begin):
    talk = begin().talked_over()
    assert talk.feed(ev.TurnOpened(3.1)) == [act.CancelReply(1, "interrupted")]
    assert talk.phase == Phase.USER_SPEAKING and Timer.VOICE not in talk.state.timers
    other = begin().answering()
    assert other.feed(ev.TurnOpened(3.1, interrupt=True)) == [
        act.OpenRecognition(2, since=3.1),
        act.CancelReply(1, "interrupted"),
    ]
    assert other.phase == Phase.USER_SPEAKING


def test_a_turn_can_t_be_opened_while_closing(begin):
    talk = begin().answering()
    talk.feed(ev.CloseRequested(2.5, "bye"))
    with pytest.raises(ProtocolError, match="while the session is closing"):
        talk.feed(ev.TurnOpened(2.6))


def test_voice_after_a_commit_goes_on_and_then_silence_ends_the_turn(begin):
    talk = begin()
    talk.feed(ev.TurnOpened(1.0), ev.TurnCommitted(2.0), ev.SpeechStarted(2.1, since=2.05))
    assert talk.turn.state is TurnState.SPEAKING and not talk.turn.by_hand and Timer.TURN in talk.state.timers
    talk.feed(ev.SpeechStopped(3.0, until=2.95), ev.FinalTranscript(3.1, 1, 2, "What time is it?"))
    talk.advance(3.35)
    assert talk.said == [("user", "What time is it?")]


def test_a_turn_taken_back_is_forgotten_with_its_images(begin):
    talk = begin().pause()
    talk.feed(ev.ImagesShown(1.7, ("data:a",)))
    talk.feed(ev.TurnCleared(1.8))
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(1, "cleared", "What time is it?")
    assert talk.all(act.CancelReply) == [act.CancelReply(1, "continued")] and talk.state.images == []
    talk.feed(ev.ReplyEnded(1.9, 1, "", cut=True))
    assert (talk.phase, talk.said) == (Phase.LISTENING, [])
    with pytest.raises(ProtocolError):
        talk.feed(ev.TurnCleared(1.9))


def test_a_turn_cleared_in_mid_voice_stays_so(begin):
    talk = begin().voice()
    talk.feed(ev.TurnCleared(1.2), ev.SpeechStopped(1.5, until=1.45))
    assert talk.phase == Phase.LISTENING and talk.all(act.FinaliseRecognition) == []


def test_a_turn_over_the_agent_can_be_taken_back(begin):
    talk = begin().talked_over()
    assert talk.feed(ev.TurnCleared(3.1)) == [
        act.ResumePlayout(1),
        act.CloseRecognition(2),
        act.TurnDismissed(2, "cleared"),
    ]
    parked = begin().parked()
    assert parked.feed(ev.TurnCleared(3.5)) == [act.CloseRecognition(2), act.TurnDismissed(2, "cleared")]


def test_from_automatic_to_manual_the_open_turn_waits_for_a_commit(begin):
    talk = begin().voice()
    talk.feed(ev.SpeechStopped(1.5, until=1.45), talk.policy_of(1.6, mode="manual"))
    talk.feed(ev.FinalTranscript(1.7, 1, 1, "What time is it?"))
    talk.advance(9.0)
    assert talk.phase == Phase.ENDPOINTING
    talk.feed(ev.TurnCommitted(9.0), ev.FinalTranscript(9.1, 1, 2, "What time is it?"))
    talk.feed(talk.policy_of(9.2, mode="automatic", automatic=False))
    assert talk.conversation.core.automatic and not talk.conversation.policy.reply.automatic


def test_replies_only_on_request(begin):
    talk = begin(automatic=False).pause()
    assert talk.all(act.BeginReply) == []
    talk.advance(1.85)
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(1, "no reply wanted", "What time is it?")
    assert talk.said == [("user", "What time is it?")]
    assert talk.feed(ev.ReplyRequested(3.0)) == [act.BeginReply(1, 0, persona="test")]


def test_a_reply_that_is_unwanted_by_now_is_dropped(begin):
    talk = begin().pause()
    talk.feed(talk.policy_of(1.7, automatic=False))
    talk.advance(1.85)
    assert talk.last(act.CancelReply) == act.CancelReply(1, "no reply wanted")


# --- a turn by hand beside an agent that speaks -----------------------------------------------------------------------


def pressed(begin, **how):
    """The button is pressed at 3.0, over reply 1, which goes on; 'And tomorrow?' was said by 4.0."""
    talk = begin(mode="manual", **how)
    talk.feed(ev.TypedTurn(0.5, "What time is it?"), ev.ReplyText(0.6, 1, ANSWER), ev.ReplyHeard(1.0, 1))
    assert talk.feed(ev.TurnOpened(3.0), ev.SpeechStarted(3.2, since=3.15)) == [act.OpenRecognition(2, since=3.0)]
    talk.feed(ev.SpeechStopped(4.0, until=3.95), ev.FinalTranscript(4.1, 2, 1, "And tomorrow?"))
    assert talk.phase == Phase.OVERLAP and not talk.all(act.HoldPlayout)
    return talk


def committed(begin, **how):
    talk = pressed(begin, **how)
    assert talk.feed(ev.TurnCommitted(4.5)) == [act.FinaliseRecognition(2, mark=2)]
    assert talk.feed(ev.FinalTranscript(4.6, 2, 2, "And tomorrow?")) == []
    return talk


def test_the_agent_is_neither_held_nor_cut_nor_judged(begin):
    talk = pressed(begin)
    talk.feed(ev.PartialTranscript(4.2, 2, "stop", 1))
    assert not talk.all(act.CancelReply) and not talk.all(act.OverlapJudged) and not talk.reply.held


def test_a_turn_committed_over_the_agent_is_answered_when_that_has_finished(begin):
    talk = committed(begin)
    assert talk.phase == Phase.AGENT_SPEAKING and talk.advance(9.0) == []
    assert talk.feed(ev.ReplyEnded(9.0, 1, ANSWER)) == [
        act.ReplyOver(1, "", ANSWER),
        act.CloseRecognition(2),
        act.TurnEnded(2, "And tomorrow?"),
        act.BeginReply(2, 2, persona="test"),
    ]
    assert talk.said[-2:] == [("agent", ANSWER), ("user", "And tomorrow?")]


def test_a_backchannel_that_the_hand_committed_is_a_turn(begin):
    talk = pressed(begin)
    talk.feed(ev.TurnCommitted(4.5), ev.FinalTranscript(4.6, 2, 2, "mm-hm"), ev.ReplyEnded(5.0, 1, ANSWER))
    assert talk.last(act.TurnEnded).text == "mm-hm" and talk.last(act.BeginReply).turn == 2


def test_a_turn_whose_final_is_late_waits_for_it_after_the_agent(begin):
    talk = pressed(begin)
    talk.feed(ev.TurnCommitted(4.5), ev.ReplyEnded(5.0, 1, ANSWER))
    assert talk.phase == Phase.ENDPOINTING
    assert talk.advance(6.5)[-1] == act.BeginReply(2, 2, persona="test")


def test_an_open_turn_goes_on_when_the_agent_ends_and_still_waits_for_its_commit(begin):
    talk = pressed(begin)
    talk.feed(ev.ReplyEnded(5.0, 1, ANSWER))
    assert talk.advance(30.0) == [] and talk.phase == Phase.ENDPOINTING
    talk.feed(ev.TurnCommitted(30.0), ev.FinalTranscript(30.1, 2, 2, "And tomorrow?"))
    assert talk.last(act.BeginReply).turn == 2


def test_voice_over_the_agent_after_the_commit_is_not_its_turn_s(begin):
    talk = committed(begin)
    assert talk.feed(ev.SpeechStarted(5.0, since=4.95), ev.SpeechStopped(6.0, until=5.95)) == []
    talk.feed(ev.ReplyEnded(9.0, 1, ANSWER))
    assert talk.last(act.TurnEnded).text == "And tomorrow?"


@pytest.mark.parametrize("way", [pressed, committed])
def test_it_can_be_taken_back_and_the_agent_goes_on(begin, way):
    talk = way(begin)
    assert talk.feed(ev.TurnCleared(5.0)) == [
        act.CloseRecognition(2),
        act.TurnDismissed(2, "cleared", "And tomorrow?"),
    ]
    assert talk.phase == Phase.AGENT_SPEAKING


def test_pressing_again_beside_the_agent_goes_on_with_the_turn(begin):
    talk = committed(begin)
    assert talk.feed(ev.TurnOpened(5.0)) == [] and talk.phase == Phase.OVERLAP
    with pytest.raises(ProtocolError, match="the turn is open already"):
        talk.feed(ev.TurnOpened(5.1))


def test_pressing_again_may_cut_the_agent(begin):
    talk = committed(begin)
    assert talk.feed(ev.TurnOpened(5.0, interrupt=True)) == [act.CancelReply(1, "interrupted")]
    assert talk.phase == Phase.USER_SPEAKING


def test_a_stop_button_makes_the_agent_answer_the_turn_that_waits(begin):
    talk = committed(begin)
    assert talk.feed(ev.InterruptRequested(5.0)) == [act.CancelReply(1, "stopped")]
    assert talk.feed(ev.ReplyEnded(5.1, 1, "It is", cut=True))[-1] == act.BeginReply(2, 2, persona="test")


def test_what_is_typed_joins_the_turn_that_waits(begin):
    talk = committed(begin)
    assert talk.feed(ev.TypedTurn(5.0, "In Rome.")) == []
    talk.feed(ev.ReplyEnded(9.0, 1, ANSWER))
    assert talk.last(act.TurnEnded).text == "In Rome. And tomorrow?"


def test_what_is_typed_while_the_button_is_held_cuts_the_agent(begin):
    talk = pressed(begin)
    assert talk.feed(ev.TypedTurn(5.0, "In Rome.")) == [
        act.OverlapJudged(2, 1, "interruption", "typed"),
        act.CancelReply(1, "interrupted"),
    ]


@pytest.mark.parametrize("way", [pressed, committed])
def test_closing_dismisses_it_and_lets_the_agent_finish(begin, way):
    talk = way(begin)
    talk.feed(ev.CloseRequested(5.0, "bye"))
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(2, "closing", "And tomorrow?")
    assert talk.feed(ev.ReplyEnded(6.0, 1, ANSWER))[-1] == act.CloseSession("bye")


def test_a_turn_that_waits_beside_the_agent_moves_with_it(begin):
    other = committed(begin).moved_elsewhere()
    assert other.phase == Phase.AGENT_SPEAKING and other.turn.state is TurnState.OVER
    other.feed(ev.ReplyEnded(9.0, 2, ANSWER))
    assert other.last(act.TurnEnded) == act.TurnEnded(3, "And tomorrow?")
    assert other.last(act.BeginReply) == act.BeginReply(3, 3, persona="test")


def test_an_open_turn_beside_the_agent_moves_with_it(begin):
    other = pressed(begin).moved_elsewhere()
    assert other.phase == Phase.OVERLAP and other.turn.by_hand
    other.feed(ev.TurnCommitted(5.0), ev.FinalTranscript(5.1, 3, 1, "please"), ev.ReplyEnded(9.0, 2, ANSWER))
    assert other.last(act.TurnEnded).text == "And tomorrow? please"


def test_an_agent_that_hangs_is_given_up_and_the_turn_that_waits_is_answered(begin):
    talk = begin(mode="manual")
    talk.feed(ev.TypedTurn(0.5, "What time is it?"), ev.TurnOpened(3.0), ev.PartialTranscript(3.5, 2, "Well?", 1))
    talk.feed(ev.TurnCommitted(4.0), ev.FinalTranscript(4.1, 2, 1, "Well?"))
    assert talk.advance(20.5)[-1] == act.CancelReply(1, "late")
    talk.feed(ev.ReplyEnded(20.6, 1, "", cut=True))
    assert talk.last(act.TurnEnded).text == "Well?" and talk.last(act.BeginReply).turn == 2


def test_closing_at_once_while_nobody_speaks_closes(begin):
    assert begin().feed(ev.CloseRequested(1.0, "hung up", finish=False)) == [act.CloseSession("hung up")]
