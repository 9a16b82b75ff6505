"""What a caller lives through, over scripted stages in virtual time."""

import asyncio

from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.codec import NAMED
from duologue.core.policy import EndpointingPolicy, LimitsPolicy, Policy, ReplyPolicy
from duologue.errors import StageError, TransportError
from duologue.runtime.session_setup import Note, Persona
from duologue.testing.scripted_asr import Utterance
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_vad import ScriptedVad


def test_a_question_is_answered_and_both_are_remembered(call):
    done = call([(1.0, 1.2)], ["what time is it"], [ScriptedReply("It is five.")], hang_up=6.0).go()
    assert done.said() == [("user", "what time is it"), ("agent", "It is five.")]
    assert done.session.error is None
    assert not done.audible(0.0, 2.2)
    assert done.audible(2.85, 3.1)


def test_the_reply_begins_before_the_turn_is_known_to_be_over(call):
    done = call([(1.0, 1.2)], ["what time is it"], [ScriptedReply("It is five.")], hang_up=6.0).go()
    begun, released = done.one(act.BeginReply), done.one(act.ReleaseReply)
    assert begun.speculative and begun.reply == released.reply
    assert done.session.meter.speculative_used == 1


def test_talking_on_in_the_endpointing_silence_leaves_no_trace_of_the_speculative_reply(call):
    turn = Utterance("could you tell me about the museum", word_seconds=0.2)
    done = call([(1.0, 0.8), (2.2, 1.0)], [turn], [ScriptedReply("Gladly.")], hang_up=7.0).go()
    assert done.said() == [("user", "could you tell me about the museum"), ("agent", "Gladly.")]
    assert done.all(act.CancelReply)[0].reason == "continued"
    assert not done.audible(0.0, 3.2)


def test_a_cough_is_held_for_and_costs_a_short_gap_and_no_word(call):
    done = call([(1.0, 1.0), (4.0, 0.3)], ["tell me a story"], hang_up=25.0).go()
    hold = done.one(act.HoldPlayout)
    assert done.one(act.ResumePlayout).reply == hold.reply
    assert not done.audible(4.08, 4.3)
    assert done.audible(4.3 + 0.06 + 0.05, 4.3 + 0.4)
    assert done.said()[1] == ("agent", done.llm.requests and done.all(ev.ReplyEnded)[0].heard.strip())
    assert done.all(act.TurnDismissed)[0].reason == "noise"
    assert done.all(ev.ReplyEnded)[0].cut is False


def test_a_backchannel_does_not_stop_the_agent(call):
    done = call([(1.0, 1.0), (4.0, 0.4)], ["tell me a story", "mm-hm"], hang_up=25.0).go()
    assert done.all(act.CancelReply) == []
    assert done.all(act.TurnDismissed)[0].reason == "backchannel"


def test_an_interruption_silences_the_agent_and_its_question_is_answered(call):
    done = call(
        [(1.0, 1.0), (4.0, 1.5)],
        ["tell me a story", "wait what about tomorrow"],
        [ScriptedReply("It was a dark night. " + "And it rained. " * 20), ScriptedReply("Tomorrow is fine.")],
        hang_up=12.0,
    ).go()
    cut = done.one(act.CancelReply)
    assert cut.reason == "interrupted"
    assert not done.audible(4.09, 6.0)
    (_, story), (_, question), (_, answer) = done.said()[1:]
    assert (question, answer) == ("wait what about tomorrow", "Tomorrow is fine.")
    assert story.startswith("It was a dark night.") and len(story) < 150
    assert done.llm.requests[1].messages[2].text == story


def test_going_on_right_after_the_endpoint_merges_the_turns_and_drops_the_reply_unheard(call):
    done = call(
        [(1.0, 1.0), (2.75, 1.0)],
        ["i would like some tea", "with a lot of sugar"],
        [ScriptedReply("Tea it is.", first_token_s=0.8), ScriptedReply("Tea with sugar.")],
        hang_up=9.0,
        policy=Policy(reply=ReplyPolicy(speculate=False)),
    ).go()
    assert done.said() == [("user", "i would like some tea with a lot of sugar"), ("agent", "Tea with sugar.")]
    assert done.all(act.TurnEnded)[1].merged == 1
    assert [cut.reason for cut in done.all(act.CancelReply)] == ["continued"]


def test_the_greeting_comes_first(call):
    done = call(persona=Persona("test", "Be kind.", greeting="Hello there."), hang_up=4.0).go()
    assert done.said() == [("agent", "Hello there.")]


def test_say_waits_until_the_user_has_finished(call):
    async def during(session, transport):
        await _until(session, 1.5)
        session.say("By the way, dinner is ready.")

    done = call([(1.0, 1.2)], ["what time is it"], [ScriptedReply("Five.")], hang_up=9.0, during=during).go()
    assert [text for _, text in done.said()] == ["what time is it", "Five.", "By the way, dinner is ready."]


async def _until(session, at):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.call_later(at - session.now(), done.set_result, None)
    await done


def test_silence_is_asked_after_and_in_the_end_the_agent_says_goodbye(call):
    policy = Policy(limits=LimitsPolicy(idle_s=3.0, idle_prompts=("Still there?",), farewell="Goodbye."))
    done = call(hang_up=60.0, policy=policy).go()
    assert [text for _, text in done.said()] == ["Still there?", "Goodbye."]
    assert done.one(act.CloseSession).reason == "idle"
    assert done.session.now() < 12.0


def test_the_session_ends_at_its_time_limit_with_a_farewell(call):
    policy = Policy(limits=LimitsPolicy(idle_s=None, session_s_max=5.0, farewell="Time is up."))
    done = call(hang_up=60.0, policy=policy).go()
    assert done.said() == [("agent", "Time is up.")]
    assert done.one(act.CloseSession).reason == "time limit"


def test_closing_lets_the_agent_finish_its_sentence(call):
    async def during(session, transport):
        await _until(session, 3.5)
        await session.close("enough")

    done = call([(1.0, 1.0)], ["hello"], [ScriptedReply("Hello to you, and welcome.")], during=during).go()
    assert done.said()[1] == ("agent", "Hello to you, and welcome.")
    assert done.one(act.CloseSession).reason == "enough"


def test_push_to_talk_ends_a_turn_by_hand_and_never_by_silence(call):
    async def during(session, transport):
        await _until(session, 0.9)
        session.open_turn()
        await _until(session, 5.0)
        assert session.phase == "endpointing"
        session.commit_turn()

    policy = Policy(endpointing=EndpointingPolicy(mode="manual"))
    done = call([(1.0, 1.0)], ["hello"], [ScriptedReply("Hi.")], hang_up=8.0, policy=policy, during=during).go()
    assert done.said() == [("user", "hello"), ("agent", "Hi.")]
    assert done.one(act.BeginReply).speculative is False


def test_in_manual_mode_voice_without_the_button_is_nobody_s_turn(call):
    policy = Policy(endpointing=EndpointingPolicy(mode="manual"))
    done = call([(1.0, 1.0)], ["hello"], hang_up=4.0, policy=policy).go()
    assert done.said() == [] and done.asr.opened == 0


def test_a_typed_turn_with_an_image_silences_the_agent_and_is_answered(call):
    async def during(session, transport):
        await _until(session, 4.0)
        session.type("what is this", images=["data:image/png;base64,AAAA"])

    done = call(
        [(1.0, 1.0)],
        ["tell me a story"],
        [ScriptedReply("Once upon a time. " * 20), ScriptedReply("A cat.")],
        hang_up=8.0,
        during=during,
    ).go()
    assert done.one(act.CancelReply).reason == "superseded"
    assert done.said()[-2:] == [("user", "what is this"), ("agent", "A cat.")]
    assert done.llm.requests[1].messages[-1].images == ("data:image/png;base64,AAAA",)


def test_a_reply_on_request_may_have_other_instructions_and_leave_no_trace(call):
    async def during(session, transport):
        await _until(session, 1.0)
        session.request_reply(instructions="Whisper.", in_history=False)

    done = call(replies=[ScriptedReply("Psst.")], hang_up=4.0, during=during).go()
    assert done.llm.requests[0].messages[0].text == "Whisper."
    assert done.said() == [] and done.audible(1.3, 1.6)


def test_another_pack_speaks_from_the_next_turn_on(call):
    async def during(session, transport):
        await _until(session, 0.5)
        session.use_persona(Persona("pirate", "You are a pirate."))

    done = call([(1.0, 1.0)], ["hello"], [ScriptedReply("Arr.")], hang_up=5.0, during=during).go()
    assert done.llm.requests[0].messages[0].text == "You are a pirate."
    assert done.session.conversation.persona == "pirate"


def test_a_model_that_fails_is_apologised_for_and_the_session_goes_on(call):
    done = call(
        [(1.0, 1.0), (8.0, 1.0)],
        ["hello", "again please"],
        [ScriptedReply("x", fail_after=0), ScriptedReply("x", fail_after=0), ScriptedReply("Here I am.")],
        hang_up=14.0,
    ).go()
    assert done.audible(2.5, 5.5)
    assert done.said() == [("user", "hello"), ("user", "again please"), ("agent", "Here I am.")]
    assert done.all(ev.ReplyFailed)[0].stage == "llm"


def test_a_stream_that_stops_half_way_says_what_it_had_and_apologises(call):
    done = call([(1.0, 1.0)], ["hello"], [ScriptedReply("Well then. This is the", fail_after=4)], hang_up=9.0).go()
    assert done.said()[1] == ("agent", "Well then. This is")
    assert any("went wrong" in text for text in done.tts.spoken)


def test_a_recogniser_that_fails_for_good_is_apologised_for(call):
    turn = Utterance("hello", fail=StageError("asr", "broken"), fail_after_s=0.5)
    done = call([(1.0, 1.0)], [turn], hang_up=7.0).go()
    assert done.all(ev.RecognitionFailed) and done.all(act.TurnDismissed)[0].reason == "not recognised"
    assert done.audible(2.0, 4.0)


def test_a_recogniser_that_stumbles_is_begun_again_with_the_audio_of_the_turn(call):
    turns = [
        Utterance("hello", fail=StageError("asr", "a hiccup", retryable=True), fail_after_s=0.5),
        Utterance("hello"),
    ]
    done = call([(1.0, 1.0)], turns, [ScriptedReply("Hi.")], hang_up=6.0).go()
    assert done.said() == [("user", "hello"), ("agent", "Hi.")]
    assert any(note.source == "asr" for note in done.all(Note))


def test_a_detector_that_keeps_failing_ends_the_session_with_its_error(call):
    done = call(vad=ScriptedVad(faults=(10, 11, 12)), hang_up=5.0).go()
    assert isinstance(done.session.error, StageError) and done.raised is done.session.error
    assert "voice activity" in done.one(act.CloseSession).reason


def test_a_connection_that_breaks_ends_the_session_and_keeps_the_history(call):
    async def during(session, transport):
        await _until(session, 5.0)
        transport.break_off("cable pulled")

    done = call([(1.0, 1.0)], ["hello"], [ScriptedReply("Hi.")], hang_up=6.0, during=during).go()
    assert isinstance(done.session.error, TransportError) and done.raised is None
    assert done.one(act.CloseSession).reason == "connection lost"
    assert done.said() == [("user", "hello"), ("agent", "Hi.")]


def test_a_stop_button_silences_the_agent_at_once(call):
    async def during(session, transport):
        await _until(session, 4.0)
        session.interrupt()

    done = call([(1.0, 1.0)], ["tell me a story"], hang_up=7.0, during=during).go()
    assert done.one(act.CancelReply).reason == "stopped"
    assert done.audible(3.5, 4.0) and not done.audible(4.02, 7.0)


def test_the_answer_is_spoken_in_the_language_that_the_recogniser_heard(call):
    persona = Persona("test", languages=("en", "zh"), voices={"zh": "mandarin"})
    turns = [Utterance("你好", language="zh"), Utterance("hello", language="en")]
    done = call([(1.0, 0.6), (6.0, 0.6)], turns, [ScriptedReply("嗯.")], hang_up=11.0, persona=persona).go()
    assert done.asr.contexts[0].language is None and done.asr.contexts[0].languages == ("en", "zh")
    assert [(asked.language, asked.voice) for asked in done.tts.requests] == [("zh", "mandarin"), ("en", None)]


def test_a_language_that_is_set_is_spoken_whatever_is_heard(call):
    persona = Persona("test", language="en", languages=("en", "zh"))
    turns = [Utterance("你好", language="zh")]
    done = call([(1.0, 0.6)], turns, [ScriptedReply("Yes.")], hang_up=5.0, persona=persona).go()
    assert done.asr.contexts[0].language == "en"
    assert [asked.language for asked in done.tts.requests] == [None]


def test_each_action_is_carried_out_or_only_told(call):
    told = {act.TurnEnded, act.TurnDismissed, act.TruncateHistory, act.RefuseSay, act.ReplyOver, act.OverlapJudged}
    kinds = {kind for kind in NAMED.values() if issubclass(kind, act.Action) and kind is not act.Action}
    assert kinds - set(call(hang_up=0.1).go().session._carry_out()) == told
