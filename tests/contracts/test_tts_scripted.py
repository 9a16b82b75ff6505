"""The scripted synthesiser keeps the contract of the TTS port, on the virtual-time loop and on a real one's rules."""

from duologue.testing.contracts.tts import TtsPromises, check_tts
from duologue.testing.scripted_tts import ScriptedTts
from duologue.testing.virtual_time import run


def test_the_scripted_synthesiser_keeps_the_contract() -> None:
    run(check_tts(ScriptedTts))


def test_without_word_times_it_keeps_the_contract_too() -> None:
    run(check_tts(lambda: ScriptedTts(word_times=False), TtsPromises(word_times=False)))
