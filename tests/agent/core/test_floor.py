"""Turns that the caller opens and ends: push-to-talk, manual commits, replies on request."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Phase
from duologue.core.machines import TurnState
from duologue.core.state import Timer
from duologue.errors import ProtocolError


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
