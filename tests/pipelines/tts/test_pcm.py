"""Audio of any rate comes out as int16 at the rate asked for, as a stream, as long, as bright and as loud as asked."""

import numpy as np
import pytest

from duologue.audio import OUTPUT_RATES_HZ, level_dbfs
from duologue_pipelines.tts.pcm import PcmStream


def tone(rate: int, seconds: float = 1.0, hz: int = 440) -> np.ndarray:
    return (0.25 * np.sin(2 * np.pi * hz * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def resampled(samples: np.ndarray, own: int, wanted: int) -> np.ndarray:
    stream = PcmStream(own, wanted, 1.0)
    pieces = [stream.push_samples(piece) for piece in np.array_split(samples, 37)] + [stream.finish()]
    return np.frombuffer(b"".join(pieces), dtype="<i2")


@pytest.mark.parametrize("wanted", OUTPUT_RATES_HZ)
@pytest.mark.parametrize("own", [16_000, 22_050, 24_000, 48_000])
def test_a_second_stays_a_second(own: int, wanted: int) -> None:
    samples = resampled(tone(own), own, wanted)
    assert abs(len(samples) - wanted) <= 1
    expected = 0.25 * 32768 * np.sin(2 * np.pi * 440 * np.arange(len(samples)) / wanted)
    assert np.abs(samples - expected)[500:-500].max() < 20  # each sample at its own time


@pytest.mark.parametrize(("wanted", "dbfs"), [(8_000, -90), (16_000, -90), (24_000, -15.05), (48_000, -15.05)])
def test_what_a_voice_has_near_10_khz_is_kept_where_the_rate_allows_it_and_is_no_alias_elsewhere(
    wanted: int, dbfs: float
) -> None:
    heard = level_dbfs(resampled(tone(22_050, hz=9_900), 22_050, wanted)[500:-500])
    assert heard == pytest.approx(dbfs, abs=0.1) if dbfs > -90 else heard < dbfs


def test_loudness_is_a_linear_gain_that_clips() -> None:
    quiet = np.frombuffer(PcmStream(16_000, 16_000, 0.5).push_samples(tone(16_000)), dtype="<i2")
    loud = np.frombuffer(PcmStream(16_000, 16_000, 8.0).push_samples(tone(16_000)), dtype="<i2")
    assert level_dbfs(quiet) == pytest.approx(-21.07, abs=0.1)
    assert (loud.max(), loud.min()) == (32767, -32768)
