"""The flags that every command with settings has, written once: `--set`, `--config`, `--asr`, …

A command that takes `settings` gets them loaded; typer sees the flags in the signature that `takes_settings` gives it.
"""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

PANEL: Final = "Settings"


def _option(flag: str, metavar: str, text: str) -> Any:
    return typer.Option(flag, metavar=metavar, help=text, rich_help_panel=PANEL)


# The parameter's name is the setting; a stage's is its `use`.
SHORT_FLAGS: Final[dict[str, Any]] = {
    "pack": Annotated[str | None, _option("--pack", "NAME", "Prompt pack: a name, or a path like ./prompts/coach.")],
    "language": Annotated[str | None, _option("--language", "CODE", "Language spoken, like en or zh.")],
    "asr": Annotated[str | None, _option("--asr", "NAME", "Recogniser: auto, whisper, whisper:tiny.en, …")],
    "llm": Annotated[str | None, _option("--llm", "NAME", "Language model: auto, openai:MODEL, rehearsal, …")],
    "tts": Annotated[str | None, _option("--tts", "NAME", "Synthesiser: auto, piper, piper:VOICE, …")],
}
AssignmentsFlag = Annotated[
    list[str] | None,
    _option("--set", "KEY=VALUE", "One setting, like [cyan]asr.model=base[/cyan]; may be repeated."),
]
ConfigFlag = Annotated[Path | None, _option("--config", "FILE", "Settings file (default: duologue.toml here).")]
_FLAGS: Final[dict[str, Any]] = {**SHORT_FLAGS, "assignments": AssignmentsFlag, "config": ConfigFlag}


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """`command(settings, …)` as typer shall see it: the settings' flags in place of `settings`."""

    def loaded(config: Path | None, assignments: list[str]) -> dict[str, Any]:
        from duologue.settings import load_settings

        return {"settings": load_settings(config, assignments=assignments)}

    return _flagged(command, loaded, {"settings"})


def takes_assignments(command: Callable[..., None]) -> Callable[..., None]:
    """The same for `command(config, assignments, …)`, which reads them itself and lives with it if it can't."""
    return _flagged(
        command,
        lambda config, assignments: {"config": config, "assignments": assignments},
        {"config", "assignments"},
    )


def _flagged(
    command: Callable[..., None], read: Callable[[Path | None, list[str]], dict[str, Any]], replaced: set[str]
) -> Callable[..., None]:
    @functools.wraps(command)
    def with_flags(**given: Any) -> None:
        from duologue.stages import STAGE_NAMES

        config = given.pop("config", None)
        assignments = list(given.pop("assignments", None) or ())
        for name in SHORT_FLAGS:
            value = given.pop(name, None)
            if value is not None:
                assignments.append(f"{name}.use={value}" if name in STAGE_NAMES else f"{name}={value}")
        command(**read(config, assignments), **given)

    own = [p for p in inspect.signature(command).parameters.values() if p.name not in replaced]
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _FLAGS.items()
    ]
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    # typer reads both
    with_flags.__signature__ = inspect.Signature([*own, *flags])  # type: ignore[attr-defined]  # set on purpose
    with_flags.__annotations__ = {p.name: p.annotation for p in [*own, *flags]}
    return with_flags
