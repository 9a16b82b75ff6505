"""What the core knows: words of a turn, timers, and the table of steps."""

import pytest

from duologue.core.state import TRANSITIONS, Phase, Timer, Trigger, Turn, joined


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


def test_every_phase_but_the_last_has_a_way_out_and_a_way_in():
    assert {phase for phase, _ in TRANSITIONS} == set(Phase) - {Phase.CLOSED}
    reached = {target for (phase, _), target in TRANSITIONS.items() if phase is not target}
    assert reached == set(Phase)


def test_every_trigger_is_in_the_table():
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger)


def test_timers_are_set_anew_and_forgotten(begin):
    core = begin().conversation._core
    core.arm(Timer.HOLD, 1.0)
    core.arm(Timer.HOLD, 2.0)
    assert core.state.timers[Timer.HOLD] == 2.0
    core.disarm(Timer.HOLD, Timer.VOICE)
    assert Timer.HOLD not in core.state.timers
