"""A synthesiser whose audio says which word it is: each word is a level of its own, so a recording can be read back.

The pace and the faults are `ScriptedTts`'s; only the samples are others. Word n is a flat stretch of the value n.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue.testing.scripted_tts import ScriptedTts


@dataclass(frozen=True, slots=True)
class CodedWord:
    """A word that was to be said. `seconds`: how long all of it is; `chunk`: the request's text that it stands in."""

    text: str
    chunk: str
    seconds: float


class CodedTts:
    """The scripted synthesiser, in code. `words`: what the values mean, 1 being the first; `tells_word_times`: as a
    voice with alignments does."""

    name = "coded"

    def __init__(self, inner: ScriptedTts, *, word_times: bool = True) -> None:
        self.inner = inner
        self.words: list[CodedWord] = []
        self.tells_word_times = word_times

    @classmethod
    def probe(cls) -> str:
        """Always there."""
        return ""

    async def warm_up(self) -> None:
        """Nothing to load."""

    async def aclose(self) -> None:
        """Nothing to free."""

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speak `request.text` in code."""
        code = 0
        async with aclosing(self.inner.synthesise(request)) as items:
            async for item in items:
                if isinstance(item, SpokenWord):
                    text = request.text[item.start_char : item.end_char]
                    self.words.append(CodedWord(text, request.text, item.end - item.start))
                    code = len(self.words)
                    if self.tells_word_times:
                        yield item
                    continue
                samples = len(item.pcm) // 2
                yield SpeechAudio(np.full(samples, code, dtype="<i2").tobytes())
