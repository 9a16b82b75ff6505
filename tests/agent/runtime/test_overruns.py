"""What takes too long is told, and told once in a while."""

from duologue.runtime.overruns import Overruns


def overruns():
    told = []
    return Overruns(lambda source, text, severity: told.append((source, text))), told


def test_a_stage_that_holds_the_loop_is_named():
    watch, told = overruns()
    watch.blocked("vad", 0.004, 1.0)
    watch.blocked("vad", 0.032, 1.1)
    assert told == [("vad", "held the event loop for 32 ms")]


def test_a_deadline_that_is_met_late_is_told():
    watch, told = overruns()
    watch.late(0.049, 1.0)
    watch.late(0.2, 2.0)
    assert told == [("loop", "a deadline was met 200 ms late")]


def test_each_kind_is_told_once_in_ten_seconds_with_its_count():
    watch, told = overruns()
    for now in (1.0, 2.0, 3.0, 11.5):
        watch.late(0.1, now)
    watch.blocked("vad", 0.1, 3.0)
    assert [text for source, text in told if source == "loop"] == [
        "a deadline was met 100 ms late",
        "a deadline was met 100 ms late; 3 times since the last note",
    ]
    assert [source for source, _ in told].count("vad") == 1
