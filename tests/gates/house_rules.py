"""The house rules that no linter knows: how long a function or a module may be, no sleep in the engine's tests.

Run as a script it prints each breach as `file:line: what` and ends with 1 if there is one. `test_house_rules.py` shows
that each rule bites. A rule that is in the way of a better design is changed here, in the open, with the reason in
docs/decisions/.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FUNCTION_LINES_MAX: Final = 70
MODULE_LINES_MAX: Final = 500
EXAMPLE_LINES_MAX: Final = 59  # "each under 60 lines"
ROOTS: Final = ("agent", "pipelines", "tests", "examples", "docs")
# A user's own agent.py would be shadowed by ours, or ours by theirs (LiveKit's quickstart tells them to write one).
NAMES_NEVER: Final = ("agent.py",)
PACKAGES: Final = ("runtime",)


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule broken at `path`, 1-based `line`."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


def long_functions(path: Path, tree: ast.Module) -> Iterator[Breach]:
    """Functions and methods of more than `FUNCTION_LINES_MAX` lines, docstring and decorators included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min((d.lineno for d in node.decorator_list), default=node.lineno)
            lines = (node.end_lineno or node.lineno) - first + 1
            if lines > FUNCTION_LINES_MAX:
                yield Breach(path, first, f"{node.name} has {lines} lines, {FUNCTION_LINES_MAX} allowed: split it")


def long_module(path: Path, source: str) -> Iterator[Breach]:
    """The module, if it has more lines than its place allows."""
    allowed = EXAMPLE_LINES_MAX if path.parts[0] == "examples" else MODULE_LINES_MAX
    lines = len(source.splitlines())
    if lines > allowed:
        yield Breach(path, allowed + 1, f"the module has {lines} lines, {allowed} allowed: split it")


def sleeps(path: Path, tree: ast.Module) -> Iterator[Breach]:
    """Every call of something named `sleep` in tests/agent: there time is virtual, or it is a literal.

    The virtual clock's own tests must sleep, to see that no time passes.
    """
    if path.parts[:2] != ("tests", "agent") or path.name == "test_virtual_time.py":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name == "sleep":
                yield Breach(path, node.lineno, "sleeps: await duologue.testing.virtual_time.pass_time instead")


def forbidden_names(path: Path) -> Iterator[Breach]:
    """A module whose name users need for themselves. Inside a package of ours it is nobody else's."""
    if path.name in NAMES_NEVER and path.parent.name not in PACKAGES:
        yield Breach(path, 1, f"no module of ours is called {path.name}: users write one of that name")


def breaches(repository: Path) -> list[Breach]:
    """All breaches under `repository`, in the order of their files."""
    found: list[Breach] = []
    for root in ROOTS:
        for file in sorted((repository / root).rglob("*.py")):
            path = file.relative_to(repository)
            source = file.read_text(encoding="utf-8")
            tree = ast.parse(source, filename=str(path))
            found += [*long_module(path, source), *long_functions(path, tree), *sleeps(path, tree)]
            found += forbidden_names(path)
    return found


if __name__ == "__main__":
    found = breaches(Path(__file__).resolve().parent.parent.parent)
    sys.stdout.writelines(f"{breach}\n" for breach in found)
    sys.stdout.write(f"house rules: {len(found)} broken\n" if found else "house rules: kept\n")
    sys.exit(bool(found))
