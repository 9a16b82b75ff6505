"""The shorthand for a stage and its model: `whisper:tiny.en`, `openai:gpt-4.1-mini`, `piper:en_US-joe-medium`.

`NAME:MODEL` is `use = NAME` and the adapter's option that names its model: `model`, or else `voice`, whichever its
constructor has, or what the adapter says itself (class attribute `model_option`). Whatever stands before the colon and
is no adapter of the stage is a module (`package.module:Class`) and left alone.
"""

import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from duologue.errors import ConfigurationError
from duologue.stages import STAGE_NAMES, STAGES

MODEL_OPTIONS: Final = ("model", "voice")


def spelled_out(stage: str, value: Any, *, where: str = "") -> Any:
    """The choice of `stage`, text or a table, with a shorthand in it as `use` and the option; anything else as it is.

    `where`: who set it, for the message. Raises `ConfigurationError` for an adapter that has no model to be named, and
    for one that is named twice.
    """
    table = dict(value) if isinstance(value, Mapping) else {"use": value}
    use = table.get("use")
    if not isinstance(use, str):
        return value
    name, colon, model = use.partition(":")
    kind = STAGES[STAGE_NAMES.index(stage)]
    entries = [entry for entry in entry_points(group=kind.group) if entry.name == name] if colon else []
    if not entries or (kind.takes_several and "," in use):
        return value
    at = f"{where}: " if where else ""
    option = _model_option(entries[0].load)
    if not option or not model:
        missing = f"{name} has no model to be named" if model else "no model behind the colon"
        raise ConfigurationError(f"{at}{stage}: {use!r}: {missing}", hint=f"Write {stage}.use = {name!r}")
    if table.get(option, model) != model:
        raise ConfigurationError(
            f"{at}{stage}: the {option} is named twice, {model!r} in use and {table[option]!r} in {option}",
            hint="Keep one",
        )
    return {**table, "use": name, option: model}


def _model_option(load: Any) -> str:
    """The option that names the model of what `load` loads; empty where there is none."""
    try:
        adapter = load()
        parameters = inspect.signature(adapter).parameters
    except Exception:  # a stranger's module may raise anything: the registry tells what, when the adapter is made
        return MODEL_OPTIONS[0]
    said: str = getattr(adapter, "model_option", "")
    return said or next((option for option in MODEL_OPTIONS if option in parameters), "")
