"""What counts as a word, and as the same word."""

from duologue.core.words import is_cjk, mended, normal_form, split_words, word_starts


def test_the_same_word_has_one_normal_form_whatever_its_case_punctuation_and_spelling() -> None:
    assert normal_form("Hello") == normal_form("hello,") == normal_form(" “HELLO!” ") == "hello"
    assert normal_form("don't") == normal_form("Don’t") == "don't"
    assert normal_form("'quoted'") == "quoted"
    assert normal_form("cafe\u0301") == normal_form("café") == "café"
    assert normal_form("ＯＫ１") == "ok1"
    assert normal_form("Straße") == "strasse"


def test_marks_that_make_a_letter_stay() -> None:
    assert normal_form("हिन्दी।") == "हिन्दी"


def test_what_is_no_word_has_no_normal_form() -> None:
    assert [normal_form(text) for text in ("", "…", "—", "'", "😀")] == [""] * 5


def test_han_and_kana_are_written_without_spaces_and_their_punctuation_is_not_a_character() -> None:
    assert all(map(is_cjk, "中々〇あアーｱ𠀀"))
    assert not any(map(is_cjk, ["", "a", "한", "。", "・", "，", "é", "😀"]))


def test_words_are_divided_by_white_space() -> None:
    assert split_words(" It's  3.5 km,\tisn’t it?\n") == ["It's", "3.5", "km,", "isn’t", "it?"]
    assert split_words("well-known, e.g. here") == ["well-known,", "e.g.", "here"]
    assert split_words("") == split_words(" \u3000") == []


def test_each_cjk_character_is_a_word_with_the_punctuation_behind_it() -> None:
    assert split_words("你好，世界！") == ["你", "好，", "世", "界！"]
    assert split_words("“好”吗") == ["“", "好”", "吗"]


def test_latin_and_cjk_part_without_a_space() -> None:
    assert split_words("我用Python3写don’t吧") == ["我", "用", "Python3", "写", "don’t", "吧"]
    assert split_words("好，hello世界") == ["好，", "hello", "世", "界"]


def test_nothing_but_white_space_is_lost_between_words() -> None:
    text = "「一」 two，三 four… five。"
    assert "".join(split_words(text)) == "".join(text.split())
    assert [text[start] for start in word_starts(text)] == [word[0] for word in split_words(text)]
    assert word_starts(" a  bc 好的") == [1, 4, 7, 8]


def test_halves_of_a_character_are_joined_and_lone_ones_replaced() -> None:
    assert mended("plain ü 嗯") == "plain ü 嗯"
    assert mended("a \ud83d\ude00 b") == "a 😀 b"
    assert mended("a \ud83d b") == "a � b"
