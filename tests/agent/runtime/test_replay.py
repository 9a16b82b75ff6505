"""A recorded call, decided once more: the same, or the first difference; and what is said of a file that is none."""

import json

import pytest

from duologue.errors import DuologueError
from duologue.runtime.replay import TraceError, replay_file
from duologue.testing.scripted_llm import ScriptedReply


@pytest.fixture
def recorded(call, tmp_path):
    """The trace of a call with a cough, as a path and its lines."""
    path = tmp_path / "trace.jsonl"
    speech = [(1.0, 1.0), (4.0, 0.3)]
    replies = [ScriptedReply("There is a story to be told about a clock that ran backwards.")]
    call(speech, ["tell me a story"], replies, hang_up=9.0, session_options={"trace": path}).go()
    return path, path.read_text(encoding="utf-8").splitlines()


def rewrite(path, lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return replay_file(path)


def place(lines, kind):
    """Where the first action or event of a type stands."""
    return next(i for i, line in enumerate(lines) if json.loads(line).get("type") == kind)


def test_a_recorded_call_is_decided_the_same(recorded):
    replay = replay_file(recorded[0])
    assert replay.difference is None and replay.path == recorded[0]
    assert replay.ended and not rewrite(recorded[0], recorded[1][: place(recorded[1], "HoldPlayout") - 1]).ended
    assert replay.events == 17 and replay.actions > 8 and replay.seconds == 9.0


def test_a_doctored_action_is_shown_beside_what_the_core_decides(recorded):
    path, lines = recorded
    at = place(lines, "HoldPlayout")
    lines[at] = lines[at].replace('"reply":1', '"reply":7')
    found = rewrite(path, lines).difference
    assert (found.line, found.at) == (at + 1, pytest.approx(4.02, abs=0.05))
    assert (found.recorded, found.replayed) == (
        '{"type": "HoldPlayout", "reply": 7}',
        '{"type": "HoldPlayout", "reply": 1}',
    )


def test_an_action_that_is_missing_or_one_too_many_is_a_difference(recorded):
    path, lines = recorded
    at = place(lines, "HoldPlayout")
    missing = rewrite(path, lines[:at] + lines[at + 1 :]).difference
    assert (missing.line, missing.recorded) == (at + 1, "") and "HoldPlayout" in missing.replayed
    more = rewrite(path, [*lines[:at], lines[at], *lines[at:]]).difference
    assert (more.line, more.replayed) == (at + 2, "") and "HoldPlayout" in more.recorded
    cut_off = rewrite(path, lines[:at]).difference
    assert cut_off.line == at + 1 and "HoldPlayout" in cut_off.replayed


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda line: line[:-5], ":3: not JSON"),
        (lambda line: "[1]", ":3: expected an object"),
        (lambda line: '{"kind":"riddle"}', ":3: 'riddle' is no kind of entry"),
        (lambda line: '{"kind":"event","type":"Riddle","at":1.0}', ":3: ValueError: 'Riddle' is no event or action"),
        (lambda line: '{"kind":"event","type":"ReplyText","at":1.0}', ":3: ValueError: .*missing 2 required"),
        (lambda line: '{"kind":"event","type":"TurnOpened","at":"soon"}', ":3: at must be session seconds, got 'soon'"),
        (lambda line: '{"kind":"advance","at":1.0}', ":3: KeyError: 'until'"),
        (lambda line: '{"kind":"advance","at":1.0,"until":null}', ":3: TypeError"),
        (lambda line: '{"kind":"event","type":"SpeechStopped","at":1.0,"until":0.9}', ":3: the core refuses"),
        (lambda line: '{"kind":"event","type":"SpeechStarted","at":-1.0,"since":0.9}', ":3: the core refuses"),
        (lambda line: '{"kind":"event","type":"SayRequested","at":0.5,"text":"5"}', "difference"),
        (
            lambda line: '{"kind":"event","type":"SayRequested","at":0.5,"text":5}',
            ":3: .*expected str, found 5",
        ),
        (lambda line: '{"kind":"event","type":"ReplyFailed","at":1.0,"reply":1,"stage":"x","error":"y"}', "fine"),
    ],
)
def test_a_broken_line_is_named(recorded, change, problem):
    path, lines = recorded
    lines[2] = change(lines[2])
    if problem in ("fine", "difference"):
        assert bool(rewrite(path, lines[:3]).difference) == (problem == "difference")
        return
    with pytest.raises(TraceError, match=f"{path.name}{problem}") as caught:
        rewrite(path, lines)
    assert isinstance(caught.value, DuologueError)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ('{"kind":"note","at":1.0}', ":1: expected a header"),
        ('{"kind":"header","version":99}', ":1: a trace of version 99, expected 2. Replay it with the release"),
        ('{"kind":"header","version":1}', ":1: a trace of version 1, expected 2"),
        ('{"kind":"header","version":2}', ":1: the header does not fit: 'conversation'"),
        ('{"kind":"header","version":2,"conversation":{"policy":{"temper":1}}}', ":1: .*Policy has no temper"),
        ('{"kind":"header","version":2,"conversation":{"policy":{}}}', ":1: .*not a snapshot"),
    ],
)
def test_a_broken_header_is_said_to_be_one(recorded, header, problem):
    path, lines = recorded
    with pytest.raises(TraceError, match=f"{path.name}{problem}"):
        rewrite(path, [header, *lines[1:]])


def test_an_empty_a_missing_and_a_binary_file_are_told_apart(tmp_path):
    empty, binary = tmp_path / "empty.jsonl", tmp_path / "binary.jsonl"
    empty.write_text("")
    binary.write_bytes(b"\xff\xfe\x00")
    for path, problem in [
        (empty, ":1: expected a header"),
        (binary, "not UTF-8 text"),
        (tmp_path / "none.jsonl", "No such file or directory. Check the path"),
    ]:
        with pytest.raises(TraceError, match=problem):
            replay_file(path)
