"""A judge that has made up its mind beforehand: the fake beside the judge's port. Time is the loop's."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from duologue.audio import FRAME_SECONDS, Frame
from duologue.ports.judge import AUDIO_SECONDS_MAX, JudgeContext, Judgement

STREAMS_KEPT: Final = 100
TOLD_KEPT: Final = 1000
FRAMES_KEPT: Final = round(AUDIO_SECONDS_MAX / FRAME_SECONDS)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is told, and when: `delay_s` after the turn's beginning or after each pause of its voice.

    `error`: raised out of the iteration instead.
    """

    over: float | None = None
    backchannel: float | None = None
    echo: float | None = None
    upon: Literal["begin", "pause"] = "pause"
    delay_s: float = 0.06
    error: Exception | None = None


@dataclass(slots=True)
class HeardTurn:
    """What a judge was told of a turn. Session seconds; `pauses`: where voice paused in it."""

    turn: int
    since: float
    pauses: list[float] = field(default_factory=list)
    ended: bool = False


class ScriptedJudge:
    """Has the same `opinions` of every turn, or asks a function for those of each by its number.

    `streams`: those that were opened, the newest `STREAMS_KEPT` of them. `opened`, `closed`: how many in all.
    """

    def __init__(
        self, opinions: Sequence[Opinion] | Callable[[int], Sequence[Opinion]], *, name: str = "scripted"
    ) -> None:
        self.name = name
        self._opinions = opinions
        self.streams: deque[ScriptedJudgeStream] = deque(maxlen=STREAMS_KEPT)
        self.opened = self.closed = 0

    async def warm_up(self) -> None:
        """There is nothing to load."""

    async def aclose(self) -> None:
        """There is nothing to free."""

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    def open(self, context: JudgeContext) -> "ScriptedJudgeStream":
        """A stream for one session."""
        self.opened += 1
        stream = ScriptedJudgeStream(self, context)
        self.streams.append(stream)
        return stream

    def opinions_of(self, turn: int) -> Sequence[Opinion]:
        """What the script thinks of `turn`."""
        return self._opinions(turn) if callable(self._opinions) else self._opinions


class ScriptedJudgeStream:
    """One session as it is heard. `user`, `agent`: the newest frames of each side; `turns`: what it was told."""

    def __init__(self, judge: ScriptedJudge, context: JudgeContext) -> None:
        self._judge = judge
        self.context = context
        self.user: deque[Frame] = deque(maxlen=FRAMES_KEPT)
        self.agent: deque[Frame] = deque(maxlen=FRAMES_KEPT)
        self.turns: deque[HeardTurn] = deque(maxlen=TOLD_KEPT)
        self._told: deque[Judgement | Exception] = deque(maxlen=TOLD_KEPT)
        self._changed = asyncio.Event()
        self._timers: list[asyncio.TimerHandle] = []
        self._closed = False

    def hear_user(self, frame: Frame) -> None:
        """Take one frame of the caller."""
        self.user.append(frame)

    def hear_agent(self, frame: Frame) -> None:
        """Take one frame of the agent."""
        self.agent.append(frame)

    def begin_turn(self, turn: int, since: float) -> None:
        """Answer what is to be answered upon a beginning."""
        self.turns.append(HeardTurn(turn, since))
        self._answer(turn, "begin")

    def pause_turn(self, turn: int, until: float) -> None:
        """Answer what is to be answered upon a pause."""
        self.turns[-1].pauses.append(until)
        self._answer(turn, "pause")

    def end_turn(self, turn: int) -> None:
        """What is still to be answered is not asked for any more."""
        self.turns[-1].ended = True
        for timer in self._timers:
            timer.cancel()

    def __aiter__(self) -> AsyncIterator[Judgement]:
        return self

    async def __anext__(self) -> Judgement:
        while not self._told:
            if self._closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        told = self._told.popleft()
        if isinstance(told, Exception):
            raise told
        return told

    async def aclose(self) -> None:
        """Drop what is owed and end the iteration."""
        self._judge.closed += not self._closed
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        self._told.clear()
        self._changed.set()

    def _answer(self, turn: int, upon: str) -> None:
        if self._closed:
            return
        loop = asyncio.get_running_loop()
        self._timers = [timer for timer in self._timers if timer.when() > loop.time() and not timer.cancelled()]
        for opinion in self._judge.opinions_of(turn):
            if opinion.upon == upon:
                self._timers.append(loop.call_later(opinion.delay_s, self._tell, turn, opinion))

    def _tell(self, turn: int, opinion: Opinion) -> None:
        heard_until = self.user[-1].end if self.user else 0.0
        self._told.append(
            opinion.error or Judgement(turn, heard_until, opinion.over, opinion.backchannel, opinion.echo)
        )
        self._changed.set()
