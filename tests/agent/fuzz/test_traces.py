"""A trace with anything in it is refused with file and line, or replays: the same, or with the first difference."""

import json
import random

import pytest

from agent.fuzz import doctoring
from duologue.runtime.replay import Replay, TraceError, replay_file


def check(path, lines):
    """What a replay makes of `lines`, bytes each: a `Replay`, or None with an error that says where."""
    path.write_bytes(b"\n".join(lines) + b"\n")
    try:
        found = replay_file(path)
    except TraceError as error:
        assert str(path) in str(error)
        return None
    assert isinstance(found, Replay)
    return found


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.jsonl"


def lines_of(recorded):
    return [line.encode() for line in recorded.trace]


def first_of_each(recorded):
    """Where each kind of line stands first."""
    found = {}
    for number, line in enumerate(recorded.trace):
        read = json.loads(line)
        found.setdefault((read["kind"], read.get("type")), number)
    return found


BREAKS = {
    "gone": lambda lines, at: [*lines[:at], *lines[at + 1 :]],
    "twice": lambda lines, at: [*lines[:at], lines[at], *lines[at:]],
    "late": lambda lines, at: [*lines[:at], *lines[at + 1 : at + 4], lines[at], *lines[at + 4 :]],
    "last": lambda lines, at: lines[: at + 1],
    "first": lambda lines, at: [lines[0], *lines[at:]],
    "torn": lambda lines, at: [*lines[:at], lines[at][: len(lines[at]) // 2], *lines[at + 1 :]],
    "empty": lambda lines, at: [*lines[:at], b"", *lines[at + 1 :]],
    "binary": lambda lines, at: [*lines[:at], bytes(range(256)), *lines[at + 1 :]],
    "nested": lambda lines, at: [*lines[:at], b"[" * 5000 + b"]" * 5000, *lines[at + 1 :]],
    "no object": lambda lines, at: [*lines[:at], b"3", *lines[at + 1 :]],
    "a header": lambda lines, at: [*lines[:at], lines[0], *lines[at + 1 :]],
}


def test_the_recorded_call_replays_and_knows_lines_of_every_kind(recorded, path):
    found = check(path, lines_of(recorded))
    assert found.difference is None and found.ended and found.events > 250
    assert len(first_of_each(recorded)) > 35


@pytest.mark.parametrize("how", BREAKS)
def test_a_line_that_is_broken_misplaced_or_missing(recorded, path, how):
    holes = []
    lines = lines_of(recorded)
    for kind, at in first_of_each(recorded).items():
        with doctoring.noting(holes, f"{how}: {kind}, line {at + 1}"):
            check(path, BREAKS[how](lines, at))
    assert not holes, "\n".join(holes)


def test_each_field_of_each_kind_of_line_with_anything_in_it(recorded, path):
    holes, refused, lines = [], 0, lines_of(recorded)
    header = json.loads(lines[0])
    fields = [(at, one) for at in first_of_each(recorded).values() for one in doctoring.walk(json.loads(lines[at]))]
    fields = [(at, one) for at, one in fields if at or one[0] not in ("session", "stages", "is_language_model")]
    times = int(1200 * doctoring.TIMES)
    for seed in range(times):
        rng = random.Random(seed)
        at, field = rng.choice(fields)
        line = json.loads(lines[at])
        value = doctoring.odd_value(rng, line, field, json.loads(rng.choice(lines)) if at else header)
        line = doctoring.doctored(line, field, value)
        changed = [*lines[:at], json.dumps(line).encode(), *lines[at + 1 : at + 60]]
        with doctoring.noting(holes, f"seed {seed}: line {at + 1}, {'.'.join(map(str, field))} = {value!r:.40}"):
            refused += check(path, changed) is None
    assert not holes, "\n".join(holes)
    assert times / 5 < refused < times * 4 / 5  # both ways are met, or this proves nothing


def test_bytes_that_fell_over_on_the_way(recorded, path):
    holes, lines = [], lines_of(recorded)
    for seed in range(int(300 * doctoring.TIMES)):
        rng = random.Random(seed)
        changed = list(lines)
        for _ in range(rng.choice((1, 3))):
            at = rng.choice((0, rng.randrange(len(lines))))
            line = bytearray(changed[at])
            for _ in range(rng.choice((1, 4))):
                line[rng.randrange(len(line))] ^= 1 << rng.randrange(8)
            changed[at] = bytes(line)
        with doctoring.noting(holes, f"seed {seed}"):
            check(path, changed)
    assert not holes, "\n".join(holes)
