"""The detectors on real speech and noise: what they find, what they cost, what they refuse."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from duologue.audio import frames
from duologue.errors import ConfigurationError, StageError, StageUnavailable
from duologue.ports.vad import Offset, Onset, Vad
from duologue_pipelines.vad import silero
from duologue_pipelines.vad.both import GatedVad
from duologue_pipelines.vad.silero import SileroModel, SileroState, SileroVad, find_silero
from duologue_pipelines.vad.webrtc import WebrtcVad

NOISES = ("rain_5-194892-A", "sea_waves_2-137162-A", "helicopter_3-150979-C", "clock_tick_2-134700-A")
CLIPS = ("tts_019", "tts_059", "ls_8455-210777-0025", "ls_3729-6852-0012")


def samples_of(path: Path) -> NDArray[np.int16]:
    with av.open(str(path)) as source:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in source.decode(audio=0)])


def events_of(vad: Vad, samples: NDArray[np.int16]) -> list[tuple[float, Onset | Offset]]:
    stream = vad.open()
    told = ((frame.end, stream.push_frame(frame)) for frame in frames(samples.astype("<i2").tobytes()))
    return [(at, event) for at, event in told if event is not None]


def voiced_share(events: list[tuple[float, Onset | Offset]], seconds: float) -> float:
    spans, since = 0.0, None
    for _, event in events:
        if isinstance(event, Onset):
            since = event.since
        elif since is not None:
            spans, since = spans + event.until - since, None
    return (spans + (seconds - since if since is not None else 0.0)) / seconds


@pytest.mark.shared_data
@pytest.mark.parametrize("make", [SileroVad, GatedVad])
def test_speech_is_found_within_a_few_windows_of_where_it_is(make: Callable[[], Vad], shared_data: Path) -> None:
    vad, second = make(), np.zeros(16_000, np.int16)
    onsets, offsets = [], []
    for name in CLIPS[:2]:  # synthetic: silence around the words is silence
        speech = samples_of(shared_data / f"speech/wav/{name}.flac")
        loud = np.flatnonzero(np.abs(speech.astype(np.int32)) > 300) / 16_000 + 1.0
        found = events_of(vad, np.concatenate([second, speech, second]))
        onsets.append(found[0][0] - loud[0])
        offsets.append(found[-1][0] - loud[-1])
        assert abs(found[0][1].since - loud[0]) < 0.15  # type: ignore[union-attr]
        assert abs(found[-1][1].until - loud[-1]) < 0.2  # type: ignore[union-attr]
    assert max(onsets) < 0.25
    assert max(offsets) < 0.3


@pytest.mark.shared_data
def test_the_judge_lets_less_noise_through_than_the_gate(shared_data: Path) -> None:
    noise = np.concatenate([samples_of(shared_data / f"noise/noise/esc10_{name}.flac") for name in NOISES])
    seconds = len(noise) / 16_000
    gate, judge, both = (voiced_share(events_of(vad, noise), seconds) for vad in (WebrtcVad(), SileroVad(), GatedVad()))
    assert judge < 0.1
    assert both < 0.1
    assert gate > judge


@pytest.mark.shared_data
def test_the_gate_hides_no_speech_from_the_judge(shared_data: Path) -> None:
    second = np.random.default_rng(1).normal(0, 10, 16_000).astype(np.int16)
    for name in CLIPS:
        speech = np.concatenate([second, samples_of(shared_data / f"speech/wav/{name}.flac"), second])
        seconds = len(speech) / 16_000
        alone, gated = (voiced_share(events_of(vad, speech), seconds) for vad in (SileroVad(), GatedVad()))
        assert gated == pytest.approx(alone, abs=0.05), name


def test_a_quiet_room_never_wakes_the_judge() -> None:
    vad = GatedVad()
    room = np.random.default_rng(1).normal(0, 10, 16_000 * 5).astype(np.int16)
    stream = vad.open()
    assert [stream.push_frame(frame) for frame in frames(room.tobytes())] == [None] * 250
    assert vad._model._session is None


def test_windows_in_one_batch_are_judged_as_one_by_one() -> None:
    model = SileroModel()
    windows = np.random.default_rng(3).normal(0, 0.1, (6, 512)).astype(np.float32)
    together = model.run(windows, SileroState())
    state = SileroState()
    one_by_one = np.concatenate([model.run(window[np.newaxis], state) for window in windows])
    assert np.allclose(together, one_by_one, atol=1e-5)


def test_warm_up_and_close_may_come_twice_and_a_closed_detector_loads_again() -> None:
    async def scenario(vad: Vad) -> None:
        for _ in range(2):
            await vad.warm_up()
        for _ in range(2):
            await vad.aclose()
        tone = (8000 * np.sin(np.arange(16_000) * 0.08)).astype("<i2").tobytes()
        stream = vad.open()
        for frame in frames(tone):
            stream.push_frame(frame)

    for vad in (WebrtcVad(), SileroVad(), GatedVad()):
        asyncio.run(scenario(vad))
        assert type(vad).probe() == ""


def test_importing_silero_does_not_import_ctranslate2() -> None:
    import subprocess
    import sys

    code = "import sys, duologue_pipelines.vad.both as b; b.GatedVad.probe(); print('ctranslate2' in sys.modules)"
    path = ":".join(sys.path)
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": path}
    )
    assert told.stdout.strip() == "False"


def test_a_missing_model_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StageUnavailable, match=r"no model at .*none.onnx.*pip install faster-whisper"):
        SileroModel(tmp_path / "none.onnx").load()
    monkeypatch.setattr(silero, "find_silero", lambda: None)
    with pytest.raises(StageUnavailable, match="not installed"):
        SileroModel().load()
    assert "not installed" in SileroVad.probe()
    assert "not installed" in GatedVad.probe()


@pytest.mark.shared_data
def test_a_broken_or_foreign_model_is_refused(tmp_path: Path, shared_data: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(StageUnavailable, match="can't be loaded"):
        SileroModel(broken).load()
    with pytest.raises(StageUnavailable, match="expected"):
        SileroModel(shared_data / "turn/silero_vad.onnx").load()


def test_a_network_that_fails_says_so() -> None:
    with pytest.raises(StageError, match="silero failed on 1 windows"):
        SileroModel().run(np.zeros((1, 512), np.float32), _broken_state())


def _broken_state() -> SileroState:
    state = SileroState()
    state.h = np.zeros((2, 2), np.float32)
    return state


def test_the_model_lies_in_faster_whispers_wheel() -> None:
    path = find_silero()
    assert path is not None
    assert path.name == "silero_vad_v6.onnx"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WebrtcVad(mode=4), "vad.webrtc.mode must be a whole number between 0 and 3, got 4"),
        (lambda: WebrtcVad(hangover_ms=-1), "vad.webrtc.hangover_ms"),
        (lambda: SileroVad(threshold=1.5), "vad.silero.threshold must be a number between 0.01 and 0.99, got 1.5"),
        (lambda: SileroVad(threshold=0.3, release=0.5), "release must not exceed"),
        (lambda: GatedVad(pre_roll_ms=0), "vad.both.pre_roll_ms"),
        (lambda: GatedVad(gate_mode=True), "vad.both.gate_mode"),
    ],
)
def test_an_option_out_of_range_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()
