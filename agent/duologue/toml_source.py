"""TOML files read so that a complaint about a value can name its line.

The standard library's parser tells no positions, so the keys' lines are found by a second, forgiving look at the text.
A value inside an inline table or an array is placed at the key that begins it. Shared by settings and packs.
"""

import pathlib
import re
import stat
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

BYTES_MAX: Final = 5_000_000  # of a pack's file, a script or settings: nobody writes as much by hand

Path = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_KEY: Final = re.compile(rf"\s*({_PART}(?:\s*\.\s*{_PART})*)\s*=")
_HEADER: Final = re.compile(rf"\s*(\[\[?)\s*({_PART}(?:\s*\.\s*{_PART})*)\s*\]\]?")
# A string, a comment, or a bracket: all that decides whether a value goes on in the next line.
_TOKEN: Final = re.compile(r'"""|\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#|[\[\]{}]')


class TomlError(Exception):
    """The text is no TOML. `line` is 1-based."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class NotUtf8Error(Exception):
    """The bytes are no UTF-8 text. `line` is 1-based."""

    def __init__(self, line: int, byte: int) -> None:
        super().__init__(f"byte 0x{byte:02x} is not UTF-8 text")
        self.line = line


class UnfitFileError(Exception):
    """A pipe, a device, or far more than anybody writes by hand: nothing of it was read."""


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """Parsed `values`, and the line of each key."""

    values: dict[str, Any]
    lines: dict[Path, int]

    def line_of(self, path: Sequence[str | int]) -> int:
        """The 1-based line where `path` (keys from the top; indices of arrays of tables) is set, or its nearest
        parent; 0 when not even its first key is there."""
        for length in range(len(path), 0, -1):
            line = self.lines.get(tuple(path[:length]))
            if line is not None:
                return line
        return 0


def read_bytes(path: pathlib.Path) -> bytes:
    """What is in the regular file `path`, up to `BYTES_MAX`. Raises `UnfitFileError`, `OSError`."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a folder, `open` says itself that it is one
        raise UnfitFileError("is not a regular file")
    with path.open("rb") as file:
        found = file.read(BYTES_MAX + 1)
    if len(found) > BYTES_MAX:
        raise UnfitFileError(f"is larger than {BYTES_MAX // 1_000_000} MB")
    return found


def decode_text(data: bytes) -> str:
    """`data` as UTF-8 text with plain line ends and no byte-order mark. Raises `NotUtf8Error`."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotUtf8Error(error.object[: error.start].count(b"\n") + 1, error.object[error.start]) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_toml(text: str) -> TomlDocument:
    """Parse `text`. Raises `TomlError` with the line."""
    try:
        values = tomllib.loads(text)
    except RecursionError as error:
        raise TomlError(_deepest_line(text), "brackets within brackets, too many of them") from error
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        found = re.search(r"\(at line (\d+), column \d+\)", message)
        line = int(found[1]) if found else text.count("\n") + 1
        raise TomlError(line, message.split(" (at ")[0]) from error
    return TomlDocument(values, _key_lines(text))


def _key_lines(text: str) -> dict[Path, int]:
    """Where each key of valid TOML begins."""
    lines: dict[Path, int] = {}
    table: Path = ()
    tables_seen: dict[Path, int] = {}
    going_on = _Value()
    for number, line in enumerate(text.split("\n"), start=1):
        if going_on.is_open:
            going_on.scan(line, 0)
        elif header := _HEADER.match(line):
            table = _table_path(header, tables_seen)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            path = table
            for part in _parts(key[1]):
                path = (*path, part)
                lines.setdefault(path, number)
            going_on.scan(line, key.end())
    return lines


def _deepest_line(text: str) -> int:
    """The line with the most opening brackets."""
    return max(enumerate(text.split("\n"), start=1), key=lambda line: line[1].count("[") + line[1].count("{"))[0]


def _table_path(header: re.Match[str], tables_seen: dict[Path, int]) -> Path:
    """The path of a table's header; the n-th `[[x]]` is `("x", n)`, and tables below it count inside it."""
    path: Path = ()
    parts = _parts(header[2])
    for depth, part in enumerate(parts):
        path = (*path, part)
        if header[1] == "[[" and depth == len(parts) - 1:
            tables_seen[path] = tables_seen.get(path, -1) + 1
        if path in tables_seen:
            path = (*path, tables_seen[path])
    return path


def _parts(dotted: str) -> list[str]:
    return [part.strip("\"'") for part in re.findall(_PART, dotted)]


class _Value:
    """Whether the value that is being read goes on in the next line."""

    def __init__(self) -> None:
        self._quotes = ""
        self._depth = 0

    @property
    def is_open(self) -> bool:
        return bool(self._quotes) or self._depth > 0

    def scan(self, line: str, position: int) -> None:
        """Read on in `line` from `position`."""
        while position < len(line):
            if self._quotes:
                end = line.find(self._quotes, position)
                if end < 0:
                    return
                position = end + 3
                self._quotes = ""
                continue
            token = _TOKEN.search(line, position)
            if token is None or token[0] == "#":
                return
            position = token.end()
            if token[0] in ('"""', "'''"):
                self._quotes = token[0]
            elif token[0] in "[{":
                self._depth += 1
            elif token[0] in "]}":
                self._depth -= 1
