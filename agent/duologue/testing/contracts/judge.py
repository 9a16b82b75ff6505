"""What every judge must do, as checks that anybody can run on theirs.

    def test_my_judge_keeps_the_contract():
        asyncio.run(check_judge(MyJudge, speech))

`speech` is mono 16 kHz int16 of somebody talking, at least half a second of it. A check raises `AssertionError` that
says what was promised and what came. Checks need an event loop and no particular clock.
"""

import asyncio
import inspect
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from duologue.audio import FRAME_BYTES, FRAME_SECONDS, frames
from duologue.ports.judge import ANSWER_S_MAX, AUDIO_SECONDS_MAX, Judge, JudgeContext, Judgement, JudgeStream

MakeJudge = Callable[[], Judge]

_START: Final = 7.0  # session seconds of the first frame: no judge may take it for zero
_CLOSING_SECONDS_MAX: Final = 1.0
_PUSH_SECONDS_MAX: Final = 0.001
_LOOK_S: Final = 0.01
_SLACK: Final = 1e-6


@dataclass(frozen=True, slots=True)
class JudgePromises:
    """What this judge is held to. `judges_ends`: it says after a pause whether the turn is over. `patience_s`: within
    which time, by the loop's clock."""

    judges_ends: bool = True
    patience_s: float = ANSWER_S_MAX


def _require(true: bool, promise: str) -> None:
    if not true:
        raise AssertionError(f"the judge contract is broken: {promise}")


@dataclass(slots=True)
class _Session:
    """A stream, what it has told, and how far it was fed."""

    stream: JudgeStream
    told: list[Judgement] = field(default_factory=list)
    at: float = _START

    async def read(self) -> None:
        async for judgement in self.stream:
            self.told.append(judgement)

    async def hear(self, user: bytes, *, agent: bool = False) -> None:
        """Both sides, 20 ms by 20 ms; the agent is silent unless it says the same."""
        for index, frame in enumerate(frames(user, start=self.at)):
            answers = [self.stream.hear_user(frame)]  # type: ignore[func-returns-value]  # that is what is checked
            if agent:
                answers.append(self.stream.hear_agent(frame))  # type: ignore[func-returns-value]
            _require(not any(map(inspect.isawaitable, answers)), "hearing is synchronous")
            self.at = frame.end
            if index % 5 == 4:
                await asyncio.sleep(0)

    async def turn(self, number: int, speech: bytes, patience_s: float) -> list[Judgement]:
        """A whole turn; what was told of it while it was open."""
        told = len(self.told)
        await self.hear(_silence(0.3))
        self.stream.begin_turn(number, self.at)
        await self.hear(speech)
        self.stream.pause_turn(number, self.at)
        await self.hear(_silence(0.3))
        waited = 0.0
        while not any(judgement.over is not None for judgement in self.told[told:]) and waited < patience_s:
            await asyncio.sleep(_LOOK_S)
            waited += _LOOK_S
        found = self.told[told:]
        self.stream.end_turn(number)
        return found


def _silence(seconds: float) -> bytes:
    return bytes(round(seconds / FRAME_SECONDS) * FRAME_BYTES)


@asynccontextmanager
async def _session(judge: Judge) -> AsyncIterator[_Session]:
    session = _Session(judge.open(JudgeContext("contract", "en")))
    reading = asyncio.create_task(session.read())
    try:
        yield session
    finally:
        await session.stream.aclose()
        done, _ = await asyncio.wait({reading}, timeout=_CLOSING_SECONDS_MAX)
        reading.cancel()
    _require(bool(done), f"aclose ends the iteration at once, it went on for {_CLOSING_SECONDS_MAX:g} s")
    await reading


async def _check_itself(judge: Judge, speech: bytes, promises: JudgePromises) -> None:
    _require(isinstance(judge.name, str) and bool(judge.name), f'name is the word of use = "…", got {judge.name!r}')
    _require(isinstance(type(judge).probe(), str), "probe answers with a sentence, or with nothing")
    await judge.warm_up()
    await judge.warm_up()


async def _check_turns(judge: Judge, speech: bytes, promises: JudgePromises) -> None:
    async with _session(judge) as session:
        for number in (3, 4):
            told = await session.turn(number, speech, promises.patience_s)
            for judgement in told:
                _check_judgement(judgement, number, session.at)
            if promises.judges_ends:
                answered = any(judgement.over is not None for judgement in told)
                _require(answered, f"it says after a pause whether the turn is over, within {promises.patience_s:g} s")


def _check_judgement(judgement: Judgement, turn: int, heard_until: float) -> None:
    _require(judgement.turn == turn, f"a judgement is about the open turn, {turn}, got {judgement}")
    told = [share for share in (judgement.over, judgement.backchannel, judgement.echo) if share is not None]
    _require(bool(told), f"a judgement says something, got {judgement}")
    _require(all(0.0 <= share <= 1.0 for share in told), f"probabilities lie between 0 and 1, got {judgement}")
    inside = _START <= judgement.at <= heard_until + _SLACK
    _require(inside, f"`at` is a session second that was heard ({_START:.2f} to {heard_until:.2f}), got {judgement}")


async def _check_silence(judge: Judge, speech: bytes, promises: JudgePromises) -> None:
    async with _session(judge) as talking, _session(judge) as quiet:
        told = await talking.turn(1, speech, promises.patience_s)
        await quiet.hear(_silence(len(speech) / 32_000))
        await asyncio.sleep(_LOOK_S)
    _require(not quiet.told, f"without a turn nothing is judged, and streams don't mix: got {quiet.told}")
    _require(bool(told) or not promises.judges_ends, "a stream judges beside another one")


async def _check_both_sides(judge: Judge, speech: bytes, promises: JudgePromises) -> None:
    async with _session(judge) as session:
        await session.hear(speech, agent=True)
        for judgement in await session.turn(1, speech, promises.patience_s):
            _check_judgement(judgement, 1, session.at)


async def _check_bound(judge: Judge, speech: bytes, promises: JudgePromises) -> None:
    taken = []
    async with _session(judge) as session:
        session.stream.begin_turn(1, _START)
        for frame in frames(_silence(2 * AUDIO_SECONDS_MAX), start=_START):
            before = time.thread_time()
            session.stream.hear_user(frame)  # must not raise, however much there is
            session.stream.hear_agent(frame)
            taken.append(time.thread_time() - before)
    middle = statistics.median(taken)
    _require(middle < _PUSH_SECONDS_MAX, f"hearing takes well under a millisecond, it took {middle * 1000:.2f} ms")


async def _check_closing(judge: Judge, speech: bytes, promises: JudgePromises) -> None:
    async with _session(judge) as session:
        session.stream.begin_turn(1, session.at)
        await session.hear(speech)
        session.stream.pause_turn(1, session.at)
        await session.stream.aclose()
        told = len(session.told)
        await asyncio.sleep(promises.patience_s)
        await session.stream.aclose()
        await session.hear(speech[:FRAME_BYTES], agent=True)
        session.stream.end_turn(1)
        session.stream.begin_turn(2, session.at)
        session.stream.pause_turn(2, session.at)
        await asyncio.sleep(promises.patience_s)
    _require(len(session.told) == told, f"nothing is told after aclose, got {session.told[told:]}")


async def _check_close(judge: Judge, speech: bytes, promises: JudgePromises) -> None:
    await judge.aclose()
    await judge.aclose()


CHECKS: Final[tuple[Callable[[Judge, bytes, JudgePromises], Awaitable[None]], ...]] = (
    _check_itself,
    _check_turns,
    _check_silence,
    _check_both_sides,
    _check_bound,
    _check_closing,
    _check_close,
)


async def check_judge(make: MakeJudge, speech: bytes, promises: JudgePromises | None = None) -> None:
    """Run every check on a judge made by `make`. Raises `AssertionError` at the first broken promise."""
    judge = make()
    for check in CHECKS:
        await check(judge, speech, promises or JudgePromises())
