"""The cascade as a reply source: the model's stream is cut into chunks, and those are spoken one after the other.

Two tasks work beside each other, one for text and one for speech, and put what they make into one outbox in the order
in which it is made. Closing the iteration over that ends both: the model's connection closes, the synthesis stops.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

from duologue.core.words import mended
from duologue.errors import DuologueError, StageError
from duologue.ports.llm import Llm, LlmFinished, LlmRequest, TextDelta
from duologue.ports.reply_source import (
    ChunkBegins,
    ChunkEnds,
    ReplyItem,
    ReplyRequest,
    SourceAside,
    SourceFailed,
    SourceNote,
    StageTiming,
    TextFinished,
)
from duologue.ports.tts import SpeechAudio, SpeechItem, SpokenWord, Tts
from duologue.runtime.watched import watched
from duologue.text.answer_end import AnswerEnd
from duologue.text.chunking import Chunker
from duologue.text.spoken_text import SpokenTextFilter

CHUNKS_WAITING_MAX: Final = 32  # beyond it the model's stream is read no further
ITEMS_WAITING_MAX: Final = 32  # not asked for yet: both tasks wait beyond it; of audio one piece, the rest is small
UNRELEASED_CHUNKS_MAX: Final = 2  # synthesised before the turn is over: enough to begin with, little to throw away
TEXT_CHARS_MAX: Final = 20_000  # of one reply, about twenty minutes of speech: the model ran wild, it is cut there
RECEIVED_CHARS_MAX: Final = 200_000  # the same with thoughts, moods and whatever else is never spoken
SLICE_CHARS: Final = 2000  # of a delta at a time: a few milliseconds of filtering and chunking
CHUNK_FAILURES_MAX: Final = 2  # in a row; one is skipped, two are a broken synthesiser

# Adapters have time limits of their own; these catch one that hangs all the same, so that no reply waits for ever.
LLM_STALL_S_MAX: Final = 45.0
TTS_STALL_S_MAX: Final = 15.0
TTS_END_S_MAX: Final = 1.0  # to take note that a reply is over, when all of it is made: nobody waits longer for that

Work = Callable[[], Awaitable[None]]


class CascadeSource:
    """A language model and a synthesiser as one reply source. Both are shared, and warmed up and closed elsewhere."""

    name = "cascade"
    can_speak_text = True

    def __init__(self, llm: Llm, tts: Tts) -> None:
        self._llm = llm
        self._tts = tts

    async def warm_up(self) -> None:
        """Both stages."""
        await asyncio.gather(self._llm.warm_up(), self._tts.warm_up())

    async def aclose(self) -> None:
        """Both stages."""
        await asyncio.gather(self._llm.aclose(), self._tts.aclose())

    @classmethod
    def probe(cls) -> str:
        """Always there; its stages answer for themselves."""
        return ""

    def open(self, request: ReplyRequest) -> "CascadeStream":
        """Begin one reply."""
        return CascadeStream(self._llm, self._tts, request)


class CascadeStream:
    """The making of one reply by model and synthesiser."""

    def __init__(self, llm: Llm, tts: Tts, request: ReplyRequest) -> None:
        self._llm = llm
        self._tts = tts
        self._request = request
        self._chunks: asyncio.Queue[tuple[str, bool] | None] = asyncio.Queue(CHUNKS_WAITING_MAX)
        self._outbox = _Outbox()
        self._released = asyncio.Event()
        self._finished = self._end_waits = False  # the end of the chunks stands in their queue
        self._early: list[Work] = []  # asked for before the iteration: with that it begins, and ends
        self._tasks: set[asyncio.Task[None]] | None = None
        self._told_last = False
        self._text_chars = self._speakable_chars = self._received_chars = 0
        if request.released:
            self.release()

    # --- commands -------------------------------------------------------------------------------------------------

    @property
    def waits_for(self) -> tuple[str, str]:
        """The synthesiser when it was given text, else the model."""
        llm, tts = self._llm, self._tts
        return ("tts", tts.name) if self._text_chars else ("llm", f"{llm.name} ({llm.model})")

    def ask(self, prompt: LlmRequest) -> None:
        """Stream the model's answer."""
        self._begin(partial(self._answer, prompt))

    def say(self, text: str) -> None:
        """Hand `text` to the synthesiser, clause by clause."""
        self._begin(partial(self._recite, text))

    def speak(self, text: str, *, in_text: bool = False) -> None:
        """Speak `text` next; dropped if the synthesiser has a page of text before it."""
        if not self._chunks.full() and not self._finished:
            self._chunks.put_nowait((text, in_text))

    def release(self) -> None:
        """Synthesise on."""
        self._released.set()

    def finish(self) -> None:
        """End after the last chunk."""
        self._finished = True
        if self._request.text_only:
            self._outbox.end()
        elif self._chunks.empty():
            self._chunks.put_nowait(None)  # else its task sees it after the last
            self._end_waits = True

    async def items(self) -> AsyncGenerator[ReplyItem, None]:
        """All that both tasks make; they live as long as this iteration."""
        tasks = self._tasks = set[asyncio.Task[None]]()
        for work in self._early:  # the model first: everybody waits for it
            self._begin(work)
        if not self._request.text_only:
            self._begin(self._speak)
        try:
            while (item := await self._outbox.take()) is not None:
                yield item
        finally:
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def _begin(self, work: Work) -> None:
        if self._tasks is None:
            self._early.append(work)
        else:
            self._tasks.add(asyncio.get_running_loop().create_task(self._at_work(work)))

    async def _at_work(self, work: Work) -> None:
        try:
            await work()
        except Exception as error:  # of this file: whoever iterates is told, instead of waiting for ever
            self._outbox.end(error)

    # --- text -----------------------------------------------------------------------------------------------------

    async def _recite(self, text: str) -> None:
        if self._request.text_only:
            await self._outbox.put(TextDelta(text))
        else:
            chunker = Chunker()
            for chunk in [*chunker.push_text(text), *chunker.flush()]:
                await self._hand_over(chunk)
        await self._outbox.put(TextFinished())

    async def _answer(self, prompt: LlmRequest) -> None:
        answer, reason = _AnswerText(), "error"
        failure: SourceFailed | None = None
        try:
            reason = await self._stream(prompt, answer)
        except DuologueError as error:
            failure = SourceFailed(error.stage if isinstance(error, StageError) else "llm", str(error))
        await self._pass_on(answer.end.flush(), answer)
        for chunk in [
            *answer.chunker.push_text(await self._speakable(answer.spoken, None)),
            *answer.chunker.flush(),
        ]:  # even after a failure
            await self._hand_over(chunk)
        if failure:
            await self._outbox.put(failure)
        await self._outbox.put(TextFinished(reason))

    async def _stream(self, prompt: LlmRequest, answer: "_AnswerText") -> str:
        """Stream one answer of the model into chunks; why it ended."""
        begun_at, first, put = _now(), True, self._outbox.put
        async with aclosing(watched("llm", self._llm.stream(prompt), LLM_STALL_S_MAX)) as items:
            async for item in items:
                if isinstance(item, TextDelta):
                    if first:
                        first = False
                        await put(StageTiming("llm_first_token", _now() - begun_at))
                    if ended := await self._take_text(item.text, answer):
                        return ended
                elif isinstance(item, LlmFinished):
                    return await self._model_finished(item)
                else:
                    await put(item)
        return "stop"

    async def _model_finished(self, finished: LlmFinished) -> str:
        put = self._outbox.put
        for note in finished.notes:  # a stand-in says how it stands in, a model what went wrong
            await put(SourceNote("llm", note, "warning" if self._llm.is_language_model else "info"))
        for remark in finished.remarks:
            await put(SourceNote("llm", remark, "info"))
        if finished.reason not in ("stop", "tool_calls"):
            await put(SourceNote("llm", f"the model stopped early: {finished.reason}"))
        return finished.reason

    async def _take_text(self, text: str, answer: "_AnswerText") -> str:
        """Take a delta, a slice at a time, so that a huge one does not hold the loop; why the answer ends here, if it
        does."""
        text = mended(text)
        for start in range(0, len(text), SLICE_CHARS):
            if start:
                await asyncio.sleep(0)
            piece = text[start : start + SLICE_CHARS]
            self._received_chars += len(piece)
            await self._pass_on(answer.end.push_text(piece), answer)
            if answer.end.reason:
                await self._outbox.put(SourceNote("llm", f"cut: {answer.end.reason}"))
                return "stop"
            for chars, limit in (
                (self._speakable_chars, TEXT_CHARS_MAX),
                (self._received_chars, RECEIVED_CHARS_MAX),
            ):
                if chars > limit:
                    await self._outbox.put(SourceNote("llm", f"cut at {limit} characters"))
                    return "length"
        return ""

    async def _pass_on(self, text: str, answer: "_AnswerText") -> None:
        if self._request.text_only:
            if text:
                await self._outbox.put(TextDelta(text))
            return
        speakable = await self._speakable(answer.spoken, text)
        self._speakable_chars += len(speakable)
        for chunk in answer.chunker.push_text(speakable):
            await self._hand_over(chunk)

    async def _speakable(self, spoken: SpokenTextFilter, delta: str | None) -> str:
        text = spoken.flush() if delta is None else spoken.push_text(delta)
        for aside in spoken.take_asides():
            await self._outbox.put(SourceAside(aside))
        return text

    async def _hand_over(self, text: str) -> None:
        self._text_chars += len(text)
        await self._outbox.has_room()
        await self._chunks.put((text, True))  # first, so that it is being spoken while the text is told
        self._outbox.add(TextDelta(text))

    # --- speech ---------------------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        failures = spoken = 0
        while not (self._finished and self._chunks.empty()):
            if (waiting := await self._chunks.get()) is None:
                break
            if spoken >= UNRELEASED_CHUNKS_MAX:
                await self._released.wait()
            error = await self._speak_chunk(*waiting)
            spoken += 1
            failures = failures + 1 if error else 0
            if error and failures >= CHUNK_FAILURES_MAX:  # broken: the end of the iteration stops the model, too
                await self._outbox.put(SourceFailed("tts", str(error)))
                self._outbox.end()
                return
        if spoken and not self._told_last:
            await self._tell_last()
        self._outbox.end()

    async def _tell_last(self) -> None:
        """The synthesiser learns that the reply is over, where its last chunk could not be told to be that."""
        try:
            async with aclosing(watched("tts", self._speech(""), TTS_END_S_MAX)) as items:
                async for _ in items:
                    pass
        except DuologueError as error:
            await self._outbox.put(SourceNote("tts", f"at the end of the reply: {error}"))

    def _speech(self, text: str) -> AsyncGenerator[SpeechItem, None]:
        """The synthesis of one chunk; of the last one too, as far as it is known to be that, or of nothing after it."""
        request = self._request
        self._told_last = not text or (self._finished and self._chunks.qsize() == self._end_waits)
        chunk = replace(request.speech, text=text, session=request.session, reply=request.reply, last=self._told_last)
        return self._tts.synthesise(chunk)

    async def _speak_chunk(self, text: str, in_text: bool) -> DuologueError | None:
        """Synthesise one chunk, once more if it failed before its first sample; the error, if it stays silent."""
        put, chunk = self._outbox.put, ChunkBegins(text, in_text)
        for attempt in (1, 2):
            made_s = [0.0]
            try:
                await self._synthesise(chunk, made_s)
            except DuologueError as error:
                if made_s[0]:  # what it did not come to say is not heard
                    await put(SourceNote("tts", f"cut short after {made_s[0]:.1f} s: {error}"))
                    await put(ChunkEnds(is_whole=False))
                    return None
                if isinstance(error, StageError) and error.retryable and attempt == 1:
                    await put(SourceNote("tts", f"tried again: {error}"))
                    continue
                await put(SourceNote("tts", f"left out: {text!r}: {error}"))
                return error
            if not made_s[0]:  # nothing in it can be heard, and it is said all the same
                await put(chunk)
            break
        await put(ChunkEnds())
        return None

    async def _synthesise(self, chunk: ChunkBegins, made_s: list[float]) -> None:
        """Speak `chunk`, which begins with its first sample: one that fails before was never begun.

        `made_s[0]` counts the seconds of its audio.
        """
        begun_at, words = _now(), list[SpokenWord]()
        async with aclosing(watched("tts", self._speech(chunk.text or ""), TTS_STALL_S_MAX)) as items:
            async for item in items:
                if not made_s[0]:
                    if not isinstance(item, SpeechAudio):
                        words.append(item)
                        continue
                    await self._outbox.put(StageTiming("tts_first_audio", _now() - begun_at))
                    await self._outbox.put(chunk)
                    for word in words:
                        await self._outbox.put(word)
                if isinstance(item, SpeechAudio):
                    made_s[0] += len(item.pcm) / 2 / self._request.speech.sample_rate_hz
                await self._outbox.put(item)


class _AnswerText:
    """What one answer of the model goes through: up to its end, without what is not spoken, in chunks."""

    def __init__(self) -> None:
        self.end = AnswerEnd()
        self.spoken = SpokenTextFilter()
        self.chunker = Chunker()


class _Outbox:
    """Items on their way to one reader. Who puts waits while too much waits; of audio that is one piece."""

    def __init__(self) -> None:
        self._items: deque[ReplyItem] = deque()
        self._audio = 0
        self._room = asyncio.Event()
        self._reader: asyncio.Future[None] | None = None
        self._ended = False
        self._error: Exception | None = None

    async def put(self, item: ReplyItem) -> None:
        """Add `item` at the end, when there is room."""
        is_audio = isinstance(item, SpeechAudio)
        await self.has_room(is_audio=is_audio)
        self.add(item)

    async def has_room(self, *, is_audio: bool = False) -> None:
        """Wait until there is room for an item."""
        while (is_audio and self._audio) or len(self._items) >= ITEMS_WAITING_MAX:
            self._room.clear()
            await self._room.wait()

    def add(self, item: ReplyItem) -> None:
        """Add `item` at the end, whether or not there is room."""
        self._items.append(item)
        self._audio += isinstance(item, SpeechAudio)
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        """Nothing comes after what waits; whoever reads has `error` raised then."""
        self._ended, self._error = True, self._error or error
        self._wake()

    async def take(self) -> ReplyItem | None:
        """The next item; None at the end. Raises what it ended with."""
        while not self._items:
            if self._error:
                raise self._error
            if self._ended:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        item = self._items.popleft()
        self._audio -= isinstance(item, SpeechAudio)
        self._room.set()
        return item

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)


def _now() -> float:
    return asyncio.get_running_loop().time()
