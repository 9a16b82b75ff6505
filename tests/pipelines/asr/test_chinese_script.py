"""Chinese in the pack's script, words and times kept."""

import pytest

from duologue.core.words import Word
from duologue_pipelines.asr.chinese_script import conversion_for, in_script


@pytest.mark.parametrize(
    ("languages", "conversion"),
    [
        (("zh",), "t2s"),
        (("zh-CN",), "t2s"),
        (("zh-Hans-TW",), "t2s"),
        (("zh-TW",), "s2tw"),
        ((None, "en", "zh-Hant-HK"), "s2hk"),
        (("zh_Hant",), "s2t"),
        (("en",), "t2s"),
        ((), "t2s"),
    ],
)
def test_the_language_decides_the_script(languages: tuple[str | None, ...], conversion: str) -> None:
    assert conversion_for(languages) == conversion


def said(text: str) -> list[Word]:
    return [Word(char, index * 0.2, index * 0.2 + 0.2, 0.9) for index, char in enumerate(text)]


def test_mixed_characters_come_out_in_one_script_at_their_times() -> None:
    simplified = in_script(said("對對，博物館几点開門"), "t2s")
    assert "".join(word.text for word in simplified) == "对对，博物馆几点开门"
    assert [(word.start, word.probability) for word in simplified] == [
        (word.start, word.probability) for word in said("對對，博物館几点開門")
    ]
    assert "".join(word.text for word in in_script(said("头发"), "s2tw")) == "頭髮"


def test_what_holds_no_chinese_is_left_alone() -> None:
    words = [Word("hello", 0.0, 0.4), Word("there", 0.4, 0.8)]
    assert in_script(words, "t2s") == tuple(words)


def test_a_conversion_that_changes_the_count_of_characters_goes_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lengthening:
        def convert(self, text: str) -> str:
            return text + "么" if len(text) > 1 else text

    monkeypatch.setattr("duologue_pipelines.asr.chinese_script._converter", lambda _: Lengthening())
    assert in_script(said("什么"), "t2s") == tuple(said("什么"))
