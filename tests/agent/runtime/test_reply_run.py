"""What runs a reply, by itself: text alone, replies that tools end, sources that hang or break in ways of their own."""

import asyncio

import pytest

from duologue.core import events as ev
from duologue.core.messages import Message, ToolCall
from duologue.ports.llm import LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.ports.reply_source import ChunkBegins, ChunkEnds, TextFinished
from duologue.ports.tts import SpeechAudio, SpeechRequest, SpokenWord
from duologue.runtime.cascade import CascadeSource
from duologue.runtime.meter import Meter
from duologue.runtime.reply import (
    CHUNK_WORDS_MAX,
    REPLY_CHARS_MAX,
    SOURCE_STALL_S_MAX,
    ReplyContext,
    ReplyRun,
    ReplyTools,
)
from duologue.runtime.services import Services
from duologue.testing.scripted_llm import ScriptedLlm, ScriptedReply
from duologue.testing.scripted_reply_source import ScriptedReplySource, ScriptedReplyStream, SpokenReply
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.virtual_time import pass_time, run

PROMPT = LlmRequest((Message("user", "hello"),))
CALL = ToolCall("c1", "look", "{}")


class Room:
    """Where a run lives: what it posted, noted and told, in order."""

    def __init__(self, source, **more):
        self.posted, self.notes, self.finished, self.tasks = [], [], [], []
        loop = asyncio.get_running_loop()
        services = Services(loop.time, self.posted.append, lambda *note: self.notes.append(note), self.spawn, Meter())
        self.context = ReplyContext(
            services=services,
            source=source,
            speech=SpeechRequest(""),
            session="s",
            tool_traits=lambda name: ReplyTools(remote=True),
            unique_id=lambda call_id: call_id,
            on_aside=lambda reply, text: None,
            on_finished=lambda *told: self.finished.append(told),
            **more,
        )

    def spawn(self, work):
        self.tasks.append(asyncio.ensure_future(work))
        return self.tasks[-1]

    def begin(self, *, released=True):
        return ReplyRun(1, self.context, released=released)

    def all(self, kind):
        return [event for event in self.posted if isinstance(event, kind)]

    def text(self):
        return "".join(event.text for event in self.all(ev.ReplyText))


def cascade(*replies):
    return CascadeSource(ScriptedLlm(replies), ScriptedTts())


def made(source, seconds=5.0, *, released=True, ask=True, then=None, **more):
    """A run of `source` so many seconds after the question, with its room."""

    async def scenario():
        room = Room(source, **more)
        reply = room.begin(released=released)
        if ask:
            reply.generate(PROMPT)
        await pass_time(seconds)
        if then:
            then(reply)
            await pass_time(5.0)
        left = [task for task in room.tasks if not task.done()]
        reply.cancel("")
        await pass_time(0.1)
        assert all(task.done() for task in room.tasks)
        return room, reply, len(left)

    return run(scenario())


@pytest.mark.parametrize("of", [cascade, lambda reply: ScriptedReplySource([SpokenReply(reply.text)])])
def test_text_alone_is_told_as_it_comes_and_all_of_it_counts_as_heard(of):
    text = "<mood>glad</mood>**Hello** there, {friend}."
    room, reply, left = made(of(ScriptedReply(text)), text_only=True)
    assert room.text() == text and len(room.all(ev.ReplyText)) > 2
    assert reply.track.complete and reply.track.made == 0 and reply.track.heard(0) == text
    assert len(room.all(ev.ReplyHeard)) == len(room.all(ev.ReplyGenerated)) == 1 and left == 0


def test_text_alone_that_is_speculative_is_heard_with_the_release():
    room, _, _ = made(cascade(ScriptedReply("Hello.")), text_only=True, released=False)
    assert room.text() == "Hello." and not room.all(ev.ReplyHeard)
    room, _, _ = made(
        cascade(ScriptedReply("Hello.")), text_only=True, released=False, then=lambda reply: reply.release()
    )
    assert len(room.all(ev.ReplyHeard)) == 1


def test_text_alone_takes_no_filler_and_is_cut_where_it_is():
    async def scenario():
        room = Room(cascade(ScriptedReply("One two three four.", token_s=1.0)), text_only=True)
        reply = room.begin()
        reply.filler("One moment.")
        reply.generate(PROMPT)
        await pass_time(1.5)
        assert reply.track.heard(0) == "One two" == room.text()
        reply.cancel("One two")
        await pass_time(5.0)
        assert room.text() == "One two" and room.finished == [(1, "cancelled", None)]
        assert [note for _, note in room.notes] == []

    run(scenario())


def test_words_of_ours_can_be_text_alone():
    room, reply, _ = made(
        cascade(), 0.0, ask=False, text_only=True, then=lambda reply: reply.say("Good morning. And welcome.")
    )
    assert room.text() == "Good morning. And welcome." == reply.track.heard(0)


def test_remote_tools_end_a_reply_when_they_are_to():
    reply = ScriptedReply("Let me look.", tool_calls=(CALL,), usage=Usage("m", 3, 4))
    room, run_, left = made(cascade(reply))
    assert left == 2 and not run_.track.complete  # it waits for what becomes of the call, and is watched meanwhile
    assert room.finished == [(1, "cancelled", Usage("m", 3, 4))]
    room, run_, left = made(cascade(reply), then=lambda reply: reply.finish_text())
    assert left == 0 and run_.track.complete and run_.track.heard(run_.track.made) == "Let me look."
    assert room.finished == [(1, "tool_calls", Usage("m", 3, 4))]
    assert [event.call_id for event in room.all(ev.ToolRequested)] == ["c1"]


def test_usage_is_told_once_for_all_the_requests_of_a_reply():
    replies = (
        ScriptedReply("A.", tool_calls=(CALL,), usage=Usage("m", 3, 4, 1)),
        ScriptedReply("B.", usage=Usage("n", 5, 6), reason="length"),
    )
    room, _, _ = made(cascade(*replies), then=lambda reply: reply.generate(PROMPT))
    assert room.finished == [(1, "length", Usage("n", 8, 10, 1))]


class Odd(ScriptedReplySource):
    """Breaks in `at`, or tells `items`."""

    def __init__(self, at="", items=()):
        super().__init__([])
        self.at, self.odd_items = at, items

    def open(self, request):
        if self.at == "open":
            raise KeyError("voice")
        return OddStream(self, request, self._voice)


class OddStream(ScriptedReplyStream):
    def ask(self, prompt):
        if self._source.at == "ask":
            raise KeyError("voice")
        super().ask(prompt)

    async def items(self):
        for item in self._source.odd_items:
            yield item
        if self._source.at == "hang":
            await pass_time(10_000.0)


@pytest.mark.parametrize("at", ["open", "ask"])
def test_a_source_that_can_t_even_be_asked_costs_the_reply_and_not_the_session(at):
    room, reply, left = made(Odd(at))
    (failed,) = room.all(ev.ReplyFailed)
    assert failed.stage == "reply_source" and "KeyError: 'voice'" in failed.error
    assert reply.track.complete and left == 0 and room.finished == [(1, "error", None)]
    assert reply.waits_for == ("reply_source", "scripted")


def test_one_that_breaks_after_it_was_asked_for_more_ends_the_reply():
    async def scenario():
        source = Odd("hang", [TextDelta("Well"), ToolCallRequest(CALL), TextFinished("tool_calls")])
        room = Room(source)
        reply = room.begin()
        reply.generate(PROMPT)
        await pass_time(1.0)
        assert not reply.track.complete
        source.at = "ask"
        reply.generate(PROMPT)
        await pass_time(1.0)
        assert reply.track.complete and all(task.done() for task in room.tasks)
        reply.generate(PROMPT)  # whoever has not heard of it asks in vain
        assert "KeyError: 'voice'" in room.all(ev.ReplyFailed)[0].error and len(room.all(ev.ReplyFailed)) == 1

    run(scenario())


def test_one_that_hangs_when_it_is_its_turn_is_given_up():
    room, reply, left = made(Odd("hang", [TextDelta("Well, ")]), SOURCE_STALL_S_MAX - 1)
    assert left == 2 and not room.all(ev.ReplyFailed)
    room, reply, left = made(Odd("hang", [TextDelta("Well, ")]), SOURCE_STALL_S_MAX + 1)
    assert room.all(ev.ReplyFailed)[0].error.startswith(f"reply_source: nothing came for {SOURCE_STALL_S_MAX:g} s")
    assert reply.track.complete and left == 0


@pytest.mark.parametrize("why", ["tools run", "it is speculative", "it is held"])
def test_one_that_waits_for_others_is_not_given_up(why):
    reply = SpokenReply("And so it went on. " * 60, real_time_factor=0.0)
    if why == "tools run":
        reply = SpokenReply("Let me look.", tool_calls=(CALL,))
    room, _, left = made(ScriptedReplySource([reply]), 10 * SOURCE_STALL_S_MAX, released=why != "it is speculative")
    assert left == 2 and not room.all(ev.ReplyFailed)


def test_one_that_tells_no_end_of_text_is_bounded():
    endless = [TextDelta("word " * 1000)] * (REPLY_CHARS_MAX // 5000 + 1)
    room, _, _ = made(Odd(items=endless))
    assert len(room.text()) <= REPLY_CHARS_MAX
    assert f"more than {REPLY_CHARS_MAX} characters" in room.all(ev.ReplyFailed)[0].error


def test_word_times_beyond_any_text_are_dropped():
    words = [SpokenWord(0, 1, 0.0, 0.0)] * (CHUNK_WORDS_MAX + 10)
    _, reply, _ = made(Odd(items=[ChunkBegins("Hi."), *words]))
    assert len(reply.track.chunks[0].words) == CHUNK_WORDS_MAX


def test_audio_without_a_chunk_speaks_the_text_that_comes():
    audio = SpeechAudio(bytes(32_000))
    _, reply, _ = made(Odd(items=[SpokenWord(0, 2, 0.0, 1.0), audio, TextDelta("Hi there."), audio, TextFinished()]))
    assert [(chunk.text, chunk.complete) for chunk in reply.track.chunks] == [("Hi there.", True)]
    assert reply.track.heard(reply.track.made) == "Hi there."


def test_a_chunk_that_broke_off_is_heard_as_far_as_it_was_made():
    items = [
        ChunkBegins("Hi there."),
        SpokenWord(0, 2, 0.0, 1.0),
        SpeechAudio(bytes(32_000)),
        ChunkEnds(is_whole=False),
    ]
    _, reply, _ = made(Odd(items=[*items, TextFinished()]))
    assert reply.track.heard(reply.track.made) == "Hi"


def test_sound_from_a_source_that_was_to_be_silent_is_left_out():
    items = [ChunkBegins("Hi."), SpeechAudio(bytes(320)), SpokenWord(0, 2, 0.0, 0.01), ChunkEnds(), TextDelta("Hi.")]
    _, reply, _ = made(Odd(items=[*items, TextFinished()]), text_only=True)
    assert (reply.track.made, reply.track.heard(0), len(reply.track.chunks)) == (0, "Hi.", 1)
