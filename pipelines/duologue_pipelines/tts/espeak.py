"""espeak-ng as a synthesiser: small, instant, in over a hundred languages, with word times from its own events.

It speaks like a machine and is understood like a person; it needs no model and no system package, so it is what `auto`
falls back to. Several sessions share the one library: portions of their texts take turns behind its lock, each portion
a few tens of milliseconds of work at most.
"""

import asyncio
import difflib
import importlib.util
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from duologue.errors import ConfigurationError, StageOverloaded
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue_pipelines.tts.espeak_library import EspeakEvent, library
from duologue_pipelines.tts.espeak_words import WordTimer
from duologue_pipelines.tts.pcm import PcmStream
from duologue_pipelines.tts.requests import check_request, check_voice_options
from duologue_pipelines.tts.segments import segments
from duologue_pipelines.tts.speakable import SourceWord, Speakable, speakable
from duologue_pipelines.tts.thread_stream import Emit, stream_from_thread

SYNTHESES_MAX: Final = 256  # at once; each holds at most one portion of audio (about 1 MB)
_PORTION_CHARS: Final = 300  # about 20 s of speech, 50 ms of work
_WORDS_PER_MINUTE: Final = 175  # espeak's own pace
_WORDS_PER_MINUTE_MIN: Final = 80  # the library's limits
_WORDS_PER_MINUTE_MAX: Final = 450
_THREADS: Final = 2  # one in the library, one at preparing the next text

# Where BCP 47 and espeak part ways.
_ALIASES: Final = {
    "zh": "cmn", "zh-hk": "yue", "zh-mo": "yue", "zh-yue": "yue", "no": "nb", "nn": "nb", "iw": "he", "in": "id",
    "en-uk": "en-gb", "pt-pt": "pt", "es-mx": "es-419", "es-us": "es-419", "fr": "fr-fr", "mo": "ro", "sh": "hr",
}  # fmt: skip


class EspeakTts:
    """The `espeak` stage.

    `voice`: an espeak voice ("en-us"), a variant of one ("en-us+f3") or of whatever the language asks for ("+f3").
    `speed`, `loudness`: multiply those of each request.
    """

    name = "espeak"
    auto_rank: ClassVar[int] = 10  # among those that are there, `use = "auto"` takes the highest
    languages: ClassVar[tuple[str, ...]] = ("*",)  # nearly; for others it says which are nearest

    def __init__(self, voice: str = "en-us+f3", speed: float = 1.0, loudness: float = 1.0) -> None:
        check_voice_options("tts.espeak", speed, loudness)
        self._voice = voice
        self._speed = speed
        self._loudness = loudness
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="espeak")
        self._live = 0

    @classmethod
    def probe(cls) -> str:
        """Why espeak can't be used here, or nothing."""
        if importlib.util.find_spec("espeakng_loader") is None:
            return "the package espeakng-loader is not installed (`pip install espeakng-loader`)"
        return ""

    async def warm_up(self) -> None:
        """Load the library and check the voice. Raises `StageUnavailable`, `ConfigurationError`."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._load)

    def _load(self) -> None:
        self._espeak_voice(SpeechRequest(""))
        speakable("1", "en")
        speakable("1", "zh")

    async def aclose(self) -> None:
        """Let the threads go. The library stays loaded: it can't be loaded twice."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def voices(self) -> tuple[str, ...]:
        """Codes of all voices that the library has."""
        return library().voices

    def check_voice(self, voice: str, language: str | None) -> None:
        """Raise `ConfigurationError`, with the nearest there are, unless there is such a voice for `language`."""
        self._espeak_voice(SpeechRequest("", language, voice))

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speak `request.text`.

        Raises `ConfigurationError` for an unknown voice or language and for a speed or loudness out of range,
        `StageOverloaded` when too many syntheses run at once, `StageError` where the library fails.
        """
        check_request(request)
        if self._live >= SYNTHESES_MAX:
            raise StageOverloaded("tts", f"espeak has {self._live} syntheses under way", retryable=True)
        self._live += 1
        try:
            loop = asyncio.get_running_loop()
            portions = await loop.run_in_executor(self._executor, self._prepare, request)
            for portion in portions:
                items = stream_from_thread(self._executor, portion.speak)
                try:
                    async for item in items:
                        yield item
                finally:
                    await items.aclose()
        finally:
            self._live -= 1

    def _prepare(self, request: SpeechRequest) -> list["_Portion"]:
        voice = self._espeak_voice(request)
        speech = speakable(request.text, request.language or voice.partition("+")[0])
        if speech.is_silent:
            return []
        pace = _WORDS_PER_MINUTE * self._speed * request.speed
        synthesis = _Synthesis(
            voice,
            round(min(max(pace, _WORDS_PER_MINUTE_MIN), _WORDS_PER_MINUTE_MAX)),
            PcmStream(library().sample_rate_hz, request.sample_rate_hz, self._loudness * request.loudness),
        )
        return list(_portions(speech, synthesis))

    def _espeak_voice(self, request: SpeechRequest) -> str:
        """The voice of `request`, with its variant; what it leaves open is the default's."""
        default_base, _, default_variant = self._voice.partition("+")
        base, _, variant = (request.voice or "").partition("+")
        base = base or self._base(request.language, default_base)
        return _checked_voice(base, variant or default_variant)

    def _base(self, language: str | None, default: str) -> str:
        if not language:
            return default or "en-us"
        code = language.lower().replace("_", "-")
        if code == default.split("-")[0]:
            return default
        voices = library().voices
        while code:
            for candidate in (code, _ALIASES.get(code, "")):
                if candidate in voices:
                    return candidate
            code = code.rpartition("-")[0]
        raise ConfigurationError(
            f"espeak has no voice for the language {language!r}",
            hint=f"The nearest it has: {_nearest(language.lower(), voices)}",
        )


def _checked_voice(base: str, variant: str) -> str:
    known = library()
    code = base.lower()
    code = _ALIASES.get(code, code)
    if code not in known.voices:
        nearest = _nearest(code, known.voices)
        raise ConfigurationError(f"espeak has no voice {base!r}", hint=f"The nearest it has: {nearest}")
    if variant and variant not in known.variants:
        nearest = _nearest(variant, known.variants)
        raise ConfigurationError(f"espeak has no variant {variant!r}", hint=f"The nearest it has: {nearest}")
    return f"{code}+{variant}" if variant else code


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return ", ".join(close or known[:3])


class _Synthesis:
    """What the portions of one request share: voice, pace, resampler, and how many samples came before."""

    def __init__(self, voice: str, words_per_minute: int, pcm: PcmStream) -> None:
        self.voice = voice
        self.words_per_minute = words_per_minute
        self.pcm = pcm
        self.samples = 0


class _Portion:
    """One portion of a request's text, spoken in one call of the library."""

    def __init__(self, text: str, words: Sequence[SourceWord], synthesis: _Synthesis, *, is_last: bool) -> None:
        self._text = text
        self._words = words
        self._synthesis = synthesis
        self._is_last = is_last

    def speak(self, emit: Emit[SpeechItem]) -> None:
        """Synthesise on this thread; stops as soon as `emit` says so."""
        espeak, synthesis = library(), self._synthesis
        timer = WordTimer(self._words, espeak.sample_rate_hz, synthesis.samples)

        def on_audio(audio: NDArray[np.int16], events: list[EspeakEvent]) -> bool:
            return all(emit(item) for item in self._items(timer.add_audio(audio, events)))

        espeak.speak(self._text, voice=synthesis.voice, words_per_minute=synthesis.words_per_minute, on_audio=on_audio)
        rest = [*self._items(timer.finish())]
        synthesis.samples += timer.samples
        tail = synthesis.pcm.finish() if self._is_last else b""
        for item in [*rest, SpeechAudio(tail)] if tail else rest:
            emit(item)

    def _items(self, found: Iterator[SpokenWord | NDArray[np.int16]]) -> Iterator[SpeechItem]:
        for item in found:
            if isinstance(item, SpokenWord):
                yield item
            elif pcm := self._synthesis.pcm.push_samples(item.astype(np.float32) / np.float32(32768)):
                yield SpeechAudio(pcm)


def _portions(speech: Speakable, synthesis: _Synthesis) -> Iterator[_Portion]:
    text, words = speech.text, speech.words()
    for start, end in segments(text, _PORTION_CHARS, chars_max=2 * _PORTION_CHARS):
        own = [
            replace(word, start=max(word.start - start, 0), end=min(word.end, end) - start)
            for word in words
            if start <= word.start < end
        ]
        yield _Portion(text[start:end], own, synthesis, is_last=end == len(text))
