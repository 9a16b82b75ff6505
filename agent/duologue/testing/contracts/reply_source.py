"""What every reply source must do, as checks that anybody can run on theirs.

    def test_my_source_keeps_the_contract():
        asyncio.run(check_reply_source(ReplySourceCase(make=lambda: MySource(...))))

A case says how to get at the source, and what can be seen of it from outside. What it leaves out is not checked. A
check raises `AssertionError` that says what was promised and what came. Checks need an event loop and no particular
clock.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from duologue.audio import FRAME_SECONDS, OUTPUT_RATE_HZ
from duologue.core.messages import Message
from duologue.ports.llm import LlmRequest, TextDelta, ToolCallRequest, Usage
from duologue.ports.reply_source import (
    ChunkBegins,
    ChunkEnds,
    ReplyItem,
    ReplyRequest,
    ReplySource,
    ReplyStream,
    TextFinished,
)
from duologue.ports.tts import SpeechAudio, SpeechRequest, SpokenWord

PATIENCE_S: Final = 30.0  # for a whole reply
CLOSE_S: Final = 2.0  # for a reply to stop: it must not wait for its end
QUIET_S: Final = 1.0  # in which nothing may happen
PIECES_AHEAD_MAX: Final = 3  # of audio that were made and not asked for, with the one in hand
UNRELEASED_S_MAX: Final = 30.0  # of audio before the release: two chunks at their longest

PROMPT: Final = LlmRequest(
    (Message("system", "You are a helpful voice assistant."), Message("user", "Tell me about the weather in Oslo.")),
    session="contract",
)


@dataclass(frozen=True, slots=True)
class ReplySourceCase:
    """How the kit gets at a source. Each factory makes a new one, not warmed up.

    `make`: answers `prompt` with at least two seconds of speech. `make_tool_caller`: answers it by calling a tool, and
    what comes next with words. `made_s`: seconds of audio that were made so far, as seen from outside; `live`: replies
    being made, seen likewise.
    """

    make: Callable[[], ReplySource]
    prompt: LlmRequest = field(default=PROMPT)
    speech: SpeechRequest = field(default_factory=lambda: SpeechRequest(""))
    make_tool_caller: Callable[[], ReplySource] | None = None
    made_s: Callable[[], float] | None = None
    live: Callable[[], int] | None = None

    def request(self, *, text_only: bool = False, released: bool = True) -> ReplyRequest:
        """A reply to be made."""
        speech = replace(self.speech, sample_rate_hz=OUTPUT_RATE_HZ)
        return ReplyRequest(1, speech, "contract", text_only, released)


Check = Callable[[ReplySourceCase], Awaitable[None]]


def _require(true: bool, promise: str) -> None:
    if not true:
        raise AssertionError(f"the reply source contract is broken: {promise}")


async def _next(items: AsyncGenerator[ReplyItem, None], promise: str) -> ReplyItem | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            return await anext(items, None)
    except TimeoutError:
        raise AssertionError(
            f"the reply source contract is broken: {promise}, nothing came in {PATIENCE_S:g} s"
        ) from None


async def _answer(items: AsyncGenerator[ReplyItem, None]) -> list[ReplyItem]:
    """All up to `TextFinished`."""
    found: list[ReplyItem] = []
    while (item := await _next(items, "TextFinished ends an answer")) is not None:
        found.append(item)
        if isinstance(item, TextFinished):
            return found
    raise AssertionError(f"the reply source contract is broken: TextFinished ends an answer, it ended after {found}")


async def _whole(stream: ReplyStream) -> list[ReplyItem]:
    """One answer without tools, and all of its audio."""
    async with aclosing(stream.items()) as items:
        found = await _answer(items)
        stream.finish()
        while (item := await _next(items, "after finish the iteration ends")) is not None:
            found.append(item)
    return found


def _text(items: list[ReplyItem]) -> str:
    return "".join(item.text for item in items if isinstance(item, TextDelta))


def _seconds(items: list[ReplyItem]) -> float:
    return sum(len(item.pcm) / 2 for item in items if isinstance(item, SpeechAudio)) / OUTPUT_RATE_HZ


def _check_texts(items: list[ReplyItem]) -> None:
    finished = [index for index, item in enumerate(items) if isinstance(item, TextFinished)]
    _require(len(finished) == 1, f"one question gives one TextFinished, got {len(finished)}")
    late = [item for item in items[finished[0] :] if isinstance(item, TextDelta | ToolCallRequest)]
    _require(not late, f"text and tool calls come before TextFinished, there came {late[:3]} after it")
    deltas = [item.text for item in items if isinstance(item, TextDelta)]
    _require(bool("".join(deltas).strip()), "an answer has words")
    _require(all(deltas), "an empty delta tells nothing and does not come")


def _check_chunks(items: list[ReplyItem]) -> str:
    """What the chunks speak, fillers left out."""
    spoken, chunk, text, seconds, words = "", None, "", 0.0, list[SpokenWord]()
    for item in items:
        if isinstance(item, ChunkBegins):
            _require(chunk is None, f"a chunk ends before the next begins, got {item}")
            chunk, text, seconds, words = item, item.text or "", 0.0, []
        elif isinstance(item, TextDelta) and chunk is not None and chunk.text is None:
            text += item.text
        elif isinstance(item, SpeechAudio):
            _require(chunk is not None, "audio comes inside a chunk")
            _require(
                bool(item.pcm) and len(item.pcm) % 2 == 0, f"a piece of audio is whole samples, got {len(item.pcm)}"
            )
            seconds += len(item.pcm) / 2 / OUTPUT_RATE_HZ
        elif isinstance(item, SpokenWord):
            _require(chunk is not None, "words come inside a chunk")
            words.append(item)
        elif isinstance(item, ChunkEnds):
            _require(chunk is not None, "only what has begun can end")
            _check_words(words, text, seconds)
            spoken += text if chunk and chunk.in_text else ""
            chunk = None
    _require(chunk is None, "every chunk ends")
    return spoken


def _check_words(words: list[SpokenWord], text: str, seconds: float) -> None:
    for word in words:
        _require(0 <= word.start_char < word.end_char <= len(text), f"a word lies in its chunk's text, got {word}")
        inside = 0 <= word.start <= word.end <= seconds + FRAME_SECONDS
        _require(inside, f"a word lies inside its chunk's audio ({seconds:.2f} s), got {word}")
    for before, after in pairwise(words):
        _require(
            before.end_char <= after.start_char and before.start <= after.start, f"words never go back, got {after}"
        )


async def says_what_it_is(case: ReplySourceCase) -> None:
    """`name`, `can_speak_text` and `probe` answer at once; `warm_up` and `aclose` may be called again."""
    source = case.make()
    _require(isinstance(source.name, str) and bool(source.name), f"name is a word, got {source.name!r}")
    _require(isinstance(source.can_speak_text, bool), "can_speak_text is a bool")
    _require(isinstance(type(source).probe(), str), "probe answers with a sentence, or with nothing")
    for _ in range(2):
        await source.warm_up()
    for _ in range(2):
        await source.aclose()


async def tells_text_and_audio(case: ReplySourceCase) -> None:
    """Text, audio in chunks that speak it, the end of the text, and after `finish` the end."""
    stream = case.make().open(case.request())
    stage, name = stream.waits_for
    _require(bool(stage) and bool(name), f"waits_for names a stage and who fills it, got {stream.waits_for}")
    stream.ask(case.prompt)
    items = await _whole(stream)
    _check_texts(items)
    spoken = _check_chunks(items)
    _require(_seconds(items) >= 1.0, f"an answer is heard, got {_seconds(items):.2f} s of audio")
    _require(spoken.split() == _text(items).split(), f"the chunks speak the text {_text(items)!r}, got {spoken!r}")
    counted = [item for item in items if isinstance(item, Usage)]
    _require(all(use.input >= 0 and use.output >= 0 for use in counted), f"tokens can't be negative: {counted}")


async def goes_on_until_it_is_finished(case: ReplySourceCase) -> None:
    """After an answer it waits: for the next question, or for `finish`."""
    stream = case.make().open(case.request())
    stream.ask(case.prompt)
    async with aclosing(stream.items()) as items:
        await _answer(items)
        rest = asyncio.ensure_future(_rest(items))
        done, _ = await asyncio.wait({rest}, timeout=PATIENCE_S)
        _require(not done, "the iteration does not end before finish")
        stream.finish()
        done, _ = await asyncio.wait({rest}, timeout=PATIENCE_S)
        rest.cancel()
        _require(bool(done), "after finish the iteration ends when all is told")


async def _rest(items: AsyncGenerator[ReplyItem, None]) -> None:
    async for _ in items:
        pass


async def tells_text_alone(case: ReplySourceCase) -> None:
    """With `text_only` nothing is spoken."""
    stream = case.make().open(case.request(text_only=True))
    stream.ask(case.prompt)
    items = await _whole(stream)
    _check_texts(items)
    sound = [item for item in items if isinstance(item, SpeechAudio | SpokenWord | ChunkBegins | ChunkEnds)]
    _require(not sound, f"with text_only nothing is spoken, got {len(sound)} items of it")


async def makes_what_it_is_asked_for(case: ReplySourceCase) -> None:
    """Nobody asks for the next item: nothing much is made meanwhile."""
    if case.made_s is None:
        return
    stream = case.make().open(case.request())
    before_s, taken_s, piece_s = case.made_s(), 0.0, 0.0
    stream.ask(case.prompt)
    async with aclosing(stream.items()) as items:
        while not piece_s and (item := await _next(items, "an answer is heard")) is not None:
            piece_s = _seconds([item])
            taken_s += piece_s
        await asyncio.sleep(QUIET_S)
        ahead_s = case.made_s() - before_s - taken_s
    most_s = PIECES_AHEAD_MAX * piece_s
    _require(ahead_s <= most_s, f"it makes a piece or two beyond what it is asked for, got {ahead_s:.2f} s of audio")


async def keeps_back_until_the_release(case: ReplySourceCase) -> None:
    """A speculative reply is begun, not made; with the release all of it comes."""
    endless = replace(case.prompt, messages=(*case.prompt.messages, Message("user", "At length, please.")))
    stream = case.make().open(case.request(released=False))
    stream.ask(endless)
    found: list[ReplyItem] = []

    async def read() -> None:
        async with aclosing(stream.items()) as items:
            async for item in items:
                found.append(item)
                if isinstance(item, TextFinished):
                    stream.finish()

    reading = asyncio.ensure_future(read())
    await asyncio.wait({reading}, timeout=QUIET_S)
    early_s = _seconds(found)
    _require(
        early_s <= UNRELEASED_S_MAX, f"until the release it makes enough to begin with, got {early_s:.1f} s of audio"
    )
    stream.release()
    done, _ = await asyncio.wait({reading}, timeout=PATIENCE_S)
    reading.cancel()
    _require(bool(done), "after the release all of it comes")
    _check_texts(found)


async def stops_at_once(case: ReplySourceCase) -> None:
    """Closing after the first audio, before the first item, and before anything is asked."""
    source = case.make()
    never = source.open(case.request())
    never.ask(case.prompt)
    stream = source.open(case.request())
    stream.ask(case.prompt)
    items = stream.items()
    while not isinstance(await _next(items, "an answer is heard"), SpeechAudio):
        pass
    await _stop(items.aclose())
    _require(await anext(items, None) is None, "nothing comes of a reply that was closed")
    for command in (stream.release, stream.finish):
        command()  # whoever closed it may not know yet
    waiting = asyncio.ensure_future(_rest(never.items()))
    await asyncio.sleep(0)
    waiting.cancel()
    done, _ = await asyncio.wait({waiting}, timeout=CLOSE_S)
    _require(bool(done) and waiting.cancelled(), "a reply that waits for its first item can be cancelled")
    if case.live is not None:
        _require(case.live() == 0, f"nothing is left running, got {case.live()} replies")


async def _stop(closing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(CLOSE_S):
            await closing
    except TimeoutError:
        raise AssertionError("the reply source contract is broken: closing stops everything at once") from None


async def goes_on_after_tools(case: ReplySourceCase) -> None:
    """A tool call ends an answer; the next question goes on in the same reply, or `finish` ends it."""
    if case.make_tool_caller is None:
        return
    for goes_on in (True, False):
        stream = case.make_tool_caller().open(case.request())
        stream.ask(case.prompt)
        async with aclosing(stream.items()) as items:
            first = await _answer(items)
            calls = [item.call for item in first if isinstance(item, ToolCallRequest)]
            _require(bool(calls), f"a tool is called before TextFinished, got {first}")
            rest: list[ReplyItem] = []
            if goes_on:
                result = Message("tool", "It rains.", call_id=calls[0].call_id)
                asked = Message("assistant", tool_calls=tuple(calls))
                stream.ask(replace(case.prompt, messages=(*case.prompt.messages, asked, result)))
                rest = await _answer(items)
            stream.finish()
            while (item := await _next(items, "after finish the iteration ends")) is not None:
                rest.append(item)
        if goes_on:
            _require(bool(_text(rest)), "after the results it goes on with words")


async def speaks_given_words(case: ReplySourceCase) -> None:
    """Where it can: `say` as an answer, `speak` as a chunk that tells no text."""
    source = case.make()
    if not source.can_speak_text:
        return
    words = "The museum opens at nine, and closes at five."
    stream = source.open(case.request())
    stream.speak("One moment.")
    stream.say(words)
    items = await _whole(stream)
    _check_texts(items)
    _require(_text(items) == words, f"it tells the words that it was given, got {_text(items)!r}")
    _require(_check_chunks(items) == words, "it speaks the words that it was given, and a filler is in no text")
    fillers = [item.text for item in items if isinstance(item, ChunkBegins) and not item.in_text]
    _require(fillers == ["One moment."], f"a filler is a chunk of its own, got {fillers}")


CHECKS: Final[tuple[Check, ...]] = (
    says_what_it_is,
    tells_text_and_audio,
    goes_on_until_it_is_finished,
    tells_text_alone,
    makes_what_it_is_asked_for,
    keeps_back_until_the_release,
    stops_at_once,
    goes_on_after_tools,
    speaks_given_words,
)


async def check_reply_source(case: ReplySourceCase) -> None:
    """Run every check. Raises `AssertionError` at the first broken promise."""
    for check in CHECKS:
        await check(case)
