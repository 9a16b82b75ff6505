import math
from functools import partial

import numpy as np
import pytest

from duologue import measure as measuring
from duologue.audio import Samples
from duologue.measure import Mark, Span, Summary

RATE_HZ = 16_000  # where nothing else is said
audible_spans = partial(measuring.audible_spans, sample_rate_hz=RATE_HZ)
marks_from_voice = partial(measuring.marks_from_voice, sample_rate_hz=RATE_HZ)
measure = partial(measuring.measure, sample_rate_hz=RATE_HZ)


def channel(
    *spoken: tuple[float, float], seconds: float = 10.0, level: int = 6000, seed: int = 1, rate_hz: int = RATE_HZ
) -> Samples:
    """Noise at a speech-like level from the first to the second of each pair, silence elsewhere."""
    samples = np.zeros(round(seconds * rate_hz), dtype=np.int16)
    noise = np.random.default_rng(seed).integers(level // 2, level, len(samples), dtype=np.int16)
    for start, end in spoken:
        first, last = round(start * rate_hz), round(end * rate_hz)
        samples[first:last] = noise[first:last] * np.where(np.arange(last - first) % 2, 1, -1)
    return samples


def near(value: float) -> object:
    return pytest.approx(value, abs=0.001)


def test_spans_are_found_to_the_sample() -> None:
    spans = audible_spans(channel((0.5, 1.0), (2.0, 2.123)))
    assert spans == [Span(0.5, 1.0), Span(2.0, 2.123)]
    assert spans[1].seconds == pytest.approx(0.123)


def test_short_closures_do_not_end_a_span_and_holds_do() -> None:
    assert audible_spans(channel((1.0, 1.2), (1.25, 1.5))) == [Span(1.0, 1.5)]
    assert len(audible_spans(channel((1.0, 1.2), (1.27, 1.5)))) == 2
    assert len(audible_spans(channel((1.0, 1.2), (1.27, 1.5)), bridge_s=0.3)) == 1


def test_hiss_is_not_audible_and_a_soft_ending_belongs_to_its_word() -> None:
    hiss = channel((0.0, 10.0), level=60)
    assert audible_spans(hiss) == []
    word = np.maximum(channel((1.0, 1.5)), 0) + channel((1.5, 1.7), level=180)
    assert audible_spans(word)[0].end == near(1.7)
    assert audible_spans(channel((1.0, 1.5), level=100)) == []


def test_nothing_is_audible_in_nothing() -> None:
    assert audible_spans(np.zeros(0, dtype=np.int16)) == []
    assert audible_spans(np.zeros(163, dtype=np.int16)) == []
    assert measure(channel(), channel(), [Mark("turn", 1.0, 2.0)]).acts == ()


def test_the_response_runs_from_the_last_sample_of_the_user_to_the_first_of_the_agent() -> None:
    measured = measure(
        channel((1.0, 2.0), (5.0, 6.0)),
        channel((2.45, 4.0), (6.7, 8.0)),
        [Mark("turn", 4.98, 6.1, "second"), Mark("turn", 0.95, 2.05, "first")],
    )
    assert [act.mark.text for act in measured.acts] == ["first", "second"]
    assert [act.response_s for act in measured.acts] == [near(0.45), near(0.7)]
    assert measured.response.median == near(0.575) and measured.response.p95 == near(0.6875)
    assert [act.talked_into_s for act in measured.acts] == [0.0, 0.0]
    assert measured.user == (Span(1.0, 2.0), Span(5.0, 6.0)) and len(measured.agent) == 2


def test_an_answer_to_the_next_question_is_no_answer_to_this_one() -> None:
    measured = measure(
        channel((1.0, 2.0), (3.0, 4.0)), channel((4.5, 5.0)), [Mark("turn", 1.0, 2.0), Mark("turn", 3.0, 4.0)]
    )
    assert [act.response_s for act in measured.acts] == [None, near(0.5)]


def test_a_thinking_pause_belongs_to_the_turn_and_talking_into_it_shows() -> None:
    user, mark = channel((1.0, 2.0), (2.9, 4.0)), Mark("turn", 1.0, 4.0)
    patient = measure(user, channel((4.5, 5.0)), [mark]).acts[0]
    assert (patient.voice, patient.response_s, patient.talked_into_s) == (Span(1.0, 4.0), near(0.5), 0.0)
    hasty = measure(user, channel((2.6, 3.1), (4.6, 5.0)), [mark]).acts[0]
    assert (hasty.response_s, hasty.talked_into_s) == (near(0.6), near(0.5))


def test_the_yield_runs_from_the_first_sample_of_the_user_to_the_last_of_the_agent() -> None:
    act = measure(channel((2.0, 4.0)), channel((1.0, 2.18), (4.5, 5.0)), [Mark("interruption", 2.0, 4.0)]).acts[0]
    assert act.over_agent and act.yield_s == near(0.18) and act.response_s == near(0.5)
    assert act.talked_into_s is None and act.dead_air_s is None


def test_an_agent_that_goes_on_after_a_hold_has_yielded_only_when_it_was_silent_for_good() -> None:
    act = measure(channel((2.0, 4.0)), channel((1.0, 2.1), (2.5, 3.0), (4.5, 5.0)), [Mark("interruption", 2, 4)]).acts[
        0
    ]
    assert act.yield_s == near(1.0)


def test_an_agent_that_talks_through_did_not_yield() -> None:
    act = measure(channel((2.0, 4.0)), channel((1.0, 4.2)), [Mark("interruption", 2.0, 4.0)]).acts[0]
    assert act.over_agent and act.yield_s is None and act.response_s is None


def test_an_interruption_in_a_breath_of_the_agent_counts_and_one_into_silence_does_not() -> None:
    mark = Mark("interruption", 2.0, 4.0)
    breath = measure(channel((2.0, 4.0)), channel((1.0, 1.8), (2.1, 2.2), (4.5, 5.0)), [mark]).acts[0]
    assert breath.over_agent and breath.yield_s == near(0.2)
    late = measure(channel((2.0, 4.0)), channel((0.5, 1.5), (4.5, 5.0)), [mark]).acts[0]
    assert not late.over_agent and late.yield_s is None and late.response_s == near(0.5)


def test_a_cough_costs_the_silence_that_begins_under_it() -> None:
    measured = measure(
        channel((2.0, 2.3)), channel((1.0, 1.5), (1.8, 2.1), (2.6, 4.0), (5.5, 6.0)), [Mark("noise", 1.9, 2.4)]
    )
    act = measured.acts[0]
    assert act.dead_air_s == near(0.5) and act.went_on is True and act.response_s is None
    assert measured.dead_air.median == near(0.5)


def test_a_backchannel_under_which_the_agent_talks_on_costs_nothing() -> None:
    act = measure(channel((2.0, 2.3)), channel((1.0, 4.0)), [Mark("backchannel", 2.0, 2.3)]).acts[0]
    assert act.dead_air_s == 0.0 and act.went_on is True


def test_an_agent_that_falls_silent_at_a_cough_until_the_next_question_did_not_go_on() -> None:
    measured = measure(
        channel((2.0, 2.3), (5.0, 6.0)),
        channel((1.0, 2.1), (6.5, 7.0)),
        [Mark("noise", 2.0, 2.3), Mark("turn", 5.0, 6.0)],
    )
    assert measured.acts[0].went_on is False
    quiet = measure(channel((2.0, 2.3)), channel(), [Mark("noise", 2.0, 2.3)]).acts[0]
    assert not quiet.over_agent and quiet.went_on is None and quiet.dead_air_s is None


def test_marks_can_be_taken_from_the_voice() -> None:
    user, agent = channel((1.0, 1.5), (2.0, 2.5), (5.0, 6.0)), channel((3.0, 5.2))
    marks = marks_from_voice(user, agent)
    assert [(mark.kind, mark.start, mark.end) for mark in marks] == [("turn", 1.0, 2.5), ("interruption", 5.0, 6.0)]
    measured = measure(user, agent, marks)
    assert [act.response_s for act in measured.acts] == [near(0.5), None]
    assert measured.yields.values == (near(0.2),)


def test_no_figures_have_no_median() -> None:
    summary = Summary.of([None, None])
    assert summary.values == () and math.isnan(summary.median) and math.isnan(summary.p95)
    assert Summary.of([0.3, None, 0.1]).median == pytest.approx(0.2)


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 44_100, 48_000])
def test_seconds_are_the_recordings_own_whatever_its_rate(rate_hz: int) -> None:
    user = channel((1.0, 2.0), (5.0, 6.0), rate_hz=rate_hz)
    agent = channel((2.4, 5.12), (6.5, 8.0), rate_hz=rate_hz)
    marks = measuring.marks_from_voice(user, agent, sample_rate_hz=rate_hz)
    assert [(mark.kind, mark.start, mark.end) for mark in marks] == [
        ("turn", near(1.0), near(2.0)),
        ("interruption", near(5.0), near(6.0)),
    ]
    measured = measuring.measure(user, agent, marks, sample_rate_hz=rate_hz)
    assert measured.response.values == (near(0.4), near(0.5)) and measured.yields.values == (near(0.12),)


def test_a_filler_is_the_first_word_and_no_answer() -> None:
    agent = channel((4.0, 4.8), (7.0, 8.0))
    apart = measure(channel((1.0, 2.0)), agent, [Mark("turn", 1.0, 2.0)], fillers=[Span(3.99, 7.0)])
    assert (apart.acts[0].first_word_s, apart.acts[0].response_s) == (near(2.0), near(5.0))
    assert (apart.first_word.median, apart.response.median) == (near(2.0), near(5.0))
    joined = measure(channel((1.0, 2.0)), channel((4.0, 8.0)), [Mark("turn", 1.0, 2.0)], fillers=[Span(3.99, 5.0)])
    assert joined.acts[0].response_s == near(3.0)
    alone = measure(channel((1.0, 2.0)), channel((4.0, 4.8)), [Mark("turn", 1.0, 2.0)], fillers=[Span(3.99, 5.0)])
    assert (alone.acts[0].first_word_s, alone.acts[0].response_s) == (near(2.0), None)
