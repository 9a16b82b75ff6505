"""The user's voice over the agent: hold first, then decide."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Phase
from duologue.core.state import Timer


def test_a_hold_precedes_the_decision(begin):
    talk = begin().answering()
    assert talk.feed(ev.SpeechStarted(3.0, since=2.95)) == [act.OpenRecognition(2, since=2.95), act.HoldPlayout(1)]
    assert talk.phase == Phase.OVERLAP


def test_words_are_an_interruption(begin):
    talk = begin().talked_over()
    assert talk.feed(ev.PartialTranscript(3.3, 2, "no stop", 2)) == [
        act.OverlapJudged(2, 1, "interruption", "words"),
        act.CancelReply(1, "interrupted"),
    ]
    assert talk.phase == Phase.USER_SPEAKING
    assert talk.feed(ev.ReplyEnded(3.31, 1, "It is five", cut=True)) == [
        act.TruncateHistory(1, "It is five"),
        act.ReplyOver(1, "", "It is five", "interrupted"),
    ]
    assert talk.said[-1] == ("agent", "It is five") and talk.conversation.history[-1].cut


def test_one_unsettled_word_is_not_yet_believed_three_are(begin):
    talk = begin().talked_over()
    assert talk.feed(ev.PartialTranscript(3.2, 2, "stop")) == []
    assert talk.feed(ev.PartialTranscript(3.3, 2, "stop that please")) == [
        act.OverlapJudged(2, 1, "interruption", "words"),
        act.CancelReply(1, "interrupted"),
    ]


def test_a_backchannel_does_not_end_the_reply(begin):
    talk = begin().talked_over()
    talk.feed(ev.PartialTranscript(3.1, 2, "mm-hm", 1), ev.SpeechStopped(3.3, until=3.25))
    assert talk.feed(ev.FinalTranscript(3.35, 2, 1, "mm-hm")) == [
        act.OverlapJudged(2, 1, "backchannel", "words"),
        act.ResumePlayout(1),
        act.CloseRecognition(2),
        act.TurnDismissed(2, "backchannel", "mm-hm"),
    ]
    assert talk.phase == Phase.AGENT_SPEAKING and talk.state.false_alarms == []


def test_a_cough_does_not_end_the_reply(begin):
    talk = begin().talked_over()
    talk.feed(ev.SpeechStopped(3.2, until=3.15))
    assert talk.feed(ev.FinalTranscript(3.3, 2, 1, ""))[:2] == [
        act.OverlapJudged(2, 1, "noise", "words"),
        act.ResumePlayout(1),
    ]
    assert talk.last(act.TurnDismissed).reason == "noise" and talk.state.false_alarms == [3.3]


def test_a_late_recogniser_is_not_waited_for_and_can_still_stop_the_agent(begin):
    talk = begin().talked_over()
    assert talk.feed(ev.SpeechStopped(3.2, until=3.15)) == [act.FinaliseRecognition(2, mark=1)]
    assert talk.advance(3.5) == [act.OverlapJudged(2, 1, "noise", "time"), act.ResumePlayout(1)] and talk.turn.unjudged
    talk.feed(ev.FinalTranscript(3.6, 2, 1, "Stop."))
    assert talk.last(act.CancelReply) == act.CancelReply(1, "interrupted")
    assert talk.phase == Phase.ENDPOINTING


@pytest.mark.parametrize(("text", "reason"), [("mm-hm", "backchannel"), ("", "noise")])
def test_a_late_final_settles_a_parked_turn(begin, text, reason):
    talk = begin().parked()
    assert talk.feed(ev.FinalTranscript(3.6, 2, 1, text))[-1] == act.TurnDismissed(2, reason, text)


def test_partials_leave_a_parked_turn_open(begin):
    talk = begin().parked()
    assert talk.feed(ev.PartialTranscript(3.6, 2, "mm", 1)) == []


@pytest.mark.parametrize(("text", "reason"), [("mm-hm", "backchannel"), ("", "noise")])
def test_a_parked_turn_without_a_final_is_given_up(begin, text, reason):
    talk = begin().parked()
    talk.feed(ev.PartialTranscript(3.6, 2, text, 1))
    assert talk.advance(5.5)[-1] == act.TurnDismissed(2, reason, text)


def test_new_voice_goes_on_with_the_parked_turn(begin):
    talk = begin().parked()
    assert talk.feed(ev.SpeechStarted(4.0, since=3.95)) == [act.HoldPlayout(1)]
    assert talk.turn.number == 2 and Timer.FINAL not in talk.state.timers


def test_a_single_unsettled_word_is_an_interruption_when_the_voice_lasts(begin):
    talk = begin().talked_over()
    assert talk.feed(ev.PartialTranscript(3.3, 2, "what", 0)) == []
    assert talk.advance(4.04) == []
    assert talk.advance(4.06) == [
        act.OverlapJudged(2, 1, "interruption", "voice"),
        act.CancelReply(1, "interrupted"),
    ]


def test_voice_without_a_word_is_held_for_as_long_as_it_lasts_and_then_the_agent_goes_on(begin):
    talk = begin().talked_over()
    assert talk.advance(8.0) == []
    assert talk.feed(ev.SpeechStopped(8.0, until=7.94))[0] == act.FinaliseRecognition(2, 1)
    assert act.ResumePlayout(1) in talk.feed(ev.FinalTranscript(8.1, 2, 1, ""))


def test_a_word_after_long_voice_without_one_is_an_interruption(begin):
    talk = begin().talked_over()
    talk.advance(5.0)
    talk.feed(ev.PartialTranscript(5.1, 2, "what", 0))
    assert talk.advance(5.4) == [
        act.OverlapJudged(2, 1, "interruption", "voice"),
        act.CancelReply(1, "interrupted"),
    ]


def test_voice_alone_is_an_interruption_when_nobody_will_tell_its_words(begin):
    talk = begin().talked_over()
    talk.feed(ev.RecognitionFailed(3.2, 2, "broken"))
    assert talk.advance(4.06) == [
        act.OverlapJudged(2, 1, "interruption", "voice"),
        act.CancelReply(1, "interrupted"),
    ]


def test_a_long_backchannel_is_given_as_much_time_again_once(begin):
    talk = begin().talked_over()
    talk.feed(ev.PartialTranscript(3.3, 2, "mm-hm", 1))
    assert talk.advance(5.0) == []
    assert talk.advance(5.16) == [
        act.OverlapJudged(2, 1, "interruption", "voice"),
        act.CancelReply(1, "interrupted"),
    ]


def test_bursts_are_one_voice(begin):
    talk = begin().talked_over()
    talk.feed(ev.SpeechStopped(3.5, until=3.45), ev.SpeechStarted(3.6, since=3.6))
    assert Timer.VERDICT not in talk.state.timers
    assert talk.state.timers[Timer.VOICE] == pytest.approx(3.6 + 1.1 - 0.5)
    assert Timer.HOLD not in talk.state.timers


def test_before_anything_is_heard_a_hold_keeps_the_reply_from_starting(begin):
    talk = begin().asked()
    talk.feed(ev.SpeechStarted(1.9, since=1.88), ev.SpeechStopped(2.0, until=1.98), ev.FinalTranscript(2.1, 2, 1, ""))
    assert talk.phase == Phase.THINKING
    assert [type(a) for a in talk.actions[-3:]] == [act.ResumePlayout, act.CloseRecognition, act.TurnDismissed]


def test_words_over_an_unheard_reply_continue_the_turn(begin):
    talk = begin().asked()
    talk.feed(ev.SpeechStarted(1.9, since=1.88), ev.SpeechStopped(2.3, until=2.28))
    talk.feed(ev.FinalTranscript(2.35, 2, 1, "In Rome."))
    assert talk.last(act.CancelReply) == act.CancelReply(1, "continued")
    assert talk.phase == Phase.ENDPOINTING


# --- near the end of the reply --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "rest_s", "stops"),
    [("It is five.", 0.5, False), ("It is five.", 1.0, False), ("Is it five?", 1.4, True), ("Is it five?", 1.6, False)],
)
def test_any_word_is_an_answer_when_the_agent_has_nearly_asked(begin, text, rest_s, stops):
    talk = begin().answering(text)
    talk.feed(ev.ReplyGenerated(2.5, 1), ev.SpeechStarted(3.0, since=2.95), ev.HeardSoFar(3.0, 1, text, rest_s))
    talk.feed(ev.PartialTranscript(3.2, 2, "yes", 1))
    assert bool(talk.all(act.CancelReply)) == stops


def test_an_answer_begun_just_before_the_last_word_is_one(begin):
    talk = begin(enabled=False).answering()
    talk.feed(ev.SpeechStarted(3.0, since=2.95), ev.PartialTranscript(3.2, 2, "yes", 1), ev.ReplyEnded(3.5, 1, "Five."))
    assert talk.phase == Phase.USER_SPEAKING and not talk.turn.unjudged
    talk.feed(ev.SpeechStopped(3.6, until=3.55), ev.FinalTranscript(3.7, 2, 1, "yes"))
    talk.advance(4.5)
    assert talk.said[-1] == ("user", "yes")


@pytest.mark.parametrize(("text", "answered"), [("It is five.", False), ("Is it five?", True)])
def test_a_listener_s_noise_that_ends_with_the_reply_is_none_unless_it_was_asked_for(begin, text, answered):
    talk = begin(enabled=False).answering(text)
    talk.feed(
        ev.SpeechStarted(3.0, since=2.95), ev.SpeechStopped(3.4, until=3.35), ev.FinalTranscript(3.5, 2, 1, "yes")
    )
    talk.feed(ev.ReplyEnded(4.0, 1, text))
    talk.advance(4.5)
    assert bool(talk.all(act.TurnDismissed)) != answered and (talk.said[-1] == ("user", "yes")) == answered
    if not answered:
        assert talk.last(act.TurnDismissed).reason == "backchannel"


def test_a_parked_turn_is_judged_when_the_reply_ends(begin):
    talk = begin().parked()
    talk.feed(ev.ReplyEnded(3.6, 1, "It is five."))
    assert talk.phase == Phase.ENDPOINTING
    talk.feed(ev.FinalTranscript(3.7, 2, 1, "And the date?"))
    talk.advance(4.2)
    assert talk.said[-1] == ("user", "And the date?")


# --- agents that can't be interrupted -------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["policy", "reply"])
def test_the_agent_finishes_and_then_answers_what_was_said_meanwhile(begin, why):
    talk = begin(enabled=why != "policy")
    talk.feed(ev.SayRequested(0.5, "Please hold the line.", interruptible=why != "reply"), ev.ReplyHeard(0.6, 1))
    talk.feed(ev.SpeechStarted(1.0, since=0.95), ev.PartialTranscript(1.4, 1, "no stop it now", 4))
    talk.feed(ev.SpeechStopped(2.0, until=1.95), ev.SpeechStarted(2.1, since=2.1), ev.SpeechStopped(2.5, until=2.5))
    talk.feed(ev.FinalTranscript(2.6, 1, 2, "No, stop it now!"))
    assert not talk.all(act.HoldPlayout) and not talk.all(act.CancelReply) and talk.phase == Phase.OVERLAP
    talk.feed(ev.ReplyEnded(3.0, 1, "Please hold the line."))
    talk.advance(3.5)
    assert talk.said == [("agent", "Please hold the line."), ("user", "No, stop it now!")]
    assert talk.last(act.BeginReply).turn == 1


def test_a_parked_turn_waits_for_the_end_of_a_reply_that_can_t_be_interrupted(begin):
    talk = begin()
    talk.feed(ev.SayRequested(0.5, "Please hold the line.", interruptible=False), ev.ReplyHeard(0.6, 1))
    talk.feed(ev.SpeechStarted(1.0, since=0.95))
    other = talk.moved_elsewhere()
    assert other.phase == Phase.AGENT_SPEAKING
    assert other.feed(ev.PartialTranscript(1.5, 2, "what about me then")) == []
    other.feed(ev.ReplyEnded(2.0, 2, "the line."))
    assert other.phase == Phase.ENDPOINTING and other.turn.words == "what about me then"


# --- wary -----------------------------------------------------------------------------------------------------------


def wary(begin):
    """A conversation in which a dog has barked over the agent."""
    talk = begin(alarms_max=1).talked_over()
    talk.feed(ev.SpeechStopped(3.2, until=3.15), ev.FinalTranscript(3.3, 2, 1, ""))
    return talk


def test_after_false_alarms_a_hold_takes_longer(begin):
    talk = wary(begin)
    assert talk.feed(ev.SpeechStarted(4.0, since=3.95)) == [act.OpenRecognition(3, since=3.95)]
    assert talk.advance(4.24) == []
    assert talk.advance(4.25) == [act.HoldPlayout(1)]


def test_a_bark_is_then_not_even_held_for(begin):
    talk = wary(begin)
    held = len(talk.all(act.HoldPlayout))
    talk.feed(ev.SpeechStarted(4.0, since=3.95), ev.SpeechStopped(4.2, until=4.15), ev.FinalTranscript(4.3, 3, 1, ""))
    assert len(talk.all(act.HoldPlayout)) == held and talk.phase == Phase.AGENT_SPEAKING
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(3, "noise")
    assert len(talk.all(act.ResumePlayout)) == 1


def test_a_second_burst_earns_the_hold_that_the_first_was_too_short_for(begin):
    talk = wary(begin)
    talk.feed(ev.SpeechStarted(4.0, since=4.0), ev.SpeechStopped(4.2, until=4.2), ev.SpeechStarted(4.3, since=4.3))
    assert talk.advance(4.4) == [act.HoldPlayout(1)]


def test_wariness_passes(begin):
    talk = wary(begin)
    talk.advance(15.4)
    assert talk.feed(ev.SpeechStarted(15.4, since=15.38))[-1] == act.HoldPlayout(1)
