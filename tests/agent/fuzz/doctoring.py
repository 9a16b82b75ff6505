"""Made-up input for what reads data of others: JSON with something changed, and events of every kind out of nowhere.

Everything is derived by looking: fields by walking the data, events by their annotations. So a new field or event is
fuzzed from the day it exists. Everything comes of a seed; a failing case names the one that brings it back.
"""

import copy
import enum
import os
import random
import traceback
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, Final

from duologue.core import events
from duologue.core.conversation import Conversation
from duologue.core.policy import EndpointingPolicy, Policy, ReplyPolicy
from duologue.runtime.told_by_programs import TOLD_BY_STAGES

# How often each fuzzer runs in the suite; a night's worth is FUZZ_TIMES=100.
TIMES: Final = float(os.environ.get("FUZZ_TIMES", "1"))

Path = tuple[str | int, ...]
GONE: Final = object()  # as a value: the key or item is taken out


def _nested(depth: int) -> list[Any]:
    nest: list[Any] = []
    for _ in range(depth):
        nest = [nest]
    return nest


# What a field may hold that should hold something else.
ODD_VALUES: Final = (
    GONE, None, True, False, -1, 0, 1, 7, 10**30, -(10**30), -0.5, 0.25, 1e11, 1e308, float("nan"), float("inf"),
    float("-inf"), "", "x", "1", "listening", "\ud83d", "x" * 3000, [], [None], [1, "x"], _nested(100), {}, {"x": 1},
    {"1": None}, {"number": 1},
)  # fmt: skip


def walk(data: Any, path: Path = ()) -> Iterator[Path]:
    """Where something stands in `data`, leaves and branches, the root left out."""
    inner: Any = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from walk(value, (*path, key))


def shape(path: Path) -> Path:
    """The same for every item of a list."""
    return tuple("*" if isinstance(part, int) else part for part in path)


def at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def doctored(data: Any, path: Path, value: Any) -> Any:
    """`data` with `value` at `path`; what the path does not touch is shared with it."""
    key, rest = path[0], path[1:]
    changed = copy.copy(data)
    if rest:
        changed[key] = doctored(data[key], rest, value)
    elif value is GONE:
        del changed[key]
    else:
        changed[key] = value
    return changed


def odd_value(rng: random.Random, data: Any, path: Path, donor: Any) -> Any:
    """Something for `path` of `data`: what stands there in `donor`, which fits best and deceives most; what stands
    elsewhere in `data`; anything.
    """
    kind = rng.random()
    if kind < 0.4:
        twins = [other for other in walk(donor) if shape(other) == shape(path)]
        return at(donor, rng.choice(twins)) if twins else GONE
    return at(data, rng.choice(list(walk(data)))) if kind < 0.6 else rng.choice(ODD_VALUES)


@contextmanager
def noting(holes: list[str], case: str) -> Iterator[None]:
    """Add to `holes` what `case` raises, with the place; what all of them are is worth more than the first."""
    try:
        yield
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        holes.append(f"{case}: {type(error).__name__}: {error} ({last.filename.rpartition('/')[2]}:{last.lineno})")


# --- events -----------------------------------------------------------------------------------------------------------

EVENTS: Final = [
    kind
    for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
]
# What a caller's side may tell through its transport, but for the end.
OF_THE_CALLER: Final = [kind for kind in EVENTS if kind not in (*TOLD_BY_STAGES, events.CloseRequested)]
TEXTS: Final = (
    "",
    "hello",
    "no stop it please",
    "mm-hm",
    "What is it?",
    "你好。",
    "\ud83d",
    "call-1",
    "call-2",
    "x" * 500,
)


def random_event(rng: random.Random, conversation: Conversation, kinds: list[type] = EVENTS) -> Any:
    """An event of any kind, its values of the right types and otherwise anything; numbers are often those in use."""
    kind = rng.choice(kinds)
    made = _made(rng, kind, conversation)
    now = conversation.now + rng.choice((0.0, 0.0, 0.02, 0.3, 1.5, 30.0, -0.1))
    return typing.cast(Any, type(made))(**{**{one.name: getattr(made, one.name) for one in fields(made)}, "at": now})


def _made(rng: random.Random, kind: Any, conversation: Conversation, name: str = "") -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _made(rng, rng.choice(inner), conversation, name)
    if origin is typing.Literal:
        return rng.choice(inner)
    if origin is tuple and inner[-1] is not Ellipsis:
        return tuple(_made(rng, one, conversation, name) for one in inner)
    if origin in (tuple, list, frozenset):
        return origin(_made(rng, inner[0], conversation, name) for _ in range(rng.choice((0, 1, 3))))
    if origin is not None and issubclass(origin, Mapping):
        return {}
    if kind is Policy:  # its numbers have ranges, which the settings check
        return rng.choice((Policy(), Policy(reply=ReplyPolicy(speculate=False)), Policy(EndpointingPolicy("manual"))))
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return typing.cast(Any, kind)(
            **{one.name: _made(rng, hints[one.name], conversation, one.name) for one in fields(kind)}
        )
    return _plain(rng, kind, conversation, name)


def _plain(rng: random.Random, kind: Any, conversation: Conversation, name: str) -> Any:
    if kind is int:
        used = {"turn": conversation.turn, "reply": conversation.reply}.get(name, 1)
        return used if rng.random() < 0.7 else rng.choice((-1, 0, 1, 2, 3, 10**9))
    if kind is float:
        return max(0.0, conversation.now + rng.choice((0.0, -0.2, -1.0, 0.5)))
    if kind is str:
        return rng.choice(TEXTS)
    if kind is bool:
        return rng.random() < 0.5
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return rng.choice(list(kind))
    return None
