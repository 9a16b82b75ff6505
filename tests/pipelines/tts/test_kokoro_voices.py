"""Kokoro's voices: found by name and by language, blended; a wrong one is met with the nearest right one."""

from pathlib import Path

import numpy as np
import pytest

from duologue.errors import ConfigurationError
from duologue_pipelines.tts.kokoro_voices import blend, load_styles, tongue_for, tongue_of, voice_names

KNOWN = ("af_heart", "am_michael", "zf_xiaoxiao")


def write(folder: Path, name: str, value: float, rows: int = 3) -> None:
    np.full((rows, 256), value, dtype="<f4").tofile(folder / f"{name}.bin")


def test_a_blend_is_the_weighted_mean_of_its_voices(tmp_path: Path) -> None:
    write(tmp_path, "af_heart", 1.0)
    write(tmp_path, "am_michael", 6.0, rows=2)
    assert voice_names(tmp_path) == ("af_heart", "am_michael")
    parts = blend("af_heart:0.6+am_michael:0.4", KNOWN)
    assert parts == pytest.approx({"af_heart": 0.6, "am_michael": 0.4})
    styles = load_styles(tmp_path, parts)
    assert styles.shape == (2, 256)
    np.testing.assert_allclose(styles, 3.0, rtol=1e-6)
    assert blend("af_heart", KNOWN) == {"af_heart": 1.0}
    assert blend("af_heart + am_michael:3", KNOWN) == {"af_heart": 0.25, "am_michael": 0.75}


@pytest.mark.parametrize(
    ("voice", "expected"),
    [
        ("af_hart", "Did you mean 'af_heart'"),
        ("af_heart:x", "a voice's weight is a positive number, got 'x'"),
        ("af_heart:0", "a positive number"),
        ("af_heart:nan+am_michael", "a positive number"),
        ("+".join(["af_heart"] * 9), "8 at most, got 9"),
        ("", "has no voice ''"),
    ],
)
def test_a_wrong_voice_says_what_is_right(voice: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        blend(voice, KNOWN)


def test_a_damaged_voice_is_named(tmp_path: Path) -> None:
    for content in (b"", b"\0" * 4 * 255, np.full(256, np.nan, dtype="<f4").tobytes()):
        (tmp_path / "af_heart.bin").write_bytes(content)
        with pytest.raises(ConfigurationError, match="is no kokoro voice"):
            load_styles(tmp_path, {"af_heart": 1.0})


def test_a_language_has_its_own_voice() -> None:
    found = {code: tongue_for(code).voice for code in ("en", "en-GB", "zh-CN", "cmn", "pt-BR", "fr_FR", "hi")}
    assert found == {
        "en": "af_heart", "en-GB": "bf_emma", "zh-CN": "zf_xiaoxiao", "cmn": "zf_xiaoxiao", "pt-BR": "pf_dora",
        "fr_FR": "ff_siwis", "hi": "hf_alpha",
    }  # fmt: skip
    assert tongue_of("zm_yunxi") == tongue_for("zh")
    assert tongue_of("jf_alpha") is None


@pytest.mark.parametrize(("code", "expected"), [("ja", "kanji"), ("xx-XX", "It speaks en, es"), ("yue", "not speak")])
def test_a_language_that_it_lacks_is_refused(code: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected):
        tongue_for(code)
