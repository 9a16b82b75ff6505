"""Piper keeps the contract of the TTS port with a real voice."""

import asyncio
from pathlib import Path

import pytest

from duologue.testing.contracts.tts import TtsPromises, check_tts
from duologue_pipelines.tts.piper import PiperTts


@pytest.mark.shared_data
def test_piper_keeps_the_contract(shared_data: Path) -> None:
    voice = str(shared_data / "tts" / "en_US-micro-x_low.onnx")
    asyncio.run(check_tts(lambda: PiperTts(voice), TtsPromises(sound_up_to_hz=11_025)))
