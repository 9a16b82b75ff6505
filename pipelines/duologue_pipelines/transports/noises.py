"""Sounds that are no words, made from noise so that no recording has to travel with the package."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from duologue.audio import INPUT_RATE_HZ, Samples, to_int16


def cough(seed: int = 1) -> Samples:
    """One cough of 300 ms, int16 of shape (4800,).

    Its three phases after Korpáš et al. 1996 (explosion, flow, voiced end), as bursts of filtered noise: a click-like
    attack, broad noise around 1 to 3 kHz that decays, and a weak lower-pitched tail.
    """
    rng = np.random.default_rng(seed)
    burst = _band(rng, 0.09, 500, 3500) * _decay(0.09, attack_s=0.004, fall_s=0.03)
    flow = _band(rng, 0.13, 700, 2500) * _decay(0.13, attack_s=0.01, fall_s=0.05) * 0.35
    tail = _band(rng, 0.08, 250, 900) * _decay(0.08, attack_s=0.02, fall_s=0.025) * 0.4
    whole = np.concatenate([burst, flow, tail])
    return to_int16((0.5 * whole / np.max(np.abs(whole))).astype(np.float32))


def click(seed: int = 1) -> Samples:
    """A cup set down: 30 ms of ringing at 1.8 kHz, int16 of shape (480,)."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(480) / INPUT_RATE_HZ
    ringing = np.sin(2 * np.pi * 1800 * seconds) + 0.3 * rng.standard_normal(480)
    return to_int16((0.3 * ringing * _decay(0.03, attack_s=0.001, fall_s=0.006)).astype(np.float32))


def breath(seed: int = 1) -> Samples:
    """Somebody breathing out into the microphone: 600 ms of soft noise, int16 of shape (9600,)."""
    rng = np.random.default_rng(seed)
    return to_int16((0.03 * _band(rng, 0.6, 200, 4000) * _decay(0.6, attack_s=0.2, fall_s=0.2)).astype(np.float32))


NOISES: Final[dict[str, Callable[[int], Samples]]] = {"cough": cough, "click": click, "breath": breath}


def _band(rng: np.random.Generator, seconds: float, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Noise of unit power between two frequencies, shape (seconds x 16000,), cut out of its spectrum."""
    count = round(seconds * INPUT_RATE_HZ)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / INPUT_RATE_HZ)
    spectrum[(frequencies < low_hz) | (frequencies > high_hz)] = 0
    noise = np.fft.irfft(spectrum, count)
    return noise / np.std(noise)


def _decay(seconds: float, *, attack_s: float, fall_s: float) -> NDArray[np.float64]:
    """A rise within `attack_s`, then an exponential fall of time constant `fall_s`."""
    time = np.arange(round(seconds * INPUT_RATE_HZ)) / INPUT_RATE_HZ
    return np.minimum(time / attack_s, 1.0) * np.exp(-np.maximum(time - attack_s, 0) / fall_s)
