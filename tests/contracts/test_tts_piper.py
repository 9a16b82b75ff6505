"""Piper keeps the contract of the TTS port with a real voice."""

import asyncio
from pathlib import Path

import pytest

from duologue.testing.contracts.tts import check_tts
from duologue_pipelines.tts.piper import PiperTts


@pytest.mark.shared_data
def test_piper_keeps_the_contract(shared_data: Path) -> None:
    asyncio.run(check_tts(lambda: PiperTts(str(shared_data / "tts" / "en_US-micro-x_low.onnx"))))
