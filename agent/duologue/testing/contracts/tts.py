"""The contract of the TTS port as checks: run `await check_tts(lambda: YourTts(...))` in a test of your adapter.

Every sentence of `duologue.ports.tts` is one check; a broken one raises `AssertionError` that says in plain words what
was promised and what came. Nothing here measures time: a slow machine breaks no contract.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from duologue.audio import FRAME_SECONDS, SAMPLE_RATE_HZ, level_dbfs
from duologue.errors import DuologueError
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord, Tts

TEXT: Final = "Hello there, how are you today? The weather is nice, and it is quite warm outside."
MARKED_UP: Final = "It costs **$5.20**, see [this page](https://example.com)! It's 3 km away."
NOTHING_TO_SAY: Final = ("", " \n\t", "\N{THUMBS UP SIGN}", "\u2026", "**", "---\n")
_AUDIBLE_DBFS: Final = -60.0  # the hum of a silent sound card lies below
_CLOSING_SECONDS_MAX: Final = 10.0  # a hang, not a delay
_SAMPLES_OFF_MAX: Final = 0.2  # how far two syntheses of one text may differ in length: sampled models vary


class MakesTts(Protocol):
    """Makes a fresh adapter."""

    def __call__(self) -> Tts: ...


@dataclass(frozen=True, slots=True)
class TtsPromises:
    """What an adapter claims beyond the contract, and what it is asked with.

    `word_times`: its words come with times. `streams`: audio begins before a long text is done. `speed`, `loudness`: it
    heeds them. `text`: two sentences in a language that it speaks; `language`: which that is.
    """

    word_times: bool = True
    streams: bool = True
    speed: bool = True
    loudness: bool = True
    text: str = TEXT
    language: str | None = None


_WHAT_ALL_CAN: Final = TtsPromises()


@dataclass(frozen=True, slots=True)
class _Take:
    """All that one synthesis gave, in order."""

    text: str
    items: list[SpeechItem]

    @property
    def pcm(self) -> bytes:
        return b"".join(item.pcm for item in self.items if isinstance(item, SpeechAudio))

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / SAMPLE_RATE_HZ

    @property
    def words(self) -> list[SpokenWord]:
        return [item for item in self.items if isinstance(item, SpokenWord)]

    @property
    def level_dbfs(self) -> float:
        return level_dbfs(np.frombuffer(self.pcm, dtype="<i2"))


async def check_tts(make_tts: MakesTts, promises: TtsPromises = _WHAT_ALL_CAN) -> None:
    """Run every check on adapters from `make_tts`. Raises `AssertionError` at the first broken promise."""
    tts = make_tts()
    try:
        await _check_stage(tts)
        for check in _CHECKS:
            await check(tts, promises)
    finally:
        await tts.aclose()
        await tts.aclose()  # idempotent, says the contract


async def _take(tts: Tts, request: SpeechRequest) -> _Take:
    return _Take(request.text, [item async for item in tts.synthesise(request)])


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(f"the TTS contract is broken: {promise}")


async def _check_stage(tts: Tts) -> None:
    _require(bool(tts.name) and tts.name == tts.name.strip(), f"`name` is the entry point's name, got {tts.name!r}")
    reason = tts.probe()
    _require(isinstance(reason, str), f"`probe` answers with a sentence or an empty string, got {reason!r}")
    await tts.warm_up()
    await tts.warm_up()  # idempotent


async def _check_audio(tts: Tts, promises: TtsPromises) -> None:
    take = await _take(tts, SpeechRequest(promises.text, promises.language))
    for item in take.items:
        _require(isinstance(item, SpeechAudio | SpokenWord), f"items are SpeechAudio or SpokenWord, got {item!r}")
        if isinstance(item, SpeechAudio):
            _require(isinstance(item.pcm, bytes), f"audio is bytes, got {type(item.pcm).__name__}")
            _require(len(item.pcm) > 0, "a piece of audio is not empty")
            _require(len(item.pcm) % 2 == 0, f"a piece of audio has an even number of bytes, got {len(item.pcm)}")
    words = max(len(promises.text.split()), 1)
    _require(take.seconds > 0.04 * words, f"{words} words give audio at 16 kHz, got {take.seconds:.2f} s of it")
    _require(take.seconds < 4.0 * len(promises.text), f"audio is at 16 kHz, got {take.seconds:.2f} s of it")
    _require(take.level_dbfs > _AUDIBLE_DBFS, f"speech can be heard, got {take.level_dbfs:.0f} dBFS")


async def _check_streaming(tts: Tts, promises: TtsPromises) -> None:
    if not promises.streams:
        return
    take = await _take(tts, SpeechRequest(" ".join([promises.text] * 4), promises.language))
    first = next(item for item in take.items if isinstance(item, SpeechAudio))
    share = len(first.pcm) / len(take.pcm)
    _require(share < 0.5, f"the first piece comes before the whole is synthesised, got {share:.0%} of it at once")


async def _check_words(tts: Tts, promises: TtsPromises) -> None:
    for text in (promises.text, MARKED_UP):
        take = await _take(tts, SpeechRequest(text, promises.language))
        _check_word_order(take)
        if promises.word_times:
            told = sum(any(c.isalnum() for c in text[w.start_char : w.end_char]) for w in take.words)
            _require(told == len(take.words) > 0, "each word covers letters or digits of the text as given")
    if promises.word_times:
        _check_coverage(await _take(tts, SpeechRequest(promises.text, promises.language)))


def _check_word_order(take: _Take) -> None:
    heard = 0.0
    before = SpokenWord(0, 0, 0.0, 0.0)
    for item in take.items:
        if isinstance(item, SpeechAudio):
            heard += len(item.pcm) / 2 / SAMPLE_RATE_HZ
            continue
        where = f"{take.text[item.start_char : item.end_char]!r} at {item.start:.3f}..{item.end:.3f} s"
        _require(0 <= item.start_char < item.end_char <= len(take.text), f"a word lies in the text, got {item}")
        _require(0 <= item.start <= item.end, f"a word's times are in order, got {where}")
        in_order = item.start_char >= before.end_char and item.start >= before.start and item.end >= before.end
        _require(in_order, f"words never go back, got {where} after {before}")
        _require(
            item.end <= take.seconds + FRAME_SECONDS, f"words lie inside the audio ({take.seconds:.3f} s), got {where}"
        )
        late = heard - item.start
        _require(
            late <= FRAME_SECONDS, f"a word comes no later than its audio, got {where} when {late:.3f} s of it was out"
        )
        before = item


def _check_coverage(take: _Take) -> None:
    covered = {index for word in take.words for index in range(word.start_char, word.end_char)}
    missing = "".join(c for i, c in enumerate(take.text) if c.isalnum() and i not in covered)
    _require(not missing, f"with word times, every letter of plain text belongs to a word; missing: {missing!r}")


async def _check_nothing_to_say(tts: Tts, promises: TtsPromises) -> None:
    for text in NOTHING_TO_SAY:
        take = await _take(tts, SpeechRequest(text, promises.language))
        _require(not take.items, f"text with nothing to say gives nothing, got {len(take.items)} items for {text!r}")


async def _check_closing(tts: Tts, promises: TtsPromises) -> None:
    long = SpeechRequest(" ".join([promises.text] * 8), promises.language)
    unopened = tts.synthesise(long)
    await asyncio.wait_for(unopened.aclose(), _CLOSING_SECONDS_MAX)
    stream = tts.synthesise(long)
    await anext(stream)
    await asyncio.wait_for(stream.aclose(), _CLOSING_SECONDS_MAX)
    late = [item async for item in stream]
    _require(not late, f"closing the iterator stops the synthesis, got {len(late)} items after it")
    after = await _take(tts, SpeechRequest(promises.text, promises.language))
    _require(after.seconds > 0, "a closed synthesis leaves the adapter fit for the next one")


async def _check_cancelling(tts: Tts, promises: TtsPromises) -> None:
    task = asyncio.ensure_future(_take(tts, SpeechRequest(" ".join([promises.text] * 8), promises.language)))
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=_CLOSING_SECONDS_MAX)
    _require(bool(done) and task.cancelled(), "a cancelled synthesis ends as cancelled")


async def _check_concurrency(tts: Tts, promises: TtsPromises) -> None:
    request = SpeechRequest(promises.text, promises.language)
    alone = await _take(tts, request)
    together = await asyncio.gather(*(_take(tts, request) for _ in range(3)))
    for take in together:
        off = abs(take.seconds - alone.seconds) / alone.seconds
        _require(
            off <= _SAMPLES_OFF_MAX, f"sessions don't mix: {take.seconds:.2f} s together, {alone.seconds:.2f} s alone"
        )
        _check_word_order(take)


async def _check_speed(tts: Tts, promises: TtsPromises) -> None:
    if not promises.speed:
        return
    slow, fast = [
        await _take(tts, SpeechRequest(promises.text, promises.language, speed=speed)) for speed in (0.5, 2.0)
    ]
    ratio = slow.seconds / fast.seconds
    _require(1.5 < ratio < 8, f"speed 0.5 lasts about four times as long as 2.0, got {ratio:.1f} times")
    _check_word_order(slow)
    _check_word_order(fast)


async def _check_loudness(tts: Tts, promises: TtsPromises) -> None:
    if not promises.loudness:
        return
    loud, quiet = [
        await _take(tts, SpeechRequest(promises.text, promises.language, loudness=gain)) for gain in (1.0, 0.25)
    ]
    drop = loud.level_dbfs - quiet.level_dbfs
    _require(9 < drop < 15, f"a loudness of 0.25 is 12 dB quieter, got {drop:.1f} dB")


async def _check_errors(tts: Tts, promises: TtsPromises) -> None:
    """What an adapter refuses, it refuses with an error of ours."""
    for request in (
        SpeechRequest(promises.text, promises.language, voice="no such voice"),
        SpeechRequest(promises.text, language="xx-XX"),
        SpeechRequest(promises.text, promises.language, speed=0.0),
        SpeechRequest(promises.text, promises.language, speed=100.0),
    ):
        try:
            await _take(tts, request)
        except DuologueError as error:
            _require(len(str(error)) > 10, f"an error says what to do, got {error!s:.40}")
        except Exception as error:
            raise AssertionError(f"the TTS contract is broken: {request} raised a bare {error!r}") from error


_CHECKS: Final[tuple[Callable[[Tts, TtsPromises], Awaitable[None]], ...]] = (
    _check_audio,
    _check_streaming,
    _check_words,
    _check_nothing_to_say,
    _check_closing,
    _check_cancelling,
    _check_concurrency,
    _check_speed,
    _check_loudness,
    _check_errors,
)
