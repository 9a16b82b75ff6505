"""Phonemes as Kokoro's reference writes them, and which word has which."""

import builtins
import re
from types import ModuleType

import pytest

from duologue.errors import StageUnavailable
from duologue_pipelines.tts.kokoro_phonemes import SYMBOLS_MAX, from_ipa, mandarin, phrases, symbols_of
from duologue_pipelines.tts.speakable import speakable

KNOWN = frozenset(
    ';:,.!?—…"()“” ʣʥʦʨᵝAIOQSTWYᵊabcdefhijklmnopqrstuvwxyz'
    "ɑɐɒæβɔɕçɖðʤəɚɛɜɟɡɥɨɪʝɯɰŋɳɲɴøɸθœɹɾɻʁɽʂʃʈʧʊʋʌɣɤχʎʒʔˈˌːʰʲ↓→↗↘ᵻ\u0303"
)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Take the train, please!", "en-us", "tˈAk ðə tɹˈAn, plˈiz!"),
        ("The old house.", "en-us", "ðɪ ˈOld hˈWs."),
        ("The old house.", "en-gb", "ðɪ ˈQld hˈWs."),
        ("A little bottle", "en-us", "ə lˈɪTᵊl bˈɑTᵊl"),
        ("Buongiorno (a tutti)", "it", "bʊonʤˈɔrno (a tˈutːɪ)"),
        ("Hola, ¿qué tal?", "es", "ˈola, kˈe tˈal?"),
        ("你好, 世界.", "cmn", "ni↓xau↓, ʂɨ↘ʨje↘."),
    ],
)
def test_text_becomes_the_symbols_of_the_reference(text: str, language: str, expected: str) -> None:
    assert symbols_of(text, language, KNOWN) == expected


def test_a_syllable_of_a_consonant_gets_its_vowel_in_english_only() -> None:
    assert from_ipa("bˈʌtn\u0329", "en-us") == "bˈʌtᵊn"
    assert from_ipa("t^sˈaːl", "de") == "ʦˈaːl"


def test_han_in_english_and_latin_in_mandarin_are_both_read() -> None:
    assert "ni↓" in symbols_of("This is 你 there", "en-us", KNOWN)
    assert "tɹˈAn" in symbols_of("坐 train 去", "cmn", KNOWN)


def test_fused_words_have_spans_of_their_own() -> None:
    text = "Out of the blue."
    (phrase,) = phrases(text, speakable(text, "en").words(), "en-us", KNOWN)
    assert [text[word.start_char : word.end_char] for word, _, _ in phrase.words] == ["Out", "of", "the", "blue."]
    spans = [(start, end) for _, start, end in phrase.words]
    assert all(start < end for start, end in spans)
    assert phrase.symbols[slice(*spans[3])] == "blˈu"


def test_what_is_too_long_for_the_model_is_cut_between_words() -> None:
    text = " ".join(["extraordinarily"] * 80)
    words = speakable(text, "en").words()
    found = list(phrases(text, words, "en-us", KNOWN))
    assert len(found) > 1
    assert max(len(phrase.symbols) for phrase in found) <= SYMBOLS_MAX
    assert [word.start_char for phrase in found for word, _, _ in phrase.words] == [word.start_char for word in words]
    (one,) = phrases("a" * 900, speakable("a" * 900, "en").words(), "it", KNOWN)
    assert len(one.symbols) <= SYMBOLS_MAX


def test_nothing_to_say_is_no_phrase() -> None:
    assert list(phrases(" ... ", (), "en-us", KNOWN)) == []


def test_without_misaki_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object, **more: object) -> ModuleType:
        if name.partition(".")[0] == "misaki":
            raise ModuleNotFoundError("No module named 'misaki'", name="misaki")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    mandarin.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StageUnavailable, match=re.escape("[kokoro]")):
        symbols_of("你好", "cmn", KNOWN)
