"""The contract of the TTS port as checks: run `await check_tts(lambda: YourTts(...))` in a test of your adapter.

Every sentence of `duologue.ports.tts` is one check; a broken one raises `AssertionError` that says in plain words what
was promised and what came. Nothing here measures time: a slow machine breaks no contract.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from duologue.audio import FRAME_SECONDS, OUTPUT_RATES_HZ, band_dbfs, level_dbfs
from duologue.errors import DuologueError
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord, Tts

TEXT: Final = "Hello there, how are you today? The weather is nice, and it is quite warm outside."
MARKED_UP: Final = "It costs **$5.20**, see [this page](https://example.com)! It's 3 km away."
NOTHING_TO_SAY: Final = ("", " \n\t", "\N{THUMBS UP SIGN}", "\u2026", "**", "---\n")
_AUDIBLE_DBFS: Final = -60.0  # the hum of a silent sound card lies below
_CLOSING_SECONDS_MAX: Final = 10.0  # a hang, not a delay
_SAMPLES_OFF_MAX: Final = 0.2  # how far two syntheses of one text may differ in length: sampled models vary
# The same over the ten seconds of a longer text: a sampled voice varies by 4 %, 22.05 kHz taken for 24 are 9 % off.
_SECONDS_OFF_MAX: Final = 0.06
_BAND_EDGES_HZ: Final = (100, 800, 1600, 3600, 7200, 10800)  # up to 0.45 of each rate: resamplers may fade above it
_BAND_OFF_DB_MAX: Final = 3.0  # a sampled voice varies by 2
_BAND_DBFS_MIN: Final = -75.0  # what is softer is no sound of the voice


class MakesTts(Protocol):
    """Makes a fresh adapter."""

    def __call__(self) -> Tts: ...


@dataclass(frozen=True, slots=True)
class TtsPromises:
    """What an adapter claims beyond the contract, and what it is asked with.

    `word_times`: its words come with times. `streams`: audio begins before a long text is done. `speed`, `loudness`: it
    heeds them. `text`: two sentences in a language that it speaks; `language`: which that is. `sound_up_to_hz`: how
    high the voice's sound goes, half of its own rate as a rule, so that none of it is lost on the way; 0 if unknown.
    """

    word_times: bool = True
    streams: bool = True
    speed: bool = True
    loudness: bool = True
    text: str = TEXT
    language: str | None = None
    sound_up_to_hz: float = 0.0


_WHAT_ALL_CAN: Final = TtsPromises()


@dataclass(frozen=True, slots=True)
class _Take:
    """All that one synthesis gave, in order."""

    request: SpeechRequest
    items: list[SpeechItem]

    @property
    def pcm(self) -> bytes:
        return b"".join(item.pcm for item in self.items if isinstance(item, SpeechAudio))

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / self.request.sample_rate_hz

    @property
    def words(self) -> list[SpokenWord]:
        return [item for item in self.items if isinstance(item, SpokenWord)]

    @property
    def level_dbfs(self) -> float:
        return level_dbfs(np.frombuffer(self.pcm, dtype="<i2"))

    def band_dbfs(self, low_hz: float, high_hz: float) -> float:
        """Level of what lies between two frequencies; -inf for nothing."""
        samples = np.frombuffer(self.pcm, dtype="<i2")
        return band_dbfs(samples, low_hz, high_hz, sample_rate_hz=self.request.sample_rate_hz)


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
    return _Take(request, [item async for item in tts.synthesise(request)])


async def _take_in_turns(tts: Tts, *requests: SpeechRequest) -> list[_Take]:
    """All at once: one item of each after the other."""
    takes = [_Take(request, []) for request in requests]
    streams = {index: tts.synthesise(request) for index, request in enumerate(requests)}
    while streams:
        for index in list(streams):
            try:
                takes[index].items.append(await anext(streams[index]))
            except StopAsyncIteration:
                del streams[index]
    return takes


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
    _require(take.seconds > 0.04 * words, f"{words} words give audio, got {take.seconds:.2f} s of it")
    _require(take.seconds < 4.0 * len(promises.text), f"audio has an end, got {take.seconds:.2f} s of it")
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
            heard += len(item.pcm) / 2 / take.request.sample_rate_hz
            continue
        text = take.request.text
        where = f"{text[item.start_char : item.end_char]!r} at {item.start:.3f}..{item.end:.3f} s"
        _require(0 <= item.start_char < item.end_char <= len(text), f"a word lies in the text, got {item}")
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
    missing = "".join(c for i, c in enumerate(take.request.text) if c.isalnum() and i not in covered)
    _require(not missing, f"with word times, every letter of plain text belongs to a word; missing: {missing!r}")


async def _check_rates(tts: Tts, promises: TtsPromises) -> None:
    """At each rate the same speech, as long, as loud and as bright as the rate allows."""
    text = f"{promises.text} {promises.text}"
    takes = [await _take(tts, SpeechRequest(text, promises.language, sample_rate_hz=rate)) for rate in OUTPUT_RATES_HZ]
    finest = takes[-1]
    for take in takes:
        rate = take.request.sample_rate_hz
        off = abs(take.seconds - finest.seconds) / finest.seconds
        lengths = f"{take.seconds:.2f} s at {rate} Hz, {finest.seconds:.2f} s at {OUTPUT_RATES_HZ[-1]}"
        _require(off <= _SECONDS_OFF_MAX, f"audio comes at the rate that was asked for: {lengths}")
        _check_word_order(take)
        for low, high in itertools.pairwise(edge for edge in _BAND_EDGES_HZ if edge <= 0.45 * rate):
            there, here = finest.band_dbfs(low, high), take.band_dbfs(low, high)
            _require(
                max(there, here) < _BAND_DBFS_MIN or abs(there - here) <= _BAND_OFF_DB_MAX,
                f"no sound is lost or added by the rate, got {here:.0f} dBFS from {low} to {high} Hz at {rate} Hz, "
                f"{there:.0f} at {OUTPUT_RATES_HZ[-1]}",
            )
    if promises.sound_up_to_hz:
        top = finest.band_dbfs(0.75 * promises.sound_up_to_hz, 0.95 * promises.sound_up_to_hz)
        _require(
            top >= _BAND_DBFS_MIN,
            f"the voice has sound up to {promises.sound_up_to_hz:g} Hz, got {top:.0f} dBFS in the last quarter of it",
        )


async def _check_last(tts: Tts, promises: TtsPromises) -> None:
    """The last chunk of a reply is spoken like any other, and an empty one only says that the reply is over."""
    usual = SpeechRequest(promises.text, promises.language, session="one", reply=1)
    first, second = await _take(tts, usual), await _take(tts, replace(usual, last=True))
    off = abs(second.seconds - first.seconds) / first.seconds
    _require(off <= _SAMPLES_OFF_MAX, f"a last chunk is spoken like another: {second.seconds:.2f} s of it")
    for reply in (2, 3):  # the one has a chunk before its end, the other has none
        if reply == 2:
            await _take(tts, replace(usual, reply=reply))
        end = await _take(tts, SpeechRequest("", promises.language, session="one", reply=reply, last=True))
        _require(not end.items, f"`last` with empty text gives nothing, got {len(end.items)} items")


async def _check_replies(tts: Tts, promises: TtsPromises) -> None:
    """Replies of one session and of two, spoken at the same time, chunk by chunk."""
    short = SpeechRequest(promises.text, promises.language, session="one", reply=1)
    long = replace(short, text=f"{promises.text} {promises.text}", reply=2)
    alone = {request.text: await _take(tts, replace(request, reply=0, session="")) for request in (short, long)}
    same = (await _take(tts, replace(short, reply=0))).pcm == alone[short.text].pcm
    for chunks in (
        (short, long),
        (replace(short, session="two"), replace(long, reply=1, last=True), replace(short, reply=2, last=True)),
    ):
        for take in await _take_in_turns(tts, *chunks):
            apart = alone[take.request.text]
            off = abs(take.seconds - apart.seconds) / apart.seconds
            exact = not same or take.pcm == apart.pcm
            _require(
                exact and off <= _SAMPLES_OFF_MAX,
                f"replies do not mix: {take.seconds:.2f} s beside another, {apart.seconds:.2f} s alone",
            )
            _check_word_order(take)


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
        SpeechRequest(promises.text, promises.language, sample_rate_hz=0),
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
    _check_rates,
    _check_last,
    _check_replies,
    _check_nothing_to_say,
    _check_closing,
    _check_cancelling,
    _check_concurrency,
    _check_speed,
    _check_loudness,
    _check_errors,
)
