"""Sound beside words: what judges hear of a turn stretches a wait, spares an agent its echo, and says so."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Phase
from duologue.core.judging import JUDGES_MAX, Sound, sound

ANSWER = "It is five o'clock. And the sun is out."

# --- what is kept -----------------------------------------------------------------------------------------------------


def test_the_newest_of_each_judge_is_kept_for_the_open_turn_and_moves_with_it(begin):
    talk = begin().voice()
    talk.feed(ev.TurnJudged(1.5, 1, "ear", 0.2), ev.TurnJudged(1.6, 1, "ear", 0.9, None, 0.1))
    talk.feed(ev.TurnJudged(1.7, 1, "other", backchannel=0.5))
    assert talk.turn.judged == {"ear": [0.9, None, 0.1], "other": [None, 0.5, None]}
    talk.moved_elsewhere()  # compares the snapshots


def test_one_about_another_turn_is_dropped(begin):
    talk = begin()
    assert talk.feed(ev.TurnJudged(0.5, 1, "ear", 0.9)) == []
    talk.voice().feed(ev.TurnJudged(1.5, 2, "ear", 0.9))
    assert talk.turn.judged == {}


def test_judges_beyond_the_bound_are_not_kept(begin):
    talk = begin().voice()
    talk.feed(*(ev.TurnJudged(1.5, 1, f"ear {number}", 0.5) for number in range(JUDGES_MAX + 2)))
    talk.feed(ev.TurnJudged(1.6, 1, "ear 0", 0.6))
    assert len(talk.turn.judged) == JUDGES_MAX and talk.turn.judged["ear 0"] == [0.6, None, None]


def test_several_judges_count_by_their_mean_and_none_without_an_opinion(begin):
    talk = begin().voice()
    assert sound(talk.turn) == Sound(None, None, None)
    talk.feed(ev.TurnJudged(1.1, 1, "ear", 0.2, None, 0.5), ev.TurnJudged(1.1, 1, "other", 0.6, None, None))
    assert sound(talk.turn) == Sound(pytest.approx(0.4), None, 0.5)


# --- the end of a turn ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "over", "ends", "decided_by"),
    [
        ("What time is it?", 0.9, 1.85, "words"),
        ("What time is it?", 0.5, 1.85, "words"),  # not below what is likely
        ("What time is it?", 0.49, 2.95, "judge"),  # whoever sounds as if they went on is waited for
        ("the blue one", 0.1, 2.95, "judge"),
        ("the blue one", None, 2.1, "words"),
        ("I would like to", 0.1, 2.95, "words"),  # both say so
        ("I would like to", 0.9, 2.95, "words"),  # a judge never shortens the wait
    ],
)
def test_who_says_how_long_a_pause_is_waited_for(begin, text, over, ends, decided_by):
    talk = begin().voice()
    talk.feed(ev.SpeechStopped(1.5, until=1.45), ev.TurnJudged(1.55, 1, "ear", over))
    talk.feed(ev.FinalTranscript(1.6, 1, 1, text))
    assert talk.conversation.deadline == pytest.approx(ends)
    talk.advance(ends - 0.001)
    assert talk.all(act.TurnEnded) == []
    talk.advance(ends + 0.001)
    assert talk.all(act.TurnEnded) == [act.TurnEnded(1, text, decided_by=decided_by)]


def test_a_judge_that_hears_the_turn_go_on_stretches_the_wait_that_has_begun(begin):
    talk = begin().pause()
    assert talk.all(act.BeginReply)[0].speculative and talk.conversation.deadline == 1.85
    talk.feed(ev.TurnJudged(1.7, 1, "ear", 0.1))
    assert talk.conversation.deadline == 1.45 + 1.5
    talk.feed(ev.TurnJudged(1.8, 1, "ear", 0.9))
    assert talk.conversation.deadline == 1.85


def test_nothing_is_begun_early_for_whoever_sounds_as_if_they_went_on(begin):
    talk = begin().voice()
    talk.feed(ev.SpeechStopped(1.5, until=1.45), ev.TurnJudged(1.55, 1, "ear", 0.1))
    talk.feed(ev.FinalTranscript(1.6, 1, 1, "What time is it?"))
    assert talk.all(act.BeginReply) == []
    talk.feed(ev.TurnJudged(1.7, 1, "ear", 0.9))
    assert talk.all(act.BeginReply) == [act.BeginReply(1, 1, speculative=True, persona="test")]


# --- over the agent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "backchannel", "echo", "verdict", "decided_by"),
    [
        ("what about me", None, None, "interruption", "words"),
        ("what about me", 0.79, 0.79, "interruption", "words"),
        ("what about me", 0.8, None, "backchannel", "judge"),  # surely a listener's, whatever was read in it
        ("what about me", None, 0.8, "echo", "judge: echo"),
        ("stop", None, 0.9, "echo", "judge: echo"),  # the agent said it
        ("stop", 0.9, None, "interruption", "words"),  # no listener says that
        ("yeah stop", 0.9, None, "interruption", "words"),
        ("what about me then", 0.9, None, "interruption", "words"),  # too long for a listener's noise
        ("mm-hm", None, None, "backchannel", "words"),
        ("mm-hm", 0.9, 0.9, "echo", "judge: echo"),
        ("", None, None, "noise", "words"),
        ("", 0.9, None, "noise", "judge"),
    ],
)
def test_who_says_what_a_voice_over_the_agent_is(begin, text, backchannel, echo, verdict, decided_by):
    talk = begin().talked_over()
    talk.feed(ev.TurnJudged(3.1, 2, "ear", None, backchannel, echo), ev.SpeechStopped(3.3, until=3.25))
    talk.feed(ev.FinalTranscript(3.35, 2, 1, text))
    assert [(told.verdict, told.decided_by) for told in talk.all(act.OverlapJudged)] == [(verdict, decided_by)]
    assert bool(talk.all(act.CancelReply)) == (verdict == "interruption")


@pytest.mark.parametrize("sounds", [{"backchannel": 0.9}, {"echo": 0.9}], ids=["backchannel", "echo"])
def test_a_sure_sound_lets_the_agent_go_on_before_the_final(begin, sounds):
    talk = begin().talked_over()
    talk.feed(ev.SpeechStopped(3.3, until=3.25))
    assert talk.feed(ev.TurnJudged(3.32, 2, "ear", **sounds))[1] == act.ResumePlayout(1)
    assert talk.phase == Phase.AGENT_SPEAKING and talk.turn.state == "parked"
    assert talk.all(act.OverlapJudged)[0].decided_by == ("judge: echo" if "echo" in sounds else "judge")


def test_a_sure_sound_decides_nothing_while_the_voice_lasts(begin):
    talk = begin().talked_over()
    assert talk.feed(ev.TurnJudged(3.3, 2, "ear", backchannel=0.9)) == [] and talk.reply.held


def test_an_echo_never_interrupts_however_long_it_lasts(begin):
    talk = begin().talked_over()
    talk.feed(ev.TurnJudged(3.1, 2, "ear", echo=0.9), ev.PartialTranscript(3.3, 2, "It is five o'clock", 4))
    assert talk.advance(9.0) == [] and talk.reply.held
    talk.feed(ev.SpeechStopped(9.0, until=8.95), ev.FinalTranscript(9.1, 2, 1, "It is five o'clock"))
    assert talk.all(act.CancelReply) == []
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(2, "echo", "It is five o'clock")
    assert talk.said == [("user", "What time is it?")]


def test_an_echo_that_is_left_when_the_agent_ends_is_no_turn(begin):
    talk = begin(enabled=False).answering()
    talk.feed(ev.SpeechStarted(2.2, since=2.15), ev.TurnJudged(2.5, 2, "ear", echo=0.9), ev.ReplyEnded(3.0, 1, ANSWER))
    talk.feed(ev.SpeechStopped(3.1, until=3.05), ev.FinalTranscript(3.2, 2, 1, "And the sun is out."))
    talk.advance(3.5)
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(2, "echo", "And the sun is out.")
    assert talk.phase == Phase.LISTENING


def test_words_of_a_parked_turn_that_is_surely_an_echo_stop_nobody(begin):
    talk = begin().parked()
    talk.feed(ev.TurnJudged(3.55, 2, "ear", echo=0.9), ev.FinalTranscript(3.6, 2, 1, "Stop."))
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(2, "echo", "Stop.") and talk.all(act.CancelReply) == []


def test_a_sure_backchannel_over_the_end_of_a_question_answers_it(begin):
    talk = begin().answering("Is it five?")
    talk.feed(ev.ReplyGenerated(2.5, 1), ev.SpeechStarted(3.0, since=2.95), ev.HeardSoFar(3.0, 1, "Is it five?", 0.5))
    talk.feed(ev.TurnJudged(3.1, 2, "ear", backchannel=0.9), ev.PartialTranscript(3.2, 2, "yes", 1))
    assert talk.all(act.OverlapJudged) == [act.OverlapJudged(2, 1, "interruption", "words")]


def test_a_hum_that_lasts_too_long_is_an_interruption_all_the_same(begin):
    talk = begin().talked_over()
    talk.feed(ev.TurnJudged(3.1, 2, "ear", backchannel=0.9), ev.PartialTranscript(3.3, 2, "mm", 1))
    assert talk.advance(5.0) == []
    assert talk.advance(5.16)[0] == act.OverlapJudged(2, 1, "interruption", "voice")
