"""A recorded trace, told to a fresh core once more: it must decide the same, or the first difference is shown."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from duologue.core.actions import Action, CloseSession
from duologue.core.codec import decode, encode
from duologue.core.conversation import Conversation
from duologue.core.policy import Policy
from duologue.errors import ConfigurationError, DuologueError, ProtocolError
from duologue.runtime.trace import VERSION


class TraceError(DuologueError):
    """A trace that can't be read: which file and line, and what was expected."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the core decides otherwise. `line`: of the trace (1-based). Texts are JSON, empty for nothing."""

    line: int
    at: float
    recorded: str
    replayed: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay found. `difference` None: the core gave the same actions throughout. `ended`: the trace holds the
    session's end; one that was cut off, by a crash or the trace's bound, does not."""

    path: Path
    events: int
    actions: int
    seconds: float
    difference: Difference | None
    ended: bool = True


# What values of a wrong kind or size trip the core up with.
MISFITS: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def replay_file(path: Path) -> Replay:
    """Replay the trace at `path`. Raises `TraceError` where it can't be read."""
    lines = _lines(path)
    conversation = _begin(path, lines)
    pending: list[Action] = []
    events = actions = 0
    at, number, ended = 0.0, 1, False
    for number, line in lines:
        kind, at = line.get("kind"), _seconds(path, number, line.get("at", at))
        if kind == "note":
            continue
        if kind == "action":
            actions += 1
            replayed = pending.pop(0) if pending else None
            ended = ended or isinstance(replayed, CloseSession)
            if replayed is None or encode(replayed) != _bare(line):
                return Replay(path, events, actions, at, _difference(number, at, line, replayed))
            continue
        if pending:
            return Replay(path, events, actions, at, _difference(number, at, None, pending[0]))
        events += 1
        pending = _step(conversation, path, number, line)
    left = _difference(number + 1, at, None, pending[0]) if pending else None
    return Replay(path, events, actions, at, left, ended)


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, text in enumerate(file, 1):
                try:
                    line = json.loads(text)
                except (ValueError, RecursionError) as error:  # the second for nesting beyond all reason
                    what = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                    raise TraceError(f"{path}:{number}: not JSON ({what})", hint="Was the file cut off?") from error
                if not isinstance(line, dict):
                    raise TraceError(f"{path}:{number}: expected an object", hint="Give a trace.jsonl of Duologue")
                yield number, line
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror or error}", hint="Check the path") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not UTF-8 text", hint="Give a trace.jsonl of Duologue") from error


def _begin(path: Path, lines: Iterator[tuple[int, dict[str, Any]]]) -> Conversation:
    number, header = next(lines, (0, {}))
    if header.get("kind") != "header":
        raise TraceError(f"{path}:{number or 1}: expected a header", hint="Give a trace.jsonl, from its start")
    if header.get("version") != VERSION:
        raise TraceError(
            f"{path}:1: a trace of version {header.get('version')!r}, expected {VERSION}",
            hint="Replay it with the release that recorded it",
        )
    try:
        return Conversation.restore(Policy(), header["conversation"])
    except (*MISFITS, ConfigurationError) as error:
        raise TraceError(f"{path}:1: the header does not fit: {error}") from error


def _step(conversation: Conversation, path: Path, number: int, line: dict[str, Any]) -> list[Action]:
    kind = line.get("kind")
    try:
        if kind == "advance":
            return conversation.advance(float(line["until"]))
        if kind == "take_over":
            return conversation.take_over()
        if kind == "event":
            return conversation.feed(decode(_bare(line)))
    except MISFITS as error:
        raise TraceError(f"{path}:{number}: {type(error).__name__}: {error}", hint="Was the file edited?") from error
    except ProtocolError as error:
        raise TraceError(f"{path}:{number}: the core refuses what it took when this was recorded: {error}") from error
    raise TraceError(f"{path}:{number}: {kind!r} is no kind of entry")


def _seconds(path: Path, number: int, at: Any) -> float:
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise TraceError(f"{path}:{number}: at must be session seconds, got {at!r}", hint="Was the file edited?")
    try:
        return float(at)
    except OverflowError as error:
        raise TraceError(f"{path}:{number}: at is beyond all seconds", hint="Was the file edited?") from error


def _bare(line: dict[str, Any]) -> dict[str, Any]:
    """The event or action of a line; an event's own `at` is exact, the line's is not needed."""
    return {key: value for key, value in line.items() if key not in ("kind", "step_at")}


def _difference(number: int, at: float, recorded: dict[str, Any] | None, replayed: Action | None) -> Difference:
    was = json.dumps(_bare(recorded), ensure_ascii=False) if recorded else ""
    now = json.dumps(encode(replayed), ensure_ascii=False) if replayed else ""
    return Difference(number, at, was, now)
