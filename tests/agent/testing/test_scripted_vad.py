"""The scripted detector says what its script says, when it says."""

import numpy as np
import pytest

from duologue.audio import frames
from duologue.errors import ConfigurationError
from duologue.ports.vad import Offset, Onset
from duologue.testing.scripted_vad import ScriptedVad
from duologue.testing.virtual_time import run

LOUD = np.full(320, 4000, "<i2").tobytes()
QUIET = bytes(640)


def told(vad: ScriptedVad, pattern: str) -> list[tuple[float, Onset | Offset]]:
    stream = vad.open()
    pcm = b"".join(LOUD if mark == "#" else QUIET for mark in pattern)
    pairs = [(round(frame.end, 2), stream.push_frame(frame)) for frame in frames(pcm)]
    return [(at, _rounded(event)) for at, event in pairs if event is not None]


def _rounded(event: Onset | Offset) -> Onset | Offset:
    return Onset(round(event.since, 2)) if isinstance(event, Onset) else Offset(round(event.until, 2))


def test_loudness_begins_at_once_and_ends_60_ms_after() -> None:
    assert told(ScriptedVad(), "..###....") == [(0.06, Onset(0.04)), (0.16, Offset(0.1))]


def test_a_gap_of_40_ms_is_no_end() -> None:
    assert told(ScriptedVad(), "#..#....") == [(0.02, Onset(0.0)), (0.14, Offset(0.08))]


def test_delays_are_kept_and_what_is_over_before_its_onset_is_never_told() -> None:
    slow = ScriptedVad(onset_delay_s=0.1, offset_delay_s=0.04)
    assert told(slow, "#.........") == []
    assert told(slow, "######....") == [(0.1, Onset(0.0)), (0.16, Offset(0.12))]


def test_times_replace_loudness() -> None:
    vad = ScriptedVad(speech=[(0.04, 0.1), (0.14, 0.2)], onset_delay_s=0.02, offset_delay_s=0.02)
    assert told(vad, "." * 14) == [
        (0.06, Onset(0.04)), (0.12, Offset(0.1)), (0.16, Onset(0.14)), (0.22, Offset(0.2)),
    ]  # fmt: skip


def test_it_is_always_there() -> None:
    assert ScriptedVad.probe() == ""
    run(ScriptedVad().warm_up())
    run(ScriptedVad().aclose())


def test_a_script_that_runs_backwards_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="rising order"):
        ScriptedVad(speech=[(1.0, 0.5)])
    with pytest.raises(ConfigurationError, match="negative"):
        ScriptedVad(onset_delay_s=-1)
