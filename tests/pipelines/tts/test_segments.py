"""Portions of a text end where a speaker breathes and lose nothing."""

from duologue_pipelines.tts.segments import segments


def parts(text: str, *wanted: int, most: int) -> list[str]:
    return [text[start:end] for start, end in segments(text, *wanted, chars_max=most)]


def test_short_text_is_one_portion() -> None:
    assert parts("Hello there.", 40, most=80) == ["Hello there."]
    assert parts("", 40, most=80) == []


def test_sentences_go_before_clauses() -> None:
    text = "One, two. Three, four. Five, six."
    assert parts(text, 24, most=80) == ["One, two. Three, four. ", "Five, six."]


def test_a_clause_is_taken_where_no_sentence_ends() -> None:
    text = "When the sun goes down, we walk along the quiet river and talk."
    assert parts(text, 30, 60, most=80) == ["When the sun goes down, ", "we walk along the quiet river and talk."]


def test_a_clause_border_further_on_is_better_than_a_cut_between_words() -> None:
    assert parts("aaaa bbbb cccc dddd, eeee", 8, most=30) == ["aaaa bbbb cccc dddd, ", "eeee"]


def test_text_without_any_border_is_cut_between_words_then_within_them() -> None:
    assert parts("aaaa bbbb cccc dddd", 8, most=12) == ["aaaa bbbb ", "cccc dddd"]
    assert parts("x" * 25, 8, most=10) == ["x" * 10, "x" * 10, "x" * 5]


def test_nothing_is_lost() -> None:
    text = "你好，世界。Hello, world! " * 20
    assert "".join(parts(text, 10, 20, most=30)) == text
