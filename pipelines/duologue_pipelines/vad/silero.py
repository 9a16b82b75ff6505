"""Silero VAD: a small recurrent network that judges 32 ms at a time; the best detector that needs no download.

The ONNX file is the one that travels inside faster-whisper's wheel (v6, MIT). It runs in onnxruntime directly, on one
thread, with one session for all streams: the recurrent state and 64 samples of left context are the stream's own.
faster-whisper itself is never imported here, it would pull in CTranslate2.
"""

import asyncio
import importlib.util
import threading
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from duologue.audio import INPUT_RATE_HZ, Frame, to_float
from duologue.errors import ConfigurationError, StageError, StageUnavailable
from duologue.ports.vad import Offset, Onset
from duologue_pipelines.options import check_range
from duologue_pipelines.vad.hysteresis import Hysteresis, Thresholds

WINDOW_SAMPLES: Final = 512  # what the network was trained on at 16 kHz
CONTEXT_SAMPLES: Final = 64  # of the window before, since v5
WINDOW_SECONDS: Final = WINDOW_SAMPLES / INPUT_RATE_HZ
# One window: the median by which the network's onsets and offsets are late on 28 clean clips (LibriSpeech, synthetic).
_LAG_SECONDS: Final = 0.03
_STATE_SHAPE: Final = (1, 1, 128)
_ASSET: Final = "silero_vad_v6.onnx"


def find_silero() -> Path | None:
    """The ONNX file inside faster-whisper's wheel, found without importing it; None where there is none."""
    spec = importlib.util.find_spec("faster_whisper")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "assets" / _ASSET
    return path if path.is_file() else None


class SileroModel:
    """The network, shared by all streams; loaded once, on first need or by `load`."""

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = path
        self._session: Any = None
        self._lock = threading.Lock()

    def load(self) -> None:
        """Load the network. Idempotent, safe from any thread. Raises `StageUnavailable`."""
        with self._lock:
            if self._session is None:
                self._session = self._open()

    def close(self) -> None:
        """Drop the network; the next `run` loads it again."""
        with self._lock:
            self._session = None

    def run(self, windows: NDArray[np.float32], state: "SileroState") -> NDArray[np.float32]:
        """Speech probability of each of `windows` (shape (n, 512), float32 in -1..1), in order; `state` moves on.

        Returns float32 of shape (n,). Raises `StageError` when onnxruntime fails.
        """
        if self._session is None:
            self.load()
        inputs = np.empty((len(windows), CONTEXT_SAMPLES + WINDOW_SAMPLES), np.float32)
        inputs[:, CONTEXT_SAMPLES:] = windows
        inputs[0, :CONTEXT_SAMPLES] = state.context
        inputs[1:, :CONTEXT_SAMPLES] = windows[:-1, -CONTEXT_SAMPLES:]
        try:
            probabilities, h, c = self._session.run(None, {"input": inputs, "h": state.h, "c": state.c})
        except Exception as error:  # onnxruntime's classes share no root of their own
            raise StageError("vad", f"silero failed on {len(windows)} windows ({error})", retryable=True) from error
        state.h, state.c = h, c
        state.context = inputs[-1, -CONTEXT_SAMPLES:].copy()
        return np.asarray(probabilities, np.float32).reshape(-1)

    def _open(self) -> Any:
        path = Path(self._path) if self._path is not None else find_silero()
        if path is None or not path.is_file():
            where = f"no model at {path}" if path else "faster-whisper, which carries the model, is not installed"
            raise StageUnavailable(
                "vad",
                f"silero: {where}",
                hint='Install it with `pip install faster-whisper`, or choose vad.use = "webrtc"',
            )
        import onnxruntime  # heavy: only once a model is really wanted

        options = onnxruntime.SessionOptions()
        options.inter_op_num_threads = options.intra_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # as above: any of onnxruntime's unrelated classes
            raise StageUnavailable("vad", f"silero: {path} can't be loaded ({error})", hint="Check the file") from error
        names = [value.name for value in session.get_inputs()]
        if names != ["input", "h", "c"]:
            raise StageUnavailable(
                "vad",
                f"silero: {path} takes {names}, expected ['input', 'h', 'c']",
                hint="Use the v6 export that faster-whisper ships",
            )
        return session


class SileroState:
    """One stream's recurrent state: `h` and `c` of shape (1, 1, 128), `context` of shape (64,), all float32."""

    __slots__ = ("c", "context", "h")

    def __init__(self) -> None:
        self.h = np.zeros(_STATE_SHAPE, np.float32)
        self.c = np.zeros(_STATE_SHAPE, np.float32)
        self.context = np.zeros(CONTEXT_SAMPLES, np.float32)


class SileroStream:
    """The detector's state for one session."""

    def __init__(self, model: SileroModel, thresholds: Thresholds) -> None:
        self._model = model
        self._hysteresis = Hysteresis(thresholds)
        self._state = SileroState()
        self._pending = np.empty(0, np.float32)

    def push_frame(self, frame: Frame) -> Onset | Offset | None:
        """Take one frame. At most one window is completed by 20 ms, so at most one event comes of it."""
        self._pending = np.concatenate((self._pending, to_float(frame.samples)))
        if len(self._pending) < WINDOW_SAMPLES:
            return None
        window, self._pending = self._pending[:WINDOW_SAMPLES], self._pending[WINDOW_SAMPLES:]
        end = frame.end - len(self._pending) / INPUT_RATE_HZ
        probability = float(self._model.run(window[np.newaxis], self._state)[0])
        return self._hysteresis.add_probability(probability, end - WINDOW_SECONDS, end)


class SileroVad:
    """Silero as a detector of its own.

    `threshold` begins speech and `release` ends it (probabilities), `min_speech_ms` and `hangover_ms` as in
    `Thresholds`,
    `model`: another ONNX file with the same inputs. With the defaults an onset comes a median 78 ms after the first
    voiced sample and an offset 70 ms after the last one on clean speech, 78 and 100 ms at 10 dB of noise
    (28 clips of LibriSpeech and synthetic voice); 63 µs a frame.
    """

    name = "silero"
    auto_rank: ClassVar[int] = 20  # among those that are there, `use = "auto"` takes the highest

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        release: float = 0.35,
        min_speech_ms: float = 32,
        hangover_ms: float = 32,
        model: str | None = None,
    ) -> None:
        self._thresholds = silero_thresholds("vad.silero", threshold, release, min_speech_ms, hangover_ms)
        self._model = SileroModel(model)

    async def warm_up(self) -> None:
        """Load the network off the loop and run it once."""
        await asyncio.to_thread(warm, self._model)

    async def aclose(self) -> None:
        """Free the network."""
        self._model.close()

    @classmethod
    def probe(cls) -> str:
        """Whether onnxruntime and the ONNX file are there."""
        return probe_silero()

    def open(self) -> SileroStream:
        """A stream for one session."""
        return SileroStream(self._model, self._thresholds)


def silero_thresholds(
    key: str, threshold: float, release: float, min_speech_ms: float, hangover_ms: float
) -> Thresholds:
    """Checked options as `Thresholds`. Raises `ConfigurationError` naming `key`."""
    check_range(f"{key}.threshold", threshold, 0.01, 0.99)
    check_range(f"{key}.release", release, 0.01, 0.99)
    check_range(f"{key}.min_speech_ms", min_speech_ms, 0, 1000)
    check_range(f"{key}.hangover_ms", hangover_ms, 0, 2000)
    if release > threshold:
        raise ConfigurationError(f"{key}.release must not exceed {key}.threshold ({threshold:g}), got {release:g}")
    return Thresholds(threshold, release, min_speech_ms / 1000, hangover_ms / 1000, _LAG_SECONDS, _LAG_SECONDS)


def warm(model: SileroModel) -> None:
    """Load `model` and pay for the first run here rather than in somebody's first word."""
    model.load()
    model.run(np.zeros((1, WINDOW_SAMPLES), np.float32), SileroState())


def probe_silero() -> str:
    """Why Silero can't run here; empty when it can."""
    if importlib.util.find_spec("onnxruntime") is None:
        return "onnxruntime is not installed"
    return "" if find_silero() else "faster-whisper, which carries the Silero model, is not installed"
