"""A speech-to-speech model in place of the cascade: the same conversation, heard text to the word."""

import numpy as np
import pytest

from duologue import tool
from duologue.core import actions as act
from duologue.core import events as ev
from duologue.core.history import AgentItem
from duologue.core.messages import ToolCall
from duologue.ports.llm import Usage
from duologue.runtime.reply import UNRELEASED_S_MAX
from duologue.runtime.session_setup import Note, Persona, ReplyFinished
from duologue.testing.scripted_asr import Utterance
from duologue.testing.scripted_reply_source import ScriptedReplySource, SpokenReply
from duologue.testing.scripted_tts import words_with_places
from duologue.testing.virtual_time import pass_time

ASK = [(1.0, 1.0)]
STORY = "It is five o'clock here, my friend. " + "And then there is a very long story to tell about clocks. " * 4


def source_of(*replies, **more):
    return ScriptedReplySource(list(replies), **more)


def notes(done, source):
    return [note.text for note in done.all(Note) if note.source == source]


def seconds_sounded(done, until=1e9):
    """Of the agent's audio, off the waveform: a tone of the scripted voices is zero nowhere."""
    _, agent = done.transport.recording()
    rate_hz = done.transport.output_rate_hz
    return np.count_nonzero(agent[: int(min(until * rate_hz, len(agent)))]) / rate_hz


def words_within(seconds, text):
    """How many words of `text` are heard in its first `seconds`: of each it takes the half."""
    lengths = [0.06 * sum(map(str.isalnum, text[start:end])) for start, end in words_with_places(text)]
    ends = np.cumsum(lengths)
    return int(np.count_nonzero(ends - np.array(lengths) / 2 <= seconds))


def time_of(done, wanted):
    return next(time for event, time in zip(done.events, done.times, strict=True) if event is wanted)


def test_it_answers_in_its_own_voice_and_the_history_has_its_text(call):
    source = source_of(SpokenReply("It is five o'clock.", usage=Usage("s2s", 30, 12)))
    done = call(ASK, ["what time is it"], reply_source=source, hang_up=8.0).go()
    assert done.said() == [("user", "what time is it"), ("agent", "It is five o'clock.")]
    assert done.tts.spoken == [] and done.llm.requests == []
    assert done.one(ReplyFinished).usage == Usage("s2s", 30, 12) and done.one(ReplyFinished).reason == "stop"
    assert (done.session.meter.output_tokens, source.live) == (12, 0)
    (prompt,) = source.prompts
    assert (prompt.messages[-1].text, prompt.session) == ("what time is it", done.session.id)
    assert source.requests[0].session == done.session.id


@pytest.mark.parametrize("lag_s", [0.0, 0.4])
@pytest.mark.parametrize("word_times", [True, False])
def test_a_barge_in_cuts_it_where_it_was_heard_to_the_word(call, word_times, lag_s):
    reply = SpokenReply(STORY, word_times=word_times, text_lag_s=lag_s)
    done = call([(1.0, 1.0), (5.5, 2.0)], ["tell me a story", "no stop it please"], hang_up=9.0)
    done.reply_source = source_of(reply, "Fine.")
    done.go()
    cut = done.all(ev.ReplyEnded)[0]
    assert cut.cut and STORY.startswith(cut.heard) and len(cut.heard) > 40
    assert done.all(act.CancelReply)[0].reason == "interrupted"
    sounded_s = seconds_sounded(done, time_of(done, done.all(act.CancelReply)[0]))
    assert abs(len(words_with_places(cut.heard)) - words_within(sounded_s, STORY)) <= 1
    assert done.said()[1] == ("agent", cut.heard) and done.reply_source.live == 0


def test_a_backchannel_holds_it_and_it_goes_on_from_the_word(call):
    done = call([(1.0, 1.0), (5.5, 0.3)], ["tell me a story", Utterance("mhm")], hang_up=25.0)
    done.reply_source = source_of(STORY)
    done.go()
    assert len(done.all(act.HoldPlayout)) == len(done.all(act.ResumePlayout)) == 1
    assert done.all(ev.ReplyEnded)[0].heard == STORY and not done.all(ev.ReplyEnded)[0].cut
    assert words_within(seconds_sounded(done), STORY) == len(words_with_places(STORY))


def test_it_calls_a_tool_and_goes_on_in_the_same_reply(call):
    @tool
    async def clock() -> str:
        """Tell the time."""
        await pass_time(0.5)
        return "five"

    source = source_of(
        SpokenReply("Let me look. ", tool_calls=(ToolCall("c1", "clock", "{}"),), usage=Usage("m", 10, 5)),
        SpokenReply("It is five.", usage=Usage("m", 20, 7, 3)),
    )
    done = call(ASK, ["what time is it"], tools=[clock], reply_source=source, hang_up=10.0).go()
    assert done.said()[1:] == [("agent", "Let me look. It is five.")]
    assert [item.text for item in done.session.conversation.history if isinstance(item, AgentItem)] == [
        "Let me look.", "It is five.",
    ]  # fmt: skip
    assert done.one(ev.ReplyEnded).heard == "Let me look. It is five."
    assert [message.role for message in source.prompts[1].messages][-2:] == ["assistant", "tool"]
    finished = done.one(ReplyFinished)
    assert (finished.reason, finished.usage) == ("stop", Usage("m", 30, 12, 3))


def test_words_that_are_given_to_it_are_left_out_with_a_note(call):
    @tool
    async def slow() -> str:
        """Take a while."""
        await pass_time(4.0)
        return "done"

    source = source_of(SpokenReply(tool_calls=(ToolCall("c1", "slow", "{}"),)), "It is done.")
    made = call(ASK, ["do it"], tools=[slow], reply_source=source, hang_up=14.0)
    made.persona = Persona("test", "You are a test.", greeting="Good morning.")
    done = made.go()
    assert notes(done, "reply_source") == [
        "scripted speaks no given words, left out: 'Good morning.'",
        f"scripted speaks no given words, left out: {done.one(act.SpeakFiller).text!r}",
    ]
    assert done.said() == [("user", "do it"), ("agent", "It is done.")]
    assert done.session.error is None


def test_a_speculative_reply_is_begun_and_heard_when_the_turn_is_over(call):
    source = source_of("It is five o'clock here, and it rains in the garden of the house.")
    done = call(ASK, ["what time is it"], reply_source=source, hang_up=10.0).go()
    begun, released = done.one(act.BeginReply), done.one(act.ReleaseReply)
    assert begun.speculative and released.reply == begun.reply
    at = time_of(done, released)
    assert not done.audible(0.0, at - 0.01) and done.audible(at, at + 0.2)
    assert done.said()[1][1].endswith("the house.")


@pytest.mark.parametrize("waits", [True, False])
def test_one_that_turns_out_too_early_is_dropped_unheard_and_was_not_made(call, waits):
    """Whether the source keeps back by itself, or is only asked for no more."""
    eager = SpokenReply("And so. " * 100, first_audio_s=0.05, real_time_factor=0.0)
    source = source_of(eager, "Yes.", waits_for_release=waits)
    made_s = []

    async def during(session, transport):
        await pass_time(2.24)
        made_s.append(source.made_s)

    asked = Utterance("what time is it in the big house")
    done = call([(1.0, 1.02), (2.25, 1.0)], [asked], hang_up=9.0, during=during)
    done.reply_source = source
    done.go()
    assert [cancel.reason for cancel in done.all(act.CancelReply)] == ["continued"]
    assert 0.5 < made_s[0] < (2.0 if waits else UNRELEASED_S_MAX + 0.1)
    assert not done.audible(0.0, 3.6)
    assert done.all(ReplyFinished)[0].reason == "cancelled"
    assert [text for who, text in done.said() if who == "agent"] == ["Yes."]


def test_one_that_breaks_in_mid_word_has_said_what_it_said(call):
    source = source_of(SpokenReply(STORY, error=OSError("the line is dead"), fail_after_s=2.0))
    done = call(ASK, ["tell me a story"], reply_source=source, hang_up=12.0).go()
    assert done.session.error is None
    failed = done.all(ev.ReplyFailed)[0]
    assert failed.stage == "reply_source" and failed.error.startswith("reply_source: OSError: the line is dead")
    assert done.said()[1][1] == STORY[: len(done.said()[1][1])] and 20 < len(done.said()[1][1]) < 60
    assert done.all(ReplyFinished)[0].reason == "error"
