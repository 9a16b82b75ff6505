"""Kokoro as a synthesiser: the best open voices of its size, 24 kHz, on a CPU; spoken phrase by phrase.

A phrase is as much as one run of the model takes: the first one is short, so that audio begins with the first clause,
and later ones are made while it is heard. One loaded model serves all sessions, in a few threads, in turns of a phrase:
a cancelled reply stops before the next. The model is Apache-2.0; its Mandarin needs the extra `kokoro`.
"""

import os
import threading
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Final, TypeVar

from duologue.errors import StageOverloaded, StageUnavailable
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue_pipelines import model_cache
from duologue_pipelines.options import check_count
from duologue_pipelines.tts.kokoro_model import RATE_HZ, KokoroModel
from duologue_pipelines.tts.kokoro_phonemes import Phrase, mandarin, phrases
from duologue_pipelines.tts.kokoro_voices import (
    DEFAULT,
    LANGUAGES,
    Styles,
    Tongue,
    blend,
    tongue_for,
    tongue_of,
    voice_names,
)
from duologue_pipelines.tts.model_threads import ModelThreads
from duologue_pipelines.tts.pcm import PcmStream
from duologue_pipelines.tts.requests import check_request, check_voice_options
from duologue_pipelines.tts.segments import segments
from duologue_pipelines.tts.speakable import speakable

VERSION: Final = "v1.0"
SYNTHESES_MAX: Final = 64  # at once; more than that is waiting, not talking
# A portion's characters: the first clause is heard at once, later ones are small enough for sessions to take turns.
_CHARS_WANTED: Final = (24, 60, 100)
_CHARS_MAX: Final = 160
_PULL: Final = f"Run `duologue models pull kokoro:{VERSION}`"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request, ready for the model."""

    model: KokoroModel
    styles: Styles
    speed: float
    pcm: PcmStream
    phrases: Iterator[Phrase]


class KokoroTts:
    """The `kokoro` stage.

    `voice`: a name ("af_heart") or a blend ("af_heart:0.6+am_michael:0.4"); empty takes the language's own. `speed`,
    `loudness`: multiply those of each request. `workers`: threads for all sessions together; `threads`: those of one
    model run, 0 for two where there are two cores.
    """

    name = "kokoro"
    auto_rank: ClassVar[int] = 15  # above espeak; below piper: docs/decisions/020
    languages: ClassVar[tuple[str, ...]] = LANGUAGES

    def __init__(
        self, voice: str = "", speed: float = 1.0, loudness: float = 1.0, workers: int = 2, threads: int = 0
    ) -> None:
        check_voice_options("tts.kokoro", speed, loudness)
        check_count("tts.kokoro.workers", workers, 1, 32)
        check_count("tts.kokoro.threads", threads, 0, 64)
        self._voice = voice
        self._speed = speed
        self._loudness = loudness
        self._threads = threads or min(os.cpu_count() or 1, 2)
        self._work = ModelThreads("kokoro", workers)
        self._model: KokoroModel | None = None
        self._loading = threading.Lock()
        self._live = 0

    @classmethod
    def probe(cls) -> str:
        """Why kokoro can't be used here, or nothing."""
        folder = model_cache.kokoro_folder(VERSION)
        return "" if model_cache.is_kokoro(folder) else f"no complete model in {folder}. {_PULL}"

    async def warm_up(self) -> None:
        """Load the model and run it once. Raises `StageUnavailable`, `ConfigurationError`."""
        async for _ in self.synthesise(SpeechRequest("One.")):
            pass

    async def aclose(self) -> None:
        """Let the threads and the model go."""
        self._work.close()
        self._model = None

    def voices(self) -> tuple[str, ...]:
        """Names of the voices that are there."""
        return voice_names(model_cache.kokoro_folder(VERSION) / "voices")

    def check_voice(self, voice: str, language: str | None) -> None:
        """Raise `ConfigurationError`, with the nearest there are, unless there is such a voice for `language`.

        `StageUnavailable` where the language needs a package that is missing.
        """
        if voice:
            blend(voice, self.voices())
        if self._tongue(SpeechRequest("", language, voice or None)).espeak == "cmn":
            mandarin()

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speak `request.text`.

        A voice speaks another language than its own with an accent. Raises `ConfigurationError` for a wrong speed,
        loudness, voice or language, `StageUnavailable` for a missing model or package, `StageOverloaded`, and
        `StageError` where the model fails.
        """
        check_request(request)
        if self._live >= SYNTHESES_MAX:
            raise StageOverloaded("tts", f"kokoro has {self._live} syntheses under way", retryable=True)
        self._live += 1
        try:
            plan = await self._work.run(self._plan, request)
            if plan is None:
                return
            given = 0
            while (phrase := await self._work.run(next, plan.phrases, None)) is not None:
                spoken = await self._work.run(plan.model.speak, phrase, plan.styles, plan.speed)
                for timed in spoken.words:
                    start, end = (given + timed.start) / RATE_HZ, (given + timed.end) / RATE_HZ
                    yield SpokenWord(timed.word.start_char, timed.word.end_char, start, end)
                given += len(spoken.audio)
                if pcm := plan.pcm.push_samples(spoken.audio):
                    yield SpeechAudio(pcm)
            if pcm := plan.pcm.finish():
                yield SpeechAudio(pcm)
        finally:
            self._live -= 1

    def _plan(self, request: SpeechRequest) -> _Plan | None:
        tongue = self._tongue(request)
        model = self._load()
        styles = model.styles(request.voice or self._voice_for(tongue))
        speech = speakable(request.text, tongue.code)
        if speech.is_silent:
            return None
        pcm = PcmStream(RATE_HZ, request.sample_rate_hz, self._loudness * request.loudness)

        def all_phrases() -> Iterator[Phrase]:
            text, words = speech.text, speech.words()
            for start, end in segments(text, *_CHARS_WANTED, chars_max=_CHARS_MAX):
                own = [
                    replace(word, start=word.start - start, end=min(word.end, end) - start)
                    for word in words
                    if start <= word.start < end
                ]
                yield from phrases(text[start:end], own, tongue.espeak, model.symbols)

        return _Plan(model, styles, self._speed * request.speed, pcm, all_phrases())

    def _tongue(self, request: SpeechRequest) -> Tongue:
        """What is spoken: the request's language, else the voice's own."""
        if request.language:
            return tongue_for(request.language)
        voice = request.voice or self._voice
        return (tongue_of(voice) or tongue_for("ja")) if voice else DEFAULT

    def _voice_for(self, tongue: Tongue) -> str:
        """The stage's voice where it speaks that language, else the language's own."""
        own = tongue_of(self._voice) if self._voice else None
        return self._voice if own and own.code[:2] == tongue.code[:2] else tongue.voice

    def _load(self) -> KokoroModel:
        with self._loading:
            if self._model is None:
                if problem := self.probe():
                    raise StageUnavailable("tts", problem.rpartition(". ")[0], hint=_PULL)
                self._model = KokoroModel(model_cache.kokoro_folder(VERSION), self._threads)
            return self._model
