"""Every code block of the README and of docs/ does what it says; every link leads somewhere."""

import io
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from documentation import blocks
from documentation.blocks import Block
from duologue import Agent, events
from duologue.packs import find_pack
from duologue.settings import load_settings
from duologue_pipelines.models import find_model
from duologue_pipelines.talk import run_talk
from duologue_pipelines.tts.espeak import EspeakTts

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PAGES = blocks.pages(REPOSITORY)
BLOCKS = [block for page in PAGES for block in blocks.blocks(page)]
# Programs that a page may name without our knowing their options.
PROGRAMS_ELSEWHERE = {"git", "cd", "python", "python3", "pip", "export", "ollama", "source", "apt-get", "code"}


def _of(language: str) -> Any:
    """A test for each block in `language`."""
    found = [pytest.param(block, id=block.place) for block in BLOCKS if block.language == language]
    assert found, f"no page has a block in {language}: the test of them would prove nothing"
    return pytest.mark.parametrize("block", found)


def _pages_with_python() -> list[Any]:
    return [
        pytest.param(page, id=page.name)
        for page in PAGES
        if any(block.language == "python" for block in blocks.blocks(page))
    ]


def test_every_block_names_a_language_that_is_checked() -> None:
    assert [block.place for block in BLOCKS if block.language not in blocks.LANGUAGES] == []


@pytest.mark.parametrize("page", _pages_with_python())
def test_the_python_of_a_page_runs_from_top_to_bottom(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # `python -m`, as a reader would run it: a module of its own, so that dataclasses and plugins find their names.
    namespace: dict[str, Any] = {"__name__": f"page_{page.stem.lower()}", "REPOSITORY": REPOSITORY}
    module = type(sys)(namespace["__name__"])
    module.__dict__.update(namespace)
    monkeypatch.setitem(sys.modules, namespace["__name__"], module)
    blocks.run_python(blocks.setup(page), f"{page.name} (setup)", 1, module.__dict__, blocks.run_in_virtual_time)
    for block in blocks.blocks(page):
        if block.language == "python":
            blocks.run_python(block.code, str(page), block.line, module.__dict__, blocks.run_in_virtual_time)
    for left in [value for value in vars(module).values() if isinstance(value, Agent)]:
        blocks.run_in_virtual_time(left.aclose())  # ten lines leave it to the end of the process


@pytest.mark.parametrize("name", ["TESTING.md", "PLUGINS.md"])
def test_each_block_of_a_page_to_copy_from_runs_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for index, block in enumerate(block for block in blocks.blocks(REPOSITORY / "docs" / name)):
        if block.language != "python":
            continue
        module = type(sys)("duologue_keypad" if name == "PLUGINS.md" and not index else f"block_{index}")
        monkeypatch.setitem(sys.modules, module.__name__, module)  # the second block imports the first, as a reader's
        blocks.run_python(block.code, name, block.line, module.__dict__, blocks.run_in_virtual_time)


def test_the_ten_lines_of_the_readme_hold_a_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = REPOSITORY / "README.md"
    (block,) = [block for block in blocks.blocks(page) if block.language == "python"]
    namespace: dict[str, Any] = {"heard": []}
    blocks.run_python(blocks.setup(page), page.name, 1, namespace, blocks.run_in_virtual_time)
    listening = block.code.replace("        ...\n", "        heard.append(event)\n")
    assert listening != block.code
    blocks.run_python(listening, page.name, block.line, namespace, blocks.run_in_virtual_time)
    blocks.run_in_virtual_time(namespace["agent"].aclose())
    ended = [event for event in namespace["heard"] if isinstance(event, events.ReplyEnded)]
    assert [reply.heard for reply in ended][1] == (
        "The museum opens at nine in the morning and closes at six in the evening."
    )
    assert [tool.spec.description for tool in [namespace["weather"]]] == ["Current weather in a city."]


def test_a_recogniser_takes_fewer_than_forty_lines() -> None:
    first = next(block for block in blocks.blocks(REPOSITORY / "docs" / "PLUGINS.md") if block.language == "python")
    assert "class KeypadAsr" in first.code
    assert len(first.code.splitlines()) < 40


def _subcommand(words: list[str]) -> tuple[Any, list[str]]:
    """The command that `duologue …` reaches, and the words that are left for it."""
    from duologue import cli

    command: Any = typer.main.get_command(cli.app)  # of click's classes, or of those that newer typers bring along
    rest = words[1:]
    while hasattr(command, "commands") and rest and not rest[0].startswith("-"):
        assert rest[0] in command.commands, f"no such command: duologue {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def _check_duologue(words: list[str]) -> None:
    command, rest = _subcommand(words)
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in rest if word.startswith("-") and len(word) > 1}
    assert used <= options | {"--help"}, f"duologue {command.name} has no {used - options}"
    if words[1:3] == ["models", "pull"]:
        for spec in words[3:]:
            find_model(spec)


def _check_make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    asked = {word for word in words[1:] if "=" not in word and not word.startswith("-")}
    assert asked <= targets, f"the Makefile has no {asked - targets}"


@_of("bash")
def test_the_commands_of_a_page_exist(block: Block) -> None:
    for words in blocks.commands(block.code):
        if words[0] == "duologue":
            _check_duologue(words)
        elif words[0] == "make":
            _check_make(words)
        else:
            program = Path(words[0]).name
            assert program in PROGRAMS_ELSEWHERE or (REPOSITORY / words[0]).exists(), f"{block.place}: {words[0]}"


@_of("bash")
def test_the_environment_that_a_page_sets_is_understood(block: Block, tmp_path: Path) -> None:
    ours = dict(word.split("=", 1) for word in blocks.assignments(block.code) if word.startswith("DUOLOGUE_"))
    load_settings(environ=ours, folder=tmp_path)


@_of("toml")
def test_the_settings_of_a_page_are_valid(block: Block, tmp_path: Path) -> None:
    parsed = tomllib.loads(block.code)
    assert parsed or block.code.strip().startswith("#")
    if block.code.startswith("# duologue.toml"):
        file = tmp_path / "duologue.toml"
        file.write_text(block.code, encoding="utf-8")
        load_settings(file, environ={}, folder=tmp_path)


def test_the_packs_of_the_page_on_packs_are_read(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "PACKS.md").read_text(encoding="utf-8")
    for path, content in re.findall(r"^`(prompts/[^`]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    tiny, coach = (find_pack(name, folder=tmp_path) for name in ("tiny", "coach"))
    assert tiny.greeting() is None and tiny.system().startswith("You help people")
    assert "coach, a waiter at The Blue Cup" in coach.system() and "A coffee is $3." in coach.system()
    assert [len(exchange.asked) for exchange in coach.samples] == [3, 1] and coach.greeting()
    coach.check_voices(EspeakTts())
    assert load_settings(assignments=["pack=coach"], environ={}, folder=tmp_path).endpointing.patience == 2.0


def test_the_call_of_the_page_on_calls_goes_as_it_should(tmp_path: Path) -> None:
    page = REPOSITORY / "docs" / "CALLS.md"
    (block,) = [block for block in blocks.blocks(page) if block.language == "toml"]
    script = tmp_path / "call.toml"
    script.write_text(block.code, encoding="utf-8")
    told = io.StringIO()
    chosen = ["asr=pocketsphinx", "llm=rehearsal", "tts=espeak"]
    settings = load_settings(assignments=chosen, environ={}, folder=tmp_path)
    console = Console(file=told, width=200, highlight=False)
    assert run_talk(settings, [], script, tmp_path / "answer.wav", console=console) == 0
    assert told.getvalue().count("✓") == 6 and "✗" not in told.getvalue()


def test_the_json_of_the_pages_is_json() -> None:
    for block in BLOCKS:
        if block.language == "json":
            json.loads(block.code)


def test_the_generated_parts_are_what_the_code_says_now() -> None:
    command = [sys.executable, str(REPOSITORY / "docs" / "generate.py"), "--check"]
    check = subprocess.run(command, capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout + check.stderr


def _anchors(page: Path) -> set[str]:
    """The headings of `page` as GitHub links them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(REPOSITORY))) for page in PAGES])
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    text = blocks.FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}, which is not there"
        if anchor:
            assert anchor in _anchors(file), f"{page.name} links to {target}: no such heading"
