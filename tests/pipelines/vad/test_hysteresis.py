"""Onsets and offsets out of probabilities, by literal windows of 32 ms."""

from duologue.ports.vad import Offset, Onset
from duologue_pipelines.vad.hysteresis import Hysteresis, Thresholds


def events(probabilities: list[float], thresholds: Thresholds) -> list[Onset | Offset]:
    state = Hysteresis(thresholds)
    found = [
        state.add_probability(p, round(i * 0.032, 3), round((i + 1) * 0.032, 3)) for i, p in enumerate(probabilities)
    ]
    return [event for event in found if event is not None]


PLAIN = Thresholds(onset=0.5, offset=0.35, min_speech_seconds=0.032, hangover_seconds=0.064)


def test_speech_begins_with_its_first_voiced_window_and_ends_with_its_last() -> None:
    assert events([0.1, 0.9, 0.9, 0.1, 0.1, 0.1], PLAIN) == [Onset(0.032), Offset(0.096)]


def test_between_the_thresholds_speech_goes_on_but_does_not_begin() -> None:
    assert events([0.4, 0.4, 0.4], PLAIN) == []
    assert events([0.9, 0.4, 0.4, 0.1, 0.1], PLAIN) == [Onset(0.0), Offset(0.096)]


def test_a_gap_shorter_than_the_hangover_is_bridged() -> None:
    assert events([0.9, 0.1, 0.9, 0.1, 0.1], PLAIN) == [Onset(0.0), Offset(0.096)]


def test_a_click_shorter_than_the_least_speech_is_no_speech() -> None:
    patient = Thresholds(0.5, 0.35, min_speech_seconds=0.096, hangover_seconds=0.064)
    assert events([0.9, 0.1, 0.1, 0.1], patient) == []
    assert events([0.9, 0.9, 0.9, 0.1, 0.1], patient) == [Onset(0.0), Offset(0.096)]


def test_what_the_detector_hears_late_is_set_back_but_never_behind_what_was_told() -> None:
    late = Thresholds(0.5, 0.35, 0.032, 0.032, onset_lag_seconds=0.05, offset_lag_seconds=0.05)
    assert events([0.1, 0.1, 0.9, 0.1, 0.9, 0.1], late) == [
        Onset(0.064 - 0.05),
        Offset(0.096 - 0.05),
        Onset(0.128 - 0.05),
        Offset(0.16 - 0.05),
    ]
    assert events([0.9, 0.1], late) == [Onset(0.0), Offset(0.0)]
