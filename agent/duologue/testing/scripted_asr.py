"""A recogniser that knows beforehand what will be said. For tests and simulations.

It is given one `Utterance` for each turn. As voiced frames are pushed the words appear one after the other, as from a
real recogniser; a final takes as long as the script says, on the loop's clock, so it runs in virtual time.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from duologue.audio import Frame
from duologue.core.words import Word, split_words
from duologue.errors import DuologueError
from duologue.ports.asr import AsrContext, Hypothesis

VOICED_PEAK: Final = 1500  # as `ScriptedVad` has it
STREAMS_KEPT: Final = 100
CONNECTIONS_MAX: Final = 1000  # the oldest is dropped: a process that dies tells no ends
_SLACK: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn as it will be recognised.

    `word_seconds`: voiced audio it takes for each word. `final_delay_s`: from `finalise` to the final. `partials`:
    whether hypotheses come in between. `unstable`: how many of the newest words of a partial may still change.
    `language`: told with each hypothesis. `whole_text_in_finals`: a final gives all of `text`, however little of it was
    heard (what a test of one stage wants); otherwise only what was heard. `fail`: raised instead of the final;
    `fail_at_final`: at which final, counted from one.
    """

    text: str
    word_seconds: float = 0.25
    final_delay_s: float = 0.05
    partials: bool = True
    unstable: int = 1
    language: str | None = None
    whole_text_in_finals: bool = False
    fail: DuologueError | None = None
    fail_at_final: int = 1
    fail_after_s: float | None = None


class ScriptedAsr:
    """The `scripted` recogniser: each stream takes the next of `utterances`; after the last, turns have no words.

    A string stands for `Utterance(string)`; a function is asked for each turn by its number, from 0. `streams`: those
    that were opened, in order, `contexts`: what each was told; the newest `STREAMS_KEPT` of them. `opened`: how many in
    all. `connections`: for each session that is not over, how many turns went over the connection that it keeps.
    """

    name = "scripted"

    def __init__(
        self,
        utterances: Iterable[Utterance | str] | Callable[[int], Utterance | str] = (),
        *,
        final_delay_s: float | None = None,
    ) -> None:
        self._chooser = utterances if callable(utterances) else None
        self._utterances = deque[Utterance | str](() if callable(utterances) else utterances)
        self._final_delay_s = final_delay_s
        self.streams: deque[ScriptedAsrStream] = deque(maxlen=STREAMS_KEPT)
        self.contexts: deque[AsrContext] = deque(maxlen=STREAMS_KEPT)
        self.opened = 0
        self.connections: dict[str, int] = {}

    async def warm_up(self) -> None:
        """There is nothing to load."""

    async def aclose(self) -> None:
        """There is nothing to free."""

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    def end_session(self, session: str) -> None:
        """Hang up for `session`."""
        self.connections.pop(session, None)

    def expect(self, *utterances: Utterance | str) -> None:
        """Add turns to the end of the script."""
        self._utterances.extend(utterances)

    def open(self, context: AsrContext) -> "ScriptedAsrStream":
        """A stream for one turn."""
        said: Utterance | str = ""
        if self._chooser:
            said = self._chooser(self.opened)
        elif self._utterances:
            said = self._utterances.popleft()
        self.opened += 1
        if context.session:
            self.connections[context.session] = self.connections.get(context.session, 0) + 1
            if len(self.connections) > CONNECTIONS_MAX:
                del self.connections[next(iter(self.connections))]
        utterance = Utterance(said) if isinstance(said, str) else said
        if self._final_delay_s is not None:
            utterance = replace(utterance, final_delay_s=self._final_delay_s)
        stream = ScriptedAsrStream(utterance, context)
        self.streams.append(stream)
        self.contexts.append(context)
        return stream


class ScriptedAsrStream:
    """The recognition of one turn."""

    def __init__(self, utterance: Utterance, context: AsrContext) -> None:
        self._utterance = utterance
        self._language = utterance.language or context.language
        self._texts = split_words(utterance.text)
        self._words: list[Word] = []
        self._voiced_seconds = 0.0
        self._pushed_seconds = 0.0
        self._word_began: float | None = None
        self._end = 0.0
        self._stable = 0
        self._finals = 0
        self._timer: asyncio.TimerHandle | None = None
        self._queue: deque[Hypothesis | DuologueError] = deque()
        self._changed = asyncio.Event()
        self.closed = False

    def push_frame(self, frame: Frame) -> None:
        """Take one frame; a voiced one brings the text on."""
        if self.closed:
            return
        self._end = frame.end
        self._pushed_seconds += frame.end - frame.at
        script = self._utterance
        if script.fail and script.fail_after_s is not None and self._pushed_seconds >= script.fail_after_s:
            self._queue.append(script.fail)
            self._changed.set()
            return
        if int(np.max(np.abs(frame.samples.astype(np.int32)))) <= VOICED_PEAK:
            return
        if self._word_began is None:
            self._word_began = frame.at
        self._voiced_seconds += frame.end - frame.at
        due = int(self._voiced_seconds / self._utterance.word_seconds + _SLACK)
        if len(self._words) < min(due, len(self._texts)):
            self._words.append(Word(self._texts[len(self._words)], self._word_began, frame.end, 1.0))
            self._word_began = frame.end
            self._stable = max(self._stable, len(self._words) - self._utterance.unstable)
            if self._utterance.partials:
                self._tell(self._hypothesis(self._words))

    def finalise(self, mark: int) -> None:
        """Answer after `final_delay_s`; one still owed is dropped."""
        if self.closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        words = list(self._words)
        if self._utterance.whole_text_in_finals and self._voiced_seconds:
            words += [Word(text, self._end, self._end, 1.0) for text in self._texts[len(words) :]]
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._utterance.final_delay_s, self._answer, words, mark)

    def __aiter__(self) -> AsyncIterator[Hypothesis]:
        return self

    async def __anext__(self) -> Hypothesis:
        while not self._queue:
            if self.closed:
                raise StopAsyncIteration
            self._changed.clear()
            await self._changed.wait()
        item = self._queue.popleft()
        if isinstance(item, DuologueError):
            await self.aclose()
            raise item
        return item

    async def aclose(self) -> None:
        """Drop what is owed and end the iteration."""
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._queue.clear()
        self._changed.set()

    def _answer(self, words: list[Word], mark: int) -> None:
        self._timer = None
        self._finals += 1
        script = self._utterance
        if script.fail is not None and script.fail_after_s is None and self._finals == script.fail_at_final:
            self._queue.append(script.fail)
            self._changed.set()
            return
        self._stable = max(self._stable, min(len(words), len(self._words)))
        self._tell(replace(self._hypothesis(words), final=True, mark=mark))

    def _hypothesis(self, words: list[Word]) -> Hypothesis:
        text = _as_written(self._utterance.text, len(words))
        stable = min(self._stable, len(words))
        return Hypothesis(text, tuple(words), stable, language=self._language)

    def _tell(self, hypothesis: Hypothesis) -> None:
        if self._queue and isinstance(self._queue[-1], Hypothesis) and not self._queue[-1].final:
            self._queue.pop()  # a partial that nobody read yet
        self._queue.append(hypothesis)
        self._changed.set()


def _as_written(text: str, count: int) -> str:
    """The first `count` words of `text`, with the spaces that it has."""
    end = 0
    for word in split_words(text)[:count]:
        end = text.index(word, end) + len(word)
    return text[:end].lstrip()
