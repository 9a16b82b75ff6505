"""One reply, whatever its source is: told to the core, filled into its track, gated, cancelled as a unit.

One task asks the source for item after item, so long as there is room for what it makes. `cancel` ends that: the source
stops, and nothing of the reply is posted any more.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from duologue.core.events import Event, ReplyFailed, ReplyGenerated, ReplyHeard, ReplyText, ToolRequested
from duologue.core.words import mended
from duologue.errors import DuologueError, StageError, StageTimeout
from duologue.ports import reply_source as told
from duologue.ports.llm import LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.ports.tts import SpeechAudio, SpeechRequest, SpokenWord
from duologue.runtime.playout.track import Chunk, Track
from duologue.runtime.services import Services
from duologue.runtime.watched import SLACK_S, stage_broke

STAGE: Final = "reply_source"  # what errors of a source are told under
UNRELEASED_S_MAX: Final = 8.0  # of audio taken before the turn is over; a cascade stops itself before that
REPLY_CHARS_MAX: Final = 250_000  # of text from any source: above the cascade's own bounds, and a source gone wild
CHUNK_WORDS_MAX: Final = 50_000  # of word times in one chunk: more than that many characters have; the rest is dropped
NOTHINGS_MAX: Final = 1000  # in a row; a model that thinks for long sends some
SOURCE_STALL_S_MAX: Final = 60.0  # without an item that is its to give: above the time limits inside a cascade


@dataclass(frozen=True, slots=True)
class ReplyTools:
    """What a tool call's name tells about it: see `ToolRequested`."""

    timeout_s: float | None = None
    remote: bool = False
    cancellable: bool = True


@dataclass(frozen=True, slots=True)
class ReplyContext:
    """What a reply is made with.

    `speech`: the voice. `text_only`: nothing is spoken. `tool_traits` knows the tools by name; `unique_id` makes a
    call's id one of a kind; `on_aside` is told what was left out of speech, `on_finished` why the text of a reply ended
    and what was counted for it, `on_step` how long a stage took for its part.
    """

    services: Services
    source: told.ReplySource
    speech: SpeechRequest
    session: str
    tool_traits: Callable[[str], ReplyTools]
    unique_id: Callable[[str], str]
    on_aside: Callable[[int, str], None]
    on_finished: Callable[[int, str, Usage | None], None]
    text_only: bool = False
    on_step: Callable[[int, str, float], None] = lambda reply, step, seconds: None


class ReplyRun:
    """The making of one reply, from its source to audio in its `track`."""

    def __init__(self, number: int, context: ReplyContext, *, released: bool) -> None:
        self.number = number
        self.track = Track(number, context.speech.sample_rate_hz)
        self._context = context
        self._services = context.services
        self._released = asyncio.Event()
        if released:
            self._released.set()
        self._cancelled = self._over = self._is_told = self._heard_told = False
        self._may_use_tools = True
        self._calls = self._text_chars = self._nothings = 0
        self._reason = ""
        self._usage: Usage | None = None
        self._chunk: Chunk | None = None  # that audio and words belong to
        self._grows = False  # its text is what comes as `TextDelta`
        self._unplaced = ""  # text that came before its chunk
        if context.text_only:
            self._chunk, self._grows = self.track.begin_chunk(""), True
            self._chunk.complete = True  # text is had as soon as it is told
        # What the source owes: whether it is its turn to tell something, and since when it is asked for that.
        self._owes = self._is_asked = self._begun = False
        self._asked_at = 0.0
        self._broken: DuologueError | None = None
        self._stream: told.ReplyStream | None = None
        self._open(told.ReplyRequest(number, context.speech, context.session, context.text_only, released))
        self._reading = self._services.spawn(self._read())

    @property
    def waits_for(self) -> tuple[str, str]:
        """The stage that has the next move, and what fills it."""
        return self._stream.waits_for if self._stream else (STAGE, self._context.source.name)

    # --- what is to be done ---------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Speak `text` as it stands; no model is asked."""
        if self._can_speak(text):
            self._owes = True
            self._order(lambda stream: stream.say(text))
        else:
            self._text_finished(told.TextFinished())

    def generate(self, request: LlmRequest, *, may_use_tools: bool = True) -> None:
        """Ask the model; called again with the tools' results when it has used tools.

        `may_use_tools` False: it has used them often enough. A call is noted then and not asked for.
        """
        self._may_use_tools = may_use_tools
        self._calls = 0
        if not self._over:  # else nobody could hear it: the reply ends with what is made
            self._services.meter.requests += 1
            self._owes = True
            self._order(lambda stream: stream.ask(request))

    def finish_text(self) -> None:
        """The tools that were called end this reply: let what is made be heard."""
        self._owes = True
        self._tell_finished(self._reason)
        self._order(lambda stream: stream.finish())

    def recall(self, heard: str, rest: str) -> None:
        """`heard` of this reply was heard elsewhere; speak `rest`, which was not. To be called before all else."""
        self.track.begin_chunk(heard).complete = True
        self.track.told = heard
        if rest.strip() and not self._context.text_only and self._can_speak(rest):
            self._order(lambda stream: stream.speak(rest, in_text=True))

    def filler(self, text: str) -> None:
        """Speak `text` next, if there is room; it enters no history."""
        if not self._context.text_only and self._can_speak(text):
            self._order(lambda stream: stream.speak(text))

    def release(self) -> None:
        """The turn is over: make all of it."""
        self._released.set()
        self._order(lambda stream: stream.release())
        if self._context.text_only and self._text_chars:
            self._tell_heard()

    def cancel(self, heard: str) -> None:
        """Stop everything; nothing is posted after this. `heard`: what was not for nothing."""
        self._tell_finished("cancelled")
        self._cancelled = True
        self._services.meter.wasted_output_chars += max(0, self._text_chars - len(heard))
        self._reading.cancel()

    def finish(self) -> None:
        """It is played out: nothing of it may live on."""
        self._reading.cancel()

    # --- to the source --------------------------------------------------------------------------------------------

    def _open(self, request: told.ReplyRequest) -> None:
        try:
            self._stream = self._context.source.open(request)
        except Exception as error:  # as in `_order`
            self._break(as_ours(error))

    def _order(self, command: Callable[[told.ReplyStream], None]) -> None:
        """Give the source a command. An error costs the reply, not the session: it may be a stranger's."""
        self._asked_at = self._now()
        if self._stream and not self._over:
            try:
                command(self._stream)
            except Exception as error:
                self._break(as_ours(error))

    def _break(self, error: DuologueError) -> None:
        self._broken = error
        if self._begun:
            self._reading.cancel()

    def _can_speak(self, text: str) -> bool:
        if not self._context.source.can_speak_text:
            self._services.note(
                STAGE, f"{self._context.source.name} speaks no given words, left out: {text!r}", "warning"
            )
        return self._context.source.can_speak_text

    # --- from the source ------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._services.now()

    def _post(self, event: Event) -> None:
        if not self._cancelled:
            self._services.post(event)

    async def _read(self) -> None:
        self._begun = True
        watch = self._services.spawn(self._watch())
        try:
            await self._fill_track()
        except asyncio.CancelledError:
            if self._broken is None:
                raise
            self._failed(self._broken)
        except Exception as error:  # a stranger's source may raise anything
            self._failed(as_ours(error))
        finally:
            watch.cancel()
        self._over = True
        self._tell_finished("error")  # unless it was told long ago
        self.track.finish()

    async def _fill_track(self) -> None:
        """Take item after item, each when there is room for it, to the end."""
        if self._stream is None:  # it could not even be opened
            raise self._broken or StageError(STAGE, "it opened no stream")
        if self._broken:
            raise self._broken
        async with aclosing(self._stream.items()) as items:
            while True:
                self._asked_at, self._is_asked = self._now(), True
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    break
                self._is_asked = False
                TAKE[type(item)](self, item)
                self._count_nothing(item)
                if not self._released.is_set() and self.track.rest_s(0) > UNRELEASED_S_MAX:
                    await self._released.wait()
                await self.track.room.wait()
        if self._chunk and self._grows:
            self._chunk.complete = True

    def _count_nothing(self, item: told.ReplyItem) -> None:
        """A source that gives nothing again and again would hold the loop for ever."""
        is_nothing = (isinstance(item, TextDelta) and not item.text) or (isinstance(item, SpeechAudio) and not item.pcm)
        self._nothings = self._nothings + 1 if is_nothing else 0
        if self._nothings > NOTHINGS_MAX:
            raise StageError(STAGE, f"it gave empty text or audio {NOTHINGS_MAX} times in a row")

    async def _watch(self) -> None:
        """Give up a source that hangs when it is its turn."""
        while True:
            due = self._owes and self._is_asked and self._released.is_set()
            left_s = self._asked_at + SOURCE_STALL_S_MAX - self._now() if due else SOURCE_STALL_S_MAX
            if left_s <= SLACK_S:
                self._break(StageTimeout(STAGE, f"nothing came for {SOURCE_STALL_S_MAX:g} s"))
                return
            await asyncio.sleep(left_s)

    def _failed(self, error: DuologueError) -> None:
        stage = error.stage if isinstance(error, StageError) else STAGE
        self._post(ReplyFailed(self._now(), self.number, stage, str(error)))

    def _take_text(self, item: TextDelta) -> None:
        text = mended(item.text)
        self._text_chars += len(text)
        if self._text_chars > REPLY_CHARS_MAX:
            raise StageError(STAGE, f"a reply of more than {REPLY_CHARS_MAX} characters")
        if self._chunk and self._grows:
            self._chunk.text += text
        elif self._chunk is None:
            self._unplaced += text
        self._post(ReplyText(self._now(), self.number, text))
        if self._context.text_only and self._released.is_set():
            self._tell_heard()

    def _begin_chunk(self, item: told.ChunkBegins) -> None:
        if not self._context.text_only:
            self._grows, self._unplaced = item.text is None, ""
            self._chunk = self.track.begin_chunk(mended(item.text or ""), in_text=item.in_text)

    def _end_chunk(self, item: told.ChunkEnds) -> None:
        if self._chunk and not self._context.text_only:
            self._chunk.complete = item.is_whole
            self._chunk, self._grows = None, False

    def _take_audio(self, item: SpeechAudio) -> None:
        if self._context.text_only:
            return
        if self._chunk is None:
            self._begin_chunk(told.ChunkBegins(self._unplaced or None))  # the text before it is what it says
            self._grows = True
        self._services.meter.synthesised_s += len(item.pcm) / 2 / self._context.speech.sample_rate_hz
        self.track.add(item.pcm)

    def _take_word(self, item: SpokenWord) -> None:
        if not (isfinite(item.start) and isfinite(item.end) and item.start_char >= 0):
            raise StageError(STAGE, f"a word has no place: {item}")
        if self._chunk and len(self._chunk.words) < CHUNK_WORDS_MAX:
            self._chunk.words.append(item)

    def _take_call(self, item: ToolCallRequest) -> None:
        call = item.call
        if not self._may_use_tools:
            self._services.note("llm", f"it was given no tools any more and wants {call.name}: left out", "warning")
            return
        self._calls += 1
        traits = self._context.tool_traits(call.name)
        self._post(
            ToolRequested(
                self._now(),
                self.number,
                self._context.unique_id(call.call_id),
                mended(call.name),
                mended(call.arguments),
                timeout_s=traits.timeout_s,
                remote=traits.remote,
                cancellable=traits.cancellable,
            )
        )

    def _take_usage(self, item: Usage) -> None:
        self._services.meter.usage(item)
        so_far = self._usage or Usage(item.model, 0, 0)
        self._usage = Usage(
            item.model,
            so_far.input + item.input,
            so_far.output + item.output,
            so_far.cached_input + item.cached_input,
        )

    def _text_finished(self, item: told.TextFinished) -> None:
        self._reason = item.reason
        self._owes = self._calls == 0  # else the tools have the next move
        if self._calls == 0:
            self._tell_finished(item.reason)
        self._post(ReplyGenerated(self._now(), self.number))
        if self._calls == 0:
            self._order(lambda stream: stream.finish())

    def _take_aside(self, item: told.SourceAside) -> None:
        self._context.on_aside(self.number, item.text)

    def _take_failure(self, item: told.SourceFailed) -> None:
        self._post(ReplyFailed(self._now(), self.number, item.stage, item.error))

    def _take_note(self, item: told.SourceNote) -> None:
        self._services.note(item.stage, item.text, item.severity)

    def _take_timing(self, item: told.StageTiming) -> None:
        self._services.meter.timing(item.step, item.seconds)
        self._context.on_step(self.number, item.step, item.seconds)

    # --- told once ------------------------------------------------------------------------------------------------

    def _tell_finished(self, reason: str) -> None:
        if not self._is_told and not self._cancelled:
            self._is_told = True
            self._context.on_finished(self.number, reason, self._usage)

    def _tell_heard(self) -> None:
        if not self._heard_told:
            self._heard_told = True
            self._post(ReplyHeard(self._now(), self.number))


TAKE: Final[Mapping[type, Callable[[ReplyRun, Any], None]]] = {
    TextDelta: ReplyRun._take_text,
    SpeechAudio: ReplyRun._take_audio,
    SpokenWord: ReplyRun._take_word,
    ToolCallRequest: ReplyRun._take_call,
    Usage: ReplyRun._take_usage,
    told.ChunkBegins: ReplyRun._begin_chunk,
    told.ChunkEnds: ReplyRun._end_chunk,
    told.TextFinished: ReplyRun._text_finished,
    told.SourceFailed: ReplyRun._take_failure,
    told.SourceAside: ReplyRun._take_aside,
    told.SourceNote: ReplyRun._take_note,
    told.StageTiming: ReplyRun._take_timing,
}


def as_ours(error: Exception) -> DuologueError:
    """What a source raised, as one of our tree."""
    return error if isinstance(error, DuologueError) else stage_broke(STAGE, error)
