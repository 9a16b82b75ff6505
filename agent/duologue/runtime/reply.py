"""One reply: LLM → chunks → synthesis → track, cancelled as a unit.

Two tasks: one streams the model and cuts its text into chunks, the other speaks them one after the other. `cancel` ends
both: the model's connection closes, the synthesis stops, and nothing of the reply is posted any more.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from duologue.audio import SAMPLE_RATE_HZ
from duologue.core.events import Event, ReplyFailed, ReplyGenerated, ReplyText, ToolRequested
from duologue.core.messages import ToolCall
from duologue.core.words import mended
from duologue.errors import DuologueError, StageError, StageTimeout
from duologue.ports.llm import Llm, LlmFinished, LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.ports.tts import SpeechAudio, SpeechRequest, Tts
from duologue.runtime.playout import Chunk, Track
from duologue.runtime.services import Services
from duologue.text.chunking import Chunker
from duologue.text.spoken_text import SpokenTextFilter

CHUNKS_WAITING_MAX: Final = 32  # beyond it the model's stream is read no further
UNRELEASED_CHUNKS_MAX: Final = 2  # synthesised before the turn is over: enough to begin with, little to throw away
TEXT_CHARS_MAX: Final = 20_000  # of one reply, about twenty minutes of speech: the model ran wild, it is cut there
RECEIVED_CHARS_MAX: Final = 200_000  # the same with thoughts, moods and whatever else is never spoken
SLICE_CHARS: Final = 2000  # of a delta at a time: a few milliseconds of filtering and chunking
CHUNK_FAILURES_MAX: Final = 2  # in a row; one is skipped, two are a broken synthesiser

# Adapters have time limits of their own; these catch one that hangs all the same, so that no reply waits for ever.
LLM_STALL_S_MAX: Final = 45.0
TTS_STALL_S_MAX: Final = 15.0

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ReplyTools:
    """What a tool call's name tells about it: see `ToolRequested`."""

    timeout_s: float | None = None
    far_side: bool = False
    cancellable: bool = True


@dataclass(frozen=True, slots=True)
class ReplyContext:
    """What a reply is made with.

    `tool_traits` knows the tools by name; `unique_id` makes a call's id one of a kind; `on_aside` is told what the
    filter took out.
    """

    services: Services
    llm: Llm
    tts: Tts
    speech: SpeechRequest
    tool_traits: Callable[[str], ReplyTools]
    unique_id: Callable[[str], str]
    on_aside: Callable[[int, str], None]


class ReplyRun:
    """The making of one reply, from the model's stream to audio in its `track`."""

    def __init__(self, number: int, context: ReplyContext, *, released: bool) -> None:
        self.number = number
        self.track = Track(number)
        self._context = context
        self._services = context.services
        self._chunks: asyncio.Queue[tuple[str, bool] | None] = asyncio.Queue(CHUNKS_WAITING_MAX)
        self._released = asyncio.Event()
        if released:
            self._released.set()
        self._speaking = self._services.spawn(self._speak())
        self._generating: asyncio.Task[None] | None = None
        self._cancelled = self._mute = False
        self._may_use_tools = True
        self._text_chars = self._speakable_chars = self._received_chars = 0

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """What runs for it."""
        return [self._speaking, *([self._generating] if self._generating else [])]

    @property
    def waits_for(self) -> tuple[str, str]:
        """The stage that has the next move, and what fills it."""
        llm, tts = self._context.llm, self._context.tts
        return ("tts", tts.name) if self._text_chars else ("llm", f"{llm.name} ({llm.model})")

    def say(self, text: str) -> None:
        """Speak `text` as it stands; no model is asked."""
        self._generating = self._services.spawn(self._recite(text))

    def generate(self, request: LlmRequest, *, may_use_tools: bool = True) -> None:
        """Ask the model; called again with the tools' results when it has used tools.

        `may_use_tools` False: it has used them often enough. A call is noted then and not asked for.
        """
        self._may_use_tools = may_use_tools
        if not self._mute:  # else nobody could hear it: the reply ends with what is made
            self._generating = self._services.spawn(self._generate(request))

    def recall(self, heard: str, rest: str) -> None:
        """`heard` of this reply was heard elsewhere; speak `rest`, which was not. To be called before all else."""
        self.track.begin_chunk(heard).complete = True
        if rest.strip():
            self._chunks.put_nowait((rest, True))

    def filler(self, text: str) -> None:
        """Speak `text` next, if there is room; it enters no history."""
        if not self._chunks.full():
            self._chunks.put_nowait((text, False))

    def release(self) -> None:
        """The turn is over: synthesise on."""
        self._released.set()

    def cancel(self, heard: str) -> None:
        """Stop everything; nothing is posted after this. `heard`: what was not for nothing."""
        self._cancelled = True
        self._services.meter.wasted_output_chars += max(0, self._text_chars - len(heard))
        for task in self.tasks:
            task.cancel()

    def finish(self) -> None:
        """It is played out: nothing of it may live on."""
        if self._generating:
            self._generating.cancel()

    # --- text -----------------------------------------------------------------------------------------------------

    def _post(self, event: Event) -> None:
        if not self._cancelled:
            self._services.post(event)

    async def _recite(self, text: str) -> None:
        chunker = Chunker()
        for chunk in [*chunker.push(text), *chunker.flush()]:
            await self._hand_over(chunk)
        self._post(ReplyGenerated(self._services.now(), self.number))
        await self._chunks.put(None)

    async def _generate(self, request: LlmRequest) -> None:
        calls = 0
        try:
            calls = await self._stream(request)
        except DuologueError as error:
            stage = error.stage if isinstance(error, StageError) else "llm"
            self._post(ReplyFailed(self._services.now(), self.number, stage, str(error)))
        self._post(ReplyGenerated(self._services.now(), self.number))
        if calls == 0:
            await self._chunks.put(None)

    async def _stream(self, request: LlmRequest) -> int:
        """Stream one answer of the model into chunks; how many tools it called."""
        context, begun_at = self._context, self._services.now()
        chunker, spoken, calls, first = Chunker(), SpokenTextFilter(), 0, True
        failure: DuologueError | None = None
        self._services.meter.requests += 1
        try:
            async with aclosing(watched("llm", context.llm.stream(request), LLM_STALL_S_MAX)) as items:
                async for item in items:
                    if isinstance(item, TextDelta):
                        if first:
                            self._services.meter.timing("llm_first_token", self._services.now() - begun_at)
                            first = False
                        if not await self._take_text(item.text, chunker, spoken):
                            break
                    else:
                        calls += self._no_text(item)
        except DuologueError as error:
            failure = error
        for chunk in [*chunker.push(self._speakable(spoken, None)), *chunker.flush()]:  # said even after a failure
            await self._hand_over(chunk)
        if failure:
            raise failure
        return calls

    async def _take_text(self, text: str, chunker: Chunker, spoken: SpokenTextFilter) -> bool:
        """Take a delta, a slice at a time, so that a huge one does not hold the loop; whether there is room for
        more."""
        text = mended(text)
        for start in range(0, len(text), SLICE_CHARS):
            if start:
                await asyncio.sleep(0)
            piece = text[start : start + SLICE_CHARS]
            self._received_chars += len(piece)
            speakable = self._speakable(spoken, piece)
            self._speakable_chars += len(speakable)
            for chunk in chunker.push(speakable):
                await self._hand_over(chunk)
            for chars, limit in (
                (self._speakable_chars, TEXT_CHARS_MAX),
                (self._received_chars, RECEIVED_CHARS_MAX),
            ):
                if chars > limit:
                    self._services.note("llm", f"cut at {limit} characters", "warning")
                    return False
        return True

    def _no_text(self, item: ToolCallRequest | Usage | LlmFinished) -> int:
        """Deal with an item that is no text; how many tools it calls."""
        if isinstance(item, ToolCallRequest):
            if not self._may_use_tools:
                self._services.note(
                    "llm", f"it was given no tools any more and wants {item.call.name}: left out", "warning"
                )
                return 0
            self._request_tool(item.call)
            return 1
        if isinstance(item, Usage):
            self._services.meter.usage(item)
        else:
            self._finished(item)
        return 0

    def _finished(self, item: LlmFinished) -> None:
        for text in item.notes:
            self._services.note("llm", text, "warning" if self._context.llm.is_language_model else "info")
        if item.reason not in ("stop", "tool_calls"):
            self._services.note("llm", f"the model stopped early: {item.reason}", "warning")

    def _speakable(self, spoken: SpokenTextFilter, delta: str | None) -> str:
        text = spoken.flush() if delta is None else spoken.push(delta)
        for aside in spoken.take_asides():
            self._context.on_aside(self.number, aside)
        return text

    def _request_tool(self, call: ToolCall) -> None:
        traits = self._context.tool_traits(call.name)
        self._post(
            ToolRequested(
                self._services.now(),
                self.number,
                self._context.unique_id(call.call_id),
                mended(call.name),
                mended(call.arguments),
                timeout_s=traits.timeout_s,
                far_side=traits.far_side,
                cancellable=traits.cancellable,
            )
        )

    async def _hand_over(self, text: str) -> None:
        self._text_chars += len(text)
        self._post(ReplyText(self._services.now(), self.number, text))
        await self._chunks.put((text, True))

    # --- speech ---------------------------------------------------------------------------------------------------

    async def _speak(self) -> None:
        failures = spoken = 0
        while (waiting := await self._chunks.get()) is not None:
            if spoken >= UNRELEASED_CHUNKS_MAX:
                await self._released.wait()
            await self.track.room.wait()
            text, in_text = waiting
            chunk = self.track.begin_chunk(text, in_text=in_text)
            error = await self._speak_chunk(chunk)
            spoken += 1
            failures = failures + 1 if error else 0
            if error and failures >= CHUNK_FAILURES_MAX:
                self._post(ReplyFailed(self._services.now(), self.number, "tts", str(error)))
                self._drain()
                break
        self.track.finish()

    def _drain(self) -> None:
        """The synthesiser is broken: let the model's task go, it writes for nobody."""
        self._mute = True
        if self._generating:
            self._generating.cancel()
        while not self._chunks.empty():
            self._chunks.get_nowait()

    async def _speak_chunk(self, chunk: Chunk) -> DuologueError | None:
        """Synthesise one chunk, once more if it failed before its first sample; the error, if it stays silent."""
        for attempt in (1, 2):
            try:
                await self._synthesise(chunk)
            except DuologueError as error:
                if chunk.samples == 0 and isinstance(error, StageError) and error.retryable and attempt == 1:
                    self._services.note("tts", f"tried again: {error}", "warning")
                    chunk.words.clear()
                    continue
                if chunk.samples == 0:
                    self._services.note("tts", f"left out: {chunk.text!r}: {error}", "warning")
                    chunk.in_text = False  # it was never heard
                    return error
                # It stays incomplete: what it did not come to say is not heard.
                self._services.note(
                    "tts", f"cut short after {chunk.samples / SAMPLE_RATE_HZ:.1f} s: {error}", "warning"
                )
                return None
            break
        chunk.complete = True
        return None

    async def _synthesise(self, chunk: Chunk) -> None:
        context, begun_at = self._context, self._services.now()
        speech = context.tts.synthesise(replace(context.speech, text=chunk.text))
        async with aclosing(watched("tts", speech, TTS_STALL_S_MAX)) as items:
            async for item in items:
                if not isinstance(item, SpeechAudio):
                    chunk.words.append(item)
                    continue
                if chunk.samples == 0:
                    self._services.meter.timing("tts_first_audio", self._services.now() - begun_at)
                self._services.meter.synthesised_s += len(item.pcm) / 32_000
                self.track.add(item.pcm)
                await self.track.room.wait()


async def watched(stage: str, items: AsyncGenerator[Item, None], stall_s_max: float) -> AsyncGenerator[Item, None]:
    """`items`, closed with this generator, and what goes wrong in them as `StageError`.

    `StageTimeout` when the next one does not come within `stall_s_max`. An adapter that raises what its port does not
    speak of costs a reply, not the session.
    """
    async with aclosing(items):
        while True:
            try:
                async with asyncio.timeout(stall_s_max):
                    item = await anext(items)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise StageTimeout(stage, f"nothing came for {stall_s_max:g} s") from error
            except DuologueError:
                raise
            except Exception as error:  # a stranger's adapter may raise anything
                raise stage_broke(stage, error) from error
            yield item


def stage_broke(stage: str, error: Exception) -> StageError:
    """What an adapter raised that is none of our errors, as one."""
    hint = f"The {stage} adapter should raise StageError: report it to its author"
    return StageError(stage, f"{type(error).__name__}: {error}", hint=hint)
