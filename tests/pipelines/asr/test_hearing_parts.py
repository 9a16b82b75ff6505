"""The parts that both recognisers share: the queue of hypotheses, turn audio, the voiced track, guards, model names."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from duologue.audio import Frame
from duologue.errors import ConfigurationError, StageError
from duologue.ports.asr import Hypothesis
from duologue_pipelines.asr import guards
from duologue_pipelines.asr.hypothesis_queue import HypothesisQueue
from duologue_pipelines.asr.loudness import LoudnessTrack
from duologue_pipelines.asr.turn_audio import TurnAudio
from duologue_pipelines.asr.voiced import VoicedTrack
from duologue_pipelines.asr.whisper_models import find_model, missing_model
from duologue_pipelines.vad.silero import SileroModel


def frame(at: float, level: int = 1) -> Frame:
    return Frame(np.full(320, level, "<i2").tobytes(), at)


def test_an_unread_partial_gives_way_and_finals_are_kept() -> None:
    async def scenario() -> None:
        box = HypothesisQueue()
        for item in (Hypothesis("a"), Hypothesis("a b"), Hypothesis("c", final=True), Hypothesis("d", final=True)):
            box.put(item)
        box.fail(StageError("asr", "gone"))
        box.put(Hypothesis("late"))
        box.fail(StageError("asr", "later"))
        assert [(await anext(box)).text for _ in range(2)] == ["c", "d"]
        with pytest.raises(StageError, match="gone"):
            await anext(box)
        assert [item async for item in box] == []

    asyncio.run(scenario())


def test_close_ends_a_reader_that_waits() -> None:
    async def scenario() -> None:
        box = HypothesisQueue()

        async def read() -> list[Hypothesis]:
            return [item async for item in box]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0)
        box.close()
        box.close()
        assert box.closed
        assert await reading == []

    asyncio.run(scenario())


def test_turn_audio_keeps_session_time_through_trims_and_gaps() -> None:
    audio = TurnAudio()
    assert audio.snapshot().pcm == b""
    audio.push_frame(frame(3.0, 1))
    audio.push_frame(frame(3.1, 2))  # 80 ms are missing
    clip = audio.snapshot()
    assert (clip.at, clip.first, clip.end) == (3.0, 0, 1920)
    assert clip.seconds == pytest.approx(0.12)
    assert np.flatnonzero(clip.samples > 1.5 / 32768)[0] == 1600
    audio.drop_before(3.1)
    assert audio.snapshot().at == pytest.approx(3.1)
    assert audio.seconds == pytest.approx(0.02)
    audio.drop_to(1700)
    assert (audio.snapshot().first, audio.end) == (1700, 1920)
    audio.drop_before(0.0)
    assert audio.snapshot().first == 1700
    assert clip.since(1600).at == pytest.approx(3.1)
    assert clip.since(9999).pcm == b""


def test_turn_audio_drops_the_oldest_beyond_a_minute() -> None:
    audio = TurnAudio()
    for index in range(3100):
        audio.push_frame(frame(index * 0.02))
    assert audio.seconds == pytest.approx(60.0)
    assert audio.dropped_seconds == pytest.approx(2.0)
    assert audio.snapshot().at == pytest.approx(2.0)
    audio.push_frame(frame(1000.0))
    assert audio.seconds == pytest.approx(60.0)


def test_silence_and_audio_that_went_by_unheard_have_no_voice() -> None:
    track, audio = VoicedTrack(SileroModel()), TurnAudio()
    assert track.judge(audio.snapshot()) is None
    for index in range(50):
        audio.push_frame(frame(index * 0.02, 5))
    assert track.judge(audio.snapshot()) is None
    for index in range(50, 100):
        audio.push_frame(frame(index * 0.02, 500))  # a constant is no voice
    assert track.judge(audio.snapshot()) is None
    audio.drop_to(20_000)
    track.forget_before(20_000)
    assert track.judge(audio.snapshot()) is None
    audio.drop_to(32_000)
    audio.push_frame(frame(2.0, 900))
    for index in range(101, 200):
        audio.push_frame(frame(index * 0.02, 900))
    audio.drop_to(40_000)  # a gap in what the track has seen
    assert track.judge(audio.snapshot()) is None


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("no no no", None),
        ("thank you thank you thank you thank you", 2),
        ("well I I I I I", 2),
        ("a b c a b c a b c a b c d", 3),
        ("", None),
    ],
)
def test_a_loop_is_a_phrase_four_times_over(text: str, at: int | None) -> None:
    assert guards.loop_start(text.split()) == at


def test_phantoms_need_near_silence_and_nobody_speaks_twenty_words_in_half_a_second() -> None:
    assert guards.is_phantom("Thanks for watching!", 0.2)
    assert not guards.is_phantom("Thanks for watching!", 1.2)
    assert not guards.is_phantom("Stop", 0.2)
    assert guards.is_too_fast(" ".join(["word"] * 20), 0.5)
    assert not guards.is_too_fast("yes please do", 0.2)
    assert guards.compression_ratio("") == 0
    assert guards.compression_ratio("again and " * 40) > guards.COMPRESSION_RATIO_MAX


def test_a_model_is_a_folder_a_size_or_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert find_model("distil-large-v2") is None
    assert find_model("someone/some-model-that-nobody-has") is None
    with pytest.raises(ConfigurationError, match=r"no folder, no repository and no size.*tiny"):
        find_model("teeny")
    with pytest.raises(ConfigurationError, match="holds no CTranslate2 model"):
        find_model(str(tmp_path))
    folder = tmp_path / "models/whisper/tiny"
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json"):
        (folder / name).write_bytes(b"")
    assert find_model("tiny") == folder
    assert find_model(str(folder)) == folder


def test_a_missing_model_names_the_command_that_brings_it() -> None:
    assert "`duologue models pull whisper:base`" in str(missing_model("base"))
    assert "`duologue models pull whisper:tiny`" in str(missing_model("someone/model"))


@pytest.mark.parametrize(
    ("word", "loops"),
    [("Hehehehehehehe", True), ("H-H-H-H-H-H-H-H", True), ("1,000,000,000", False), ("hahaha", False), ("mmm", False)],
)
def test_a_syllable_six_times_over_inside_a_word_is_a_loop(word: str, loops: bool) -> None:
    assert guards.loop_inside(word) is loops


def test_what_is_far_below_the_loudest_and_a_constant_shift_are_no_sound() -> None:
    track, loud = LoudnessTrack(), np.tile(np.array([3000, -3000], "<i2"), 160)
    track.push_frame(Frame(np.full(320, 900, "<i2").tobytes(), 0.0), 320)
    assert track.loud_end == 0
    track.push_frame(Frame(loud.tobytes(), 0.02), 640)
    track.push_frame(Frame((loud // 100).tobytes(), 0.04), 960)
    assert track.loud_end == 640


def test_a_folder_called_like_a_size_hides_no_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_model("base") is None
