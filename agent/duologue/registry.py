"""Adapters by name: built-in ones and third parties' come through the same door, entry points.

`use = "whisper"` finds the entry point `whisper` of the group `duologue.asr`; `use = "package.module:Class"` needs no
entry point at all. The keys beside `use` become the constructor's arguments, checked against its signature here, so
that a wrong one is reported with the nearest right one instead of as a `TypeError`.

`auto` takes, of those that can really be used here, the one with the highest `auto_rank`, a class attribute. So is
`languages`: the BCP 47 codes that a recogniser or synthesiser can do, `("*",)` for any; one that says nothing comes
after those that say they know the language wanted. Whoever has no `auto_rank` wants to be asked for by name: `auto`
takes it only where nothing else can be used.
"""

import inspect
import json
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from importlib.metadata import EntryPoint, PackageNotFoundError, distribution, entry_points
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, overload
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from duologue.errors import ConfigurationError, DuologueError, StageUnavailable
from duologue.languages import best_language
from duologue.nearest import did_you_mean, nearest
from duologue.ports.stage import Stage
from duologue.settings import StageChoice
from duologue.stages import NONE, STAGE_NAMES, STAGES, StageKind
from duologue.validation import complaints, off_as_none

PortT = TypeVar("PortT", bound=Stage)

COMMANDS: Final = "duologue.commands"
PACKAGE: Final = "duologue"
ANY_LANGUAGE: Final = "*"
_ANY_TYPE: Final = ConfigDict(arbitrary_types_allowed=True)


class Standing(IntEnum):
    """How far `auto` may go by an adapter's own word; the lower, the sooner it is taken."""

    FITS = 0
    SILENT_ON_LANGUAGE = 1
    BY_NAME_ONLY = 2


class AutoChoice(NamedTuple):
    """What `auto` takes, and why, in a sentence."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """An adapter that `auto` considered. `problem`: why it can't be used, or empty."""

    name: str
    rank: int
    problem: str
    standing: Standing = Standing.FITS


def names(stage: str) -> list[str]:
    """Names of all adapters of a stage, sorted; whether they work is not asked."""
    return sorted({entry.name for entry in _entries(stage)})


def adapter_class(stage: str, use: str, *, origin: str = "") -> type[Any]:
    """The class called `use`. `origin`: where that was set, for the message.

    Raises `ConfigurationError` for a name that nobody registered, `StageUnavailable` for a plugin that can't be loaded.
    """
    where = f"{origin}: " if origin else ""
    if ":" in use:
        module, _, attribute = use.partition(":")
        if not module or not attribute:
            raise ConfigurationError(f"{where}{stage}.use: {use!r} is not package.module:Class")
        entry: EntryPoint | None = EntryPoint(use, use, _kind(stage).group)
    else:
        entry = _entry(_entries(stage), use)
    if entry is None:
        known = names(stage)
        hint = did_you_mean(use, [*known, "auto"]) if known else "Install Duologue, or the plugin that brings it"
        raise ConfigurationError(f"{where}{stage}.use: there is no {stage} called {use!r}", hint=hint)
    adapter: type[Any] = _loaded(stage, use, entry)
    return adapter


def command(name: str) -> Callable[..., Any]:
    """What the entry point `name` of `duologue.commands` holds. Raises `ConfigurationError`."""
    entry = _entry(entry_points(group=COMMANDS), name)
    if entry is None:
        raise ConfigurationError(
            f"the command {name!r} is not installed",
            hint=f"Install Duologue with its pipelines: {install_command()}",
        )
    loaded: Callable[..., Any] = _loaded("command", name, entry)
    return loaded


def install_command(extra: str = "") -> str:
    """What to type to install Duologue anew with `extra` ("piper"), from where this installation came: a checkout, an
    address, or the package index."""
    extras = f"[{extra}]" if extra else ""
    try:
        origin = json.loads(distribution(PACKAGE).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, json.JSONDecodeError):
        origin = {}
    url = str(origin.get("url", ""))
    if not url:
        return f"pip install '{PACKAGE}{extras}'" if extra else f"pip install {PACKAGE}"
    if not url.startswith("file://") or not origin.get("dir_info", {}).get("editable"):
        return f"pip install '{PACKAGE}{extras} @ {url}'"
    checkout = Path(url2pathname(urlsplit(url).path))
    here = checkout == Path.cwd()
    pip = Path(sys.prefix) / "bin" / "pip"
    if not pip.is_file():
        shown = "pip"
    else:
        shown = str(pip.relative_to(checkout) if here and pip.is_relative_to(checkout) else pip)
    where = "." if here else str(checkout)
    return f"{shown} install -e '{where}{extras}'" if extra else f"{shown} install -e {where}"


def options_for(stage: str, use: str, choice: StageChoice, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for the constructor of `use`: the options of `choice`, read as the types that it names, and those of
    `offered` that it has parameters for. Raises `ConfigurationError` for a wrong option or a missing one."""
    adapter = adapter_class(stage, use, origin=choice.origin("use"))
    accepted, takes_any = _parameters(adapter)
    hints = _type_hints(adapter)
    arguments: dict[str, Any] = {}
    for key, value in choice.options.items():
        where = f"{choice.origin(key)}: " if choice.origin(key) else ""
        if key not in accepted and not takes_any:
            hint = did_you_mean(key, accepted) or "It takes none"
            raise ConfigurationError(f"{where}{stage}.{key}: {use} has no option {key!r}", hint=hint)
        arguments[key] = _read(f"{where}{stage}.{key}", value, hints[key]) if key in hints else value
    for key, value in offered.items():
        if key in accepted:
            arguments.setdefault(key, value)
    for key, parameter in accepted.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise ConfigurationError(f"{stage}.{key} is missing: {use} needs it", hint=f"Set {stage}.{key}")
    return arguments


@overload
def make(kind: StageKind[PortT], choice: StageChoice, /, **offered: Any) -> PortT: ...
@overload
def make(kind: str, choice: StageChoice, /, **offered: Any) -> Any: ...
def make(kind: StageKind[Any] | str, choice: StageChoice, /, **offered: Any) -> Any:
    """Construct the adapter that `choice` names; nothing is loaded yet. `kind`: the stage's row, or its name.

    `choice.use` must be a name: resolve "auto" first with `choose_auto` and `choice.model_copy(update={"use": name})`.
    `offered`: what the engine has for adapters that want it; each gets what its constructor names.
    Raises `ConfigurationError`, `StageUnavailable`.
    """
    stage = kind if isinstance(kind, str) else kind.name
    if choice.use == "auto":
        raise ConfigurationError(f"{stage}.use is still 'auto'", hint=f"Name one of: {', '.join(names(stage))}")
    arguments = options_for(stage, choice.use, choice, offered)
    adapter = adapter_class(stage, choice.use, origin=choice.origin("use"))
    try:
        return adapter(**arguments)
    except DuologueError:
        raise
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{stage}: {choice.use} refuses its options: {error}", hint=f"Check the options of {stage}"
        ) from error


def remark(adapter: Any, phrases: Sequence[str] = ()) -> str:
    """What the user of `adapter` must know, a sentence or nothing: its method `remark_on(phrases)`, what callers are
    expected to say, else its `remark`."""
    remark_on = getattr(adapter, "remark_on", None)
    return str(remark_on(tuple(phrases)) if remark_on is not None else getattr(adapter, "remark", ""))


def each(kind: StageKind[Any], choice: StageChoice) -> list[StageChoice]:
    """`choice` as one choice an adapter: none for `use = "none"` of an optional stage, several for names parted by
    commas where the stage takes several; each option goes to those of them that have it.

    Raises `ConfigurationError` for an option that none of them has.
    """
    if kind.is_optional and choice.use == NONE:
        return []
    named = [name.strip() for name in choice.use.split(",") if name.strip()] if kind.takes_several else [choice.use]
    if len(named) < 2:
        return [choice]
    lacking = {use: _lacking(kind.name, use, list(choice.options)) for use in named}
    for option in choice.options:
        if all(option in lacks for lacks in lacking.values()):
            where = f"{choice.origin(option)}: " if choice.origin(option) else ""
            raise ConfigurationError(
                f"{where}{kind.name}.{option}: none of {', '.join(named)} has an option {option!r}",
                hint=f"Check the options of {kind.name}",
            )
    return [choice.narrowed(use, lacks) for use, lacks in lacking.items()]


def candidates(stage: str, *, options: Iterable[str] = (), language: str | None = None) -> list[Candidate]:
    """All adapters of a stage, best first, each with what keeps it from being used here."""
    wanted = list(options)
    found = [_candidate(stage, name, wanted, language) for name in names(stage)]
    return sorted(found, key=lambda candidate: (candidate.standing, -candidate.rank, candidate.name))


def check_known(stage: str, options: Iterable[str], origin: Callable[[str], str] = lambda key: "") -> None:
    """Raise `ConfigurationError` for an option that no adapter of the stage has, with the nearest that one has."""
    known: set[str] = set()
    for name in names(stage):
        try:
            accepted, takes_any = _parameters(adapter_class(stage, name))
        except DuologueError:  # what it would take is not to be learned
            continue
        if takes_any:
            return
        known.update(accepted)
    for option in options:
        if option not in known:
            where = f"{origin(option)}: " if origin(option) else ""
            raise ConfigurationError(
                f"{where}{stage}.{option}: no {stage} here has an option {option!r}", hint=did_you_mean(option, known)
            )


def choose_auto(
    stage: str,
    *,
    options: Iterable[str] = (),
    language: str | None = None,
    origin: Callable[[str], str] = lambda key: "",
) -> AutoChoice:
    """The best adapter that can be used here.

    `options`: keys set beside `use = "auto"`; only adapters that have them are asked. `language`: BCP 47, or None.
    `origin`: where an option was set, for the message. Raises `ConfigurationError` for an option that none has,
    `StageUnavailable` that says what keeps each of them.
    """
    wanted = list(options)
    check_known(stage, wanted, origin)
    found = candidates(stage, options=wanted, language=language)
    usable = [candidate for candidate in found if not candidate.problem]
    if usable:
        return AutoChoice(usable[0].name, _why(found, usable, language))
    # Options that only one adapter has were written for it: take it, and let its own error say what is missing.
    meant = [name for name in names(stage) if wanted and not _lacking(stage, name, wanted)]
    if len(meant) == 1:
        return AutoChoice(meant[0], f"the only one that has {', '.join(wanted)}")
    problems = "; ".join(f"{candidate.name}: {candidate.problem}" for candidate in found) or "none is installed"
    raise StageUnavailable(stage, f"none can be used here ({problems})", hint="Run `duologue doctor`")


# --- inside -------------------------------------------------------------------------------------------------------


def _why(found: list[Candidate], usable: list[Candidate], language: str | None) -> str:
    """Why the first of `usable` is taken, and what speaks against those that might have been."""
    best = usable[0]
    rivals = ", ".join(candidate.name for candidate in usable if candidate.standing is best.standing)
    why = f"the best of those that can be used here ({rivals})" if "," in rivals else "the one that works here"
    if best.standing is Standing.BY_NAME_ONLY:
        why = "nothing else can be used here"
    might_have = [
        other for other in found if other.problem and (other.rank > best.rank or best.standing > other.standing)
    ]
    remarks = [why, *(f"{other.name}: {other.problem}" for other in might_have)]
    for other in usable:
        if other.standing > best.standing and other.standing is Standing.BY_NAME_ONLY:
            remarks.append(f"{other.name}: only by name, it has no auto_rank")
        elif other.standing > best.standing:
            remarks.append(f"{other.name}: it does not say that it knows {language!r}")
    return "; ".join(remarks)


def _kind(stage: str) -> StageKind[Stage]:
    if stage not in STAGE_NAMES:
        raise ConfigurationError(f"there is no stage {stage!r}", hint=did_you_mean(stage, STAGE_NAMES))
    return STAGES[STAGE_NAMES.index(stage)]


def _entries(stage: str) -> Iterable[EntryPoint]:
    return entry_points(group=_kind(stage).group)


def _entry(entries: Iterable[EntryPoint], name: str) -> EntryPoint | None:
    """The entry point called `name`. Raises `ConfigurationError` when two claim the name: neither may win silently."""
    found = [entry for entry in entries if entry.name == name]
    if len({entry.value for entry in found}) > 1:
        raise ConfigurationError(
            f"two plugins call themselves {name!r} in {found[0].group}: {found[0].value} and {found[1].value}",
            hint="Uninstall one of them, or name the one you mean as package.module:Class",
        )
    return found[0] if found else None


def _loaded(stage: str, name: str, entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except DuologueError:
        raise
    except ModuleNotFoundError as error:
        raise StageUnavailable(
            stage,
            f"{name} can't be loaded: no module named {error.name!r}",
            hint=_misspelt(stage, name) or f"pip install what brings {error.name}",
        ) from error
    except Exception as error:  # a plugin's module may raise anything while it is imported
        raise StageUnavailable(
            stage,
            f"{name} ({entry.value}) can't be loaded: {type(error).__name__}: {error}",
            hint=_misspelt(stage, name) or "Mend the plugin",
        ) from error


def _misspelt(stage: str, use: str) -> str:
    """The next step where `use` looks like `NAME:MODEL` with a slip in the name."""
    name, colon, model = use.partition(":")
    guess = nearest(name, names(stage)) if colon and stage in STAGE_NAMES else None
    return f"Did you mean '{guess}:{model}'?" if guess else ""


def _parameters(adapter: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """The options that a constructor has, and whether it takes any (`**options`)."""
    try:
        parameters = inspect.signature(adapter).parameters
    except (TypeError, ValueError):  # written in C, says nothing
        return {}, True
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    accepted = {name: p for name, p in parameters.items() if p.kind in by_name and not name.startswith("_")}
    return accepted, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def _type_hints(adapter: Any) -> dict[str, Any]:
    """The constructor's types; empty where they can't be resolved (then values are passed as they are)."""
    try:
        is_class = inspect.isclass(adapter)
        return typing.get_type_hints(adapter.__init__ if is_class else adapter)
    except (NameError, TypeError, AttributeError):
        return {}


def _read(name: str, value: Any, annotation: Any) -> Any:
    """`value` as `annotation`, so that text from the environment becomes the number it stands for."""
    try:
        reader: TypeAdapter[Any] = TypeAdapter(annotation, config=_ANY_TYPE)
    except PydanticUserError:  # a type that pydantic knows nothing of
        return value
    try:
        return reader.validate_python(off_as_none(value, annotation))
    except ValidationError as error:
        found = complaints(error, object)[0]
        raise ConfigurationError(f"{name} {found.message}") from error


def _candidate(stage: str, name: str, options: list[str], language: str | None) -> Candidate:
    try:
        adapter = adapter_class(stage, name)
    except DuologueError as error:
        return Candidate(name, 0, str(error).removeprefix(f"{stage}: "))
    rank = getattr(adapter, "auto_rank", None)
    standing = Standing.FITS
    if rank is None:
        standing = Standing.BY_NAME_ONLY
    elif language and _kind(stage).has_languages and _languages(adapter) is None:
        standing = Standing.SILENT_ON_LANGUAGE
    return Candidate(name, int(rank or 0), _problem(stage, name, adapter, options, language), standing)


def _problem(stage: str, name: str, adapter: Any, options: list[str], language: str | None) -> str:
    lacking = _lacking(stage, name, options)
    if lacking:
        return f"it has no option {lacking[0]!r}"
    languages = _languages(adapter)
    if language and languages is not None and not _knows(language, languages):
        return f"it does not know the language {language!r}"
    try:
        return str(adapter.probe()).removeprefix(f"{stage}: ").removeprefix(f"{name}: ")
    except Exception as error:  # one broken plugin must not keep the others from being chosen
        return f"its probe failed: {type(error).__name__}: {error}"


def _languages(adapter: Any) -> Iterable[str] | None:
    """What the adapter says that it can do, here where it asks its models; None where it says nothing."""
    told = getattr(adapter, "languages", None)
    found: Iterable[str] | None = told() if callable(told) else told
    return found


def _knows(language: str, languages: Iterable[str]) -> bool:
    codes = tuple(languages)
    return ANY_LANGUAGE in codes or best_language(language, codes) is not None


def _lacking(stage: str, name: str, options: list[str]) -> list[str]:
    """Those of `options` that the adapter does not have; all of them if it can't be loaded."""
    try:
        accepted, takes_any = _parameters(adapter_class(stage, name))
    except DuologueError:
        return options
    return [] if takes_any else [option for option in options if option not in accepted]
