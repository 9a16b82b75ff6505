"""Piper as a synthesiser: neural voices that run on a CPU, streamed window by window where the voice's graph allows it.

The package piper-tts is GPL-3.0-or-later and an optional extra: this module imports without it, and says what to
install. One loaded voice serves all sessions; the work is done in a few threads, in steps small enough that sessions
take turns: a first chunk never waits for another session's whole sentence.
"""

import importlib.util
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from duologue.errors import ConfigurationError, StageOverloaded, StageUnavailable
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue.registry import install_command
from duologue_pipelines import model_cache
from duologue_pipelines.options import check_count
from duologue_pipelines.tts.model_threads import ModelThreads
from duologue_pipelines.tts.pcm import PcmStream
from duologue_pipelines.tts.requests import check_request, check_voice_options
from duologue_pipelines.tts.segments import segments
from duologue_pipelines.tts.speakable import SourceWord, Speakable, speakable

if TYPE_CHECKING:
    from duologue_pipelines.tts.piper_voice import LoadedVoice, Utterance

PREFERRED_VOICE: Final = "en_US-joe-medium"
SYNTHESES_MAX: Final = 64  # at once; more than that is waiting, not talking
VOICES_MAX: Final = 4  # loaded at once (a medium voice takes about 100 MB); the longest unused goes
# Portions handed to a voice. Where audio comes in windows, whole sentences sound best; where it does not, the first
# clause alone brings the first audio early.
_CHARS_STREAMED: Final = (200,)
_CHARS_WHOLE: Final = (40, 120, 200)
_CHARS_MAX: Final = 300
_PULL: Final = f"Run `duologue models pull piper:{PREFERRED_VOICE}`"

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Portion:
    text: str
    words: tuple[SourceWord, ...]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A request, ready for the voice."""

    voice: "LoadedVoice"
    speaker: int
    speed: float
    pcm: PcmStream
    portions: tuple[_Portion, ...]


class PiperTts:
    """The `piper` stage.

    `voice`: a name in the model cache ("en_US-joe-medium") or a path to an `.onnx`; behind a `#`, a speaker of it.
    Empty takes the preferred one, else the first in the cache. `speed`, `loudness`: multiply those of each request.
    `workers`: threads for all sessions together; `threads`: those of one model run.
    """

    name = "piper"
    auto_rank: ClassVar[int] = 20  # among those that are there, `use = "auto"` takes the highest

    def __init__(
        self, voice: str = "", speed: float = 1.0, loudness: float = 1.0, workers: int = 2, threads: int = 1
    ) -> None:
        check_voice_options("tts.piper", speed, loudness)
        check_count("tts.piper.workers", workers, 1, 32)
        check_count("tts.piper.threads", threads, 1, 64)
        self._voice = voice
        self._speed = speed
        self._loudness = loudness
        self._threads = threads
        self._work = ModelThreads("piper", workers)
        self._loaded: OrderedDict[Path, LoadedVoice] = OrderedDict()
        self._loading = threading.Lock()
        self._accents: set[str] = set()  # languages spoken with another's voice, each said once in the log
        self._live = 0

    @classmethod
    def languages(cls) -> tuple[str, ...]:
        """Of the voices that are here; named, it speaks any other with an accent."""
        return tuple(sorted({_primary(name) for name in model_cache.piper_voices()}))

    @classmethod
    def probe(cls) -> str:
        """Why piper can't be used here, or nothing."""
        if importlib.util.find_spec("piper") is None:
            return f"the package piper-tts is not installed. {_how_to_install()}"
        if not model_cache.piper_voices():
            return f"no voice in {model_cache.cache_folder() / 'piper'}. {_PULL}"
        return ""

    async def warm_up(self) -> None:
        """Load the default voice and run it once. Raises `StageUnavailable`, `ConfigurationError`."""
        async for _ in self.synthesise(SpeechRequest("One.")):
            pass

    async def aclose(self) -> None:
        """Let the threads and voices go."""
        self._work.close()
        self._loaded.clear()

    async def synthesise(self, request: SpeechRequest) -> AsyncGenerator[SpeechItem, None]:
        """Speak `request.text`.

        A language that no voice here speaks is spoken by the default voice, with its accent: better than silence, and
        said once in the log. Raises `ConfigurationError` for a wrong speed, loudness or speaker, `StageUnavailable` for
        a missing package or voice, `StageOverloaded`, and `StageError` where the model fails.
        """
        check_request(request)
        if self._live >= SYNTHESES_MAX:
            raise StageOverloaded("tts", f"piper has {self._live} syntheses under way", retryable=True)
        self._live += 1
        try:
            plan = await self._work.run(self._plan, request)
            if plan is None:
                return
            given = 0
            for portion in plan.portions:
                for sentence in await self._work.run(plan.voice.sentences, portion.text, portion.words):
                    utterance = await self._work.run(plan.voice.begin, sentence, plan.speed, plan.speaker)
                    words = _spoken(utterance, given, plan.voice.sample_rate_hz)
                    word = next(words, None)
                    while (window := await self._work.run(next, utterance.windows, None)) is not None:
                        given += len(window)
                        while word is not None and word.start <= given / plan.voice.sample_rate_hz:
                            yield word
                            word = next(words, None)
                        if pcm := plan.pcm.push_samples(window):
                            yield SpeechAudio(pcm)
            if pcm := plan.pcm.finish():
                yield SpeechAudio(pcm)
        finally:
            self._live -= 1

    def _plan(self, request: SpeechRequest) -> _Plan | None:
        name, _, speaker_name = (request.voice or self._voice_for(request.language)).partition("#")
        voice = self._load(voice_path(name))
        speaker = voice.speaker(speaker_name) if speaker_name else 0
        if speaker is None:
            known = ", ".join(voice.speakers[:8]) or "one, without a name"
            raise ConfigurationError(f"the voice {name} has no speaker {speaker_name!r}", hint=f"It has: {known}")
        plain = not voice.knows_wide_punctuation
        speech = speakable(request.text, request.language or voice.language, plain_punctuation=plain)
        if speech.is_silent:
            return None
        pcm = PcmStream(voice.sample_rate_hz, request.sample_rate_hz, self._loudness * request.loudness)
        chars = _CHARS_STREAMED if voice.streams else _CHARS_WHOLE
        return _Plan(voice, speaker, self._speed * request.speed, pcm, tuple(_portions(speech, chars)))

    def _voice_for(self, language: str | None) -> str:
        """The default voice, or one in the cache that speaks `language` where the default does not."""
        default = self._voice or default_voice()
        if not language:
            return default
        wanted = _primary(language)
        if wanted == _primary(self._load(voice_path(default.partition("#")[0])).language):
            return default
        matching = [name for name in model_cache.piper_voices() if _primary(name) == wanted]
        if matching:
            region = language.replace("-", "_").lower()
            return next((name for name in matching if name.lower().startswith(region)), matching[0])
        if wanted not in self._accents:
            self._accents.add(wanted)
            _log.warning("no piper voice for %r here: %s speaks it, with an accent", language, default)
        return default

    def _load(self, path: Path) -> "LoadedVoice":
        with self._loading:
            voice = self._loaded.get(path)
            if voice is None:
                voice = load_voice(path, self._threads)
                self._loaded[path] = voice
                while len(self._loaded) > VOICES_MAX:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(path)
            return voice


def default_voice() -> str:
    """Name of the voice to use when none is named. Raises `StageUnavailable` where the cache has none."""
    voices = model_cache.piper_voices()
    if not voices:
        raise StageUnavailable("tts", f"no piper voice in {model_cache.cache_folder() / 'piper'}", hint=_PULL)
    return PREFERRED_VOICE if PREFERRED_VOICE in voices else voices[0]


def voice_path(name: str) -> Path:
    """The `.onnx` that `name` (a path, or a voice in the cache) means. Raises `StageUnavailable` without one."""
    is_path = name.endswith(".onnx") or "/" in name or "\\" in name
    path = Path(name).expanduser() if is_path else model_cache.piper_voice(name)
    if not path.is_file():
        known = ", ".join(model_cache.piper_voices()) or "none"
        hint = (
            f"Check the path; voices in the cache: {known}"
            if is_path
            else f"Run `duologue models pull piper:{name}`; voices in the cache: {known}"
        )
        raise StageUnavailable("tts", f"no piper voice at {path}", hint=hint)
    if not model_cache.is_piper_voice(path):
        raise StageUnavailable("tts", f"{path} lies there without {path.name}.json", hint="Put it beside the voice")
    return path


def load_voice(path: Path, threads: int) -> "LoadedVoice":
    """The voice at `path`. Raises `StageUnavailable`, `ConfigurationError`."""
    try:
        from piper.config import PiperConfig

        from duologue_pipelines.tts.piper_voice import LoadedVoice
    except ModuleNotFoundError as error:
        raise StageUnavailable("tts", f"piper needs the package {error.name}", hint=_how_to_install()) from error
    described = path.with_name(path.name + ".json")
    try:
        config = PiperConfig.from_dict(json.loads(described.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"{described} does not describe a piper voice ({error!r})", hint="Pull the voice again"
        ) from error
    try:
        return LoadedVoice(path, config, threads)
    # onnx and onnxruntime raise classes of their own, straight from Exception, for a broken file.
    except Exception as error:
        raise StageUnavailable("tts", f"{path} can't be loaded ({error})", hint=_loading_hint(error)) from error


def _loading_hint(error: Exception) -> str:
    """Only a file that is no model is worth pulling again; another make's is whole and stays what it is."""
    if type(error).__name__ in ("InvalidProtobuf", "NoSuchFile"):
        return "The file is damaged: pull the voice again"
    return "The file is whole, but this onnxruntime can't run it: update onnxruntime, or take another voice"


def _spoken(utterance: "Utterance", before: int, rate: int) -> Iterator[SpokenWord]:
    for timed in utterance.words:
        word = timed.word
        yield SpokenWord(word.start_char, word.end_char, (before + timed.start) / rate, (before + timed.end) / rate)


def _portions(speech: Speakable, chars_wanted: tuple[int, ...]) -> Iterator[_Portion]:
    text, words = speech.text, speech.words()
    for start, end in segments(text, *chars_wanted, chars_max=_CHARS_MAX):
        own = (
            replace(word, start=word.start - start, end=min(word.end, end) - start)
            for word in words
            if start <= word.start < end
        )
        yield _Portion(text[start:end], tuple(own))


def _primary(language: str) -> str:
    """ "zh" of "zh-CN", "zh_CN-huayan-medium" and espeak's "cmn"."""
    primary = language.lower().replace("_", "-").split("-")[0]
    return {"cmn": "zh", "yue": "zh"}.get(primary, primary)


def _how_to_install() -> str:
    return f"Run `{install_command('piper')}` (piper-tts is GPL-3.0-or-later)"
