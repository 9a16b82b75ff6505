"""Piper: voices found in the cache, by path and by language; streamed when they can be; errors with the next step."""

import asyncio
import builtins
import importlib.util
import itertools
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from duologue.audio import OUTPUT_RATE_HZ, level_dbfs
from duologue.errors import ConfigurationError, StageError, StageOverloaded, StageUnavailable
from duologue.ports.tts import SpeechAudio, SpeechItem, SpeechRequest, SpokenWord
from duologue.registry import install_command
from duologue.testing.contracts.tts import check_tts
from duologue_pipelines.tts import piper as piper_module
from duologue_pipelines.tts import piper_graph
from duologue_pipelines.tts.espeak import EspeakTts
from duologue_pipelines.tts.piper import PiperTts, default_voice, load_voice

RATE_HZ = OUTPUT_RATE_HZ  # of a request that names none
SENTENCE = "Out of the blue, we walked along the quiet river and talked about the old days of the house."
Make = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model cache; `make_voice` writes into its piper folder."""
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path))
    return tmp_path


def speak(tts: PiperTts, *requests: SpeechRequest) -> list[list[SpeechItem]]:
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


def test_a_vits_voice_keeps_the_contract(make_voice: Make) -> None:
    path = make_voice()
    asyncio.run(check_tts(lambda: PiperTts(str(path))))


def test_first_audio_does_not_grow_with_the_sentence(make_voice: Make) -> None:
    tts = PiperTts(str(make_voice()))
    short, long = speak(tts, SpeechRequest("We walked."), SpeechRequest(SENTENCE))
    pieces = [item for item in long if isinstance(item, SpeechAudio)]
    assert len(pieces) > 4
    assert len(pieces[0].pcm) / 2 <= 40 * 256 * RATE_HZ / 22050  # one window
    assert [SENTENCE[w.start_char : w.end_char] for w in words(long)] == SENTENCE.split()
    assert all(a.end <= b.start + 0.02 for a, b in itertools.pairwise(words(long)))
    assert len(pcm(short)) < len(pcm(long))


@pytest.mark.shared_data
def test_a_voice_of_another_make_begins_with_its_first_clause(shared_data: Path) -> None:
    tts = PiperTts(str(shared_data / "tts" / "en_US-micro-x_low.onnx"))
    (items,) = speak(tts, SpeechRequest(SENTENCE))
    pieces = [item for item in items if isinstance(item, SpeechAudio)]
    assert len(pieces) >= 2
    assert len(pieces[0].pcm) < len(pcm(items)) * 2 * 0.4
    told, samples = words(items), pcm(items)
    assert [SENTENCE[w.start_char : w.end_char] for w in told] == SENTENCE.split()
    levels = [level_dbfs(samples[round(w.start * RATE_HZ) : round(w.end * RATE_HZ)]) for w in told]
    assert min(levels) > -40
    blue, we = told[3], told[4]
    assert we.start - blue.end > 0.05  # the comma's pause belongs to no word


def test_voices_are_found_by_name_and_the_first_in_the_cache_is_the_default(cache: Path, make_voice: Make) -> None:
    assert "duologue models pull" in PiperTts.probe()
    with pytest.raises(StageUnavailable, match="models pull piper:en_US-joe-medium"):
        default_voice()
    make_voice("de_DE-b-low", espeak={"voice": "de"})
    make_voice("en_US-a-low")
    assert PiperTts.probe() == ""
    assert default_voice() == "de_DE-b-low"
    make_voice("en_US-joe-medium")
    assert default_voice() == "en_US-joe-medium"
    (items,) = speak(PiperTts("en_US-a-low"), SpeechRequest("Hello."))
    assert len(pcm(items)) > 1000


def test_a_language_gets_a_voice_of_its_own_else_the_default_with_its_accent(
    cache: Path, make_voice: Make, caplog: pytest.LogCaptureFixture
) -> None:
    make_voice("en_US-a-low")
    make_voice("de_AT-b-low", espeak={"voice": "de"})
    make_voice("de_DE-c-low", espeak={"voice": "de"})
    tts = PiperTts("en_US-a-low")
    assert tts._voice_for(None) == "en_US-a-low"
    assert tts._voice_for("en-GB") == "en_US-a-low"
    assert tts._voice_for("de") == "de_AT-b-low"
    assert tts._voice_for("de-DE") == "de_DE-c-low"
    with caplog.at_level(logging.WARNING):
        assert [tts._voice_for("nl"), tts._voice_for("nl")] == ["en_US-a-low"] * 2
    assert caplog.text.count("no piper voice for 'nl'") == 1


def test_at_most_four_voices_stay_loaded(cache: Path, make_voice: Make) -> None:
    names = [f"en_US-v{n}-low" for n in range(5)]
    for name in names:
        make_voice(name)
    tts = PiperTts(names[0])
    for name in [*names[:4], names[0], names[4]]:
        tts._load(piper_module.voice_path(name))
    assert [path.stem for path in tts._loaded] == [names[2], names[3], names[0], names[4]]


def test_a_voice_of_several_speakers_is_asked_for_one(make_voice: Make) -> None:
    path = make_voice(speakers=3)
    first, second, by_name = speak(
        PiperTts(str(path)),
        *(SpeechRequest("Hello there.", voice=f"{path}{who}") for who in ("", "#1", "#speaker1")),
    )
    assert level_dbfs(pcm(first)) != pytest.approx(level_dbfs(pcm(second)), abs=1e-3)
    assert len(pcm(by_name)) == len(pcm(second))
    for wrong in ("#3", "#nobody"):
        with pytest.raises(ConfigurationError, match="has no speaker"):
            speak(PiperTts(str(path)), SpeechRequest("Hi", voice=f"{path}{wrong}"))


def test_missing_and_broken_voices_say_what_to_do(cache: Path, tmp_path: Path, make_voice: Make) -> None:
    def failing(voice: str) -> str:
        with pytest.raises((StageUnavailable, ConfigurationError)) as failure:
            asyncio.run(PiperTts(voice).warm_up())
        return str(failure.value)

    assert "duologue models pull piper:en_US-none" in failing("en_US-none")
    assert "Check the path" in failing(str(tmp_path / "none.onnx"))
    bare = tmp_path / "bare.onnx"
    bare.write_bytes(b"")
    assert "without bare.onnx.json" in failing(str(bare))
    (tmp_path / "bare.onnx.json").write_text("{}")
    assert "does not describe a piper voice" in failing(str(bare))
    good = make_voice()
    good.write_bytes(b"no model at all")
    assert "The file is damaged: pull the voice again" in failing(str(good))


def test_a_graph_whose_cut_fails_plays_whole_with_a_note(
    make_voice: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> None:
        raise ValueError("no such surgery")

    monkeypatch.setattr(piper_graph, "split_vits", broken)
    with caplog.at_level(logging.WARNING):
        (items,) = speak(PiperTts(str(make_voice())), SpeechRequest("Hello there, my friend."))
    assert "can't be cut in two" in caplog.text
    assert len(pcm(items)) > 1000
    assert len(words(items)) == 4  # the whole graph still tells its durations
    monkeypatch.setattr(piper_graph, "with_durations", broken)
    (items,) = speak(PiperTts(str(make_voice())), SpeechRequest("Hello there, my friend."))
    assert len(pcm(items)) > 1000
    assert words(items) == []


def test_a_whole_file_that_cannot_be_run_is_not_pulled_again(make_voice: Make, vits: Callable[..., Any]) -> None:
    model = vits()
    model.graph.node[0].op_type = "NobodyKnowsThis"
    with pytest.raises(StageUnavailable) as failure:
        load_voice(make_voice(model=model), 1)
    assert "update onnxruntime" in str(failure.value)
    assert "pull" not in str(failure.value).lower()


def test_wrong_options_are_refused_at_once() -> None:
    for options in ({"speed": 9.0}, {"loudness": -1.0}, {"workers": 0}, {"threads": 0}):
        with pytest.raises(ConfigurationError, match=rf"tts\.piper\.{next(iter(options))}"):
            PiperTts(**options)  # type: ignore[arg-type]


def test_without_the_package_it_says_what_to_install(make_voice: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = make_voice(), builtins.__import__

    def without(name: str, *rest: object, **more: object) -> ModuleType:
        if name.partition(".")[0] == "piper":
            raise ModuleNotFoundError("No module named 'piper'", name="piper")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StageUnavailable, match=re.escape(install_command("piper"))):
        load_voice(path, 1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert install_command("piper") in PiperTts.probe()


def test_without_onnx_a_voice_is_synthesised_whole(make_voice: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = make_voice(), builtins.__import__

    def without(name: str, *rest: object, **more: object) -> ModuleType:
        if name == "onnx" or name.endswith("piper_graph"):
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    (items,) = speak(PiperTts(str(path)), SpeechRequest("Hello there, my friend."))
    assert len(pcm(items)) > 1000
    assert words(items) == []


def test_a_decoder_of_an_unexpected_shape_is_not_used_in_windows(
    make_voice: Make, vits: Callable[..., onnx.ModelProto]
) -> None:
    model = vits()
    first = next(node for node in model.graph.node if node.name == "/dec/ups.0/ConvTranspose")
    next(a for a in first.attribute if a.name == "pads").ints[:] = [3, 3]  # two samples more than frames times hop
    voice = load_voice(make_voice(model=model), 1)
    assert not voice.streams


def test_a_failing_model_is_a_failed_stage(make_voice: Make) -> None:
    # Ids beyond the embedding: what a config that is not this model's does.
    broken = {symbol: [900] for symbol in DEFAULT_PHONEME_ID_MAP}
    path = make_voice(phoneme_id_map=broken)
    with pytest.raises(StageError, match="piper failed") as failure:
        speak(PiperTts(str(path)), SpeechRequest("Hello."))
    assert failure.value.retryable


def test_more_syntheses_than_its_bound_are_refused(make_voice: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(piper_module, "SYNTHESES_MAX", 0)
    with pytest.raises(StageOverloaded):
        speak(PiperTts(str(make_voice())), SpeechRequest("Hello."))


def test_characters_as_phonemes_have_no_word_times(make_voice: Make) -> None:
    (items,) = speak(PiperTts(str(make_voice(phoneme_type="text"))), SpeechRequest("hello"))
    assert len(pcm(items)) > 1000
    assert words(items) == []


def test_both_espeaks_live_in_one_process(make_voice: Make) -> None:
    path = make_voice()

    async def both() -> list[int]:
        small, neural = EspeakTts(), PiperTts(str(path), workers=2)

        async def length(tts: EspeakTts | PiperTts, language: str) -> int:
            request = SpeechRequest(SENTENCE, language)
            return sum([len(item.pcm) async for item in tts.synthesise(request) if isinstance(item, SpeechAudio)])

        alone = [await length(small, "en"), await length(neural, "en"), await length(small, "de")]
        together = await asyncio.gather(
            *(
                length(tts, language)
                for _ in range(4)
                for tts, language in ((small, "en"), (neural, "en"), (small, "de"))
            )
        )
        await small.aclose()
        await neural.aclose()
        return [abs(a - b) for a, b in zip(together, alone * 4, strict=True)]

    assert max(asyncio.run(both())) < 3200  # a tenth of a second: espeak's noise moves ends a little


def test_auto_takes_piper_for_the_languages_that_it_has_a_voice_of(cache: Path, make_voice: Make) -> None:
    make_voice("en_US-joe-medium")
    make_voice("zh_CN-huayan-medium")
    assert PiperTts.languages() == ("en", "zh")
