"""What talking over the agent amounts to."""

import pytest

from duologue.core.barge_in import Verdict, is_wary, judge_words, verdict_wait_s
from duologue.core.policy import BACKCHANNELS, STOP_WORDS, BargeInPolicy

INTERRUPTION, BACKCHANNEL, NOTHING = Verdict.INTERRUPTION, Verdict.BACKCHANNEL, Verdict.NOTHING
POLICY = BargeInPolicy()


@pytest.mark.parametrize("text", BACKCHANNELS)
def test_each_listed_backchannel_is_one(text: str) -> None:
    assert judge_words(text, POLICY) is BACKCHANNEL
    assert judge_words(text.title() + ".", POLICY) is BACKCHANNEL


@pytest.mark.parametrize("text", STOP_WORDS)
def test_each_listed_stop_word_interrupts(text: str) -> None:
    assert judge_words(text, POLICY) is INTERRUPTION


@pytest.mark.parametrize(
    "text",
    ["yeah yeah yeah", "uh huh", "Mm-hm, right.", "oh, I see", "um okay", "mmmmmm", "yeahhhh", "hmmmm", "嗯嗯嗯对",
     "哦 原来如此", "好的好的", "um", "呃"],
)  # fmt: skip
def test_repeated_drawn_out_and_joined_backchannels_ask_for_nothing(text: str) -> None:
    assert judge_words(text, POLICY) is BACKCHANNEL


@pytest.mark.parametrize(
    "text",
    ["okay but what about tomorrow", "right now", "what", "yeah, stop", "um, wait", "I see a problem", "好的但是明天呢",
     "对不起", "对面有什么", "嗯等一下"],
)  # fmt: skip
def test_anything_beyond_a_backchannel_interrupts(text: str) -> None:
    assert judge_words(text, POLICY) is INTERRUPTION


@pytest.mark.parametrize("text", ["", " ", "...", "[BLANK_AUDIO]", "(coughs)", "*sneezes*", "<sil>", "++NOISE++", "♪"])
def test_sounds_without_words_are_nothing(text: str) -> None:
    assert judge_words(text, POLICY) is NOTHING


def test_the_beginning_of_a_backchannel_waits_for_its_end() -> None:
    assert judge_words("I", POLICY) is BACKCHANNEL
    assert judge_words("I see", POLICY) is BACKCHANNEL
    assert judge_words("I want", POLICY) is INTERRUPTION
    assert judge_words("原来", POLICY) is BACKCHANNEL
    assert judge_words("原来你在", POLICY) is INTERRUPTION


def test_so_many_words_make_an_interruption_and_a_stop_word_needs_no_others() -> None:
    calm = BargeInPolicy(words_min=3)
    assert judge_words("yeah that's true", calm) is BACKCHANNEL
    assert judge_words("what about that", calm) is INTERRUPTION
    assert judge_words("okay no", calm) is INTERRUPTION
    assert judge_words("have no", calm) is BACKCHANNEL
    assert judge_words("we have no", calm) is INTERRUPTION


def test_the_longest_phrase_wins_and_a_stop_word_wins_a_tie() -> None:
    own = BargeInPolicy(backchannels=("不错", "go on", "fine", "--"), stop_words=("不", "fine"))
    assert judge_words("不错", own) is BACKCHANNEL
    assert judge_words("不要", own) is INTERRUPTION
    assert judge_words("go on", own) is BACKCHANNEL
    assert judge_words("fine", own) is INTERRUPTION


def test_the_wait_for_words_grows_with_the_voice_up_to_a_second() -> None:
    assert verdict_wait_s(POLICY, 0.1) == 0.2
    assert verdict_wait_s(POLICY, 0.8) == 0.4
    assert verdict_wait_s(POLICY, 9.0) == 1.0
    assert verdict_wait_s(BargeInPolicy(verdict_s=1.5), 9.0) == 1.5


def test_three_false_alarms_within_the_window_make_it_wary_until_they_lie_behind() -> None:
    assert not is_wary(POLICY, [1.0, 2.0], 3.0)
    assert is_wary(POLICY, [1.0, 2.0, 3.0], 3.0)
    assert is_wary(POLICY, [1.0, 2.0, 3.0], 13.0)
    assert not is_wary(POLICY, [1.0, 2.0, 3.0], 13.1)
    assert not is_wary(POLICY, [1.0, 2.0, 9.0], 3.0)


def test_a_phrase_is_meant_in_both_chinese_scripts() -> None:
    for text, verdict in (
        ("對對", Verdict.BACKCHANNEL),
        ("這樣啊", Verdict.BACKCHANNEL),
        ("不對", Verdict.INTERRUPTION),
    ):
        assert judge_words(text, BargeInPolicy()) is verdict
