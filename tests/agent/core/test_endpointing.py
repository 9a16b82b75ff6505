"""How sentences end, and how much silence ends a turn."""

import pytest

from duologue.core.endpointing import PAUSES_KEPT, Completeness, completeness, required_silence_s
from duologue.core.policy import EndpointingPolicy

COMPLETE, NEUTRAL, INCOMPLETE = Completeness.COMPLETE, Completeness.NEUTRAL, Completeness.INCOMPLETE
POLICY = EndpointingPolicy()


@pytest.mark.parametrize(
    "text",
    [
        "What is the weather like in Berlin?",
        "I live in Berlin.",
        'She said "no way!"',
        "Where do you come from?",
        "I think so.",
        "What do you think?",
        "Do you know?",
        "I am doing fine!",
        "What is 2 plus 2?",
        "今天天气怎么样？",
        "我想去北京。",
        "我去成都。",
    ],
)
def test_a_finished_sentence_is_complete(text: str) -> None:
    assert completeness(text) is COMPLETE


@pytest.mark.parametrize(
    "text",
    ["yes", "No", "thank you", "can you turn it off please", "goodbye", "I don’t know", "好的", "谢谢", "是的", "可以",
     "你喜欢吗", "我不知道", "well thanks", "uh yes please"],
)  # fmt: skip
def test_a_short_answer_is_complete_without_punctuation(text: str) -> None:
    assert completeness(text) is COMPLETE


@pytest.mark.parametrize(
    "text",
    ["I want to go to Berlin and", "I went there because.", "The.", "It is, um.", "It's my", "I'd", "so I was like",
     "Let me see.", "what I need is a", "the thing is", "Dr.", "I mean.", "I would like to.", "It depends on the",
     "我想去，因为", "然后", "那个。", "嗯", "如果明天下雨的话", "我想跟", "请你把", "我觉得", "我想用 um"],
)  # fmt: skip
def test_a_word_that_cannot_end_a_sentence_keeps_it_open_even_before_a_full_stop(text: str) -> None:
    assert completeness(text) is INCOMPLETE


@pytest.mark.parametrize("text", ["First,", "well…", "I was...", "My name is -", "我想说——", "首先，", "three things:"])
def test_a_comma_dash_or_ellipsis_says_that_more_comes(text: str) -> None:
    assert completeness(text) is INCOMPLETE


def test_a_preposition_at_the_end_of_a_question_waits_longer_without_punctuation_than_with_it() -> None:
    assert completeness("where are you going to") is INCOMPLETE
    assert completeness("Where are you going to.") is INCOMPLETE
    assert completeness("Where are you going to?") is NEUTRAL


def test_without_punctuation_nothing_can_be_told_of_other_sentences() -> None:
    assert completeness("what is the weather in berlin") is NEUTRAL
    assert completeness("我想去北京") is NEUTRAL
    assert completeness("i come from") is NEUTRAL


def test_dictated_numbers_and_words_that_may_go_either_way_are_never_quite_complete() -> None:
    assert completeness("My number is 555.") is NEUTRAL
    assert completeness("The light is on.") is NEUTRAL
    assert completeness("我要一个。") is NEUTRAL


def test_no_words_tell_nothing() -> None:
    assert [completeness(text) for text in ("", "  ", "…", "?!")] == [NEUTRAL] * 4


def test_a_tail_matches_whole_words_only() -> None:
    assert completeness("I like the band.") is COMPLETE
    assert completeness("It is in Bath, eros.") is COMPLETE


def test_of_a_language_without_a_table_only_the_punctuation_is_read() -> None:
    assert completeness("Fang an.", "de-DE") is COMPLETE
    assert completeness("ich komme und", "de") is NEUTRAL
    assert completeness("そして、", "ja") is INCOMPLETE
    assert completeness("これは何ですか。") is COMPLETE
    assert completeness("नमस्ते।", "hi") is COMPLETE


def test_english_and_chinese_tails_are_read_in_either_language() -> None:
    assert completeness("I need my", "en_GB") is INCOMPLETE
    assert completeness("我想用 the", "zh-CN") is INCOMPLETE
    assert completeness("我因为", "en") is INCOMPLETE
    assert completeness("因为", "cmn") is INCOMPLETE


def test_the_wait_is_the_base_of_its_class_times_patience() -> None:
    assert [required_silence_s(POLICY, how, []) for how in (COMPLETE, NEUTRAL, INCOMPLETE)] == [0.4, 0.65, 1.5]
    patient = EndpointingPolicy(patience=2.0)
    assert [required_silence_s(patient, how, []) for how in (COMPLETE, NEUTRAL, INCOMPLETE)] == [0.8, 1.3, 3.0]


def test_fewer_than_three_pauses_and_breaths_tell_nothing() -> None:
    assert required_silence_s(POLICY, NEUTRAL, [1.0, 1.0]) == 0.65
    assert required_silence_s(POLICY, NEUTRAL, [1.0, 1.0, 0.19, 0.1]) == 0.65


def test_the_person_s_own_pauses_stretch_the_wait() -> None:
    pauses = [0.6, 1.0, 0.8]  # 80th percentile: 0.92
    assert required_silence_s(POLICY, NEUTRAL, pauses) == pytest.approx(1.15 * 0.92)
    assert required_silence_s(POLICY, COMPLETE, pauses) == pytest.approx(0.6 * 0.92)
    assert required_silence_s(POLICY, INCOMPLETE, pauses) == 1.5
    assert required_silence_s(POLICY, INCOMPLETE, [2.0, 2.0, 2.0]) == pytest.approx(2.3)


def test_short_pauses_never_shorten_the_wait() -> None:
    assert required_silence_s(POLICY, NEUTRAL, [0.25] * 5) == 0.65
    assert required_silence_s(POLICY, COMPLETE, [0.25] * 5) == 0.4


def test_no_pause_stretches_the_wait_beyond_its_maximum_but_patience_may() -> None:
    assert required_silence_s(POLICY, NEUTRAL, [9.0] * 4) == 3.0
    assert required_silence_s(EndpointingPolicy(patience=3.0), INCOMPLETE, [9.0] * 4) == 4.5


def test_only_the_latest_pauses_count() -> None:
    assert required_silence_s(POLICY, NEUTRAL, [2.0] * 50 + [0.5] * PAUSES_KEPT) == 0.65
    assert required_silence_s(POLICY, NEUTRAL, [0.5] * 50 + [2.0] * PAUSES_KEPT) == pytest.approx(2.3)


def test_a_longer_wait_never_comes_from_a_more_complete_sentence() -> None:
    for pauses in ([], [0.3, 0.5, 0.9], [1.5] * 6, [4.0] * 12):
        waits = [required_silence_s(POLICY, how, pauses) for how in (COMPLETE, NEUTRAL, INCOMPLETE)]
        assert waits == sorted(waits)
