"""The user's turn: opened, recognised, ended, answered or knowingly not."""

import pytest

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.machines import Phase, TurnState
from duologue.core.messages import Message
from duologue.core.options import ReplyOptions
from duologue.core.turns import IMAGES_MAX, normal_words
from duologue.core.words import Word
from duologue.errors import ProtocolError


def test_words_are_compared_without_case_punctuation_and_space():
    assert normal_words(" What, time IS it? ") == "what time is it" == normal_words("what time — is it")


# --- voice ----------------------------------------------------------------------------------------------------------


def test_voice_opens_a_turn_and_recognition_from_its_first_sample(begin):
    talk = begin().voice()
    assert talk.actions == [act.OpenRecognition(1, since=0.95)]
    assert talk.phase == Phase.USER_SPEAKING


def test_the_final_is_asked_for_at_the_stop_not_at_the_endpoint(begin):
    talk = begin().voice()
    assert talk.feed(ev.SpeechStopped(1.5, until=1.45)) == [act.FinaliseRecognition(1, mark=1)]
    assert talk.conversation.deadline == 1.45 + 0.65


def test_voice_can_t_start_or_stop_twice(begin):
    talk = begin().voice()
    with pytest.raises(ProtocolError, match="can't start twice"):
        talk.feed(ev.SpeechStarted(1.1, since=1.05))
    talk.feed(ev.SpeechStopped(1.5, until=1.45))
    with pytest.raises(ProtocolError, match="can't stop before it has started"):
        talk.feed(ev.SpeechStopped(1.6, until=1.5))


def test_the_reply_begins_with_the_final_and_is_released_at_the_endpoint(begin):
    talk = begin().pause()
    assert talk.actions[-1] == act.BeginReply(1, 1, speculative=True, persona="test")
    assert talk.advance(1.849) == []
    assert talk.advance(1.85) == [
        act.CloseRecognition(1),
        act.TurnEnded(1, "What time is it?", decided_by="words"),
        act.ReleaseReply(1),
    ]
    assert talk.said == [("user", "What time is it?")]


def test_an_unfinished_sentence_is_waited_for_and_begins_no_reply(begin):
    talk = begin().pause("I would like to")
    assert talk.all(act.BeginReply) == []
    assert talk.conversation.deadline == 1.45 + 1.5


def test_patience_stretches_the_wait(begin):
    assert begin(patience=2.0).pause().conversation.deadline == pytest.approx(1.45 + 0.8)


def test_the_person_s_own_pauses_stretch_the_wait(begin):
    talk = begin().voice(0.05)
    for at in (1.0, 3.0, 5.0):
        talk.feed(ev.SpeechStopped(at, until=at), ev.FinalTranscript(at, 1, talk.turn.mark, "and then"))
        talk.feed(ev.SpeechStarted(at + 1.4, since=at + 1.4))
    assert talk.state.pauses == pytest.approx([1.4, 1.4, 1.4])
    talk.feed(ev.SpeechStopped(7.0, until=7.0), ev.FinalTranscript(7.0, 1, 4, "and then"))
    assert talk.conversation.deadline == pytest.approx(7.0 + 1.15 * 1.4)


def test_a_gap_that_is_no_hesitation_tells_nothing_of_pauses(begin):
    talk = begin().pause()
    talk.feed(ev.SpeechStarted(1.62, since=1.6))
    assert talk.state.pauses == []


# --- going on before the endpoint -----------------------------------------------------------------------------------


def test_going_on_keeps_the_speculative_reply_until_other_words_come(begin):
    talk = begin().pause()
    assert talk.feed(ev.SpeechStarted(1.7, since=1.68)) == []
    assert talk.feed(ev.PartialTranscript(1.8, 1, "What time, is it")) == []
    assert talk.feed(ev.PartialTranscript(1.9, 1, "What time is it in Rome")) == [act.CancelReply(1, "continued")]
    assert talk.feed(ev.ReplyEnded(1.91, 1, "", cut=True)) == []
    assert talk.conversation.history == ()


def test_a_cough_in_the_endpointing_silence_costs_no_new_reply(begin):
    talk = begin().pause()
    talk.feed(
        ev.SpeechStarted(1.7, since=1.68), ev.SpeechStopped(1.9, until=1.85),
        ev.FinalTranscript(2.0, 1, 2, "What time is it?"),
    )  # fmt: skip
    talk.advance(2.25)
    assert [action.reply for action in talk.all(act.BeginReply)] == [1]
    assert talk.last(act.ReleaseReply).reply == 1


def test_speculation_goes_on_when_the_cut_is_confirmed_and_ends_at_its_bound(begin):
    talk = begin(speculations_max=2).pause("One.")
    for number, at, text in ((2, 2.0, "One. Two."), (3, 2.6, "One. Two. Three.")):
        talk.feed(
            ev.SpeechStarted(at - 0.3, since=at - 0.3), ev.SpeechStopped(at, until=at),
            ev.FinalTranscript(at, 1, number, text),
        )  # fmt: skip
        talk.feed(ev.ReplyEnded(at + 0.1, number - 1, "", cut=True))
    assert [action.reply for action in talk.all(act.BeginReply)] == [1, 2]
    talk.advance(3.1)
    assert talk.last(act.BeginReply) == act.BeginReply(3, 1, persona="test")


def test_without_speculation_the_reply_begins_at_the_endpoint(begin):
    talk = begin(speculate=False).pause()
    assert talk.all(act.BeginReply) == []
    talk.advance(1.85)
    assert talk.last(act.BeginReply) == act.BeginReply(1, 1, persona="test")


def test_a_final_that_differs_supersedes_the_reply_begun_before(begin):
    talk = begin().pause()
    talk.feed(ev.TypedTurn(1.7, "In Rome."))
    assert talk.all(act.CancelReply) == [act.CancelReply(1, "continued")]
    talk.feed(ev.ReplyEnded(1.71, 1, "", cut=True))
    talk.advance(2.0)
    assert talk.last(act.TurnEnded).text == "In Rome. What time is it?"
    assert talk.last(act.ReleaseReply).reply == 2


def test_words_without_a_final_supersede_the_reply_at_the_endpoint(begin):
    talk = begin().pause()
    talk.feed(
        ev.SpeechStarted(1.7, since=1.68), ev.SpeechStopped(1.9, until=1.88),
        ev.PartialTranscript(2.0, 1, "What time is it in Rome"),
    )  # fmt: skip
    assert talk.all(act.CancelReply) == []
    assert talk.advance(3.9)[-2:] == [act.CancelReply(1, "superseded"), act.BeginReply(2, 1, persona="test")]


# --- words ----------------------------------------------------------------------------------------------------------


def test_words_of_another_turn_are_late_and_dropped(begin):
    talk = begin().pause()
    before = talk.conversation.snapshot()
    for late in (ev.PartialTranscript(1.6, 7, "x"), ev.FinalTranscript(1.6, 7, 1, "x"),
                 ev.RecognitionFailed(1.6, 7, "x")):  # fmt: skip
        assert talk.feed(late) == [] and talk.conversation.snapshot() == before


@pytest.mark.parametrize("mark", [0, 1, 2])
def test_a_final_counts_once_and_only_if_it_was_asked_for(begin, mark):
    talk = begin().pause()
    before = talk.conversation.snapshot()
    assert talk.feed(ev.FinalTranscript(1.6, 1, mark, "other")) == []
    assert talk.conversation.snapshot() == before


def test_the_turn_ends_with_its_final_when_that_comes_after_the_endpoint(begin):
    talk = begin().voice()
    talk.feed(ev.SpeechStopped(1.5, until=1.45), ev.PartialTranscript(1.55, 1, "What time is"))
    assert talk.advance(3.0) == [] and talk.turn.state is TurnState.OVER
    talk.feed(ev.FinalTranscript(3.1, 1, 1, "What time is it?"))
    assert talk.last(act.TurnEnded).text == "What time is it?"
    assert talk.last(act.BeginReply) == act.BeginReply(1, 1, persona="test")


def test_without_a_final_the_last_partial_stands(begin):
    talk = begin().voice()
    talk.feed(ev.SpeechStopped(1.5, until=1.45), ev.PartialTranscript(1.55, 1, "What time is"))
    assert [type(action) for action in talk.advance(3.45)] == [act.CloseRecognition, act.TurnEnded, act.BeginReply]
    assert talk.said == [("user", "What time is")]


def test_a_recogniser_that_fails_is_not_waited_for(begin):
    talk = begin().voice()
    talk.feed(
        ev.PartialTranscript(1.2, 1, "What time is it"), ev.RecognitionFailed(1.3, 1, "it broke"),
        ev.SpeechStopped(1.5, until=1.45),
    )  # fmt: skip
    assert talk.all(act.FinaliseRecognition) == [] and talk.all(act.BeginReply) == []
    talk.advance(2.1)
    assert talk.last(act.BeginReply) == act.BeginReply(1, 1, persona="test")


def test_a_turn_that_could_not_be_recognised_is_apologised_for(begin):
    talk = begin().voice()
    talk.feed(ev.SpeechStopped(1.5, until=1.45), ev.RecognitionFailed(1.6, 1, "it broke"))
    talk.advance(2.1)
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(1, "not recognised")
    assert talk.last(act.BeginReply) == act.BeginReply(
        1, 0, text=talk.policy.reply.apology, persona="test", options=ReplyOptions(in_history=False)
    )


def test_voice_without_words_is_noise(begin):
    talk = begin().pause("")
    talk.advance(2.1)
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(1, "noise")
    assert (talk.phase, talk.said) == (Phase.LISTENING, [])


def test_a_short_sound_in_words_that_the_recogniser_doubts_is_noise(begin):
    doubted = (Word("Bye", 1.0, 1.2, 0.05), Word("bye.", 1.2, 1.4, 0.1))
    for by_hand, reason in ((False, ["noise"]), (True, [])):
        talk = begin()
        if by_hand:
            talk.feed(ev.TurnOpened(0.9))
        talk.voice().feed(ev.SpeechStopped(1.5, until=1.45), ev.FinalTranscript(1.6, 1, 1, "Bye bye.", doubted))
        if by_hand:
            talk.feed(ev.TurnCommitted(1.7), ev.FinalTranscript(1.8, 1, 2, "Bye bye.", doubted))
        talk.advance(1.9)
        assert [action.reason for action in talk.all(act.TurnDismissed)] == reason


def test_words_that_are_partly_sure_are_a_turn(begin):
    words = (Word("Goodbye", 1.0, 1.2, 0.9), Word("bye.", 1.2, 1.4, 0.1), Word("now", 1.2, 1.4))
    talk = begin().voice()
    talk.feed(ev.SpeechStopped(1.5, until=1.45), ev.FinalTranscript(1.6, 1, 1, "Goodbye bye. now", words))
    assert talk.turn.evidence == "Goodbye now"
    talk.advance(2.5)
    assert talk.last(act.TurnEnded).text == "Goodbye bye. now"


# --- bounds ---------------------------------------------------------------------------------------------------------


def test_a_turn_at_its_bound_is_ended_and_what_follows_continues_it(begin):
    talk = begin(turn_s_max=10.0).voice()
    talk.feed(ev.PartialTranscript(5.0, 1, "And so on and on"))
    assert talk.advance(10.95) == [act.FinaliseRecognition(1, mark=1)]
    talk.feed(ev.FinalTranscript(11.2, 1, 1, "And so on and on."))
    assert talk.actions[-5:] == [
        act.CloseRecognition(1),
        act.TurnEnded(1, "And so on and on."),
        act.BeginReply(1, 1, persona="test"),
        act.OpenRecognition(2, since=10.95),
        act.HoldPlayout(1),
    ]
    talk.feed(ev.PartialTranscript(11.5, 2, "and on and on"), ev.ReplyEnded(11.6, 1, "", cut=True))
    assert talk.turn.merged == 1 and talk.turn.words == "And so on and on. and on and on"


@pytest.mark.parametrize("text", ["", "A note."])
def test_a_voice_that_runs_on_after_an_unanswered_turn_is_a_turn_of_its_own(begin, text):
    talk = begin(turn_s_max=10.0, automatic=False).voice()
    talk.advance(10.95)
    talk.feed(ev.FinalTranscript(11.2, 1, 1, text))
    assert talk.all(act.TurnDismissed) and talk.last(act.OpenRecognition) == act.OpenRecognition(2, since=10.95)
    assert talk.phase == Phase.USER_SPEAKING


def test_the_bound_waits_while_the_agent_can_t_be_interrupted(begin):
    talk = begin(turn_s_max=5.0, enabled=False).answering()
    talk.feed(ev.SpeechStarted(3.0, since=2.95))
    assert talk.advance(8.0) == [] and talk.phase == Phase.OVERLAP
    talk.feed(ev.ReplyEnded(9.0, 1, "It is five o'clock."))
    assert talk.advance(12.95) == [act.FinaliseRecognition(2, mark=1)]


# --- images and personas ----------------------------------------------------------------------------------------------


def test_images_go_with_the_turn_and_begin_the_reply_anew(begin):
    talk = begin().pause()
    assert talk.feed(ev.ImagesShown(1.7, ("data:a",))) == [act.CancelReply(1, "continued")]
    again = act.BeginReply(2, 1, speculative=True, persona="test")
    assert talk.feed(ev.ReplyEnded(1.75, 1, "", cut=True)) == [again]
    talk.advance(1.85)
    assert talk.last(act.TurnEnded).images == ("data:a",) and talk.last(act.ReleaseReply).reply == 2
    assert talk.state.images == []


def test_no_images_change_nothing(begin):
    assert begin().pause().feed(ev.ImagesShown(1.7, ())) == []


def test_older_images_give_way(begin):
    talk = begin()
    talk.feed(ev.ImagesShown(0.5, tuple(f"data:{n}" for n in range(IMAGES_MAX + 2))))
    assert talk.state.images[0] == "data:2" and len(talk.state.images) == IMAGES_MAX


def test_noise_is_no_answer_to_an_image_and_a_pressed_button_is(begin):
    talk = begin()
    talk.feed(ev.ImagesShown(0.5, ("data:a",)))
    talk.pause("").advance(2.1)
    assert talk.last(act.TurnDismissed).reason == "noise" and talk.state.images == ["data:a"]
    talk.feed(ev.TurnOpened(3.0), ev.TurnCommitted(3.1), ev.FinalTranscript(3.2, 2, 1, ""))
    assert talk.last(act.TurnEnded) == act.TurnEnded(2, "", ("data:a",))


def test_a_cough_over_the_agent_takes_no_image_away(begin):
    talk = begin().answering()
    talk.feed(ev.ImagesShown(2.5, ("data:a",)), ev.SpeechStarted(3.0, since=2.95), ev.SpeechStopped(3.2, until=3.15),
              ev.FinalTranscript(3.3, 2, 1, ""))  # fmt: skip
    assert talk.last(act.TurnDismissed) == act.TurnDismissed(2, "noise") and talk.state.images == ["data:a"]


def test_another_persona_speaks_from_the_next_turn_on(begin):
    talk = begin().answering()
    talk.feed(ev.PersonaChanged(2.5, "other", "Be other."))
    assert talk.conversation.persona == "test" and talk.conversation.prompt(1)[0].text == "Be kind."
    talk.feed(ev.ReplyEnded(3.0, 1, "It is five."), ev.SpeechStarted(4.0, since=3.95))
    assert talk.conversation.persona == "other"
    said = begin()
    said.feed(ev.PersonaChanged(0.5, "other", "Be other."), ev.SayRequested(0.6, "Hello."))
    assert said.conversation.persona == "other"


# --- turns that continue an unanswered one --------------------------------------------------------------------------


def unheard_reply_is_cut(talk, at, text="in Rome, of course"):
    """The user goes on at `at`, before a word of reply 1 is heard."""
    talk.feed(ev.SpeechStarted(at, since=at - 0.05), ev.PartialTranscript(at + 0.2, 2, text, 4))
    assert talk.last(act.CancelReply) == act.CancelReply(1, "continued")
    talk.feed(ev.ReplyEnded(at + 0.25, 1, "", cut=True))
    return talk


def test_going_on_right_after_the_endpoint_merges_the_turns(begin):
    talk = unheard_reply_is_cut(begin().asked(), 2.0)
    assert talk.turn.merged == 1 and talk.state.pauses == pytest.approx([0.5])
    talk.feed(ev.SpeechStopped(2.8, until=2.75), ev.FinalTranscript(2.9, 2, 1, "in Rome, of course."))
    talk.advance(3.5)
    assert talk.last(act.TurnEnded) == act.TurnEnded(
        2, "What time is it? in Rome, of course.", merged=1, decided_by="words"
    )
    assert talk.said == [("user", "What time is it? in Rome, of course.")]


def test_turns_far_apart_are_two(begin):
    talk = unheard_reply_is_cut(begin().asked(), 4.0)
    assert (talk.turn.merged, talk.turn.owed) == (0, 1)
    talk.feed(ev.SpeechStopped(4.8, until=4.75), ev.FinalTranscript(4.9, 2, 1, "in Rome, of course."))
    talk.advance(5.5)
    assert talk.said == [("user", "What time is it?"), ("user", "in Rome, of course.")]


def test_noise_that_silenced_an_answer_is_owed_it(begin):
    talk = unheard_reply_is_cut(begin().asked(), 4.0)
    talk.feed(ev.SpeechStopped(4.8, until=4.75), ev.FinalTranscript(4.9, 2, 1, ""))
    talk.advance(5.5)
    assert talk.last(act.TurnDismissed).reason == "noise"
    assert talk.last(act.BeginReply) == act.BeginReply(2, 1, persona="test")


def test_a_reply_that_used_a_tool_before_it_was_cut_keeps_its_place(begin):
    talk = begin().asked()
    talk.feed(ev.ToolRequested(1.9, 1, "a", "clock", "{}"), ev.ReplyGenerated(1.9, 1), ev.ToolReturned(1.95, "a", "5"))
    unheard_reply_is_cut(talk, 2.0)
    assert talk.turn.merged == 0 and talk.turn.owed == 1
    assert [item.id for item in talk.conversation.history] == ["turn_1", "call_a", "output_a"]


def test_a_reply_to_nobody_that_is_cut_unheard_owes_nothing(begin):
    talk = begin()
    talk.feed(ev.SayRequested(0.5, "Hello there."), ev.TurnOpened(1.0), ev.ReplyEnded(1.1, 1, "", cut=True))
    assert (talk.turn.merged, talk.turn.owed) == (0, 0)


# --- closing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["voice", "pause", "talked_over", "parked"])
def test_closing_dismisses_the_open_turn(begin, way):
    talk = getattr(begin(), way)()
    talk.feed(ev.CloseRequested(talk.conversation.now, "bye"))
    assert talk.last(act.TurnDismissed).reason == "closing"
    assert talk.state.turn is None


def test_voice_is_not_listened_to_while_closing(begin):
    talk = begin().answering()
    talk.feed(ev.CloseRequested(2.5, "bye"))
    assert talk.feed(ev.SpeechStarted(3.0, since=2.95), ev.SpeechStopped(3.5, until=3.45)) == []


# --- personas: who answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["voice", "pause"])
def test_a_persona_changed_in_mid_turn_answers_the_next_turn_and_not_this_one(begin, way):
    talk = getattr(begin(), way)()
    talk.feed(ev.PersonaChanged(1.6, "other", "Be other."))
    if way == "voice":
        talk.feed(ev.SpeechStopped(1.65, until=1.6), ev.FinalTranscript(1.7, 1, 1, "What time is it?"))
    talk.advance(2.1)
    talk.feed(ev.ReplyHeard(2.2, 1))
    assert talk.last(act.BeginReply).persona == "test" and talk.conversation.prompt(1)[0].text == "Be kind."
    talk.feed(
        ev.ReplyEnded(3.0, 1, "It is five."), ev.SpeechStarted(4.0, since=3.95), ev.SpeechStopped(4.5, until=4.45)
    )
    talk.feed(ev.FinalTranscript(4.6, 2, 1, "And now?"))
    assert talk.last(act.BeginReply).persona == "other" and talk.conversation.prompt(2)[0].text == "Be other."
    talk.advance(4.9)
    talk.feed(ev.ReplyHeard(5.0, 2), ev.ReplyEnded(6.0, 2, "Six."))
    assert [item.persona for item in talk.conversation.history if item.id.startswith("reply")] == ["test", "other"]


def test_a_handover_during_a_reply_is_heard_after_it_with_a_greeting_of_its_own(begin):
    talk = begin().answering()
    assert talk.feed(ev.PersonaChanged(2.5, "other", "Be other.", "Hello, I am new.")) == []
    talk.feed(ev.SayRequested(2.6, "Five minutes left."))
    assert talk.feed(ev.ReplyEnded(3.0, 1, "It is five."))[-1] == act.BeginReply(
        2, 0, text="Hello, I am new.", persona="other"
    )
    assert talk.conversation.persona == "other" and talk.conversation.history[-1].persona == "test"
    assert talk.feed(ev.ReplyEnded(4.0, 2, "Hello, I am new."))[-1].text == "Five minutes left."
    assert talk.conversation.history[-1].persona == "other"


def test_a_greeting_is_dropped_when_the_user_is_answered_first(begin):
    talk = begin().voice()
    talk.feed(ev.PersonaChanged(1.2, "other", "Be other.", "Hello, I am new."))
    talk.feed(ev.SpeechStopped(1.5, until=1.45), ev.FinalTranscript(1.6, 1, 1, "What time is it?"))
    talk.advance(1.85)
    talk.feed(ev.ReplyHeard(2.0, 1), ev.ReplyEnded(3.0, 1, "It is five."))
    assert talk.phase == Phase.LISTENING and [action.text for action in talk.all(act.BeginReply)] == [None]


def test_only_the_newest_persona_greets_and_none_while_closing(begin):
    talk = begin().answering()
    talk.feed(ev.PersonaChanged(2.5, "a", "Be a.", "Hello, a."), ev.PersonaChanged(2.6, "b", "Be b.", "Hello, b."))
    assert [queued.text for queued in talk.state.queue] == ["Hello, b."]
    talk.feed(ev.PersonaChanged(2.7, "c", "Be c."))
    assert talk.state.queue == []
    talk.feed(ev.CloseRequested(2.8, "bye"), ev.PersonaChanged(2.9, "d", "Be d.", "Hello, d."))
    assert talk.feed(ev.ReplyEnded(3.0, 1, "It is five."))[-1] == act.CloseSession("bye")


def test_a_reply_that_is_cut_is_remembered_as_whose_it_was(begin):
    talk = begin().answering()
    talk.feed(ev.PersonaChanged(2.5, "other", "Be other."), ev.TurnOpened(3.0, interrupt=True))
    talk.feed(ev.ReplyEnded(3.1, 1, "It is", cut=True))
    assert talk.conversation.persona == "other" and talk.conversation.history[-1].persona == "test"


def test_a_reply_that_moves_is_still_whose_it_was(begin):
    talk = begin().answering()
    talk.feed(ev.PersonaChanged(2.5, "other", "Be other."))
    other = talk.moved_elsewhere()
    assert other.last(act.BeginReply).persona == "test" and other.conversation.persona == "test"
    other.feed(ev.ReplyEnded(3.0, 2, "It is five."), ev.TypedTurn(4.0, "And now?"))
    assert other.last(act.BeginReply).persona == "other"


def test_a_turn_that_moves_is_answered_by_whom_it_would_have_been(begin):
    talk = begin().voice()
    talk.feed(ev.PartialTranscript(1.2, 1, "What time is it"), ev.PersonaChanged(1.3, "other", "Be other."))
    other = talk.moved_elsewhere()
    other.advance(3.5)
    assert other.last(act.TurnEnded).turn == 2 and other.last(act.BeginReply).persona == "test"


# --- callers: who asks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "author"), [("Bob", "Bob"), ("", "guest-7")])
def test_a_turn_is_whose_voice_it_was(begin, name, author):
    talk = begin()
    talk.feed(ev.CallerChanged(0.5, "guest-7", name))
    talk.pause()
    assert talk.conversation.prompt(1)[-1] == Message("user", "What time is it?", name=author)
    talk.advance(1.85)
    assert talk.last(act.TurnEnded).author == author and talk.conversation.history[-1].author == author
    assert talk.conversation.prompt(1)[-1] == Message("user", "What time is it?", name=author)
    talk.feed(ev.CallerChanged(2.0, "", ""), ev.ReplyEnded(3.0, 1, "Five."), ev.TypedTurn(4.0, "Thanks."))
    assert talk.last(act.TurnEnded).author == "" and talk.moved_elsewhere().conversation.history[0].author == author


@pytest.mark.parametrize("reply", [True, False])
def test_a_typed_turn_is_whose_it_says_or_else_the_caller_s(begin, reply):
    talk = begin()
    talk.feed(ev.CallerChanged(0.5, "guest-7", "Bob"), ev.TypedTurn(1.0, "Hello.", reply=reply, author="Eve"))
    assert talk.last(act.TurnEnded).author == talk.conversation.history[-1].author == "Eve"
    talk.feed(*([ev.ReplyEnded(2.0, 1, "Hello, Eve.")] if reply else []), ev.TypedTurn(3.0, "And I.", reply=reply))
    assert talk.last(act.TurnEnded).author == talk.conversation.history[-1].author == "Bob"


def test_who_types_over_the_agent_is_kept_while_it_waits(begin):
    talk = begin().answering()
    talk.feed(ev.TypedTurn(2.5, "And tomorrow?", author="Eve"))
    other = talk.moved_elsewhere()
    assert other.last(act.TurnEnded) == act.TurnEnded(2, "And tomorrow?", author="Eve")
