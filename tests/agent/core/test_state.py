"""What the core knows: words of a turn, timers, and the table of steps."""

import pytest

from duologue.core.state import Timer, Turn, joined


@pytest.mark.parametrize(
    ("before", "after", "both"),
    [
        ("", "", ""),
        ("One. ", "", "One."),
        ("", " two", "two"),
        ("One.", "two", "One. two"),
        ("我想", "去北京", "我想去北京"),
        ("I like", "北京", "I like北京"),
        ("我想。", "Rome", "我想。 Rome"),
    ],
)
def test_texts_are_joined_as_their_script_asks(before, after, both):
    assert joined(before, after) == both
    assert Turn(1, 0.0, prefix=before, text=after).words == both


def test_timers_are_set_anew_and_forgotten(begin):
    core = begin().conversation.core
    core.arm(Timer.HOLD, 1.0)
    core.arm(Timer.HOLD, 2.0)
    assert core.state.timers[Timer.HOLD] == 2.0
    core.disarm(Timer.HOLD, Timer.VOICE)
    assert Timer.HOLD not in core.state.timers
