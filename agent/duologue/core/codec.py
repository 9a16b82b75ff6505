"""The core's data as JSON-able dicts and back: for traces, replays and sessions handed over.

Types come from the annotations.
"""

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from duologue.core import actions, events

NAMED: Mapping[str, type] = {
    name: kind
    for module in (events, actions)
    for name, kind in vars(module).items()
    if isinstance(kind, type) and is_dataclass(kind)
}


def to_data(value: Any) -> Any:
    """Dataclasses to dicts, tuples to lists, enums to their values; the rest as it is."""
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
    if origin in (Union, types.UnionType):
        return _from_union(kind, data)
    if origin in (list, tuple):
        return _from_sequence(kind, data)
    if isinstance(kind, type):
        if is_dataclass(kind):
            return _from_dict(kind, data)
        if issubclass(kind, Enum):
            return kind(data)
        if kind is float and isinstance(data, int):
            return float(data)
    return data


def _from_union(kind: Any, data: Any) -> Any:
    if data is None:
        return None
    options = [option for option in get_args(kind) if option is not type(None)]
    if len(options) == 1 or not isinstance(data, dict):
        return from_data(options[0], data)
    names = set(data)
    fitting = [option for option in options if is_dataclass(option) and {f.name for f in fields(option)} == names]
    if not fitting:
        raise ValueError(f"none of {', '.join(str(option) for option in options)} has the fields {sorted(names)}")
    return from_data(fitting[0], data)


def _from_sequence(kind: Any, data: Any) -> Any:
    inner = get_args(kind)
    if get_origin(kind) is list:
        return [from_data(inner[0], item) for item in data]
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(from_data(inner[0], item) for item in data)
    return tuple(from_data(one, item) for one, item in zip(inner, data, strict=True))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _from_dict(kind: type, data: dict[str, Any]) -> Any:
    hints = _hints(kind)
    unknown = set(data) - set(hints)
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
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
