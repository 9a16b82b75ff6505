"""A recogniser that knows what the caller really says: the words whose audio it was given, with the faults drawn.

It takes the times of the frames at their word, so that what is lost before it, or late, shows in what it hears.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from duologue.audio import Frame
from duologue.errors import StageError
from duologue.ports.asr import AsrContext, Hypothesis
from duologue.sim.talkers import SpokenWord, join

PARTIAL_FRAMES: Final = 15
EDGE_S: Final = 0.05  # of a word that may be missing at either end


class TruthAsr:
    """The stage. `said`: all that the caller has said so far; `strikes`: whether a fault strikes now."""

    name = "truth"

    def __init__(
        self,
        said: Callable[[], Sequence[SpokenWord]],
        strikes: Callable[[str], bool],
        rng: random.Random,
        final_s: tuple[float, float],
    ) -> None:
        self.said = said
        self.strikes = strikes
        self.rng = rng
        self.final_s = final_s
        self.opened = 0
        self.closed = 0

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""

    def open(self, context: AsrContext) -> "TruthStream":
        """A stream for one turn."""
        self.opened += 1
        return TruthStream(self)


class TruthStream:
    """The recognition of one turn."""

    def __init__(self, asr: TruthAsr) -> None:
        self._asr = asr
        self._queue: asyncio.Queue[Hypothesis | StageError | None] = asyncio.Queue()
        self._first: float | None = None
        self._last = 0.0
        self._frames = 0
        self._told = ""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._mute = asr.strikes("asr mute")
        self._fails_at = asr.rng.randint(5, 80) if asr.strikes("asr failing") else None

    def push_frame(self, frame: Frame) -> None:
        """Take one frame."""
        if self._first is None:
            self._first = frame.at
        self._last = frame.end
        self._frames += 1
        if self._frames == self._fails_at:
            retryable = self._asr.rng.random() < 0.5
            self._queue.put_nowait(StageError("asr", "the simulation says so", retryable=retryable))
        elif self._frames % PARTIAL_FRAMES == 0 and not self._mute:
            text = self._text()
            if text != self._told:
                self._told = text
                self._queue.put_nowait(Hypothesis(text))

    def finalise(self, mark: int) -> None:
        """Answer after a while; one still owed is dropped."""
        if self._timer:
            self._timer.cancel()
        asr = self._asr
        if asr.strikes("asr lost"):
            return
        delay_s = asr.rng.uniform(*asr.final_s)
        if asr.strikes("asr slow"):
            delay_s += asr.rng.uniform(0.3, 3.0)
        answer = Hypothesis(self._text(), final=True, mark=mark, language="en")
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._queue.put_nowait, answer)

    def _text(self) -> str:
        heard: list[str] = []
        first = self._last if self._first is None else self._first
        for word in reversed(self._asr.said()):
            if word.start < first - EDGE_S:
                break
            if word.end <= self._last + EDGE_S:
                heard.append(word.text)
        return join(tuple(reversed(heard)))

    def __aiter__(self) -> AsyncIterator[Hypothesis]:
        return self

    async def __anext__(self) -> Hypothesis:
        item = await self._queue.get()
        if isinstance(item, StageError):
            raise item
        if item is None:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Drop what is owed and end the iteration."""
        if not self._closed:
            self._closed = True
            self._asr.closed += 1
            if self._timer:
                self._timer.cancel()
            self._queue.put_nowait(None)
