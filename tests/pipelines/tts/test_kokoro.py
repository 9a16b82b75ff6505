"""Kokoro as a stage: with a graph of the model's shape and no sense, and with the real one where it is."""

import asyncio
import builtins
import itertools
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from rapidfuzz.distance import Levenshtein

from duologue.core.words import normal_form
from duologue.errors import ConfigurationError, StageError, StageOverloaded, StageUnavailable
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue_pipelines.tts import kokoro as kokoro_module
from duologue_pipelines.tts import kokoro_graph
from duologue_pipelines.tts.kokoro import KokoroTts
from duologue_pipelines.tts.kokoro_model import KokoroModel

TEXT = "Hello there, my friend."


def tone_graph(*, rounds: bool = True) -> onnx.ModelProto:
    """Each symbol lasts three frames at speed 1 (the first one as its limit says) and sounds as a tone."""
    make = helper.make_node
    length = make("Round" if rounds else "Identity", ["wanted"], ["rounded"])
    nodes = [
        make("Cast", ["tokens"], ["numbers"], to=TensorProto.FLOAT),
        make("Mul", ["numbers", "nothing"], ["nothings"]),
        make("Add", ["nothings", "three"], ["long"]),
        make("Div", ["long", "speed"], ["wanted"]),
        length,
        make("Clip", ["rounded", "one"], ["frames"]),
        make("ReduceSum", ["frames"], ["total"], keepdims=0),
        make("Mul", ["total", "hop"], ["samples"]),
        make("Range", ["nothing", "samples", "one"], ["ticks"]),
        make("Div", ["ticks", "three"], ["angles"]),
        make("Sin", ["angles"], ["sines"]),
        make("Slice", ["style", "from", "to", "axis"], ["level"]),
        make("Reshape", ["level", "row"], ["gain"]),
        make("Mul", ["sines", "gain"], ["audio"]),
    ]
    numbers = {"nothing": 0.0, "three": 3.0, "one": 1.0, "hop": 600.0}
    weights = [helper.make_tensor(name, TensorProto.FLOAT, (), [value]) for name, value in numbers.items()]
    places = {"from": 0, "to": 1, "axis": 1, "row": 1}
    weights += [helper.make_tensor(name, TensorProto.INT64, (1,), [value]) for name, value in places.items()]
    inputs = [
        helper.make_tensor_value_info("tokens", TensorProto.INT64, (1, None)),
        helper.make_tensor_value_info("style", TensorProto.FLOAT, (1, 256)),
        helper.make_tensor_value_info("speed", TensorProto.FLOAT, (1,)),
    ]
    output = helper.make_tensor_value_info("audio", TensorProto.FLOAT, (None,))
    graph = helper.make_graph(nodes, "tones", inputs, [output], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model cache with a Kokoro of tones and two voices, one softer than the other."""
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path))
    place = tmp_path / "kokoro" / "v1.0"
    (place / "voices").mkdir(parents=True)
    onnx.save(tone_graph(), str(place / "model.onnx"))
    symbols = ";:,.!?—… abcdefhijklmnopqrstuvwxyzAIOQWYðəɛɹɪʊˈˌ→↗↓↘"
    (place / "config.json").write_text(json.dumps({"vocab": {symbol: n for n, symbol in enumerate(symbols, 1)}}))
    for name, level in (("af_heart", 0.4), ("am_michael", 0.1), ("zf_xiaoxiao", 0.4)):
        np.full((510, 256), level, dtype="<f4").tofile(place / "voices" / f"{name}.bin")
    return place


def speak(tts: KokoroTts, *requests: SpeechRequest) -> list[list[SpeechItem]]:
    async def collect() -> list[list[SpeechItem]]:
        try:
            return [[item async for item in tts.synthesise(request)] for request in requests]
        finally:
            await tts.aclose()

    return asyncio.run(collect())


def pcm(items: Sequence[SpeechItem]) -> np.ndarray:
    return np.frombuffer(b"".join(item.pcm for item in items if isinstance(item, SpeechAudio)), dtype="<i2")


def words(items: Sequence[SpeechItem]) -> list[SpokenWord]:
    return [item for item in items if isinstance(item, SpokenWord)]


def test_words_have_the_times_of_their_symbols(folder: Path) -> None:
    (items,) = speak(KokoroTts(), SpeechRequest(TEXT))
    told = words(items)
    assert [TEXT[word.start_char : word.end_char] for word in told] == ["Hello", "there,", "my", "friend."]
    assert told[0].start == pytest.approx(0.075, abs=0.01)  # behind the empty symbol's three frames of 25 ms
    assert all(a.end <= b.start for a, b in itertools.pairwise(told))
    assert len(pcm(items)) >= told[-1].end * 24_000


def test_audio_begins_with_the_first_clause(folder: Path) -> None:
    text = "Hello there, my friend, we walked along the river, and then we went home to the old house of the mill."
    (items,) = speak(KokoroTts(), SpeechRequest(text))
    pieces = [len(item.pcm) for item in items if isinstance(item, SpeechAudio)]
    assert len(pieces) >= 3
    assert pieces[0] < sum(pieces) / 3


def test_a_blend_lies_between_its_voices(folder: Path) -> None:
    peaks = [
        int(np.abs(pcm(items)).max())
        for items in speak(
            KokoroTts(),
            *(SpeechRequest(TEXT, voice=v) for v in ("af_heart", "am_michael", "af_heart:0.5+am_michael:0.5")),
        )
    ]
    assert peaks[2] == pytest.approx((peaks[0] + peaks[1]) / 2, rel=0.02)


def test_the_stage_s_voice_is_kept_where_it_speaks_the_language(folder: Path) -> None:
    tts = KokoroTts("am_michael")
    english, british, chinese = speak(
        tts, SpeechRequest(TEXT), SpeechRequest(TEXT, "en-GB"), SpeechRequest("你好", "zh")
    )
    assert np.abs(pcm(english)).max() < 5000
    assert np.abs(pcm(british)).max() < 5000
    assert np.abs(pcm(chinese)).max() > 10_000  # the language's own


def test_a_voice_is_checked_before_the_first_word(folder: Path) -> None:
    tts = KokoroTts()
    tts.check_voice("af_heart:0.6+am_michael:0.4", "en")
    tts.check_voice("zf_xiaoxiao", None)
    tts.check_voice("", "zh")
    with pytest.raises(ConfigurationError, match="Did you mean 'af_heart'"):
        tts.check_voice("af_haert", "en")
    with pytest.raises(ConfigurationError, match="kanji"):
        tts.check_voice("af_heart", "ja")
    assert tts.voices() == ("af_heart", "am_michael", "zf_xiaoxiao")


def test_a_japanese_voice_by_itself_is_refused_for_its_language(folder: Path) -> None:
    (folder / "voices" / "jf_alpha.bin").write_bytes((folder / "voices" / "af_heart.bin").read_bytes())
    with pytest.raises(ConfigurationError, match="kanji"):
        speak(KokoroTts(), SpeechRequest(TEXT, voice="jf_alpha"))


def test_without_durations_words_share_the_time(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnx.save(tone_graph(rounds=False), str(folder / "model.onnx"))
    with caplog.at_level(logging.WARNING):
        (items,) = speak(KokoroTts(), SpeechRequest(TEXT))
    assert "no durations that can be found" in caplog.text
    assert len(words(items)) == 4
    assert words(items)[-1].end <= len(pcm(items)) / 24_000

    def broken(_: object) -> bytes:
        raise ValueError("no such surgery")

    monkeypatch.setattr(kokoro_graph, "load_with_limits", broken)
    assert not KokoroModel(folder, 1).tells_durations
    assert "can't be made to tell" in caplog.text


def test_without_onnx_it_speaks_and_says_what_is_missing(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> ModuleType:
        if name.endswith("kokoro_graph"):
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with caplog.at_level(logging.WARNING):
        assert not KokoroModel(folder, 1).tells_durations
    assert "the package onnx is missing" in caplog.text


def test_what_is_missing_or_broken_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    assert KokoroTts.probe() == ""
    (folder / "config.json").write_text("{}")
    with pytest.raises(StageUnavailable, match="does not describe a kokoro model"):
        asyncio.run(KokoroTts().warm_up())
    (folder / "config.json").write_text('{"vocab": {"a": 1}}')
    (folder / "model.onnx").write_bytes(b"no model at all")
    with pytest.raises(StageUnavailable, match="can't be loaded"):
        asyncio.run(KokoroTts().warm_up())
    (folder / "model.onnx").unlink()
    with pytest.raises(StageUnavailable, match=r"models pull kokoro:v1\.0"):
        asyncio.run(KokoroTts().warm_up())
    assert "models pull kokoro" in KokoroTts.probe()


def test_wrong_options_are_refused_at_once() -> None:
    for options in ({"speed": 9.0}, {"loudness": -1.0}, {"workers": 0}, {"threads": -1}):
        with pytest.raises(ConfigurationError, match=rf"tts\.kokoro\.{next(iter(options))}"):
            KokoroTts(**options)  # type: ignore[arg-type]


def test_nothing_to_say_and_too_much_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert speak(KokoroTts(), SpeechRequest(" … ")) == [[]]
    monkeypatch.setattr(kokoro_module, "SYNTHESES_MAX", 0)
    with pytest.raises(StageOverloaded):
        speak(KokoroTts(), SpeechRequest(TEXT))


def test_a_failing_model_is_a_failed_stage(folder: Path) -> None:
    np.zeros((1, 256), dtype="<f4").tofile(folder / "voices" / "am_michael.bin")
    (items,) = speak(KokoroTts(), SpeechRequest(TEXT, voice="am_michael"))
    assert not pcm(items).any()  # a silent model is heard as silence
    model = tone_graph()
    model.graph.node[-1].input[1] = "style"
    onnx.save(model, str(folder / "model.onnx"))
    with pytest.raises(StageError, match="kokoro failed") as failure:
        speak(KokoroTts(), SpeechRequest(TEXT))
    assert failure.value.retryable


def test_the_longest_unused_voice_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("duologue_pipelines.tts.kokoro_model.STYLES_MAX", 1)
    model = KokoroModel(folder, 1)
    model.styles("af_heart")
    model.styles("am_michael")
    assert list(model._styles) == ["am_michael"]


ENGLISH = "Take the train. It leaves from platform two in the morning."
CHINESE = "今天天气很好。我们明天上午见。"


def heard(recogniser: Any, tts: KokoroTts, text: str, language: str) -> tuple[Any, np.ndarray, list[SpokenWord]]:
    (items,) = speak(tts, SpeechRequest(text, language, sample_rate_hz=16_000))
    audio = pcm(items).astype(np.float32) / 32768
    found, _ = recogniser.transcribe(audio, language=language, beam_size=1, word_timestamps=True)
    return [word for segment in found for word in segment.words], audio, words(items)


def test_its_english_is_understood_and_its_words_are_where_they_are_said(real_model: Callable[[str], Path]) -> None:
    from faster_whisper import WhisperModel

    real_model("kokoro:v1.0")
    recogniser = WhisperModel(str(real_model("whisper:base")), device="cpu", compute_type="int8", cpu_threads=1)
    there, audio, told = heard(recogniser, KokoroTts(), ENGLISH, "en")
    expected = [normal_form(word) for word in ENGLISH.split()]
    recognised = [normal_form(word.word) for word in there]
    recognised = ["two" if word == "2" else word for word in recognised]
    assert Levenshtein.distance(expected, recognised) <= 1, recognised
    if len(there) == len(told):
        off = [abs((a.start + a.end) / 2 - (b.start + b.end) / 2) for a, b in zip(there, told, strict=True)]
        assert np.median(off) < 0.15, off
    level = np.abs(audio)
    assert np.flatnonzero(level > 0.02)[0] / 16_000 < 0.12  # no third of a second of silence before the words
    assert (len(audio) - np.flatnonzero(level > 0.02)[-1]) / 16_000 < 0.45

    there, _, told = heard(recogniser, KokoroTts(), CHINESE, "zh")
    recognised = "".join(c for word in there for c in word.word if c.isalnum())
    recognised = recognised.translate(str.maketrans("氣們見點", "气们见点"))
    expected_text = "".join(c for c in CHINESE if c.isalnum())
    assert Levenshtein.distance(expected_text, recognised) <= 0.15 * len(expected_text), recognised
    assert len(told) == len(expected_text)
