"""The checks of the pages bite."""

import importlib.util
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from documentation import blocks


def _page(folder: Path, text: str) -> Path:
    page = folder / "PAGE.md"
    page.write_text(text, encoding="utf-8")
    return page


def test_a_block_knows_its_language_its_line_and_its_indent(tmp_path: Path) -> None:
    page = _page(
        tmp_path, "# Title\n\n```python\nx = 1\n```\n\n- item\n  ```bash\n  make demo\n  ```\n\n```\nbare\n```\n"
    )
    found = [(block.language, block.line, block.code, block.place) for block in blocks.blocks(page)]
    assert found == [
        ("python", 4, "x = 1\n", "PAGE.md:4"),
        ("bash", 9, "make demo\n", "PAGE.md:9"),
        ("", 13, "bare\n", "PAGE.md:13"),
    ]


def test_python_of_a_page_may_await_and_keeps_its_names() -> None:
    namespace: dict[str, Any] = {}
    code = "import asyncio\nx = 1\nasync with asyncio.timeout(5):\n    x += await asyncio.sleep(0, 2)\n"
    blocks.run_python(code, "PAGE.md", 10, namespace, blocks.run_in_virtual_time)
    assert namespace["x"] == 3


def test_an_error_names_the_page_and_its_own_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        blocks.run_python("x = 1\nx / 0\n", "PAGE.md", 10, {}, blocks.run_in_virtual_time)
    last = caught.traceback[-1]
    assert (str(last.path).endswith("PAGE.md"), last.lineno + 1) == (True, 11)


def test_hidden_setup_is_found(tmp_path: Path) -> None:
    assert blocks.setup(_page(tmp_path, "a\n<!-- setup\nx = 1\n-->\nb\n")) == "x = 1\n"


def test_a_shell_block_is_taken_apart_into_commands() -> None:
    code = (
        "# once\n$ git clone x && cd x\nDUOLOGUE_ASR__MODEL=base duologue talk \\\n    --in 'a b.wav' | tail # why\n\n"
    )
    assert list(blocks.commands(code)) == [
        ["git", "clone", "x"],
        ["cd", "x"],
        ["duologue", "talk", "--in", "a b.wav"],
        ["tail"],
    ]
    assert blocks.assignments(code) == ["DUOLOGUE_ASR__MODEL=base"]
    assert blocks.assignments("export OPENAI_API_KEY=x\n") == ["OPENAI_API_KEY=x"]


@pytest.fixture(scope="module")
def generate(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", repository / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Light(StrEnum):
    RED = "red"
    GREEN = "green"
    OFF = "off"


class Push(StrEnum):
    TIMER = "timer"
    BUTTON = "button, pressed"
    POWER = "power cut"


LIGHTS = {
    (Light.RED, Push.TIMER): Light.GREEN,
    (Light.RED, Push.BUTTON): Light.GREEN,
    (Light.GREEN, Push.TIMER): Light.RED,
    (Light.GREEN, Push.BUTTON): Light.GREEN,
    (Light.RED, Push.POWER): Light.OFF,
    (Light.GREEN, Push.POWER): Light.OFF,
}


def test_the_diagram_has_one_arrow_for_each_pair_of_phases_and_one_for_what_comes_from_everywhere(
    generate: ModuleType,
) -> None:
    assert generate.state_diagram(LIGHTS).splitlines() == [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> red",
        "    red --> green: timer<br/>button, pressed",
        "    green --> red: timer",
        "    off --> [*]",
        "```",
        "",
        "From every phase: *power cut* → **off**.",
    ]


def test_the_table_has_every_transition_and_an_empty_cell_for_every_illegal_one(generate: ModuleType) -> None:
    assert generate.transition_table(LIGHTS).splitlines() == [
        "| what happens \\ phase | red | green |",
        "|---|---|---|",
        "| timer | green | red |",
        "| button, pressed | green | = |",
        "| power cut | off | off |",
    ]


def test_what_a_setting_is_for_is_read_off_the_docstring(generate: ModuleType) -> None:
    class Policy:
        """Silence.

        `mode`: `manual` waits for the caller. `first_s`, `last_s`: how long,
        at most; `loud`: with `mode` manual.
        """

    assert generate.glosses(Policy) == {
        "mode": "manual waits for the caller",
        "first_s": "first_s, last_s: how long, at most",
        "loud": "with mode manual",
    }


def test_a_stale_page_is_found_and_mended(generate: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generate.PARTS, "greeting", lambda: "hello\n")
    stale = "a\n<!-- generated: greeting -->\nold\n<!-- /generated -->\nb\n"
    assert generate.filled(stale) == stale.replace("old", "hello")
    assert generate.filled(generate.filled(stale)) == generate.filled(stale)
    with pytest.raises(KeyError, match="nonsense"):
        generate.filled(stale.replace("greeting", "nonsense"))
