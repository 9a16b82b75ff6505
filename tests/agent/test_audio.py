"""WAV files as we write them, what is told of those that can't be, and how loud samples are."""

import wave
from pathlib import Path

import numpy as np
import pytest

from duologue.audio import (
    FRAME_SAMPLES,
    INPUT_RATE_HZ,
    OUTPUT_RATES_HZ,
    band_dbfs,
    frame_samples,
    level_dbfs,
    read_wav,
    write_wav,
)


def test_a_frame_is_a_whole_number_of_samples_at_every_rate() -> None:
    assert [frame_samples(rate_hz) for rate_hz in OUTPUT_RATES_HZ] == [160, 320, 480, 960]
    assert frame_samples(INPUT_RATE_HZ) == FRAME_SAMPLES


def test_what_is_written_is_what_others_read(tmp_path: Path) -> None:
    left, right = np.arange(-3, 4, dtype=np.int16), np.full(3, 32767, dtype=np.int16)
    write_wav(tmp_path / "new" / "a.wav", left, right, sample_rate_hz=8000)
    with wave.open(str(tmp_path / "new" / "a.wav")) as source:
        assert source.getparams()[:4] == (2, 2, 8000, 7)
    samples, rate_hz = read_wav(tmp_path / "new" / "a.wav")
    assert rate_hz == 8000 and (samples[:, 0] == left).all()
    assert samples[:, 1].tolist() == [32767] * 3 + [0] * 4


def test_a_call_without_a_sound_is_a_file_all_the_same(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(0, dtype=np.int16))
    assert read_wav(tmp_path / "a.wav")[0].shape == (0, 1)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("path", [Path("/dev/full"), Path("/proc")])
def test_a_place_that_takes_nothing_is_one_error_and_no_more(path: Path) -> None:
    if not path.exists():
        pytest.skip("not on this system")
    with pytest.raises(OSError, match=r"Is a directory|No space left"):
        write_wav(path, np.zeros(100_000, dtype=np.int16))


def test_a_tone_lies_in_its_band_at_its_level_and_nowhere_else() -> None:
    tone = np.rint(8192 * np.sin(2 * np.pi * 1000 * np.arange(24_000) / 24_000)).astype(np.int16)
    assert band_dbfs(tone, 900, 1100, sample_rate_hz=24_000) == pytest.approx(level_dbfs(tone), abs=0.01)
    assert band_dbfs(tone, 1100, 12_000, sample_rate_hz=24_000) < -90  # what rounding adds
    assert band_dbfs(tone, 12_000, 20_000, sample_rate_hz=24_000) == -np.inf
    assert band_dbfs(tone + np.int16(99), 0, 900, sample_rate_hz=24_000) < -90  # a constant is no sound
    assert band_dbfs(tone[:0], 0, 900, sample_rate_hz=24_000) == -np.inf
