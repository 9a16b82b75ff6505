"""Each gate bites: a rule that cannot be broken guards nothing."""

import ast
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from gates import house_rules

PURE_CORE_FORBIDS = {"asyncio", "time", "random", "logging", "numpy", "pydantic", "datetime"}


def _write(root: Path, path: str, source: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, encoding="utf-8")


def test_this_repository_keeps_its_house_rules(repository: Path) -> None:
    assert [str(breach) for breach in house_rules.breaches(repository)] == []


def test_a_function_of_71_lines_is_too_long_and_one_of_70_is_not(tmp_path: Path) -> None:
    _write(tmp_path, "agent/x.py", "def fits():\n" + "    pass\n" * 69 + "def grows():\n" + "    pass\n" * 70)
    (breach,) = house_rules.breaches(tmp_path)
    assert str(breach) == "agent/x.py:71: grows has 71 lines, 70 allowed: split it"


def test_a_decorator_counts_as_a_line_of_its_function(tmp_path: Path) -> None:
    _write(tmp_path, "agent/x.py", "@property\ndef grows():\n" + "    pass\n" * 69)
    assert [breach.line for breach in house_rules.breaches(tmp_path)] == [1]


def test_a_module_of_501_lines_and_an_example_of_60_are_too_long(tmp_path: Path) -> None:
    _write(tmp_path, "pipelines/fits.py", "x = 1\n" * 500)
    _write(tmp_path, "pipelines/grows.py", "x = 1\n" * 501)
    _write(tmp_path, "examples/fits.py", "x = 1\n" * 59)
    _write(tmp_path, "examples/grows.py", "x = 1\n" * 60)
    assert [str(b.path) for b in house_rules.breaches(tmp_path)] == ["pipelines/grows.py", "examples/grows.py"]


@pytest.mark.parametrize("call", ["asyncio.sleep(0)", "time.sleep(1)", "sleep(1)", "self.clock.sleep(1)"])
def test_a_sleep_in_the_tests_of_the_engine_is_a_breach_and_elsewhere_is_not(tmp_path: Path, call: str) -> None:
    _write(tmp_path, "tests/agent/core/test_x.py", f"def test_x(self):\n    {call}\n")
    _write(tmp_path, "tests/pipelines/test_x.py", f"def test_x(self):\n    {call}\n")
    assert [str(b.path) for b in house_rules.breaches(tmp_path)] == ["tests/agent/core/test_x.py"]


def test_no_module_takes_the_name_that_users_write_themselves(tmp_path: Path) -> None:
    _write(tmp_path, "examples/agent.py", "")
    assert len(house_rules.breaches(tmp_path)) == 1


def _lint_imports(repository: Path, tmp_path: Path, edit: Callable[[Path], None]) -> subprocess.CompletedProcess[str]:
    """import-linter's verdict on a copy of the sources after `edit`."""
    for root in ("agent", "pipelines"):
        for file in (repository / root).rglob("*.py"):
            _write(tmp_path, str(file.relative_to(repository)), file.read_text(encoding="utf-8"))
    (tmp_path / "pyproject.toml").write_text((repository / "pyproject.toml").read_text(encoding="utf-8"))
    edit(tmp_path)
    path = os.pathsep.join(str(tmp_path / root) for root in ("agent", "pipelines"))
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    return subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("path", "line", "contract"),
    [
        ("agent/duologue/core/words.py", "import random", "core is pure"),
        ("agent/duologue/core/words.py", "from duologue import audio", "floors of duologue"),
        ("agent/duologue/audio.py", "import asyncio", "asyncio lives in the runtime"),
        ("agent/duologue/errors.py", "import duologue_pipelines", "never back"),
        ("agent/duologue/audio.py", "import openai", "Vendors live in the pipelines"),
    ],
)
def test_an_import_against_the_floors_breaks_its_contract(
    repository: Path, tmp_path: Path, path: str, line: str, contract: str
) -> None:
    def edit(root: Path) -> None:
        source = (root / path).read_text(encoding="utf-8")
        (root / path).write_text(f"{source}\n{line}\n", encoding="utf-8")

    verdict = _lint_imports(repository, tmp_path, edit)
    assert verdict.returncode == 1, verdict.stdout + verdict.stderr
    assert any(contract in said and "BROKEN" in said for said in verdict.stdout.splitlines()), verdict.stdout


def test_the_contract_of_the_core_names_everything_that_would_make_it_impure(repository: Path) -> None:
    tools = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    contracts = {contract["name"]: contract for contract in tools["importlinter"]["contracts"]}
    assert PURE_CORE_FORBIDS <= set(contracts["The core is pure"]["forbidden_modules"])


def test_the_engine_imports_no_third_party_package_but_those_it_says(repository: Path) -> None:
    said = {
        "duologue",
        "numpy",
        "pydantic",
        "pydantic_core",
        "pydantic_settings",
        "typer",
        "click",
        "rich",
        "rapidfuzz",
    }
    for file in (repository / "agent").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            foreign = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - said
            assert not foreign, f"{file.relative_to(repository)} imports {foreign}"
