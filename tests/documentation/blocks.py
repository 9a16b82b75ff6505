"""The code blocks of the pages that users read, and what it takes to try each.

A fence names its language; text in an HTML comment `<!-- setup … -->` is Python that runs before the page's first
block and stays out of the reader's sight.
"""

import ast
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from duologue.testing import virtual_time

FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<language>[a-z]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```", re.M | re.S)
SETUP: Final = re.compile(r"<!-- setup\n(?P<code>.*?)-->", re.S)
# Languages that a page may use; anything else is a typo or a block that nobody checks.
LANGUAGES: Final = ("python", "bash", "toml", "json", "text", "mermaid", "make")
_ASSIGNMENT: Final = re.compile(r"^[A-Z][A-Z0-9_]*=")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block. `line`: 1-based line of its first line of code."""

    page: Path
    line: int
    language: str
    code: str

    @property
    def place(self) -> str:
        """`README.md:31`, as a failing test names it."""
        return f"{self.page.name}:{self.line}"


def pages(repository: Path) -> list[Path]:
    """Every page with code that a user may copy."""
    top = [repository / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return [page for page in (*top, *sorted((repository / "docs").rglob("*.md"))) if page.is_file()]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of `page`, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        indent = len(match["indent"])
        code = "".join(row[indent:] for row in match["code"].splitlines(keepends=True))
        found.append(Block(page, line, match["language"], code))
    return found


def setup(page: Path) -> str:
    """The page's hidden Python, blank-line padded so that errors name the page's own lines."""
    text = page.read_text(encoding="utf-8")
    return "\n".join(match["code"] for match in SETUP.finditer(text))


def run_python(code: str, where: str, first_line: int, namespace: dict[str, Any], run: Callable[[Any], Any]) -> None:
    """Execute `code`, which may await at its top level, in `namespace`; `run` drives the coroutine.

    Errors show `where` and the page's own line numbers.
    """
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    compiled = compile("\n" * (first_line - 1) + code, where, "exec", flags=flags, dont_inherit=True)
    if not compiled.co_flags & inspect.CO_COROUTINE:
        exec(compiled, namespace)
        return

    async def main() -> None:
        await eval(compiled, namespace)

    run(main())


def run_in_virtual_time(main: Any) -> None:
    """A minute of talk on a page takes the time that its models take. What the page leaves running is cancelled."""
    virtual_time.run(main, tasks_left="cancel")


def commands(code: str) -> Iterator[list[str]]:
    """The commands of a shell block as words; comments, prompts and leading assignments are taken off."""
    joined = code.replace("\\\n", " ")
    for line in joined.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        for part in _parted(words):
            while part and _ASSIGNMENT.match(part[0]):
                part = part[1:]
            if part:
                yield part


def _parted(words: list[str]) -> Iterator[list[str]]:
    """`a && b | c` as its three commands."""
    part: list[str] = []
    for word in words:
        if word in ("&&", "|", ";"):
            yield part
            part = []
        else:
            part.append(word)
    yield part


def assignments(code: str) -> list[str]:
    """`NAME=value` words in front of the commands of a shell block, or exported."""
    found = []
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ ").removeprefix("export "), comments=True)
        for word in words:
            if not _ASSIGNMENT.match(word):
                break
            found.append(word)
    return found
