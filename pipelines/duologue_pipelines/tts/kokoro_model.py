"""Kokoro loaded: phrases to audio with word times, the silence that the model puts around them cut to a breath.

Everything here blocks and may be called from several threads at once. The model runs as a whole (its decoder
normalises over all of its time, so windows of it would not sound alike): first audio waits for its first phrase only.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from duologue.errors import StageUnavailable
from duologue_pipelines.tts.kokoro_phonemes import Phrase
from duologue_pipelines.tts.kokoro_voices import Styles, blend, load_styles, voice_names
from duologue_pipelines.tts.onnx_session import open_session
from duologue_pipelines.tts.speakable import SourceWord

RATE_HZ: Final = 24_000
STYLES_MAX: Final = 32  # voices and blends kept, half a megabyte each; the longest unused goes
_UNLIMITED: Final = 1000.0  # frames of 25 ms
# Frames of the empty symbol before the words, which takes 14 to 19 when it may. Measured: down to 12 the silence gets
# shorter and the words stay as they are; below that the model eats the first word's beginning instead.
_LEAD_FRAMES_MAX: Final = 12.0
_LEAD_SECONDS: Final = 0.03  # kept before the first sound
_CLAUSE_SECONDS: Final = 0.15  # kept behind the last one, as a speaker pauses between clauses
_SENTENCE_SECONDS: Final = 0.30
_SILENCE_DB: Final = -46.0  # below the phrase's peak: breath and the ends of consonants lie above
_LEVEL_SAMPLES: Final = 120  # 5 ms
_PULL: Final = "Pull it again: `duologue models pull kokoro:v1.0`"

Audio = NDArray[np.float32]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word and where it is heard, in samples from the phrase's first."""

    word: SourceWord
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SpokenPhrase:
    """`audio`: float32, shape (n,), full scale 1.0, at 24 kHz."""

    audio: Audio
    words: tuple[TimedWord, ...]


class KokoroModel:
    """The model in `folder` (model.onnx, config.json, voices/). `threads`: of one run. Raises `StageUnavailable`."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._voices = folder / "voices"
        self.voices = voice_names(self._voices)
        self.symbols = _symbols(folder / "config.json")
        self._styles: dict[str, Styles] = {}
        self._lock = Lock()
        self._threads = threads
        # Buffers go back after each run: kept, those of the longest phrases would pile up to several hundred megabytes.
        self._run_options = onnxruntime.RunOptions()
        self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        path = folder / "model.onnx"
        self._session = self._open_timed(path) or self._open_whole(path)
        self.tells_durations = len(self._session.get_outputs()) > 1

    def _open_timed(self, path: Path) -> onnxruntime.InferenceSession | None:
        try:
            from duologue_pipelines.tts.kokoro_graph import load_with_limits

            model = load_with_limits(str(path))
            if model is not None:
                return open_session(model, self._threads)
            _log.warning("%s has no durations that can be found: word times are shared out", path)
        except ImportError:
            _log.warning("the package onnx is missing: kokoro's word times are shared out, and it begins later")
        # onnx and onnxruntime raise classes of their own; the graph as it is may still do.
        except Exception as error:
            _log.warning("%s can't be made to tell its durations (%r): word times are shared out", path, error)
        return None

    def _open_whole(self, path: Path) -> onnxruntime.InferenceSession:
        try:
            return open_session(str(path), self._threads)
        except Exception as error:  # as above
            raise StageUnavailable("tts", f"{path} can't be loaded ({error})", hint=_PULL) from error

    def styles(self, voice: str) -> Styles:
        """The table of a voice or blend. Raises `ConfigurationError`."""
        with self._lock:
            styles = self._styles.pop(voice, None)
            if styles is None:
                styles = load_styles(self._voices, blend(voice, self.voices))
            self._styles[voice] = styles
            while len(self._styles) > STYLES_MAX:
                del self._styles[next(iter(self._styles))]
            return styles

    def speak(self, phrase: Phrase, styles: Styles, speed: float) -> SpokenPhrase:
        """Run the model on `phrase`. `speed`: 1.0 is the voice's own pace."""
        count = len(phrase.symbols)
        feed = {
            "tokens": np.array([[0, *(self.symbols[symbol] for symbol in phrase.symbols), 0]], dtype=np.int64),
            "style": styles[min(count, len(styles)) - 1][None],
            "speed": np.array([speed], dtype=np.float32),
        }
        if self.tells_durations:
            limits = np.full((1, count + 2), _UNLIMITED, dtype=np.float32)
            limits[0, 0] = _LEAD_FRAMES_MAX
            feed["duration_limits"] = limits
        audio, *durations = self._session.run(None, feed, self._run_options)
        audio = np.asarray(audio, dtype=np.float32).reshape(-1)
        start, end = _audible(audio, _pause_seconds(phrase.symbols) / speed)
        edges = _edges(durations[0].reshape(-1), len(audio)) if durations else _shared_edges(count, start, end)
        return SpokenPhrase(audio[start:end], tuple(_timed(phrase, np.clip(edges - start, 0, end - start))))


def _symbols(path: Path) -> dict[str, int]:
    try:
        symbols = json.loads(path.read_text(encoding="utf-8"))["vocab"]
        return {str(symbol): int(number) for symbol, number in symbols.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StageUnavailable("tts", f"{path} does not describe a kokoro model ({error!r})", hint=_PULL) from error


def _pause_seconds(symbols: str) -> float:
    return _SENTENCE_SECONDS if symbols.rstrip(' ")”')[-1:] in (".", "!", "?", "…") else _CLAUSE_SECONDS


def _audible(audio: Audio, pause_seconds: float) -> tuple[int, int]:
    """From just before the first sound to a pause behind the last; the whole where nothing is to be heard."""
    count = len(audio) // _LEVEL_SAMPLES
    levels = np.abs(audio[: count * _LEVEL_SAMPLES]).reshape(count, _LEVEL_SAMPLES).max(axis=1, initial=0.0)
    loud = np.flatnonzero(levels > levels.max(initial=0.0) * 10 ** (_SILENCE_DB / 20))
    if not loud.size:
        return 0, len(audio)
    start = int(loud[0]) * _LEVEL_SAMPLES - round(_LEAD_SECONDS * RATE_HZ)
    end = (int(loud[-1]) + 1) * _LEVEL_SAMPLES + round(pause_seconds * RATE_HZ)
    return max(start, 0), min(end, len(audio))


def _edges(frames: NDArray[np.float32], samples: int) -> NDArray[np.int64]:
    """Where each symbol begins, and the last one ends, in samples; the empty symbols at both ends left out."""
    ends = np.cumsum(frames) * (samples / max(float(frames.sum()), 1.0))
    return ends[:-1].astype(np.int64)


def _shared_edges(count: int, start: int, end: int) -> NDArray[np.int64]:
    """The same without durations: every symbol as long as the other."""
    return np.linspace(start, end, count + 1).astype(np.int64)


def _timed(phrase: Phrase, edges: NDArray[np.int64]) -> list[TimedWord]:
    return [TimedWord(word, int(edges[start]), int(edges[end])) for word, start, end in phrase.words]
