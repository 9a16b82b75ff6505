"""Frame by frame, without a clock: what the caller does at what it hears."""

from collections.abc import Callable

import numpy as np
import pytest

from duologue.measure import UtteranceKind
from duologue_pipelines.transports.caller_script import Utterance, When
from duologue_pipelines.transports.reactive_caller import ReactiveCaller

QUIET = np.zeros(320, dtype=np.int16)
LOUD = np.tile(np.array([5000, -5000], dtype=np.int16), 160)


def said(
    when: When = "then", delay_s: float = 0.0, *, at_s: float = 0.0, patience_s: float = 5.0,
    kind: UtteranceKind = "turn", seconds: float = 0.1,
) -> Utterance:  # fmt: skip
    samples = np.full(round(seconds * 16000), 3000, dtype=np.int16)
    return Utterance(samples, "text", kind, when, delay_s, at_s, patience_s)


def talk(caller: ReactiveCaller, agent_speaks: Callable[[float], bool], seconds: float = 60.0) -> float:
    """Let the agent speak when told; the second at which the caller hung up."""
    for frame in range(round(seconds * 50)):
        if caller.next_frame(LOUD if agent_speaks(frame / 50) else QUIET) is None:
            return frame / 50
    raise AssertionError("it never hung up")


def never(_: float) -> bool:
    return False


def test_frames_are_whole_and_the_last_one_is_filled_up() -> None:
    caller = ReactiveCaller([said(seconds=0.03)], patience_s=0.1)
    frames = [caller.next_frame(QUIET) for _ in range(8)]
    assert [frame and len(frame) for frame in frames] == [640] * 7 + [None]
    assert frames[1] == np.full(160, 3000, dtype="<i2").tobytes() + bytes(320) and frames[2] == bytes(640)
    assert caller.now == pytest.approx(0.14)


def test_steps_follow_each_other_after_their_delays() -> None:
    caller = ReactiveCaller([said(delay_s=0.5), said(delay_s=0.2), said("at", at_s=2.0)], patience_s=1.0)
    assert talk(caller, never) == pytest.approx(3.1)
    assert [(mark.start, mark.end) for mark in caller.marks] == [
        (pytest.approx(0.5), pytest.approx(0.6)), (pytest.approx(0.8), pytest.approx(0.9)),
        (pytest.approx(2.0), pytest.approx(2.1)),
    ]  # fmt: skip


def test_it_waits_until_the_agent_is_done_and_is_not_fooled_by_breaths() -> None:
    caller = ReactiveCaller([said(), said("agent_done", 1.0)], hang_up_s=1.0, patience_s=2.0)
    talk(caller, lambda at: 1.0 <= at < 2.0 or 2.8 <= at < 3.0)
    assert caller.marks[1].start == pytest.approx(4.0, abs=0.03) and not caller.marks[1].missed


def test_it_talks_over_the_agent_once_that_was_heard_long_enough() -> None:
    caller = ReactiveCaller(
        [said(), said("agent_speaking", 0.5, kind="backchannel"), said("agent_speaking", 0.5, kind="interruption")],
        patience_s=1.0,
    )
    talk(caller, lambda at: 1.0 <= at < 1.3 or 1.5 <= at < 4.0)
    starts = [mark.start for mark in caller.marks[1:]]
    assert starts == [pytest.approx(1.7, abs=0.03), pytest.approx(2.3, abs=0.05)]
    assert [mark.kind for mark in caller.marks] == ["turn", "backchannel", "interruption"]


def test_it_does_not_talk_over_an_agent_that_has_finished() -> None:
    caller = ReactiveCaller([said(), said("agent_speaking", 1.0, patience_s=3.0)], patience_s=1.0)
    talk(caller, lambda at: 1.0 <= at < 1.9 or 3.0 <= at < 3.4)
    assert caller.marks[1].start == pytest.approx(3.1, abs=0.03) and not caller.marks[1].missed


def test_out_of_patience_it_goes_on_and_says_so() -> None:
    caller = ReactiveCaller([said(), said("agent_done", 1.0, patience_s=3.0)], patience_s=2.0)
    assert talk(caller, never) == pytest.approx(3.1 + 0.1 + 2.0, abs=0.05)
    assert caller.marks[1].missed and caller.marks[1].start == pytest.approx(3.1, abs=0.03)


def test_patience_does_not_run_out_while_the_agent_speaks() -> None:
    caller = ReactiveCaller([said("agent_done", 1.2, patience_s=1.5)], hang_up_s=1.0, patience_s=1.0)
    talk(caller, lambda at: 1.4 <= at < 9.0)
    assert caller.marks[0].start == pytest.approx(10.2, abs=0.05) and not caller.marks[0].missed


def test_it_hangs_up_when_the_last_answer_is_over() -> None:
    caller = ReactiveCaller([said()], hang_up_s=1.5, patience_s=10.0)
    assert talk(caller, lambda at: 0.6 <= at < 2.0) == pytest.approx(3.5, abs=0.05)


def test_with_nothing_to_say_it_listens_and_hangs_up() -> None:
    assert talk(ReactiveCaller([], patience_s=1.0), never) == pytest.approx(1.0, abs=0.05)
