"""A recogniser that does as it is told: turn after turn its script, with the delays that a test states."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from duologue.audio import FRAME_SECONDS, Frame
from duologue.core.words import Word, split_words
from duologue.errors import StageError
from duologue.ports.asr import AsrContext, Hypothesis

PEAK_MIN: Final = 1500  # of int16, as in `scripted_vad`


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a turn says.

    The words come one after the other while voice is pushed, `seconds_per_word` each; a word is in the partial
    `partial_delay_s`
    after its end. A final says all words of which any voice was pushed, or the whole `text` with `whole`, and comes
    `final_delay_s`
    after it was asked for. `text` empty: a noise. `fail_after_s`: so many seconds of audio into the turn a
    `StageError` ends it.
    `parts`: what the finals say, one after the other, for turns that are told in instalments; the last one stays.
    """

    text: str
    seconds_per_word: float = 0.3
    partial_delay_s: float = 0.1
    final_delay_s: float = 0.05
    whole: bool = True
    partials: bool = True
    fail_after_s: float | None = None
    retryable: bool = False
    language: str | None = None
    parts: tuple[str, ...] = ()


class ScriptedAsrStream:
    """The recognition of one turn by a `ScriptedAsr`. Iterate it once."""

    def __init__(self, utterance: Utterance, asr: "ScriptedAsr") -> None:
        self._utterance = utterance
        self._asr = asr
        self._words = split_words(utterance.text)
        self._loop = asyncio.get_running_loop()
        self._out: asyncio.Queue[Hypothesis | StageError | None] = asyncio.Queue()
        self._timers: list[asyncio.TimerHandle] = []
        self._final: asyncio.TimerHandle | None = None
        self._voiced = 0
        self._frames = 0
        self._told = 0
        self._finals = 0
        self._closed = False
        self._started_at = 0.0

    def push(self, frame: Frame) -> None:
        """Count voice; let words appear as they have been spoken."""
        if self._closed:
            return
        if self._frames == 0:
            self._started_at = frame.at
        self._frames += 1
        script = self._utterance
        if script.fail_after_s is not None and self._frames * FRAME_SECONDS >= script.fail_after_s:
            self._closed = True
            self._out.put_nowait(StageError("asr", "scripted fault", retryable=script.retryable))
            return
        self._voiced += int(np.max(np.abs(frame.samples.astype(np.int32)))) > PEAK_MIN
        spoken = min(len(self._words), int(self._voiced * FRAME_SECONDS / script.seconds_per_word + 1e-6))
        if script.partials and spoken > self._told:
            self._told = spoken
            partial = Hypothesis(_joined(self._words[:spoken]), stable=spoken, language=script.language)
            self._timers.append(self._loop.call_later(script.partial_delay_s, self._put, partial))
            del self._timers[:-64]

    def finalise(self, mark: int) -> None:
        """Answer `mark` after the scripted delay; an earlier mark that is not answered yet is replaced."""
        if self._closed:
            return
        if self._final:
            self._final.cancel()
        self._final = self._loop.call_later(self._utterance.final_delay_s, self._answer, mark)

    def _answer(self, mark: int) -> None:
        script = self._utterance
        text = script.text
        if script.parts:
            text = script.parts[min(self._finals, len(script.parts) - 1)]
        elif not script.whole:
            begun = int(np.ceil(self._voiced * FRAME_SECONDS / script.seconds_per_word - 1e-6))
            text = _joined(self._words[:begun])
        self._finals += 1
        spoken = split_words(text)
        words = tuple(
            Word(word, at, at + script.seconds_per_word, 0.9)
            for word, at in zip(
                spoken, (self._started_at + i * script.seconds_per_word for i in range(len(spoken))), strict=True
            )
        )
        self._put(Hypothesis(text, words, len(spoken), final=True, mark=mark, language=script.language))

    def _put(self, hypothesis: Hypothesis) -> None:
        if not self._closed:
            self._out.put_nowait(hypothesis)

    async def __aiter__(self) -> AsyncIterator[Hypothesis]:
        while (item := await self._out.get()) is not None:
            if isinstance(item, StageError):
                raise item
            yield item

    async def aclose(self) -> None:
        """Drop everything that is under way."""
        if not self._closed:
            self._closed = True
            self._out.put_nowait(None)
        for timer in [*self._timers, *([self._final] if self._final else [])]:
            timer.cancel()
        self._asr.closed += 1


class ScriptedAsr:
    """The `scripted` recogniser.

    `script`: an utterance a turn, or a text for one with the usual delays; a turn beyond the script is a noise. Or a
    function
    that is asked for each turn by its number, from 0. `contexts`: what each turn was opened with. `opened`, `closed`:
    streams.
    """

    name = "scripted"

    def __init__(self, script: Sequence[Utterance | str] | Callable[[int], Utterance | str] = ()) -> None:
        self._script = script
        self.contexts: list[AsrContext] = []
        self.closed = 0

    @property
    def opened(self) -> int:
        """Streams opened so far."""
        return len(self.contexts)

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    async def warm_up(self) -> None:
        """There is nothing to load."""

    async def aclose(self) -> None:
        """There is nothing to free."""

    def open(self, context: AsrContext) -> ScriptedAsrStream:
        """A stream for the next turn of the script."""
        turn = len(self.contexts)
        self.contexts.append(context)
        if callable(self._script):
            said = self._script(turn)
        else:
            said = self._script[turn] if turn < len(self._script) else ""
        return ScriptedAsrStream(Utterance(said) if isinstance(said, str) else said, self)


def _joined(words: Sequence[str]) -> str:
    return " ".join(words)
