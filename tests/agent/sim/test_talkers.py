"""Callers pause, answer and talk as people were measured to."""

import random
from collections import Counter
from statistics import median

import pytest

from duologue.sim.talkers import (
    BACKCHANNELS,
    GAP_EARLIEST_S,
    REACTIONS,
    Reaction,
    Sound,
    Talker,
    join,
)

DRAWS = 20_000


@pytest.fixture
def talker():
    return Talker(random.Random(7))


def test_pauses_inside_a_turn_have_a_median_of_520_ms_and_24_percent_beyond_800(talker):
    pauses = [talker.pause_s() for _ in range(DRAWS)]
    assert median(pauses) == pytest.approx(0.52, abs=0.01)
    assert sum(pause > 0.8 for pause in pauses) / DRAWS == pytest.approx(0.24, abs=0.01)
    assert min(pauses) >= 0.15


def test_answers_come_after_190_ms_in_the_median_and_often_before_the_other_has_ended(talker):
    gaps = [talker.gap_s() for _ in range(DRAWS)]
    assert median(gaps) == pytest.approx(0.19, abs=0.01)
    assert 0.15 < sum(gap < 0 for gap in gaps) / DRAWS < 0.4
    assert min(gaps) > GAP_EARLIEST_S


def test_callers_do_everything_that_people_do_over_an_agent(talker):
    seen = Counter(talker.reaction() for _ in range(DRAWS))
    assert set(seen) == set(Reaction)
    assert seen[Reaction.LISTEN] / DRAWS == pytest.approx(REACTIONS[Reaction.LISTEN] / 100, abs=0.02)


def test_words_lie_in_bursts_one_after_the_other(talker):
    for _ in range(200):
        said = talker.turn()
        assert said.sound is Sound.SPEECH
        assert said.seconds == said.words[-1].end == said.bursts[-1][1]
        for word, following in zip(said.words, said.words[1:], strict=False):
            assert word.start < word.end <= following.start
        for word in said.words:
            assert any(start <= word.start and word.end <= end for start, end in said.bursts)
        for (_, end), (start, _) in zip(said.bursts, said.bursts[1:], strict=False):
            assert start - end >= 0.149


def test_a_monologue_lasts_as_long_as_was_asked_for(talker):
    assert min(talker.monologue(20.0).seconds for _ in range(20)) > 12.0


def test_noises_have_no_words_and_backchannels_are_known_ones(talker):
    assert talker.cough().words == () and talker.cough().seconds <= 0.5
    assert talker.noise().words == () and talker.noise().bursts
    assert talker.noise().text == ""
    assert talker.backchannel().text in BACKCHANNELS
    assert talker.stop().sound is Sound.STOP and talker.interruption().sound is Sound.INTERRUPTION
    assert talker.hello().words


def test_the_same_seed_is_the_same_caller():
    first, second = (Talker(random.Random(3)) for _ in range(2))
    assert [first.turn() for _ in range(5)] == [second.turn() for _ in range(5)]


def test_chinese_words_are_written_without_spaces():
    assert join(("明", "天", "OK", "好")) == "明天 OK 好"
    assert join(()) == ""
