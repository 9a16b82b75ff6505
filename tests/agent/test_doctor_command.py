"""`duologue doctor`: what is here, what is not, and how to get it."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.agent.conftest import Terminal

from duologue.commands.doctor import Endpoint, LocalModel, examine
from duologue.commands.doctor_report import show


def diagnosis(terminal: Terminal, *arguments: str) -> dict[str, Any]:
    terminal.run("doctor", "--json", *arguments)
    found: dict[str, Any] = json.loads(terminal.out)
    return found


def test_doctor_says_that_rehearsal_is_no_language_model(terminal: Terminal) -> None:
    terminal.run("doctor", "--set", "asr=pocketsphinx", "--set", "tts=espeak")
    assert "rehearsal is no language model: it can only rehearse the pack's sample dialogues" in terminal.out
    assert "port 1 has nothing listening" in terminal.out


def test_doctor_says_what_auto_takes_and_why(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_THERE", "1")
    llm = next(stage for stage in diagnosis(terminal)["stages"] if stage["stage"] == "llm")
    assert (llm["use"], llm["chosen"], llm["why"], llm["note"]) == ("auto", "openai (ollama)", "port 1 answers", "")
    terminal.run("doctor")
    assert "a, b, c, …" in terminal.out


def test_doctor_lists_packages_models_and_packs(terminal: Terminal) -> None:
    found = diagnosis(terminal)
    packages = {package["name"]: package for package in found["packages"]}
    assert packages["numpy"]["version"] and not packages["duologue-nowhere"]["version"]
    assert packages["duologue-elsewhere"] == {"name": "duologue-elsewhere", "version": "", "extra": "piper"}
    assert "pytest" not in packages
    assert [model["spec"] for model in found["models"]] == ["whisper:tiny", "whisper:mine"]
    assert "assistant" in found["packs"]
    terminal.run("doctor")
    assert "pip install 'duologue[piper]'" in terminal.out
    assert "missing: pip install duologue" in terminal.out


def test_doctor_goes_on_where_something_is_broken(terminal: Terminal) -> None:
    terminal.install(endpoints="endpoints")
    Path("duologue.toml").write_text("patience = 3\n")
    assert terminal.run("doctor") == 1
    assert "No conversation can be held like this:" in terminal.out
    assert "duologue.toml:1: patience is no known key" in terminal.out
    assert "No downloaded models in the cache" in terminal.out
    found = diagnosis(terminal, "--set", "pack=nobody")
    assert not found["is_healthy"]


def test_doctor_tells_first_that_the_settings_cannot_be_read(terminal: Terminal) -> None:
    Path("duologue.toml").write_text("pack = \n")
    assert terminal.run("doctor") == 1
    assert terminal.out.startswith("The settings can't be read: ") and "duologue.toml:1: broken TOML" in terminal.out
    assert "What follows is about the defaults." in terminal.out


def test_doctor_takes_the_flags_of_the_demo(terminal: Terminal) -> None:
    assert {stage["stage"]: stage["use"] for stage in diagnosis(terminal, "--asr", "whisper", "--tts", "espeak")[
        "stages"
    ]} == {"vad": "both", "asr": "whisper", "llm": "auto", "tts": "espeak", "judge": "none"}  # fmt: skip
    assert "there is no pack 'nobody'" in diagnosis(terminal, "--pack", "nobody")["problems"][0]
    assert diagnosis(terminal, "--language", "zh")["settings"]["language"] == "zh"


def test_doctor_finds_nothing_wrong_with_an_optional_stage_that_is_left_out(terminal: Terminal) -> None:
    found = diagnosis(terminal)
    judge = found["stages"][-1]
    assert (judge["stage"], judge["chosen"], judge["is_left_out"]) == ("judge", "", True)
    assert judge["why"].startswith("optional; ") and not [line for line in found["problems"] if "judge" in line]


def test_doctor_names_a_judge_that_is_not_there(terminal: Terminal) -> None:
    found = diagnosis(terminal, "--set", "judge.use=nobody")
    assert (found["stages"][-1]["chosen"], found["stages"][-1]["is_left_out"]) == ("", False)
    assert "--set judge.use: judge.use: there is no judge called 'nobody'" in " ".join(found["problems"])


def test_doctor_cuts_no_reason_short(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    terminal.run("doctor", "--set", "asr=pocketsphinx", "--set", "tts=espeak")
    assert "…" not in terminal.out
    assert "hears only what the pack's dialogues" in " ".join(terminal.out.split())


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_doctor_fits_the_terminal_and_cuts_no_word(columns: int) -> None:
    endpoints = (Endpoint("openai", "https://api.openai.com/v1", ("gpt",), "no OPENAI_API_KEY is set here", False),)
    models = (LocalModel("llamacpp:SmolLM2-135M-Instruct-Q4_1", "/work/models/llamacpp/SmolLM2-135M-Instruct.gguf"),)
    found = replace(examine(assignments=["asr=pocketsphinx"]), endpoints=endpoints, models=models)
    told = io.StringIO()
    show(replace(found, pack_remarks=("it lists zh",)), Console(file=told, width=columns))
    shown = told.getvalue()
    assert all(word in shown for word in ("https://api.openai.com/v1", models[0].spec, models[0].path, "it lists zh"))
    assert "…" not in shown and ("┏" in shown or columns == 40)
    table_lines = [line for line in shown.splitlines() if line and line[0] in "┏┃┡│└"]
    assert all(len(line) <= columns and line[-1] in "┓┃┩│┘" for line in table_lines)


def test_doctor_finds_a_voice_that_the_pack_names_and_nobody_has(terminal: Terminal) -> None:
    pack = Path("prompts/mine")
    pack.mkdir(parents=True)
    (pack / "system.md").write_text("Be brief.\n")
    (pack / "pack.toml").write_text(
        'name = "mine"\ndescription = ""\ngreeting = false\n[voice.names.en]\nespeak = "nonsense"\n'
    )
    problems = diagnosis(terminal, "--pack", "mine", "--tts", "espeak")["problems"]
    assert len(problems) == 1 and "pack.toml:5: voice.names.en.espeak: espeak has no voice 'nonsense'" in problems[0]


def test_doctor_names_the_stage_that_cannot_be_used(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_THERE", "none")
    found = diagnosis(terminal, "--set", "asr=wisper", "--set", "tts.use=espeak", "--set", "tts.bogus=1")
    assert any("--set asr: asr.use: there is no asr called 'wisper'" in problem for problem in found["problems"])
    assert any("espeak has no option 'bogus'" in problem for problem in found["problems"])
    assert any(problem.startswith("llm: nothing answers") for problem in found["problems"])
    named = diagnosis(terminal, "--set", "llm=openai")
    assert any("OPENAI_API_KEY" in problem for problem in named["problems"])


def test_doctor_takes_options_beside_auto_as_a_hint_at_what_is_meant(terminal: Terminal) -> None:
    found = diagnosis(terminal, "--set", "llm.api_key=sk-1")
    llm = next(stage for stage in found["stages"] if stage["stage"] == "llm")
    assert (llm["chosen"], llm["why"], llm["note"]) == ("openai", "the only one that has api_key", "")


def test_doctor_works_without_the_pipelines(terminal: Terminal) -> None:
    terminal.install()
    found = diagnosis(terminal)
    assert (found["endpoints"], found["models"], found["models_folder"]) == ([], [], "")


def test_doctor_shows_no_secret(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOLOGUE_LLM__API_KEY", "sk-verysecret")
    terminal.run("doctor", "--json")
    assert "sk-verysecret" not in terminal.out
