"""Judgements by ear are kept beside the words of the open turn, the newest of each judge."""

import json

from duologue.core.conversation import Conversation
from duologue.core.events import SpeechStarted, TurnJudged
from duologue.core.judging import JUDGES_MAX
from duologue.core.policy import Policy


def judged(talk):
    return talk.conversation._core.state.turn.judged


def test_the_newest_of_each_judge_is_kept_for_the_open_turn_and_moves_with_it(begin):
    talk = begin()
    talk.feed(SpeechStarted(1.0, 0.9), TurnJudged(1.5, 1, "ear", 0.2), TurnJudged(1.6, 1, "ear", 0.9, None, 0.1))
    talk.feed(TurnJudged(1.7, 1, "other", backchannel=0.5))
    assert judged(talk) == {"ear": (0.9, None, 0.1), "other": (None, 0.5, None)}
    snapshot = json.loads(json.dumps(talk.conversation.snapshot()))
    assert Conversation.restore(Policy(), snapshot)._core.state.turn.judged == judged(talk)


def test_one_about_another_turn_is_dropped(begin):
    talk = begin()
    assert talk.feed(TurnJudged(0.5, 1, "ear", 0.9)) == []
    talk.feed(SpeechStarted(1.0, 0.9), TurnJudged(1.5, 2, "ear", 0.9))
    assert judged(talk) == {}


def test_judges_beyond_the_bound_are_not_kept(begin):
    talk = begin()
    talk.feed(SpeechStarted(1.0, 0.9))
    talk.feed(*(TurnJudged(1.5, 1, f"ear {number}", 0.5) for number in range(JUDGES_MAX + 2)))
    talk.feed(TurnJudged(1.6, 1, "ear 0", 0.6))
    assert len(judged(talk)) == JUDGES_MAX and judged(talk)["ear 0"] == (0.6, None, None)
