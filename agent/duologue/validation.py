"""What pydantic has to say, in sentences that a person can act on. Shared by settings and packs.

A complaint names the key as it is written in the file (`endpointing.patience`), what was found and what was expected,
and, for a wrong key, the nearest right one.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import AfterValidator, BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from duologue.nearest import nearest

# What stands for "none" where a format has no word for it (TOML, environment variables).
OFF_WORDS: Final = frozenset({"none", "null", "off"})

_EXPECTED: Final = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be text",
    "tuple_type": 'must be a list (in the environment as JSON: ["a", "b"])',
    "list_type": 'must be a list (in the environment as JSON: ["a", "b"])',
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "dataclass_type": "must be a table",
    "path_type": "must be a path",
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """One thing wrong. `path`: keys from the top. `message`: a sentence's rest after the key. `hint`: the next step."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""

    @property
    def sentence(self) -> str:
        """`endpointing.patience must lie between …`."""
        return f"{dotted(self.path)} {self.message}"


def dotted(path: Iterable[str | int]) -> str:
    """`("reply", "fillers", 0)` as `reply.fillers[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def check_between(value: float, low: float, high: float) -> None:
    """Raise what pydantic turns into a complaint unless `low` ≤ `value` ≤ `high`; only what is finite lies anywhere."""
    if not (low <= value <= high and math.isfinite(value)):
        limits = f"must lie between {low} and {high}" if math.isfinite(high) else f"must be {low} or more"
        raise PydanticCustomError("between", "{limits}, got {value}", {"limits": limits, "value": f"{value:g}"})


def between(low: float, high: float) -> AfterValidator:
    """For `Annotated[float, between(0.5, 2.0)]`."""

    def check(value: float) -> float:
        check_between(value, low, high)
        return value

    return AfterValidator(check)


def one_of(values: Sequence[int]) -> AfterValidator:
    """For `Annotated[int, one_of((1, 2))]`."""

    def check(value: int) -> int:
        if value not in values:
            *most, last = map(str, values)
            limits = f"must be {', '.join(most)} or {last}"
            raise PydanticCustomError("between", "{limits}, got {value}", {"limits": limits, "value": str(value)})
        return value

    return AfterValidator(check)


def complaints(error: ValidationError, root: type) -> list[Complaint]:
    """What `error`, raised while reading `root` (a model or dataclass), says."""
    return [_complaint(details, root) for details in error.errors(include_url=False)]


def _complaint(details: ErrorDetails, root: type) -> Complaint:
    path = tuple(part for part in details["loc"] if part != "[key]")  # pydantic's word for a wrong key
    context = details.get("ctx", {})
    if "key" in context:  # raised by a validator of the whole table, which knows the key
        path = (*path, context["key"])
    kind = details["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        return Complaint(path, "is no known key", _right_key(path, root))
    if kind == "missing":
        return Complaint(path, "is missing")
    if kind == "literal_error":
        return Complaint(path, f"must be {context['expected']}, got {shown(details['input'])}")
    if kind in ("between", "sentence"):  # ours: it says what was expected
        return Complaint(path, details["msg"], context.get("hint", ""))
    if kind == "too_short":
        return Complaint(path, "must not be empty")
    expected = _EXPECTED.get(kind)
    if expected is not None and str(details["input"]).lower() in OFF_WORDS:
        expected += " and can't be switched off"
    if expected is not None:
        return Complaint(path, f"{expected}, got {shown(details['input'])}")
    message = details["msg"].removeprefix("Value error, ")
    return Complaint(path, message if kind == "value_error" else f"is wrong: {message}, got {shown(details['input'])}")


def shown(value: object) -> str:
    """`value` as a message quotes it, cut at 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _right_key(path: Sequence[str | int], root: type) -> str:
    """The nearest key beside the wrong one, else one of that name elsewhere in the tree."""
    wrong = str(path[-1])
    siblings = list(_fields(_type_at(root, path[:-1])))
    prefix = [part for part in path[:-1] if isinstance(part, str)]
    # at the top, `asr_use` means asr.use
    guess = nearest(wrong, siblings if prefix else [dotted(full) for full in _leaf_paths(root)])
    if guess is not None:
        return f"Did you mean {dotted([*prefix, guess])!r}?"
    leaves: dict[str, str] = {}
    for full in _leaf_paths(root):
        leaves.setdefault(full[-1], dotted(full))
    elsewhere = nearest(wrong, leaves)
    if elsewhere is not None:
        return f"Did you mean {leaves[elsewhere]!r}?"
    return f"Known here: {', '.join(sorted(siblings))}" if siblings else ""


def _fields(kind: Any) -> Mapping[str, Any]:
    """Field names and their types of a model or dataclass; empty for anything else."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return {}


def _type_at(root: Any, path: Sequence[str | int]) -> Any:
    kind = root
    for part in path:
        fields = _fields(kind)
        if fields:
            kind = fields.get(str(part))
            continue
        # the value type of a dict, the item type of a tuple
        inner = [argument for argument in typing.get_args(kind) if argument is not Ellipsis]
        kind = inner[-1] if inner else None
    return kind


def _leaf_paths(kind: Any, prefix: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    for name, inner in _fields(kind).items():
        yield (*prefix, name)
        yield from _leaf_paths(inner, (*prefix, name))


def admits_none(annotation: Any) -> bool:
    """Whether None is among the values of a type."""
    if annotation is None or annotation is type(None):
        return True
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return union and any(admits_none(argument) for argument in typing.get_args(annotation))


def off_as_none(value: object, annotation: Any) -> object:
    """None for the text "none", "null" or "off" where the type admits it; any other value as it is."""
    if isinstance(value, str) and value.lower() in OFF_WORDS and admits_none(annotation):
        return None
    return value
