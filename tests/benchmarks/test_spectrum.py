"""The agent's channel of a recording holds what the voice has, up to half of the session's rate and no further."""

import asyncio
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from benchmarks.spectrum import SENTENCE, MakeTts, Take, main, picture, resampling_ms, take
from duologue.audio import band_dbfs, read_wav
from duologue.ports.tts import SpeechAudio, SpeechRequest
from duologue_pipelines.tts.espeak import EspeakTts
from duologue_pipelines.tts.piper import PiperTts

ABOVE_8_KHZ = (8000, 11_000)


def own_dbfs(make_tts: MakeTts) -> float:
    """What the voice itself has above 8 kHz, without a session."""

    async def speak() -> bytes:
        tts = make_tts()
        items = [item async for item in tts.synthesise(SpeechRequest(SENTENCE, sample_rate_hz=48_000))]
        await tts.aclose()
        return b"".join(item.pcm for item in items if isinstance(item, SpeechAudio))

    return band_dbfs(np.frombuffer(asyncio.run(speak()), dtype="<i2"), *ABOVE_8_KHZ, sample_rate_hz=48_000)


def check(name: str, make_tts: MakeTts, folder: Path) -> None:
    dull, full = (take(name, make_tts, rate, folder / f"{rate}.wav") for rate in (16_000, 24_000))
    assert (dull.rate_hz, full.rate_hz) == (16_000, 24_000)
    assert dull.band_dbfs(*ABOVE_8_KHZ) == -math.inf
    # The recording is cut to what is audible, the voice by itself has its silences.
    assert full.band_dbfs(*ABOVE_8_KHZ) == pytest.approx(own_dbfs(make_tts), abs=1.5) and own_dbfs(make_tts) > -50
    for low, high in ((0, 4000), (4000, 7200)):
        assert full.band_dbfs(low, high) == pytest.approx(dull.band_dbfs(low, high), abs=0.3)
    caller = read_wav(folder / "24000.wav")[0][:, 0]
    assert not caller.any()


def test_a_24_khz_recording_of_espeak_has_what_it_says_above_8_khz_and_a_16_khz_one_has_none(tmp_path: Path) -> None:
    check("espeak", EspeakTts, tmp_path)


@pytest.mark.shared_data
def test_a_24_khz_recording_of_piper_has_what_it_says_above_8_khz_and_a_16_khz_one_has_none(
    tmp_path: Path, shared_data: Path
) -> None:
    check("piper", lambda: PiperTts(str(shared_data / "tts" / "en_US-micro-x_low.onnx")), tmp_path)


def test_the_picture_has_a_panel_a_voice_and_a_line_a_rate() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 24_000).astype(np.int16)
    takes = [Take(voice, rate, noise) for voice in ("a", "b") for rate in (16_000, 24_000)]
    svg = ET.fromstring(picture(takes))
    lines = [line.get("points", "").split() for line in svg.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(points) for points in lines] == [80, 120, 80, 120]  # a point each 100 Hz, up to half of the rate


def test_the_command_prints_a_row_a_recording(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--svg", str(tmp_path / "s.svg"), "--keep", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert told.count("espeak") == 2 and "none" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["espeak-16000.wav", "espeak-24000.wav", "s.svg"]


def test_resampling_costs_little_and_no_rate_costs_nothing() -> None:
    assert 0 < resampling_ms(24_000, 24_000, chunk_s=0.02, runs=1) < resampling_ms(22_050, 48_000, chunk_s=0.02, runs=1)
