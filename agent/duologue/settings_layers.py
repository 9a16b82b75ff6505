"""Where settings come from: each source as one layer of nested values that knows where every value of it stands.

`duologue.settings` lays them over each other and asks the one to blame when a value is wrong.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from duologue.errors import ConfigurationError
from duologue.nearest import did_you_mean, nearest
from duologue.packs import find_pack
from duologue.stage_names import spelled_out
from duologue.toml_source import NotUtf8Error, TomlError, UnfitFileError, decode_text, parse_toml, read_bytes

KeyPath = tuple[str | int, ...]

FILE_NAME: Final = "duologue.toml"
PREFIX: Final = "DUOLOGUE_"
CONFIG_VARIABLE: Final = "DUOLOGUE_CONFIG"
# Variables with our prefix that are no settings: the model cache, the hub's mirror, the tests' material.
OTHER_VARIABLES: Final = (
    CONFIG_VARIABLE, "DUOLOGUE_MODELS", "DUOLOGUE_HUB_URL", "DUOLOGUE_INDEX_URL", "DUOLOGUE_NPM_URL", "DUOLOGUE_SHARED",
)  # fmt: skip
# Plugins have their own: DUOLOGUE_X_…
PLUGIN_PREFIX: Final = "DUOLOGUE_X_"


@dataclass(frozen=True, slots=True)
class Layer:
    """One source. `name`: as `doctor` lists it. `where`: where the value at a path stands, for messages.

    `blame`: makes the error for a wrong value, where it is not `ConfigurationError`.
    """

    name: str
    values: Mapping[str, Any]
    where: Callable[[KeyPath], str]
    blame: Callable[[KeyPath, str, str], Exception] | None = field(default=None)

    def depth(self, path: KeyPath) -> int:
        """How many leading keys of `path` this layer holds."""
        here: Any = self.values
        for index, part in enumerate(path):
            if isinstance(here, Mapping) and part in here:
                here = here[part]
            elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
                here = here[part]
            else:
                return index + (part == "use" and isinstance(here, str))  # text alone is a stage's `use`
        return len(path)


def merge(layers: Sequence[Layer], stages: Iterable[str]) -> dict[str, Any]:
    """The layers, strongest first, as one nested dict: tables are merged key by key, all else is replaced.

    Options of a stage belong to the adapter beside them: a layer that names another `use` drops the options that weaker
    layers give for theirs (so that `--asr pocketsphinx` is not refused because the file gives whisper a model).
    """
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        values = dict(layer.values)
        for stage in stages:
            if stage not in values:
                continue
            choice = values[stage] = _choice(values[stage])
            below = _choice(merged.get(stage, {}))
            if isinstance(choice, dict) and isinstance(below, dict):
                merged[stage] = {} if _is_other(choice, below) else below
        merged = _over(merged, values)
    return merged


def with_stages_spelled_out(layer: Layer, stages: Iterable[str]) -> Layer:
    """`layer` with `NAME:MODEL` as `use` and an option. Raises `ConfigurationError`, see `spelled_out`."""
    spelled = {
        stage: spelled_out(stage, layer.values[stage], where=layer.where((stage, "use")))
        for stage in stages
        if stage in layer.values
    }
    return replace(layer, values={**layer.values, **spelled})


def _choice(value: Any) -> Any:
    """Text stands for `use`."""
    return {"use": value} if isinstance(value, str) else value


def _is_other(choice: Mapping[str, Any], below: Mapping[str, Any]) -> bool:
    return "use" in choice and below.get("use", "auto") not in ("auto", choice["use"])


def _over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


# --- the program and its flags ------------------------------------------------------------------------------------


def program_layer(overrides: Mapping[str, Any]) -> Layer:
    """What the embedding program says, in mappings of any kind. Raises `ConfigurationError` for wrong keys."""
    return Layer("arguments", _plain(overrides, ()), lambda path: "argument")


def _plain(value: Any, path: tuple[str, ...]) -> Any:
    """Mappings as dicts, at every level; whoever passes a choice of a stage means its table."""
    if hasattr(value, "options") and hasattr(value, "use"):
        return {"use": value.use, **value.options}
    if not isinstance(value, Mapping):
        return value
    for key in value:
        if not isinstance(key, str) or not key:
            inside = f" in {'.'.join(path)}" if path else ""
            raise ConfigurationError(
                f"argument: the key {key!r}{inside} is no name", hint='Write keys as text: {"asr": {"use": "whisper"}}'
            )
    return {key: _plain(inner, (*path, key)) for key, inner in value.items()}


def flags_layer(assignments: Iterable[str]) -> Layer:
    """`key.path=value` texts. Raises `ConfigurationError` for one that has no `=`."""
    values: dict[str, Any] = {}
    given: dict[KeyPath, str] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        parts = tuple(key.strip().split("."))
        if not equals or not all(parts):
            raise ConfigurationError(
                f"--set {assignment}: expected KEY=VALUE", hint="Write it like --set asr.model=base"
            )
        _put(values, parts, _decoded(text), f"--set {key.strip()}")
        given[parts] = f"--set {key.strip()}"
    return Layer("--set flags", values, lambda path: _given(given, path))


def _given(given: Mapping[KeyPath, str], path: KeyPath) -> str:
    """The name under which `path`, a parent or a child of it was given."""
    for length in range(len(path), 0, -1):
        for parts, name in given.items():
            if parts[:length] == path[:length]:
                return name
    return ""


def _decoded(text: str) -> Any:
    """A value given as text: JSON lists and tables as such, all else stays text (the field's type reads it)."""
    stripped = text.strip()
    if stripped[:1] in ("[", "{"):
        try:
            return json.loads(stripped)
        except (json.JSONDecodeError, RecursionError):  # the field's type will complain of it
            return text
    return text


def _put(values: dict[str, Any], parts: Sequence[str], value: Any, name: str) -> None:
    """Set `values[a][b][c]`; text in the way is a stage's `use`. Raises `ConfigurationError` if it can't be one."""
    here = values
    for part in parts[:-1]:
        inner = here.setdefault(part, {})
        if isinstance(inner, str):
            inner = here[part] = {"use": inner}
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{name}: {part} is given both as a whole and by its parts", hint="Keep one")
        here = inner
    old = here.get(parts[-1])
    here[parts[-1]] = {**old, "use": value} if isinstance(old, dict) and isinstance(value, str) else value


# --- the environment ----------------------------------------------------------------------------------------------


def environment_layer(environ: Mapping[str, str], root: type[BaseModel]) -> Layer:
    """`DUOLOGUE_ASR__MODEL=base`: two underscores between levels; lists as JSON, or item by item (`…__FILLERS__0=`).

    Raises `ConfigurationError` for a variable with our prefix whose first part is no field of `root`: a typo in the
    environment would otherwise be silent.
    """
    values: dict[str, Any] = {}
    given: dict[KeyPath, str] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable.startswith(PLUGIN_PREFIX) or variable in OTHER_VARIABLES:
            continue
        parts = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if not all(parts) and parts[0] in root.model_fields:
            raise ConfigurationError(
                f"environment variable {variable}: a name is missing beside the two underscores",
                hint=f"Write it like {PREFIX}{parts[0].upper()}__KEY, or {PREFIX}{parts[0].upper()} for the whole",
            )
        if parts[0] not in root.model_fields:
            raise ConfigurationError(
                f"environment variable {variable}: no such setting", hint=_right_variable(variable, parts, root)
            )
        _put(values, parts, _decoded(environ[variable]), f"environment variable {variable}")
        given[parts] = f"environment variable {variable}"
    return Layer("environment", _lists(values), lambda path: _given(given, _as_text(path)))


def _as_text(path: KeyPath) -> KeyPath:
    return tuple(str(part) for part in path)


def _lists(value: Any) -> Any:
    """Tables whose keys are all 0, 1, 2, … as lists."""
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(item) for key, item in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner


def _right_variable(variable: str, parts: Sequence[str], root: type[BaseModel]) -> str:
    candidates = ["__".join([name, *parts[1:]]).upper() for name in root.model_fields]
    # DUOLOGUE_ASR_MODEL: one underscore where two belong
    text = "__".join(parts)
    candidates += [
        f"{name}__{text[len(name) + 1 :]}".upper() for name in root.model_fields if text.startswith(f"{name}_")
    ]
    # without the prefix, which would make every name resemble every other
    guess = nearest(variable[len(PREFIX) :], candidates + [name[len(PREFIX) :] for name in OTHER_VARIABLES])
    return f"Did you mean {PREFIX}{guess}?" if guess else did_you_mean(parts[0], root.model_fields)


# --- files --------------------------------------------------------------------------------------------------------


def find_file(config: str | os.PathLike[str] | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    """The settings file: the named one, which must be there, or the folder's, which need not."""
    named = config if config is not None else environ.get(CONFIG_VARIABLE)
    if named is None:
        path = folder / FILE_NAME
        return path if path.is_file() else None
    path = folder / Path(named).expanduser()
    if not path.is_file():
        said_by = "--config" if config is not None else CONFIG_VARIABLE
        raise ConfigurationError(f"{path}: no such settings file (named by {said_by})", hint="Check the path")
    return path


def file_layer(path: Path) -> Layer:
    """A TOML file. Raises `ConfigurationError` with file and line when it can't be read."""
    try:
        document = parse_toml(decode_text(read_bytes(path)))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}", hint="Check its permissions") from error
    except UnfitFileError as error:
        raise ConfigurationError(f"{path}: {error}", hint="Put a text file in its place") from error
    except (TomlError, NotUtf8Error) as error:
        raise ConfigurationError(f"{path}:{error.line}: broken TOML: {error}", hint="Mend that line") from error

    def where(key_path: KeyPath) -> str:
        line = document.line_of(key_path)
        return f"{path}:{line}" if line else str(path)

    return Layer(str(path), document.values, where)


def pack_layer(name: str, language: Any, folder: Path) -> Layer:
    """What the pack recommends; a mistake in it is reported as the pack's."""
    pack = find_pack(name, folder=folder)
    values = pack.recommended(language if isinstance(language, str) else None)
    return Layer(
        f"pack {pack.name}",
        values,
        lambda path: f"pack {pack.name}",
        lambda path, sentence, hint: pack.blame(("settings", *path), f"settings.{sentence}", hint),
    )
