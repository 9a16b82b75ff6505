"""espeak keeps the contract of the TTS port, in English and in Chinese."""

import asyncio

from duologue.testing.contracts.tts import TtsPromises, check_tts
from duologue_pipelines.tts.espeak import EspeakTts


def test_espeak_keeps_the_contract() -> None:
    asyncio.run(check_tts(EspeakTts, TtsPromises(sound_up_to_hz=11_025)))


def test_espeak_keeps_the_contract_in_chinese() -> None:
    promises = TtsPromises(
        text="你好，今天天气很好。我们一起去公园散步吧，好不好？", language="zh-CN", sound_up_to_hz=11_025
    )
    asyncio.run(check_tts(EspeakTts, promises))
