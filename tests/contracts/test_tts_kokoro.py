"""Kokoro keeps the contract of the TTS port with its real model."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from duologue.testing.contracts.tts import TtsPromises, check_tts
from duologue_pipelines.tts.kokoro import KokoroTts


def test_kokoro_keeps_the_contract(real_model: Callable[[str], Path]) -> None:
    real_model("kokoro:v1.0")
    promises = TtsPromises(text="Hello there. It is warm.", sound_up_to_hz=12_000)
    asyncio.run(check_tts(KokoroTts, promises))
