"""The public names, and what `import duologue` costs."""

import ast
import importlib
import subprocess
import sys

import pytest

import duologue

HEAVY = (
    "numpy",
    "pydantic",
    "asyncio",
    "av",
    "openai",
    "onnxruntime",
    "faster_whisper",
    "pocketsphinx",
    "soxr",
    "rich",
)


def test_all_names_what_the_module_declares_for_type_checkers(repository):
    tree = ast.parse((repository / "agent/duologue/__init__.py").read_text(encoding="utf-8"))
    declared = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("duologue")
        for alias in node.names
    }
    assert sorted(duologue.__all__) == list(duologue.__all__)
    assert declared == set(duologue.__all__) == {*duologue._HOME, *duologue._MODULES}
    assert set(duologue.__all__) <= set(dir(duologue))


@pytest.mark.parametrize("name", duologue.__all__)
def test_each_name_is_there(name):
    found = getattr(duologue, name)
    home = duologue._HOME.get(name)
    assert found is (getattr(importlib.import_module(home), name) if home else sys.modules[duologue._MODULES[name]])


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'duologue' has no attribute 'Agnet'"):
        _ = duologue.Agnet


def loaded_by(code):
    """Modules that are loaded when a fresh interpreter has run `code`."""
    report = "; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code + report], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_it_loads_nothing_else():
    modules = loaded_by("import duologue")
    assert modules & set(HEAVY) == set()
    assert {name for name in modules if name.startswith("duologue")} == {"duologue"}


def test_using_it_loads_no_vendor():
    assert loaded_by("import duologue; duologue.Agent, duologue.tool") & set(HEAVY) == {"pydantic", "asyncio"}
