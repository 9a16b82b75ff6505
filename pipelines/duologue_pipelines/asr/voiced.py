"""Where in a turn somebody really speaks: the gate before the recogniser.

Recognisers invent words for coughs, breath and silence; asked only about audio that holds speech they can't. The judge
is Silero, run in the decoder's thread over audio it has not seen yet, so that a turn is judged once however often it is
decoded.
"""

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from duologue.audio import INPUT_RATE_HZ
from duologue_pipelines.asr.turn_audio import Clip
from duologue_pipelines.vad.silero import WINDOW_SAMPLES, WINDOW_SECONDS, SileroModel, SileroState

THRESHOLD: Final = 0.5
# Telephone speech, coded in 8 bits, is judged between .2 and .6 all along; a cough or a bark is high, but short.
SUSTAINED_THRESHOLD: Final = 0.2
SUSTAINED_SECONDS_MIN: Final = 0.5
# A word is longer: "no" lasts about 150 ms. Two windows alone are what a cough's vowel-like part reaches.
VOICED_SECONDS_MIN: Final = 0.09
_QUIET_PEAK: Final = 60  # of 32768, about -55 dB: below this there is nothing to judge
# Silero takes very quiet speech for none, where the recogniser still understands it: it is judged at a common level.
_LEVEL: Final = 0.25
_GAIN_MAX: Final = 16.0


@dataclass(frozen=True, slots=True)
class Voiced:
    """Speech within a clip.

    `start`, `end`: seconds from the clip's first sample. `seconds`: how much of it is voiced.
    """

    start: float
    end: float
    seconds: float


class VoicedTrack:
    """The judgement of one turn. Safe to ask from several threads."""

    def __init__(self, model: SileroModel) -> None:
        self._model = model
        self._state = SileroState()
        self._next = 0  # index within the turn of the first sample not judged
        self._first = 0  # that of the first window kept
        self._probabilities: list[float] = []
        self._lock = threading.Lock()

    def judge(self, clip: Clip) -> Voiced | None:
        """Speech within `clip`, or None where there is none worth decoding. Raises `StageError`."""
        samples = np.frombuffer(clip.pcm, "<i2")
        if samples.size == 0:
            return None
        centred = samples.astype(np.float32) - np.float32(samples.mean())  # a constant shift is no sound
        peak = float(np.max(np.abs(centred)))
        if peak < _QUIET_PEAK:
            return None
        with self._lock:
            self._advance(clip, centred * np.float32(min(_GAIN_MAX, max(1.0, _LEVEL * 32768 / peak)) / 32768))
            skip = max(0, -(-(clip.first - self._first) // WINDOW_SAMPLES))
            probabilities = np.asarray(self._probabilities[skip:])
            sustained = probabilities >= SUSTAINED_THRESHOLD
            enough = sustained.sum() * WINDOW_SECONDS >= SUSTAINED_SECONDS_MIN
            keep = sustained if enough else probabilities >= THRESHOLD
            offset = (self._first + skip * WINDOW_SAMPLES - clip.first) / INPUT_RATE_HZ
        voiced = np.flatnonzero(keep)
        seconds = len(voiced) * WINDOW_SECONDS
        if seconds < VOICED_SECONDS_MIN:
            return None
        return Voiced(offset + voiced[0] * WINDOW_SECONDS, offset + (voiced[-1] + 1) * WINDOW_SECONDS, seconds)

    def _advance(self, clip: Clip, level: NDArray[np.float32]) -> None:
        if clip.first > self._next:  # audio was dropped at the bound: go on behind it
            self._first = self._next = clip.first
            self._probabilities.clear()
            self._state = SileroState()
        samples = level[self._next - clip.first :]
        count = len(samples) // WINDOW_SAMPLES
        if count <= 0:
            return
        windows = samples[: count * WINDOW_SAMPLES].reshape(count, WINDOW_SAMPLES)
        self._probabilities += self._model.run(windows, self._state).tolist()
        self._next += count * WINDOW_SAMPLES

    def forget_before(self, first: int) -> None:
        """Drop judgements of samples before `first` (index within the turn)."""
        with self._lock:
            count = min(len(self._probabilities), max(0, (first - self._first) // WINDOW_SAMPLES))
            del self._probabilities[:count]
            self._first += count * WINDOW_SAMPLES
