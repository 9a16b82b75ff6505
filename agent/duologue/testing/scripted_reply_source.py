"""A speech-to-speech model that says what a script tells it: the other shape that fits the reply source's port.

Text and audio arrive together: the audio is made word by word, each a tone of its own as from `ScriptedTts`, and the
text of a word comes when it has been made, or later. It speaks no words that others give it. Time is the loop's.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from duologue.core.messages import ToolCall
from duologue.errors import StageError
from duologue.ports.llm import LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.ports.reply_source import ChunkBegins, ChunkEnds, ReplyItem, ReplyRequest, TextFinished
from duologue.ports.tts import SpokenWord
from duologue.testing.scripted_tts import ScriptedTts, words_with_places

UNRELEASED_S: Final = 1.0  # of audio made before the release: enough to begin with
KEPT: Final = 1000  # requests and prompts to look at; the oldest are forgotten beyond that


@dataclass(frozen=True, slots=True)
class SpokenReply:
    """One answer. `first_audio_s`: from the question to the first sample; then `real_time_factor` seconds of work a
    second of audio.

    `text_lag_s`: how much more audio is made before a word is told; the last ones come with the end. `tool_calls` come
    after the audio. `error`: raised after `fail_after_s` of audio. `usage`: None tells none.
    """

    text: str = ""
    first_audio_s: float = 0.3
    real_time_factor: float = 0.2
    text_lag_s: float = 0.0
    word_times: bool = True
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    error: Exception | None = None
    fail_after_s: float = 0.0
    reason: str = ""


class ScriptedReplySource:
    """Answers question after question from `replies`, or asks a function for the reply to each.

    `waits_for_release` False: it makes a speculative reply to its end, so that only its reader holds it back.
    `requests`, `prompts`: what was opened and asked. `opened`, `closed`: iterations begun and over. `made_s`: seconds
    of audio, of all replies together.
    """

    name = "scripted"
    can_speak_text = False

    def __init__(
        self,
        replies: Sequence[SpokenReply | str] | Callable[[LlmRequest], SpokenReply],
        *,
        waits_for_release: bool = True,
    ) -> None:
        self._replies = replies
        self._served = 0
        self._voice = ScriptedTts(first_audio_s=0.0, real_time_factor=0.0)
        self.waits_for_release = waits_for_release
        self.requests: deque[ReplyRequest] = deque(maxlen=KEPT)
        self.prompts: deque[LlmRequest] = deque(maxlen=KEPT)
        self.opened = self.closed = 0
        self.made_s = 0.0

    async def warm_up(self) -> None:
        """There is nothing to load."""

    async def aclose(self) -> None:
        """There is nothing to free."""

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    @property
    def live(self) -> int:
        """Replies being made."""
        return self.opened - self.closed

    def open(self, request: ReplyRequest) -> "ScriptedReplyStream":
        """Begin one reply."""
        self.requests.append(request)
        return ScriptedReplyStream(self, request, self._voice)

    def answer(self, prompt: LlmRequest) -> SpokenReply:
        """The script's answer to `prompt`. Raises `StageError` where it has none."""
        self.prompts.append(prompt)
        if callable(self._replies):
            return self._replies(prompt)
        if self._served >= len(self._replies):
            raise StageError(
                "reply_source",
                f"the script has {len(self._replies)} replies and this is question {self._served + 1}",
                hint="Give ScriptedReplySource more replies",
            )
        reply = self._replies[self._served]
        self._served += 1
        return SpokenReply(reply) if isinstance(reply, str) else reply


class ScriptedReplyStream:
    """The making of one reply."""

    waits_for = ("reply_source", "scripted")

    def __init__(self, source: ScriptedReplySource, request: ReplyRequest, voice: ScriptedTts) -> None:
        self._source = source
        self._request = request
        self._voice = voice
        self._asked: deque[LlmRequest] = deque()
        self._changed = asyncio.Event()
        self._finished = False
        self._made_s = 0.0
        self._released = asyncio.Event()
        if request.released or not source.waits_for_release:
            self._released.set()

    def ask(self, prompt: LlmRequest) -> None:
        """Answer `prompt`."""
        self._asked.append(prompt)
        self._changed.set()

    def say(self, text: str) -> None:
        """It has no words but its own."""

    def speak(self, text: str, *, in_text: bool = False) -> None:
        """It has no words but its own."""

    def release(self) -> None:
        """Make all of it."""
        self._released.set()

    def finish(self) -> None:
        """End when what is asked for is made."""
        self._finished = True
        self._changed.set()

    async def items(self) -> AsyncGenerator[ReplyItem, None]:
        """Answer after answer, until `finish`."""
        self._source.opened += 1
        try:
            while self._asked or not self._finished:
                if not self._asked:
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                reply = self._source.answer(self._asked.popleft())
                answer = self._text(reply) if self._request.text_only else self._speech(reply)
                async for item in answer:
                    yield item
                for call in reply.tool_calls:
                    yield ToolCallRequest(call)
                if reply.usage:
                    yield reply.usage
                yield TextFinished(reply.reason or ("tool_calls" if reply.tool_calls else "stop"))
        finally:
            self._source.closed += 1

    async def _text(self, reply: SpokenReply) -> AsyncGenerator[ReplyItem, None]:
        await asyncio.sleep(reply.first_audio_s)
        for delta in _by_word(reply.text):
            yield TextDelta(delta)

    async def _speech(self, reply: SpokenReply) -> AsyncGenerator[ReplyItem, None]:
        await asyncio.sleep(reply.first_audio_s)
        if not reply.text:
            return
        yield ChunkBegins(None)
        made_s, untold = 0.0, deque[tuple[str, SpokenWord]]()
        deltas = iter(_by_word(reply.text))
        async for item in self._voice.synthesise(replace(self._request.speech, text=reply.text)):
            if isinstance(item, SpokenWord):
                untold.append((next(deltas), item))
                continue
            if reply.error and made_s >= reply.fail_after_s:
                raise reply.error
            seconds = len(item.pcm) / 2 / self._request.speech.sample_rate_hz
            if self._made_s >= UNRELEASED_S:
                await self._released.wait()
            made_s += seconds
            self._made_s += seconds
            self._source.made_s += seconds
            yield item
            while untold and made_s >= untold[0][1].start + reply.text_lag_s:
                for told in _word(*untold.popleft(), reply):
                    yield told
            await asyncio.sleep(reply.real_time_factor * seconds)
        for late in untold:
            for told in _word(*late, reply):
                yield told
        yield ChunkEnds()


def _word(text: str, word: SpokenWord, reply: SpokenReply) -> tuple[ReplyItem, ...]:
    return (TextDelta(text), word) if reply.word_times else (TextDelta(text),)


def _by_word(text: str) -> list[str]:
    """`text` cut behind each word that can be heard; joined they are `text`."""
    ends = [end for _, end in words_with_places(text)][:-1]
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]
