"""What `duologue doctor` finds out: packages, stages, models, endpoints, packs, and what `auto` would take.

It gathers data and shows nothing (`doctor_report` does), loads no model, and goes on where something is broken: a
doctor who falls ill is of no use. The network it asks is this machine's own.
"""

import asyncio
import os
import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final

from duologue import registry
from duologue.errors import DuologueError
from duologue.packs import Pack, find_pack, pack_names
from duologue.settings import Settings, StageChoice, load_settings
from duologue.stages import LLM, NONE, STAGES, StageKind

PACKAGE: Final = "duologue"
# Extras that only developers of Duologue install.
EXTRAS_HIDDEN: Final = ("test", "docs")


@dataclass(frozen=True, slots=True)
class Package:
    """A package that we can use. `version` is empty when it is not installed; `extra`: which extra brings it."""

    name: str
    version: str
    extra: str


@dataclass(frozen=True, slots=True)
class StageFinding:
    """A stage. `use`: as set. `chosen`: what will be used, empty when nothing can be. `why`: the reason for that.

    `note`: something to know about it. `candidates`: name and what keeps it from being used (empty: nothing does).
    `is_left_out`: nothing is used, and that is how it was meant.
    """

    stage: str
    use: str
    chosen: str
    why: str
    note: str
    candidates: tuple[tuple[str, str], ...]
    is_left_out: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A language model's endpoint that was looked for."""

    name: str
    where: str
    models: tuple[str, ...]
    why: str
    available: bool


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model in the cache."""

    spec: str
    path: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings. `problems`: what keeps a conversation from being held, each with its next step. `pack_remarks`:
    what the pack's writer should know. `unread`: what keeps the settings from being read; the rest is about others."""

    version: str
    python: str
    machine: str
    sources: tuple[str, ...]
    settings: dict[str, Any]
    packages: tuple[Package, ...]
    stages: tuple[StageFinding, ...]
    endpoints: tuple[Endpoint, ...]
    models_folder: str
    models: tuple[LocalModel, ...]
    packs: tuple[str, ...]
    pack: str
    problems: tuple[str, ...] = field(default=())
    pack_remarks: tuple[str, ...] = ()
    unread: str = ""

    @property
    def is_healthy(self) -> bool:
        """Whether a conversation can be held with these settings."""
        return not self.problems

    def as_data(self) -> dict[str, Any]:
        """JSON-able, with the verdict."""
        return {**asdict(self), "is_healthy": self.is_healthy}


def examine(config: str | os.PathLike[str] | None = None, assignments: Iterable[str] = ()) -> Diagnosis:
    """Look at everything. Never raises for something that is broken: it stands among the `problems`."""
    problems: list[str] = []
    settings, unread = Settings(), ""
    try:
        settings = load_settings(config, assignments=assignments)
    except DuologueError as error:
        unread = str(error)
        problems.append(unread)
    pack = _pack(settings, problems)
    language = settings.language or (pack.default_language if pack else None)
    endpoints, candidates = _endpoints()
    stages: list[StageFinding] = []
    for kind in STAGES:
        choice = settings.stage(kind.name)
        stages += [_llm(choice, candidates)] if kind is LLM else _findings(kind, choice, language, pack)
    problems += [f"{finding.stage}: {finding.why}" for finding in stages if not (finding.chosen or finding.is_left_out)]
    folder, models = _models()
    return Diagnosis(
        version=version(PACKAGE),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        sources=settings.sources,
        settings=settings.redacted(),
        packages=tuple(_packages()),
        stages=tuple(stages),
        endpoints=endpoints,
        models_folder=folder,
        models=models,
        packs=tuple(pack_names()),
        pack=pack.name if pack else "",
        problems=tuple(problems),
        pack_remarks=pack.remarks if pack else (),
        unread=unread,
    )


def _pack(settings: Settings, problems: list[str]) -> Pack | None:
    try:
        return find_pack(settings.pack)
    except DuologueError as error:
        if str(error) not in problems:
            problems.append(str(error))
        return None


def _packages() -> Iterable[Package]:
    """What our own metadata requires, and its extras bring."""
    for requirement in requires(PACKAGE) or ():
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        marked = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
        extra = marked[1] if marked else ""
        if extra in EXTRAS_HIDDEN:
            continue
        try:
            yield Package(name, version(name), extra)
        except PackageNotFoundError:
            yield Package(name, "", extra)


# --- stages -------------------------------------------------------------------------------------------------------


def _findings(kind: StageKind[Any], choice: StageChoice, language: str | None, pack: Pack | None) -> list[StageFinding]:
    """One for each adapter that `choice` names; where an optional stage is left out, what there would be to use."""
    try:
        each = registry.each(kind, choice)
    except DuologueError as error:
        return [StageFinding(kind.name, choice.use, "", str(error.args[0]), "", ())]
    if not each:
        why = f"optional; {', '.join(registry.names(kind.name)) or 'none'} can be had"
        return [StageFinding(kind.name, NONE, "", why, "", (), is_left_out=True)]
    return [_stage(kind.name, one, language, pack) for one in each]


def _stage(stage: str, choice: StageChoice, language: str | None, pack: Pack | None) -> StageFinding:
    options = tuple(choice.options)
    considered = tuple((c.name, c.problem) for c in registry.candidates(stage, options=options, language=language))
    try:
        if choice.use == "auto":
            chosen, why = registry.choose_auto(stage, options=options, language=language, origin=choice.origin)
        else:
            registry.options_for(stage, choice.use, choice, {})
            chosen, why = _as_set(stage, choice)
        note = _examined(stage, choice, chosen, language, pack)
    except DuologueError as error:
        # without the hint, which may be to run the doctor
        why = str(error.args[0]).removeprefix(f"{stage}: ")
        return StageFinding(stage, choice.use, "", why, "", considered)
    return StageFinding(stage, choice.use, chosen, why, note, considered)


def _examined(stage: str, choice: StageChoice, chosen: str, language: str | None, pack: Pack | None) -> str:
    """What the adapter that will be used wants its user to know: its `remark`, if it has one. No model is loaded.

    Raises `PackError` for a voice of the pack's that the synthesiser does not have.
    """
    if stage == "llm" or not chosen:  # a language model has an honest word of its own
        return ""
    make: Callable[..., Any] = registry.make
    adapter = make(stage, choice.model_copy(update={"use": chosen}))
    if stage == "tts" and pack is not None:
        pack.check_voices(adapter)
    return registry.remark(adapter, pack.phrases(language) if pack else ())


def _as_set(stage: str, choice: StageChoice) -> tuple[str, str]:
    """A stage that is named: its own word on whether it can be used, which options may change."""
    where = choice.origin("use") or "the default"
    problem = str(registry.adapter_class(stage, choice.use).probe())
    if problem and not choice.options:
        return "", f"{choice.use} ({where}) can't be used: {problem}"
    return choice.use, f"set by {where}" + (f"; with default options: {problem}" if problem else "")


def _llm(choice: StageChoice, candidates: tuple[Any, ...]) -> StageFinding:
    if choice.use != "auto" or choice.options:  # options say which adapter is meant: no need to look around
        finding = _stage("llm", choice, None, None)
        note = _honest_word(choice) if finding.chosen else ""
        return StageFinding("llm", choice.use, finding.chosen, finding.why, note, finding.candidates)
    available = [candidate for candidate in candidates if candidate.available]
    if not available:
        return StageFinding("llm", "auto", "", "nothing answers; set OPENAI_API_KEY or start a server", "", ())
    best = available[0]
    chosen = best.use if best.use == best.name else f"{best.use} ({best.name})"
    note = _honest_word(StageChoice(use=best.use, **best.options))
    return StageFinding("llm", "auto", chosen, best.why, note, ())


def _honest_word(choice: StageChoice) -> str:
    """What a stand-in for a language model must say of itself."""
    try:
        is_one = registry.make("llm", choice).is_language_model
    except DuologueError:
        return ""
    return "" if is_one else f"{choice.use} is no language model: it can only rehearse the pack's sample dialogues"


def _endpoints() -> tuple[tuple[Endpoint, ...], tuple[Any, ...]]:
    """What was looked for on this machine; nothing when the pipelines are not installed."""
    try:
        discover = registry.command("endpoints")
    except DuologueError:
        return (), ()
    found = tuple(asyncio.run(discover(os.environ)))
    shown = tuple(
        Endpoint(found_.name, found_.base_url, tuple(found_.models), found_.why, found_.available)
        for found_ in found
        if found_.base_url
    )
    return shown, found


def _models() -> tuple[str, tuple[LocalModel, ...]]:
    try:
        store = registry.command("models")()
    except DuologueError:
        return "", ()
    here = tuple(LocalModel(model.spec, str(model.path)) for model in store.models() if model.is_here)
    return str(Path(store.folder)), here
