"""One reply from the model's stream to sound: what is spoken, what never is, and what goes wrong on the way."""

import pytest

from duologue import Aside, tool
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.messages import ToolCall
from duologue.core.policy import Policy, ReplyPolicy
from duologue.errors import ConfigurationError, StageError
from duologue.ports.llm import TextDelta
from duologue.ports.transport import AHEAD_SECONDS_MAX
from duologue.runtime.cascade import LLM_STALL_S_MAX, TEXT_CHARS_MAX, TTS_STALL_S_MAX
from duologue.runtime.session_setup import Note, Persona
from duologue.testing.scripted_llm import ScriptedReply
from duologue.testing.scripted_tts import ScriptedTts, SpeechFault
from duologue.testing.virtual_time import pass_time

ASK = [(1.0, 1.0)]
NO_GUESS = Policy(reply=ReplyPolicy(speculate=False))
APOLOGY = "Sorry, something went wrong."


def notes(done, source):
    told = [note.text for note in done.all(Note) if note.source == source]
    return [text for text in told if "is no language model" not in text]  # what every session begins with here


def test_moods_and_thoughts_are_told_and_never_spoken(call):
    reply = ScriptedReply("<think>Be nice.</think><mood>glad</mood>Hello there. *smiles* How are you?")
    done = call(ASK, ["hello"], [reply], hang_up=8.0).go()
    assert [(aside.reply, aside.text) for aside in done.all(Aside)] == [
        (1, "<think>Be nice.</think>"),
        (1, "<mood>glad</mood>"),
        (1, "*smiles*"),
    ]
    assert "".join(done.tts.spoken) == "Hello there. How are you?" == done.said()[1][1]


def test_a_reply_that_is_all_aside_is_silent_and_ends(call):
    done = call(ASK, ["hello"], [ScriptedReply("<mood>shy</mood>")], hang_up=8.0).go()
    assert done.one(ev.ReplyEnded).heard == "" and done.tts.spoken == []
    assert done.session.phase == "closed" and done.said() == [("user", "hello")]


def test_what_the_endpoint_has_to_say_about_an_answer_is_noted(call):
    reply = ScriptedReply("And so", reason="length", notes=("asked twice",))
    done = call(ASK, ["hello"], [reply], hang_up=5.0).go()
    assert notes(done, "llm") == ["asked twice", "the model stopped early: length"]


def test_a_model_that_runs_wild_is_cut_at_the_bound(call):
    wild = ScriptedReply("".join(f"word{i} " for i in range(6000)), token_s=0.0)
    done = call(ASK, ["hello"], [wild], tts=ScriptedTts(seconds_per_char=0.001), hang_up=60.0).go()
    text = "".join(event.text for event in done.all(ev.ReplyText))
    assert TEXT_CHARS_MAX < len(text) < TEXT_CHARS_MAX + 500
    assert f"cut at {TEXT_CHARS_MAX} characters" in notes(done, "llm")
    assert done.llm.closed_early == 1 and done.llm.open_streams == 0


def test_synthesis_stays_within_its_bound_ahead_of_the_playout(call):
    ahead = []

    async def during(session, transport):
        while session.now() < 20.0:
            await pass_time(0.5)
            tracks = session._reply_player.live_tracks()
            ahead.append(max((track.made - track.sent for track in tracks), default=0) / session.output_rate_hz)

    story = ScriptedReply(
        "".join(f"And then there was clock {i:04} in the hall of the house. " for i in range(30)), token_s=0.001
    )
    done = call(ASK, ["tell me a story"], [story], hang_up=22.0, during=during).go()
    assert AHEAD_SECONDS_MAX - 1 < max(ahead) < AHEAD_SECONDS_MAX + 0.1
    assert done.session.meter.synthesised_s < 34.0


def test_before_the_turn_is_over_two_chunks_are_made_and_no_more(call):
    made = []

    async def during(session, transport):
        await pass_time(3.4)
        made.append(len(done.tts.spoken))

    reply = ScriptedReply("This is one. This is two here. This is three here. This is four here.", first_token_s=0.0)
    done = call([(1.0, 0.8)], ["well tell me about"], [reply], hang_up=3.5, during=during)
    done.policy = Policy()
    done.go()
    assert made and made[0] <= 2


# --- the synthesiser -------------------------------------------------------------------------------------------------


def asked_for(tts, reply):
    return [(request.text, request.last) for request in tts.requests if request.reply == reply]


def test_the_synthesiser_is_told_whose_chunk_it_speaks_at_which_rate_and_which_is_the_last(call):
    reply = ScriptedReply("This is one. This is two. And this is three.", token_s=0.001)
    done = call([(1.0, 1.0), (9.0, 1.0)], ["hello", "again"], [reply], policy=NO_GUESS, hang_up=18.0).go()
    chunks = [("This is one. ", False), ("This is two. ", False), ("And this is three.", True)]
    assert asked_for(done.tts, 1) == asked_for(done.tts, 2) == chunks
    assert {request.session for request in done.tts.requests} == {done.session.id}
    assert {request.sample_rate_hz for request in done.tts.requests} == {24_000}


@tool
def look() -> str:
    """Look out of the window."""
    return "Rain."


LOOKS = ScriptedReply("Let me look. ", tool_calls=(ToolCall("1", "look", "{}"),))
SILENT = ScriptedReply("")  # after the tool it turns out that the last chunk was one


def test_where_a_reply_turns_out_to_be_over_the_synthesiser_hears_it_by_an_empty_chunk(call):
    done = call(ASK, ["hello"], [LOOKS, SILENT], tools=[look], policy=NO_GUESS, hang_up=9.0).go()
    assert asked_for(done.tts, 1) == [("Let me look. ", False), ("", True)]
    assert done.said()[1] == ("agent", "Let me look.") and notes(done, "tts") == []


def test_a_reply_that_is_cut_or_fails_has_no_last_chunk(call):
    over_it = [(1.0, 1.0), (4.0, 1.5)]
    long = ScriptedReply("".join(f"This is the story of clock {i}. " for i in range(20)))
    cut = call(over_it, ["hello", "please stop it now"], [long, ScriptedReply("Yes.")], policy=NO_GUESS).go()
    assert len(asked_for(cut.tts, 1)) > 2 and not any(last for _, last in asked_for(cut.tts, 1))
    tts = ScriptedTts(faults=(SpeechFault("This", retryable=False),))
    failed = call(ASK, ["hello"], [long], tts=tts, policy=NO_GUESS, hang_up=12.0).go()
    assert [last for _, last in asked_for(failed.tts, 1)] == [False, False]


class LostTts(ScriptedTts):
    """Has lost its connection by the end of a reply."""

    async def synthesise(self, request):
        if not request.text:
            raise StageError("tts", "the connection is gone")
        async for item in super().synthesise(request):
            yield item


def test_a_synthesiser_that_fails_at_the_end_of_a_reply_costs_a_note(call):
    done = call(ASK, ["hello"], [LOOKS, SILENT], tools=[look], tts=LostTts(), policy=NO_GUESS, hang_up=9.0).go()
    assert done.said()[1] == ("agent", "Let me look.") and done.one(ev.ReplyEnded).cut is False
    assert notes(done, "tts") == ["at the end of the reply: tts: the connection is gone"]


def test_a_chunk_that_fails_once_is_tried_again(call):
    tts = ScriptedTts(faults=(SpeechFault("two", times=1),))
    done = call(ASK, ["hello"], [ScriptedReply("This is one. This is two.")], tts=tts, hang_up=9.0).go()
    assert done.said()[1] == ("agent", "This is one. This is two.")
    assert notes(done, "tts") == ["tried again: tts: scripted fault on 'two'"]


def test_a_chunk_that_fails_for_good_is_left_out_of_the_talk_and_of_the_history(call):
    tts = ScriptedTts(faults=(SpeechFault("two", retryable=False),))
    reply = ScriptedReply("This is number one. This is number two. This is number three.")
    done = call(ASK, ["hello"], [reply], tts=tts, hang_up=12.0).go()
    assert done.said()[1] == ("agent", "This is number one. This is number three.")
    assert notes(done, "tts") == ["left out: 'This is number two. ': tts: scripted fault on 'two'"]
    assert done.all(ev.ReplyFailed) == []


@pytest.mark.parametrize("word_times", [True, False])  # without them by the pace of the chunk before
def test_a_chunk_that_breaks_off_was_heard_as_far_as_it_was_made(call, word_times):
    tts = ScriptedTts(word_times=word_times, faults=(SpeechFault("two", after_s=0.75, retryable=True),))
    reply = ScriptedReply("This is number one. Then comes number two of them. This is number three.")
    done = call(ASK, ["hello"], [reply], tts=tts, hang_up=12.0).go()
    assert done.said()[1][1] == "This is number one. Then comes number This is number three."
    assert notes(done, "tts")[0].startswith("cut short after 0.8 s: tts: scripted fault")


def test_two_chunks_in_a_row_are_a_broken_synthesiser(call):
    tts = ScriptedTts(faults=(SpeechFault("This", retryable=False),))
    reply = ScriptedReply("This is number one. This is number two. " + "This goes on. " * 40, token_s=0.05)
    done = call(ASK, ["hello"], [reply], tts=tts, policy=NO_GUESS, hang_up=12.0).go()
    assert done.one(ev.ReplyFailed).stage == "tts"
    assert done.llm.closed_early == 1  # the model writes for nobody
    assert done.audible(3.0, 8.0) and done.said() == [("user", "hello")]
    assert any(text.startswith(APOLOGY) for text in tts.spoken)


def test_one_that_can_t_even_apologise_is_silent_and_the_session_lives(call):
    tts = ScriptedTts(faults=(SpeechFault("", retryable=False),))
    done = call(ASK, ["hello"], tts=tts, policy=NO_GUESS, hang_up=12.0).go()
    assert done.session.error is None and not done.audible(0.0, 12.0)
    assert done.said() == [("user", "hello")]


def test_a_synthesiser_that_hangs_is_given_up(call):
    tts = ScriptedTts(faults=(SpeechFault("clock", stall_s=1000.0),))
    reply = ScriptedReply("Look at the clock. And now something else.")
    done = call(ASK, ["hello"], [reply], tts=tts, policy=NO_GUESS, hang_up=30.0).go()
    assert done.session.error is None
    assert notes(done, "tts")[0].endswith(f"nothing came for {TTS_STALL_S_MAX:g} s")


class OddTts(ScriptedTts):
    """Raises what its port does not speak of, on some words."""

    def __init__(self, how, on):
        super().__init__()
        self.how, self.on = how, on

    async def synthesise(self, request):
        if self.on in request.text:
            raise self.how
        async for item in super().synthesise(request):
            yield item


@pytest.mark.parametrize("how", [OSError("no such device"), ConfigurationError("voice.speed must be a number")])
def test_a_stranger_s_synthesiser_may_raise_anything(call, how):
    reply = ScriptedReply("This is number one. This is number two. This is number three.")
    done = call(ASK, ["hello"], [reply], tts=OddTts(how, "two"), hang_up=12.0).go()
    assert done.session.error is None
    assert done.said()[1] == ("agent", "This is number one. This is number three.")
    assert str(how) in notes(done, "tts")[0]


# --- the model -------------------------------------------------------------------------------------------------------


def test_a_model_that_is_slow_is_covered_by_a_filler_that_enters_no_history(call):
    done = call(ASK, ["hello"], [ScriptedReply("Hello.", first_token_s=7.0)], hang_up=14.0).go()
    assert done.one(act.SpeakFiller).text == "One moment." == done.tts.spoken[0]
    assert done.said() == [("user", "hello"), ("agent", "Hello.")]


def test_a_model_that_hangs_is_given_up_and_apologised_for(call):
    policy = Policy(reply=ReplyPolicy(unheard_s_max=5.0, fillers=()))
    done = call(ASK, ["hello"], [ScriptedReply("x", first_token_s=1000.0)], policy=policy, hang_up=15.0).go()
    assert done.one(act.CancelReply).reason == "late"
    assert notes(done, "llm") == ["reply 1 was given up: nothing came from scripted (scripted) in time"]
    assert done.tts.spoken == ["Sorry, something went wrong. ", "Could you say that again?"]
    assert done.llm.closed_early == done.llm.opened


def test_a_voice_that_is_too_slow_is_named(call):
    policy = Policy(reply=ReplyPolicy(unheard_s_max=5.0, fillers=()))
    tts = ScriptedTts(faults=(SpeechFault("Hello", stall_s=1000.0),))
    done = call(ASK, ["hello"], [ScriptedReply("Hello.")], tts=tts, policy=policy, hang_up=15.0).go()
    assert notes(done, "tts") == ["reply 1 was given up: nothing came from scripted in time"]


def test_one_that_hangs_in_the_middle_has_said_what_it_said(call):
    story = ScriptedReply(tokens=("Well, there was a clock. And", " then"), first_token_s=0.1, token_s=100.0)
    done = call(ASK, ["hello"], [story], hang_up=10.0 + LLM_STALL_S_MAX).go()
    assert done.said() == [("user", "hello"), ("agent", "Well, there was a clock. And")]
    assert done.one(ev.ReplyFailed).error.endswith(f"nothing came for {LLM_STALL_S_MAX:g} s")


class OddLlm:
    """Breaks in a way of its own after a word."""

    name = model = "odd"
    is_language_model = True

    def __init__(self, how):
        self.how = how
        self.requests = []

    async def warm_up(self):
        pass

    async def aclose(self):
        pass

    async def stream(self, request):
        self.requests.append(request)
        yield TextDelta("Well")
        raise self.how


@pytest.mark.parametrize("how", [RuntimeError("no attribute"), StageError("llm", "key refused")])
def test_a_stranger_s_model_may_raise_anything(call, how):
    made = call(ASK, ["hello"], hang_up=8.0)
    made.llm = OddLlm(how)
    done = made.go()
    assert done.session.error is None
    assert str(how) in done.all(ev.ReplyFailed)[0].error
    assert done.said() == [("user", "hello"), ("agent", "Well")]
    assert any(text.startswith(APOLOGY) for text in done.tts.spoken)


def test_a_pack_may_bring_a_model_of_its_own(call):
    made = call(ASK, ["hello"], hang_up=6.0)
    own = call(replies=[ScriptedReply("From the pack.")]).llm
    made.persona = Persona("own", "You are a pack.", llm=own)
    done = made.go()
    assert done.said()[1] == ("agent", "From the pack.") and done.llm.requests == []


# --- fillers ---------------------------------------------------------------------------------------------------------


def test_a_reply_whose_words_are_held_back_in_a_full_queue_takes_no_filler(call):
    """A filler is dropped rather than queued behind a page of text."""
    done = call(hang_up=1.0)

    async def during(session, transport):
        session.say("One two three. " * 60)
        await pass_time(0.5)
        run = next(iter(session._reply_player._runs.values()))
        run.filler("One moment.")
        assert "One moment." not in done.tts.spoken

    done.during = during
    done.go()


@pytest.mark.parametrize(
    ("wild", "heard", "note"),
    [
        ("It is nine.<|im_end|>\n<|im_start|>user\nAnd then?", "It is nine.", "cut: the model wrote '<|im_end|>'"),
        ("It is nine. " + "You can walk. " * 400, "It is nine. You can walk.", "cut: the model repeats itself"),
        ("It is nine. " + "ha" * 4000, "It is nine. ha", "cut: the model repeats itself"),
    ],
)
def test_a_model_that_loses_itself_is_cut_with_a_note_and_no_token_is_spoken(call, wild, heard, note):
    done = call(ASK, ["hello"], [ScriptedReply(wild, token_s=0.001)], policy=NO_GUESS, hang_up=30.0).go()
    speaker, text = done.said()[1]
    assert speaker == "agent" and text.startswith(heard) and "<" not in text and len(text) < 120
    (told,) = [text for text in notes(done, "llm") if text.startswith("cut: ")]
    assert told.startswith(note)
