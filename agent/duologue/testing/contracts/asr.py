"""What every speech recogniser must do, as checks that anybody can run on theirs.

    def test_my_recogniser_keeps_the_contract():
        asyncio.run(check_asr(MyAsr, speech))

`speech` is mono 16 kHz int16 of somebody saying something that the recogniser has words for. A check raises
`AssertionError` that says what was promised and what came. Checks need an event loop and no particular clock:
`duologue.testing.virtual_time.run` does as well as `asyncio.run`.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

from duologue.audio import FRAME_BYTES, FRAME_SECONDS, INPUT_RATE_HZ, frames
from duologue.core.words import normal_form, split_words
from duologue.ports.asr import AUDIO_SECONDS_MAX, Asr, AsrContext, AsrStream, Hypothesis, KeepsSessions

MakeAsr = Callable[[], Asr]

_START: Final = 7.0  # session seconds of the first frame: no recogniser may take it for zero
_CLOSING_SECONDS_MAX: Final = 1.0
_WORD_SLACK_SECONDS: Final = 0.5  # an aligner may see a word end in the silence behind it
_FRAMES_AT_ONCE: Final = 5


@dataclass(frozen=True, slots=True)
class AsrPromises:
    """What this recogniser, with this `speech`, is held to.

    `text`: what a final must say (case and punctuation aside), or None for any words. `context`: what it is told.
    `patience_s`: how long a final may take. `pace_s`: pause after every 100 ms of audio, so that partials get a chance.
    `words`: whether words come with times. `same_again`: whether the same audio gives the same words.
    """

    text: str | None = None
    context: AsrContext = field(default_factory=AsrContext)
    patience_s: float = 30.0
    pace_s: float = 0.01
    words: bool = True
    same_again: bool = True


def _require(true: bool, promise: str) -> None:
    if not true:
        raise AssertionError(f"the ASR contract is broken: {promise}")


@dataclass(slots=True)
class _Turn:
    """A stream and what it has told."""

    stream: AsrStream
    told: list[Hypothesis] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    at: float = _START

    async def read(self) -> None:
        async for hypothesis in self.stream:
            self.told.append(hypothesis)
            self.changed.set()

    async def push_pcm(self, pcm: bytes, pace_s: float = 0.0) -> None:
        for index, frame in enumerate(frames(pcm, start=self.at), 1):
            self.stream.push_frame(frame)
            if index % _FRAMES_AT_ONCE == 0:
                await asyncio.sleep(pace_s)
            self.at = frame.end

    async def final(self, mark: int, patience_s: float) -> Hypothesis:
        try:
            async with asyncio.timeout(patience_s):
                while not any(h.final and h.mark == mark for h in self.told):
                    self.changed.clear()
                    await self.changed.wait()
        except TimeoutError:
            raise AssertionError(
                f"the ASR contract is broken: finalise({mark}) is answered; in {patience_s:g} s came {self.told}"
            ) from None
        return next(h for h in self.told if h.final and h.mark == mark)


@asynccontextmanager
async def _turn(asr: Asr, promises: AsrPromises) -> AsyncIterator[_Turn]:
    turn = _Turn(asr.open(promises.context))
    reading = asyncio.create_task(turn.read())
    try:
        yield turn
    finally:
        await turn.stream.aclose()
        done, _ = await asyncio.wait({reading}, timeout=_CLOSING_SECONDS_MAX)
        reading.cancel()
    _require(bool(done), f"aclose ends the iteration at once, it went on for {_CLOSING_SECONDS_MAX:g} s")
    await reading


def _forms(text: str) -> list[str]:
    return [normal_form(word) for word in split_words(text)]


def _check_hypothesis(hypothesis: Hypothesis, turn: _Turn, promises: AsrPromises) -> None:
    count = len(split_words(hypothesis.text))
    _require(0 <= hypothesis.stable <= count, f"stable counts words of the text ({count}), got {hypothesis.stable}")
    if not promises.words:
        return
    _require(len(hypothesis.words) == count, f"words are those of the text ({count}), got {hypothesis.words}")
    starts = [word.start for word in hypothesis.words]
    _require(all(a <= b for a, b in pairwise(starts)), f"words are in order, they start at {starts}")
    for word in hypothesis.words:
        inside = _START - _WORD_SLACK_SECONDS <= word.start <= word.end <= turn.at + _WORD_SLACK_SECONDS
        _require(inside, f"word times are session seconds between {_START:.2f} and {turn.at:.2f}, got {word}")
        sure = word.probability
        _require(sure is None or 0 <= sure <= 1, f"a probability lies between 0 and 1, got {word}")


def _check_stability(told: list[Hypothesis]) -> None:
    for before, after in pairwise(told):
        if after.final or before.final:
            continue  # a final may settle it once more
        _require(after.stable >= before.stable, f"stable never decreases, {before} was followed by {after}")
        settled = _forms(before.text)[: before.stable]
        kept = _forms(after.text)[: before.stable]
        _require(kept == settled, f"settled words don't change: {settled} became {kept}")


async def _check_itself(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    _require(isinstance(asr.name, str) and bool(asr.name), f'name is the word of use = "…", got {asr.name!r}')
    _require(isinstance(type(asr).probe(), str), "probe answers with a sentence, or with nothing")
    await asr.warm_up()
    await asr.warm_up()


async def _check_final(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    async with _turn(asr, promises) as turn:
        await turn.push_pcm(speech, promises.pace_s)
        turn.stream.finalise(41)
        final = await turn.final(41, promises.patience_s)
        for hypothesis in turn.told:
            _check_hypothesis(hypothesis, turn, promises)
        _check_stability(turn.told)
    finals = [h for h in turn.told if h.final]
    _require(len(finals) == 1, f"one finalise gives one final, got {finals}")
    _require(bool(final.text.strip()), "speech gives a final with words, got none")
    if promises.text is not None:
        _require(_forms(final.text) == _forms(promises.text), f"{promises.text!r} was said, got {final.text!r}")


async def _check_going_on(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    async with _turn(asr, promises) as turn:
        await turn.push_pcm(speech, promises.pace_s)
        turn.stream.finalise(1)
        first = await turn.final(1, promises.patience_s)
        await turn.push_pcm(bytes(40 * FRAME_BYTES) + speech, promises.pace_s)
        turn.stream.finalise(2)
        second = await turn.final(2, promises.patience_s)
        _check_hypothesis(second, turn, promises)
        _check_stability(turn.told)
    shown = f"{first.text!r}, then {second.text!r}"
    _require(len(_forms(second.text)) > len(_forms(first.text)), f"a final covers the whole turn so far, got {shown}")


async def _check_replaced_mark(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    async with _turn(asr, promises) as turn:
        await turn.push_pcm(speech)
        turn.stream.finalise(1)
        turn.stream.finalise(2)
        await turn.final(2, promises.patience_s)
    marks = [h.mark for h in turn.told if h.final]
    _require(marks.count(2) == 1 and marks.count(1) <= 1, f"each mark is answered at most once, got {marks}")
    _require(marks[-1] == 2, f"an earlier mark is not answered after the later one, got {marks}")


async def _check_silence(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    async with _turn(asr, promises) as turn:
        turn.stream.finalise(1)
        nothing = await turn.final(1, promises.patience_s)
        await turn.push_pcm(bytes(2 * INPUT_RATE_HZ * 2))
        turn.stream.finalise(2)
        silence = await turn.final(2, promises.patience_s)
    for final in (nothing, silence):
        _require(not final.text and not final.words, f"audio without speech gives no words, got {final}")


async def _check_closing(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    async with _turn(asr, promises) as turn:
        await turn.push_pcm(speech)
        turn.stream.finalise(1)
        await turn.stream.aclose()
        told = len(turn.told)
        await asyncio.sleep(0.05)
        _require(len(turn.told) == told, f"nothing is told after aclose, got {turn.told[told:]}")
        await turn.stream.aclose()
        await turn.push_pcm(speech[: 10 * FRAME_BYTES])
        turn.stream.finalise(2)
    _require(len(turn.told) == told, f"nothing is told after aclose, got {turn.told[told:]}")


async def _check_independence(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    async with _turn(asr, promises) as one, _turn(asr, promises) as other, _turn(asr, promises) as quiet:
        await asyncio.gather(one.push_pcm(speech), other.push_pcm(speech), quiet.push_pcm(bytes(len(speech))))
        for turn in (one, other, quiet):
            turn.stream.finalise(1)
        texts = [(await turn.final(1, promises.patience_s)).text for turn in (one, other, quiet)]
    _require(not texts[2], f"streams don't mix: the silent one said {texts[2]!r}")
    if promises.same_again:
        _require(_forms(texts[0]) == _forms(texts[1]), f"the same audio gives the same words, got {texts[:2]}")


async def _check_bound(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    async with _turn(asr, promises) as turn:
        for frame in frames(bytes(round((AUDIO_SECONDS_MAX + 5) / FRAME_SECONDS) * FRAME_BYTES), start=_START):
            turn.stream.push_frame(frame)  # must not raise, however much there is


async def _check_sessions(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    if not isinstance(asr, KeepsSessions):
        return
    known = replace(promises, context=replace(promises.context, session="contract"))
    for ends in (0, 2, 1):  # turns of one session, then of one that was over: what is kept may not be missed
        async with _turn(asr, known) as turn:
            await turn.push_pcm(speech)
            turn.stream.finalise(1)
            final = await turn.final(1, promises.patience_s)
        _require(bool(final.text), f"a turn is heard whatever is kept for its session, got {final}")
        for _ in range(ends):
            ended = asr.end_session("contract")  # type: ignore[func-returns-value]  # that is what is checked
            _require(not inspect.isawaitable(ended), "end_session is synchronous")
    asr.end_session("a session that nobody knows")


async def _check_close(asr: Asr, speech: bytes, promises: AsrPromises) -> None:
    await asr.aclose()
    await asr.aclose()


CHECKS: Final[tuple[Callable[[Asr, bytes, AsrPromises], Awaitable[None]], ...]] = (
    _check_itself,
    _check_final,
    _check_going_on,
    _check_replaced_mark,
    _check_silence,
    _check_closing,
    _check_independence,
    _check_bound,
    _check_sessions,
    _check_close,
)


async def check_asr(make: MakeAsr, speech: bytes, promises: AsrPromises | None = None) -> None:
    """Run every check on a recogniser made by `make`; a scripted one needs a script of thirteen turns like `speech`.

    Raises `AssertionError` at the first broken promise.
    """
    asr = make()
    for check in CHECKS:
        await check(asr, speech, promises or AsrPromises())
