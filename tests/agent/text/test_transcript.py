"""The stable prefix, by literal words and times."""

from duologue.core.words import Word, split_words
from duologue.text.transcript import GrowingTranscript, atomic_words, join_words, stable_prefix


def words(text: str, *, start: float = 0.0, each: float = 0.5) -> list[Word]:
    return [
        Word(piece, start + index * each, start + (index + 1) * each) for index, piece in enumerate(split_words(text))
    ]


def texts(found: list[Word] | tuple[Word, ...]) -> list[str]:
    return [word.text for word in found]


def test_agreement_ends_at_the_first_difference() -> None:
    assert texts(stable_prefix(words("i want to go"), words("i want two go"))) == ["i", "want"]


def test_case_and_punctuation_do_not_break_agreement_and_the_current_spelling_wins() -> None:
    assert texts(stable_prefix(words("well hello there"), words("Well, hello?"))) == ["Well,", "hello?"]


def test_nothing_is_stable_against_an_empty_hypothesis() -> None:
    assert stable_prefix([], words("hello")) == []
    assert stable_prefix(words("hello"), []) == []


def test_words_are_joined_by_spaces_and_chinese_without() -> None:
    assert join_words(words("hello there")) == "hello there"
    assert join_words(words("我想去，北京")) == "我想去，北京"
    assert join_words([]) == ""


def test_a_phrase_is_divided_into_words_that_share_its_time_by_length() -> None:
    assert atomic_words(Word("北京", 1.0, 2.0, 0.5)) == [Word("北", 1.0, 1.5, 0.5), Word("京", 1.5, 2.0, 0.5)]
    assert atomic_words(Word("of the", 0.0, 1.0)) == [Word("of", 0.0, 0.4), Word("the", 0.4, 1.0)]
    assert atomic_words(Word(" hi ", 0.0, 1.0)) == [Word("hi", 0.0, 1.0)]
    assert atomic_words(Word("  ", 0.0, 1.0)) == []


def test_a_word_settles_when_two_partials_agree_on_it() -> None:
    transcript = GrowingTranscript()
    assert texts(transcript.partial(words("tell me"))) == ["tell", "me"]
    assert transcript.stable == 0
    assert texts(transcript.partial(words("tell me a"))) == ["tell", "me", "a"]
    assert transcript.stable == 2
    assert texts(transcript.settled) == ["tell", "me"]


def test_a_settled_word_survives_a_partial_that_contradicts_it() -> None:
    transcript = GrowingTranscript()
    transcript.partial(words("tell me"))
    transcript.partial(words("tell me"))
    assert texts(transcript.partial(words("sell me a story"))) == ["tell", "me", "a", "story"]
    assert transcript.stable == 2
    transcript.partial(words("sell me a story"))
    assert transcript.stable == 4


def test_a_shorter_partial_does_not_unsettle() -> None:
    transcript = GrowingTranscript()
    transcript.partial(words("tell me"))
    transcript.partial(words("tell me"))
    assert texts(transcript.partial(words("tell"))) == ["tell", "me"]
    assert transcript.stable == 2


def test_a_final_stands_as_it_is_and_settles_what_it_shares() -> None:
    transcript = GrowingTranscript()
    transcript.partial(words("sell me a"))
    transcript.partial(words("sell me a"))
    assert texts(transcript.final(words("tell me a story"))) == ["tell", "me", "a", "story"]
    assert transcript.stable == 0
    assert texts(transcript.final(words("Tell me a story."))) == ["Tell", "me", "a", "story."]
    assert transcript.stable == 4


def test_the_recogniser_may_settle_words_whose_audio_it_lets_go() -> None:
    transcript = GrowingTranscript()
    transcript.partial(words("one two three"))
    transcript.settle(words("one two"))
    assert transcript.stable == 2
    transcript.settle(words("one"))
    assert texts(transcript.words) == ["one", "two"]


def test_words_at_the_border_of_the_audio_settle_with_the_next_hypothesis() -> None:
    transcript = GrowingTranscript()
    transcript.partial(words("tell me a"))
    transcript.partial(words("tell me a"), until=1.0)
    assert texts(transcript.settled) == ["tell", "me"]
    transcript.partial(words("tell me a story"), until=1.6)
    assert texts(transcript.settled) == ["tell", "me", "a"]
