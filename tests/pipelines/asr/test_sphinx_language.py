"""What pocketsphinx is told to expect: words as they are said, sounds for those that no dictionary has."""

from pathlib import Path

import pytest

from duologue_pipelines.asr.letter_to_sound import pronounce
from duologue_pipelines.asr.sphinx_language import build_language, spoken_tokens

KNOWN = {
    "barge": "B AA R JH",
    "in": "IH N",
    "dog": "D AO G",
    "house": "HH AW S",
    "bake": "B EY K",
    "cat": "K AE T",
    "quick": "K W IH K",
    "ok": "OW K EY",
    "okay": "OW K EY",
    "hello": "HH AH L OW",
    "hello(2)": "HH EH L OW",
}


@pytest.mark.parametrize(
    ("sentence", "tokens"),
    [
        ("What's the WEATHER like, today?", ["what's", "the", "weather", "like", "today"]),
        ("Set it to 21.5", ["set", "it", "to", "twenty", "one", "point", "five"]),
        ("1,200 people", ["one", "thousand", "two", "hundred", "people"]),
        ("version 1.2.3 — it’s out", ["version", "it's", "out"]),
        ("你好", []),
    ],
)
def test_a_sentence_becomes_the_words_that_are_said(sentence: str, tokens: list[str]) -> None:
    assert [token for token in spoken_tokens(sentence) if token != "and"] == tokens


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("dog", "D AO G"),
        ("dogs", "D AO G Z"),
        ("cats", "K AE T S"),
        ("houses", "HH AW S AH Z"),
        ("dog's", "D AO G Z"),
        ("barge-in", "B AA R JH IH N"),
        ("doghouse", "D AO G HH AW S"),
        ("baking", "B EY K IH NG"),
        ("quickly", "K W IH K L IY"),
        ("zim", "Z IH M"),
        ("zate", "Z EY T"),
        ("gicy", "JH IH S IY"),
        ("naïve", None),
        ("'", None),
    ],
)
def test_an_unknown_word_is_taken_apart_or_spelled(word: str, phones: str | None) -> None:
    assert pronounce(word, KNOWN) == phones


def test_every_letter_has_a_sound() -> None:
    for word in ("xylophonic", "quoxijazzevb", "wryght", "kneel", "duologue", "pneuma", "sce"):
        phones = pronounce(word, {})
        assert phones
        assert all(phone.isalpha() and phone.isupper() for phone in phones.split())


def test_a_language_is_written_for_the_phrases_and_the_backchannels(tmp_path: Path) -> None:
    general = tmp_path / "general.dict"
    general.write_text("".join(f"{word} {phones}\n" for word, phones in KNOWN.items()))
    language = build_language(["Hello, dog.", "OK, barge-in!", "Mm-hm"], general, tmp_path)
    entries = dict(line.split(" ", 1) for line in language.dictionary.read_text().splitlines())
    assert entries["hello"] == "HH AH L OW"
    assert entries["hello(2)"] == "HH EH L OW"
    assert entries["barge-in"] == "B AA R JH IH N"
    assert entries["mhm"] == "AH M HH AH M"
    assert "ok" not in entries
    model = language.language_model.read_text()
    assert "<s> hello dog" in model
    assert "mhm" in model
    assert language.left_out == ()
