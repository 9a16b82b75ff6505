"""The texts of a pack: files per language, and the `$variables` in them, each known or blamed on its line."""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from string import Template
from typing import Any, Final

from duologue.dialogues import Exchange, joined, read_dialogues
from duologue.errors import PackError
from duologue.nearest import did_you_mean
from duologue.toml_source import NotUtf8Error, UnfitFileError, decode_text, read_bytes

PACK_FILE: Final = "pack.toml"


def read_text(path: Path) -> str:
    """The text of a pack's file, with plain line ends and no byte-order mark. Raises `PackError`."""
    try:
        return decode_text(read_bytes(path))
    except FileNotFoundError as error:
        raise PackError(str(path), 0, "is missing", hint="Every pack needs one") from error
    except OSError as error:
        raise PackError(str(path), 0, f"can't be read: {error.strerror or error}") from error
    except UnfitFileError as error:
        raise PackError(str(path), 0, str(error), hint="Put a text file in its place") from error
    except NotUtf8Error as error:
        raise PackError(str(path), error.line, str(error), hint="Save the file as UTF-8") from error


def per_language(folder: Path, name: str, languages: Iterable[str], default: str) -> dict[str, Path]:
    """`system.md` is the default language's, `system.zh.md` Chinese. Raises `PackError` for a language not listed."""
    languages = tuple(languages)
    stem, suffix = name.split(".")
    found: dict[str, Path] = {}
    for path in sorted(folder.glob(f"{stem}*.{suffix}")):
        if path.name == name:
            found.setdefault(default, path)
            continue
        code = path.name.removeprefix(f"{stem}.").removesuffix(f".{suffix}")
        if code not in languages:
            raise PackError(
                str(path), 0, f"language {code!r} is not among languages in {PACK_FILE}", hint="Add it there, or rename"
            )
        found[code] = path
    return found


def check_variables(path: str, text: str, known: Iterable[str], *, first_line: int = 1, key: str = "") -> None:
    """Raise `PackError` for a `$variable` in `text` that is not among `known`, or a `$` that stands for nothing.

    `first_line`: where `text` begins in the file; with `key`, a value of `pack.toml`, that is the line told.
    """
    known = tuple(known)
    prefix = f"{key}: " if key else ""
    for match in Template.pattern.finditer(text):
        line = first_line if key else first_line + text.count("\n", 0, match.start())
        if match["invalid"] is not None:
            raise PackError(path, line, f"{prefix}a lone $ stands for nothing", hint="Write $$ for a dollar sign")
        name = match["named"] or match["braced"]
        if name is not None and name not in known:
            raise PackError(path, line, f"{prefix}unknown variable ${name}", hint=did_you_mean(name, known))


def filled(value: Any, variables: Mapping[str, str]) -> Any:
    """`value`, a text or a tuple of texts, with its `$variables` filled in; None as it is."""
    if isinstance(value, str):
        return Template(value).substitute(variables)
    return None if value is None else tuple(filled(text, variables) for text in value)


def read_system(path: Path, known: Iterable[str]) -> Template:
    """The instructions, with every `$variable` known. Raises `PackError`."""
    text = read_text(path)
    if not text.strip():
        raise PackError(str(path), 0, "is empty", hint="Write a line or two on who the agent is")
    check_variables(str(path), text, known)
    return Template(text)


def read_greeting(path: Path, known: Iterable[str]) -> Template:
    """What the agent says first, as one line, with every `$variable` known. Raises `PackError`."""
    text = read_text(path)
    check_variables(str(path), text, known)
    line = functools.reduce(joined, (" ".join(row.split()) for row in text.splitlines() if row.strip()), "")
    if not line:
        raise PackError(str(path), 0, "is empty", hint="Write what the agent says first, or set greeting = false")
    return Template(line)


def read_samples(
    folder: Path, languages: tuple[str, ...], default: str, variables: Mapping[str, Mapping[str, str]]
) -> tuple[Exchange, ...]:
    """The sample dialogues, in the order of the files, with `variables` (of each language) filled in."""
    exchanges: list[Exchange] = []
    for path in sorted((folder / "dialogues").glob("*.md")):
        named = path.name.removesuffix(".md").rpartition(".")
        language = named[2] if named[0] and named[2] in languages else default
        text = read_text(path)
        check_variables(str(path), _without_notes(text), variables[default])
        for exchange in read_dialogues(str(path), text, language):
            if exchange.language not in languages:
                raise PackError(str(path), 1, f"language {exchange.language!r} is not among languages in {PACK_FILE}")
            exchanges.append(_filled_exchange(exchange, variables[exchange.language]))
    return tuple(exchanges)


def _without_notes(text: str) -> str:
    """`text` with its notes and headings emptied, line by line: a price in them is nobody's variable."""
    return "\n".join("" if line.strip()[:1] in (">", "#") else line for line in text.split("\n"))


def _filled_exchange(exchange: Exchange, variables: Mapping[str, str]) -> Exchange:
    return replace(
        exchange,
        user=filled(exchange.user, variables),
        agent=filled(exchange.agent, variables),
        variants=filled(exchange.variants, variables),
    )
