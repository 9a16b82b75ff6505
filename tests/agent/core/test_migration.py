"""A conversation goes on in another process: nothing that was said is lost, nothing is said twice."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.conversation import Phase
from duologue.core.history import AgentItem
from duologue.core.migration import CARRY_ON, UNKNOWN_RESULT, unheard
from duologue.core.options import ReplyOptions


def test_a_free_floor_is_taken_over_as_it_is(begin):
    talk = begin().greeted()
    other = talk.moved_elsewhere()
    assert other.actions == [] and other.conversation.snapshot() == talk.conversation.snapshot()


def test_an_open_turn_keeps_its_words_and_is_recognised_on(begin):
    talk = begin().voice()
    talk.feed(ev.FinalTranscript(1.2, 1, 0, ""), ev.PartialTranscript(1.3, 1, "I would like to"))
    other = talk.moved_elsewhere()
    assert other.actions == [act.OpenRecognition(2, since=1.3)]
    assert (other.phase, other.turn.words, other.turn.since) == (Phase.ENDPOINTING, "I would like to", 0.95)
    other.feed(ev.SpeechStarted(1.5, since=1.4), ev.SpeechStopped(2.0, until=1.95))
    other.feed(ev.FinalTranscript(2.1, 2, 1, "go to Rome."))
    other.advance(2.4)
    assert other.said == [("user", "I would like to go to Rome.")]


def test_a_speculative_reply_is_begun_anew(begin):
    other = begin().pause().moved_elsewhere()
    assert other.actions == [act.OpenRecognition(2, since=1.6), act.BeginReply(2, 2, speculative=True, persona="test")]
    other.advance(2.1)
    assert other.last(act.ReleaseReply) == act.ReleaseReply(2)


def test_a_turn_that_was_over_is_answered(begin):
    talk = begin(mode="manual")
    talk.feed(ev.TurnOpened(1.0), ev.PartialTranscript(1.5, 1, "What time is it"), ev.TurnCommitted(2.0))
    other = talk.moved_elsewhere()
    assert other.last(act.TurnEnded) == act.TurnEnded(2, "What time is it") and other.phase == Phase.THINKING


def test_a_turn_by_hand_still_waits_for_its_commit(begin):
    talk = begin(mode="manual")
    talk.feed(ev.TurnOpened(1.0), ev.PartialTranscript(1.5, 1, "What time"))
    other = talk.moved_elsewhere()
    assert other.phase == Phase.USER_SPEAKING
    other.feed(ev.TurnCommitted(3.0), ev.FinalTranscript(3.1, 2, 1, "is it"))
    assert other.said == [("user", "What time is it")]


def test_a_turn_that_continues_another_still_does(begin):
    talk = begin().asked()
    talk.feed(ev.SpeechStarted(2.0, since=1.95), ev.PartialTranscript(2.2, 2, "in the town of Rome"))
    talk.feed(ev.ReplyEnded(2.25, 1, "", cut=True))
    other = talk.moved_elsewhere()
    assert (other.turn.merged, other.turn.words) == (1, "What time is it? in the town of Rome")


# --- replies ----------------------------------------------------------------------------------------------------------


def test_a_reply_that_nothing_was_heard_of_is_begun_anew(begin):
    other = begin().asked().moved_elsewhere()
    assert other.actions == [act.BeginReply(2, 1, persona="test")] and other.phase == Phase.THINKING
    assert other.said == [("user", "What time is it?")]


def test_a_reply_that_is_being_made_is_carried_on_after_its_last_heard_word(begin):
    talk = begin().answering()
    talk.feed(ev.HeardSoFar(2.5, 1, "It is five"))
    other = talk.moved_elsewhere()
    assert other.actions == [
        act.BeginReply(2, 1, persona="test", options=ReplyOptions(instructions="Be kind." + CARRY_ON))
    ]
    assert other.conversation.history[-1] == AgentItem(1, "It is five", cut=True, persona="test")
    assert other.phase == Phase.AGENT_SPEAKING and other.reply.heard


def test_instructions_for_once_go_on(begin):
    talk = begin()
    talk.feed(ev.ReplyRequested(0.5, options=ReplyOptions(instructions="Sing.")), ev.ReplyText(0.6, 1, "La la"))
    assert talk.moved_elsewhere().actions == [
        act.BeginReply(2, 0, persona="test", options=ReplyOptions(instructions="Sing."))
    ]
    talk.feed(ev.ReplyHeard(0.7, 1), ev.HeardSoFar(0.8, 1, "La"))
    assert talk.moved_elsewhere().actions == [
        act.BeginReply(2, 0, persona="test", options=ReplyOptions(instructions="Sing." + CARRY_ON))
    ]


def test_of_a_finished_text_the_rest_is_said(begin):
    talk = begin().answering("It is five o'clock.")
    talk.feed(ev.ReplyGenerated(2.1, 1), ev.HeardSoFar(2.5, 1, "It is five"))
    other = talk.moved_elsewhere()
    assert other.actions == [act.BeginReply(2, 1, text=" o'clock.", persona="test")]
    other.feed(ev.ReplyHeard(2.6, 2), ev.ReplyEnded(3.0, 2, " o'clock."))
    assert other.said[1:] == [("agent", "It is five"), ("agent", "o'clock.")]


def test_a_greeting_that_was_hardly_begun_is_said_in_full(begin):
    talk = begin()
    talk.feed(ev.SayRequested(0.5, "Hello there, my friend.", interruptible=False, in_history=False))
    other = talk.moved_elsewhere()
    assert other.actions == [
        act.BeginReply(2, 0, text="Hello there, my friend.", persona="test", options=ReplyOptions(in_history=False))
    ]
    assert not other.reply.interruptible
    talk.feed(ev.ReplyText(0.6, 1, "Hello there,"), ev.ReplyHeard(0.7, 1), ev.HeardSoFar(0.8, 1, "Hello"))
    other = talk.moved_elsewhere()
    assert other.last(act.BeginReply).text == " there, my friend." and other.said == []


@pytest.mark.parametrize(("way", "phase"), [("talked_over", Phase.AGENT_SPEAKING), ("asked", Phase.THINKING)])
def test_a_held_reply_goes_on_and_the_voice_is_heard_anew(begin, way, phase):
    talk = getattr(begin(), way)()
    if way == "asked":
        talk.feed(ev.SpeechStarted(3.0, since=2.95))
    assert talk.phase == Phase.OVERLAP
    other = talk.moved_elsewhere()
    assert other.phase == phase and not other.reply.held and not other.state.voice
    assert [type(action) for action in other.actions] == [act.BeginReply, act.OpenRecognition]
    other.feed(ev.SpeechStarted(3.1, since=3.05))
    assert other.actions[-1] == act.HoldPlayout(2) and other.turn.number == 3 and other.turn.unjudged


def test_a_parked_turn_is_still_parked(begin):
    other = begin().parked().moved_elsewhere()
    assert other.turn.unjudged and other.phase == Phase.AGENT_SPEAKING
    assert other.advance(5.5)[-1] == act.TurnDismissed(3, "noise")


def test_a_cut_that_was_not_confirmed_is_taken_at_the_last_report(begin):
    talk = begin().talked_over()
    talk.feed(ev.HeardSoFar(3.0, 1, "It is"), ev.PartialTranscript(3.2, 2, "what about tomorrow then", 4))
    other = talk.moved_elsewhere()
    assert other.actions[:2] == [act.OpenRecognition(3, since=3.2), act.TruncateHistory(1, "It is")]
    assert other.said[-1] == ("agent", "It is") and other.state.cutting == []


def test_a_turn_that_waited_for_the_cut_is_answered_once(begin):
    talk = begin().talked_over()
    talk.feed(ev.PartialTranscript(3.2, 2, "What about tomorrow?", 3), ev.SpeechStopped(3.3, until=3.25))
    talk.feed(ev.FinalTranscript(3.4, 2, 1, "What about tomorrow?"))
    talk.advance(3.7)
    other = talk.moved_elsewhere()
    assert [action.reply for action in other.all(act.BeginReply)] == [2]
    assert other.reply.turn == 3


def test_an_unheard_cut_merges_by_when_the_voice_began(begin):
    talk = begin().asked()
    talk.feed(ev.SpeechStarted(2.0, since=1.95), ev.PartialTranscript(5.0, 2, "in the town of Rome"))
    other = talk.moved_elsewhere()
    assert other.turn.merged == 1


# --- tools ------------------------------------------------------------------------------------------------------------


def with_tools(talk, at=2.1):
    talk.feed(
        ev.ToolRequested(at, 1, "far", "f", "{}", timeout_s=9.0, remote=True),
        ev.ToolRequested(at, 1, "again", "f", "{}", timeout_s=9.0),
        ev.ToolRequested(at, 1, "once", "f", "{}", timeout_s=9.0, cancellable=False),
        ev.ToolRequested(at, 1, "done", "f", "{}"),
        ev.ToolReturned(at, "done", "4"),
    )
    return talk


def test_tools_that_may_run_twice_do(begin):
    talk = with_tools(begin().answering())
    talk.feed(ev.ReplyGenerated(2.2, 1))
    other = talk.moved_elsewhere()
    assert other.actions == [act.RunTool(1, "again", "f", "{}")]
    assert other.feed(ev.ToolReturned(2.4, "far", "1"), ev.ToolReturned(2.5, "again", "2")) == [act.FinishReply(1)]
    assert other.reply.rounds[0].results == (("far", "1"), ("again", "2"), ("once", UNKNOWN_RESULT), ("done", "4"))


def test_the_caller_s_side_has_no_time_limit_and_ours_still_have_theirs(begin):
    other = with_tools(begin().answering()).moved_elsewhere()
    assert other.advance(11.2) == [
        act.SpeakFiller(1, "One moment."),
        act.CancelTool("again", "timeout"),
        act.FinishReply(1),
    ]
    assert other.advance(19.0) == [] and other.conversation.awaits_tool("far")


@pytest.mark.parametrize(("way", "phase"), [("answering", Phase.AGENT_SPEAKING), ("asked", Phase.THINKING)])
def test_a_held_reply_that_waits_for_tools_goes_on(begin, way, phase):
    talk = with_tools(getattr(begin(), way)())
    talk.feed(ev.SpeechStarted(3.0, since=2.95))
    other = talk.moved_elsewhere()
    assert other.actions[0] == act.ResumePlayout(1) and other.phase == phase and not other.reply.held


def test_a_summary_that_was_being_made_is_asked_for_again(begin):
    talk = begin(items_max=2)
    talk.feed(*(ev.TypedTurn(0.1 * n, f"Note {n}.", reply=False) for n in range(1, 4)))
    assert talk.all(act.SummariseHistory) == [act.SummariseHistory(1)]
    assert talk.moved_elsewhere().actions == [act.SummariseHistory(1)]


@pytest.mark.parametrize(
    ("text", "heard", "rest"),
    [
        ("One. Two. Three.", "", "One. Two. Three."),
        ("One. Two. Three.", "One. Two.", " Three."),
        ("One. Two. Three.", "One. Th", "ree."),
        ("One. Two. Three.", "One. Two. Three.", ""),
        ("One. Two.", "Nine", "One. Two."),
    ],
)
def test_the_rest_of_a_text_goes_on_behind_what_was_heard_of_it(text, heard, rest):
    """A chunk that the synthesiser left out is missing in what was heard."""
    assert unheard(text, heard) == rest
