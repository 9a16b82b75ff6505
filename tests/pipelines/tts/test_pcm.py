"""Audio of any rate comes out as 16 kHz int16, as a stream, as long and as loud as asked."""

import numpy as np
import pytest

from duologue.audio import level_dbfs
from duologue_pipelines.tts.pcm import PcmStream


def tone(rate: int, seconds: float = 1.0) -> np.ndarray:
    return (0.25 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 22050, 48000])
def test_a_second_stays_a_second(rate: int) -> None:
    stream = PcmStream(rate, 1.0)
    pieces = [stream.push_samples(piece) for piece in np.array_split(tone(rate), 37)] + [stream.finish()]
    samples = np.frombuffer(b"".join(pieces), dtype="<i2")
    assert abs(len(samples) - 16000) <= 1
    expected = 0.25 * 32768 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / 16000)
    assert np.abs(samples - expected)[500:-500].max() < 20  # each sample at its own time


def test_loudness_is_a_linear_gain_that_clips() -> None:
    quiet = np.frombuffer(PcmStream(16000, 0.5).push_samples(tone(16000)), dtype="<i2")
    loud = np.frombuffer(PcmStream(16000, 8.0).push_samples(tone(16000)), dtype="<i2")
    assert level_dbfs(quiet) == pytest.approx(-21.07, abs=0.1)
    assert (loud.max(), loud.min()) == (32767, -32768)
