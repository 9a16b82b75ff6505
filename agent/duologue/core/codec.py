"""The core's data as JSON-able dicts and back: for traces, replays and sessions handed over.

Types come from the annotations and are checked: a trace or a snapshot may have been edited, or be of another release.
"""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from duologue.core import actions, events
from duologue.core.options import PLAIN, ReplyOptions

NAMED: Mapping[str, type] = {
    name: kind
    for module in (events, actions)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and is_dataclass(kind)
}

SECONDS_MAX = 1e12  # no time or number of the core comes near it: thirty thousand years


def to_data(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists, enums to their values; the rest as it is.

    Of options only what is wanted otherwise: each reply has them, and hardly one has any.
    """
    if isinstance(value, ReplyOptions):
        wanted = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: to_data(option) for name, option in wanted.items() if option != getattr(PLAIN, name)}
    if is_dataclass(value):
        return {field.name: to_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [to_data(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): to_data(item) for key, item in value.items()}
    return value.value if isinstance(value, Enum) else value


def from_data(kind: Any, data: Any) -> Any:
    """`data` as `kind`, the inverse of `to_data`. `ValueError` or `TypeError` where it does not fit."""
    origin = get_origin(kind)
    if kind is Any:
        return data
    if origin in (Union, types.UnionType):
        return _from_union(kind, data)
    if origin in (list, tuple):
        return _from_sequence(kind, data)
    if origin is dict:
        key_kind, value_kind = get_args(kind)
        return {from_data(key_kind, key): from_data(value_kind, value) for key, value in _fit(dict, data).items()}
    if origin is Literal:
        return _one_of(get_args(kind), data)
    if isinstance(kind, type) and is_dataclass(kind):
        return _from_dict(kind, _fit(dict, data))
    return kind(data) if issubclass(kind, Enum) else _fit(kind, data)


def _one_of(known: tuple[Any, ...], data: Any) -> Any:
    if data not in known:
        raise ValueError(f"expected one of {', '.join(map(repr, known))}, found {data!r:.60}")
    return data


def _fit(kind: Any, data: Any) -> Any:
    """`data`, if it is a `kind`; a whole number is a float as well, but True is no number, and no float is without
    end."""
    if kind is float and type(data) in (int, float):
        if not -SECONDS_MAX < data < SECONDS_MAX:
            raise ValueError(f"expected a number of reasonable size, found {data!s:.60}")
        return float(data)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise ValueError(f"expected {kind.__name__}, found {data!r:.60}")
    return data


def _from_union(kind: Any, data: Any) -> Any:
    options = [option for option in get_args(kind) if option is not type(None)]
    if data is None and len(options) < len(get_args(kind)):
        return None
    if len(options) == 1:
        return from_data(options[0], data)
    names = set(_fit(dict, data))
    fitting = [option for option in options if {field.name for field in fields(option)} == names]
    if not fitting:
        known = " or ".join(option.__name__ for option in options)
        raise ValueError(f"expected {known}, found the fields {sorted(map(str, names))}")
    return from_data(fitting[0], data)


def _from_sequence(kind: Any, data: Any) -> Any:
    inner = get_args(kind)
    items = data if isinstance(data, tuple) else _fit(list, data)
    if get_origin(kind) is list:
        return [from_data(inner[0], item) for item in items]
    if inner[-1] is Ellipsis:
        return tuple(from_data(inner[0], item) for item in items)
    return tuple(from_data(one, item) for one, item in zip(inner, items, strict=True))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _from_dict(kind: type, data: dict[str, Any]) -> Any:
    hints = _hints(kind)
    unknown = set(data) - set(hints)
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(map(str, unknown)))}")
    return kind(**{name: from_data(hints[name], value) for name, value in data.items()})


def encode(item: events.Event | actions.Action) -> dict[str, Any]:
    """An event or action as a dict with its `type`."""
    return {"type": type(item).__name__, **to_data(item)}


def decode(data: Mapping[str, Any]) -> Any:
    """The event or action that `encode` wrote. `ValueError` names what is wrong."""
    kind = NAMED.get(str(data.get("type")))
    if kind is None:
        raise ValueError(f"{data.get('type')!r} is no event or action")
    try:
        return _from_dict(kind, {key: value for key, value in data.items() if key != "type"})
    except TypeError as error:
        raise ValueError(str(error)) from error
