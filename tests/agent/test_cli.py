"""The command line: what a newcomer sees, and what a mistake says. Commands of the pipelines are a plugin's here."""

import io
import json
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib import invalidate_caches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from duologue import cli
from duologue.commands.doctor import Endpoint, LocalModel, examine
from duologue.commands.doctor_report import show
from duologue.core.codec import to_data
from duologue.core.conversation import Conversation
from duologue.core.events import SpeechStarted, SpeechStopped
from duologue.core.policy import Policy
from duologue.errors import ConfigurationError
from duologue.runtime.trace import Trace
from duologue.settings import Settings
from duologue.stages import STAGES

METADATA = """\
Metadata-Version: 2.1
Name: duologue
Version: 9.9
Requires-Dist: numpy>=1.26
Requires-Dist: duologue-nowhere
Requires-Dist: duologue-elsewhere>=1; extra == 'piper'
Requires-Dist: pytest; extra == 'test'
"""

PLUGIN = """
from collections import namedtuple
from pathlib import Path
from typing import NamedTuple
from duologue.errors import StageUnavailable

calls = []

def demo(settings, out, caller):
    calls.append(("demo", settings, out, caller))
    return 1 if settings.language == "xx" else 0

def talk(settings, inputs, script, out, realtime, verbose):
    calls.append(("talk", inputs, script, out, realtime, verbose))

Kind = namedtuple("Kind", "name title package extra", defaults=("sys", ""))

class Row(NamedTuple):
    kind: str
    name: str
    what: str
    megabytes: int
    path: Path
    is_here: bool
    licence: str = ""
    origins: tuple = ("hub",)
    settings: str = ""
    @property
    def spec(self):
        return f"{self.kind}:{self.name}"

class Store:
    folder = Path("/cache")
    layout = "whisper/NAME/"
    damaged = {"whisper:mine": ["model.bin"]}
    def kinds(self):
        return [Kind("whisper", "recognisers"), Kind("piper", "voices", "no_such_package", "piper")]
    def models(self):
        return [Row("whisper", "tiny", "quick", 78, Path("/cache/tiny"), True, settings="--set asr.use=whisper"),
                Row("piper", "amy", "[she]", 63, Path("/x"), False, "CC0", ("hub", "index")),
                Row("whisper", "mine", "your own", 0, Path("/cache/mine"), True)]
    def find(self, spec):
        kind, _, name = spec.partition(":")
        return next((row for row in self.models() if row.spec == spec), Row(kind, name, "", 0, Path("/x"), False))
    def check(self, spec):
        return self.damaged.get(spec, [] if spec == "whisper:tiny" else ["amy.onnx"])
    def pull(self, spec, progress, note, *, force, source):
        if spec == "whisper:none":
            raise StageUnavailable("models", "can't reach the hub", hint="Check the network")
        calls.append(("pull", spec, force, source))
        note("from https://pypi.org/simple")
        progress("model.bin", 10, 100)
        progress("model.bin", 100, 100)
        return Path("/cache") / spec

class EmptyStore(Store):
    def models(self): return []

class Found(NamedTuple):
    name: str
    use: str
    base_url: str
    models: tuple
    why: str
    available: bool
    options: dict

async def endpoints(environ):
    there = environ.get("LLM_THERE") == "1"
    return [
        Found("ollama", "openai", "http://127.0.0.1:1/v1", ("a", "b", "c", "d") if there else (),
              "port 1 answers" if there else "port 1 has nothing listening", there,
              {"base_url": "http://127.0.0.1:1/v1", "model": "a"}),
        Found("rehearsal", "rehearsal", "", ("rehearsal",), "always there", environ.get("LLM_THERE") != "none", {}),
    ]

def crash(settings, out, caller):
    raise ZeroDivisionError("by [zero]")

def stop(settings, out, caller):
    raise KeyboardInterrupt

def pipe(settings, out, caller):
    raise BrokenPipeError
"""


class Terminal:
    """Runs the command line in this process; holds what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], install: Callable[..., None]) -> None:
        self._capsys = capsys
        self.install = install
        self.out = ""
        self.err = ""

    def run(self, *arguments: str) -> int:
        status = cli.run(arguments)
        self.out, self.err = self._capsys.readouterr()
        return status

    @property
    def calls(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = sys.modules["duologue_cli_plugin"].calls
        return found


def entry_points_of(stages: Iterable[str], commands: dict[str, str]) -> str:
    """Our own stages as they are installed, and a plugin's commands."""
    lines: list[str] = []
    for group in stages:
        lines += [f"[{group}]", *(f"{entry.name} = {entry.value}" for entry in entry_points(group=group))]
    return "\n".join([*lines, "[duologue.commands]", *(f"{k} = duologue_cli_plugin:{v}" for k, v in commands.items())])


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """An installation of Duologue with other pipelines: it lies first on the path and hides the real one."""
    info = tmp_path / "site" / "duologue-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info.parent / "duologue_cli_plugin.py").write_text(PLUGIN)
    stages = {kind.group: entry_points_of([kind.group], {}) for kind in STAGES}

    def install(**commands: str) -> None:
        own = "\n".join(stages.values())
        (info / "entry_points.txt").write_text(f"{own}\n{entry_points_of([], commands)}\n")
        invalidate_caches()

    install(demo="demo", talk="talk", models="Store", endpoints="endpoints")
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path / "models"))
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "FORCE_COLOR", "LLM_THERE"):
        monkeypatch.delenv(variable, raising=False)
    yield Terminal(capsys, install)
    sys.modules.pop("duologue_cli_plugin", None)


# --- help ---------------------------------------------------------------------------------------------------------


def test_help_tells_a_newcomer_where_to_begin(terminal: Terminal) -> None:
    assert terminal.run("--help") == 0
    assert "New here? duologue demo holds one right away" in terminal.out
    for command in ("demo", "talk", "doctor", "models", "replay", "sim"):
        assert f" {command} " in terminal.out


@pytest.mark.parametrize("command", ["demo", "talk", "doctor", "models list", "models pull", "replay", "sim"])
def test_every_command_explains_itself(command: str, terminal: Terminal) -> None:
    assert terminal.run(*command.split(), "-h") == 0
    assert f"Usage: duologue {command}" in terminal.out


def test_the_help_of_talk_shows_a_whole_script(terminal: Terminal) -> None:
    terminal.run("talk", "--help")
    shown = terminal.out.partition("stand in it):")[2].partition("╭")[0]
    steps = tomllib.loads(shown)["step"]
    assert [step.get("kind") for step in steps] == [None, "interruption"]


def test_no_command_at_all_shows_the_help(terminal: Terminal) -> None:
    assert terminal.run() == 2
    assert "Commands" in terminal.out + terminal.err


def test_the_version_is_the_installed_one(terminal: Terminal) -> None:
    assert terminal.run("--version") == 0
    assert terminal.out == "duologue 9.9\n"


# --- demo and talk ------------------------------------------------------------------------------------------------


def test_flags_become_settings(terminal: Terminal) -> None:
    status = terminal.run(
        "demo", "--out", "here", "--caller", "mine.toml", "--asr", "pocketsphinx", "--tts", "espeak",
        "--llm", "rehearsal", "--pack", "assistant", "--language", "zh", "--set", "endpointing.patience=2",
    )  # fmt: skip
    assert status == 0
    [(name, settings, out, caller)] = terminal.calls
    assert isinstance(settings, Settings)
    assert (name, out, caller) == ("demo", Path("here"), Path("mine.toml"))
    assert (settings.asr.use, settings.tts.use, settings.llm.use) == ("pocketsphinx", "espeak", "rehearsal")
    assert (settings.language, settings.endpointing.patience) == ("zh", 2)


def test_a_settings_file_can_be_named(terminal: Terminal) -> None:
    Path("mine.toml").write_text("sessions_max = 3\n")
    assert terminal.run("demo", "--config", "mine.toml") == 0
    [(_, settings, out, caller)] = terminal.calls
    assert isinstance(settings, Settings)
    assert (settings.sessions_max, out, caller) == (3, Path("out/demo"), None)


def test_a_commands_status_is_the_exit_status(terminal: Terminal) -> None:
    assert terminal.run("demo", "--language", "xx") == 1


def test_talk_takes_files_or_a_script(terminal: Terminal) -> None:
    assert terminal.run("talk", "--in", "a.wav", "--in", "b.mp3", "--out", "c.wav", "--real-time", "--verbose") == 0
    assert terminal.run("talk", "--script", "s.toml") == 0
    assert terminal.calls == [
        ("talk", [Path("a.wav"), Path("b.mp3")], None, Path("c.wav"), True, True),
        ("talk", [], Path("s.toml"), Path("answer.wav"), False, False),
    ]


@pytest.mark.parametrize("arguments", [(), ("--in", "a.wav", "--script", "s.toml")])
def test_talk_without_anything_to_say_shows_how(arguments: tuple[str, ...], terminal: Terminal) -> None:
    assert terminal.run("talk", *arguments) == 2
    assert terminal.err == (
        "Error: talk needs either --in or --script. Try: duologue talk --in question.wav --out answer.wav\n"
    )


# --- mistakes -----------------------------------------------------------------------------------------------------


def test_a_wrong_setting_is_one_line_and_status_2(terminal: Terminal) -> None:
    assert terminal.run("demo", "--set", "asr_use=x") == 2
    assert terminal.err == "Error: --set asr_use: asr_use is no known key. Did you mean 'asr.use'?\n"
    assert terminal.run("demo", "--pack", "asistant") == 2
    assert "Did you mean 'assistant'?" in terminal.err


def test_a_command_that_is_not_installed_says_how_to_get_it(terminal: Terminal) -> None:
    terminal.install()
    assert terminal.run("demo") == 2
    assert "the command 'demo' is not installed. Install Duologue" in terminal.err


def test_a_crash_is_owned_and_shows_no_traceback_unless_asked(terminal: Terminal) -> None:
    terminal.install(demo="crash")
    assert terminal.run("demo") == 1
    assert terminal.err == (
        "Error: ZeroDivisionError: by [zero]. This is our mistake: run it as `duologue --debug …` and report it\n"
    )
    with pytest.raises(ZeroDivisionError):
        terminal.run("--debug", "demo")


def test_debug_shows_where_a_mistake_came_from(terminal: Terminal) -> None:
    with pytest.raises(ConfigurationError):
        terminal.run("--debug", "talk")


def test_ctrl_c_ends_without_a_traceback(terminal: Terminal) -> None:
    terminal.install(demo="stop")
    assert terminal.run("demo") == 130
    assert "Traceback" not in terminal.err


def test_an_unknown_flag_is_wrong_use(terminal: Terminal) -> None:
    assert terminal.run("demo", "--asrr", "x") == 2
    assert "--asr" in terminal.err


# --- models -------------------------------------------------------------------------------------------------------


def test_models_are_listed_with_what_is_here(terminal: Terminal) -> None:
    assert terminal.run("models", "list") == 0
    assert "✓ │ whisper:tiny │ quick" in terminal.out
    assert "piper:amy │ [she] │ 63 MB │ hub index │ CC0" in terminal.out
    assert "whisper: recognisers" in terminal.out
    assert "piper: voices (needs: pip install 'duologue[piper]')" in terminal.out
    assert "Cache: /cache (set DUOLOGUE_MODELS for another)" in terminal.out
    assert terminal.run("models", "list", "--here") == 0
    assert "piper:amy" not in terminal.out
    terminal.install(models="EmptyStore")
    assert terminal.run("models", "list") == 0
    assert terminal.out.startswith("No models in /cache.")


def test_names_of_models_are_whole_in_a_narrow_terminal(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert terminal.run("models", "list") == 0
    assert "whisper:tiny" in terminal.out and "piper:amy" in terminal.out and "78 MB" in terminal.out
    assert "…" not in terminal.out and "Copied by hand, models belong there as whisper/NAME/." in terminal.out


def test_models_are_pulled_one_after_the_other(terminal: Terminal) -> None:
    assert terminal.run("models", "pull", "whisper:tiny", "piper:amy", "--force", "--from", "index") == 0
    assert terminal.calls == [("pull", "whisper:tiny", True, "index"), ("pull", "piper:amy", True, "index")]
    assert "✓ whisper:tiny is in /cache/whisper:tiny" in terminal.out
    assert "model.bin" in terminal.out
    assert terminal.out.count("from https://pypi.org/simple") == 1
    assert "use: --set asr.use=whisper" in terminal.out
    assert "install what runs it: pip install 'duologue[piper]'" in terminal.out


def test_a_pull_that_fails_says_what_to_do(terminal: Terminal) -> None:
    assert terminal.run("models", "pull", "whisper:none") == 1
    assert terminal.err == "Error: models: can't reach the hub. Check the network\n"


def test_models_are_checked(terminal: Terminal) -> None:
    assert terminal.run("models", "check") == 1
    assert "✗ whisper:mine: damaged or missing: model.bin" in terminal.out
    assert terminal.run("models", "check", "whisper:tiny") == 0


# --- replay and sim -----------------------------------------------------------------------------------------------


def test_a_trace_that_is_not_there_is_named(terminal: Terminal) -> None:
    assert terminal.run("replay", "none.jsonl") == 2
    assert terminal.err == "Error: none.jsonl: no such trace. The demo writes one: out/demo/trace.jsonl\n"


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A session in which the caller spoke for half a second, as the runtime records it."""
    conversation = Conversation()
    path = tmp_path / "trace.jsonl"
    header = {"policy": to_data(Policy()), "conversation": conversation.snapshot()}
    log = Trace(lambda: header, path=path)
    for event in (SpeechStarted(1.0, 0.95), SpeechStopped(1.5, 1.45)):
        log.event(event)
        log.actions(event.at, conversation.feed(event))
    log.close()
    return path


def test_a_trace_that_replays_says_so(terminal: Terminal, trace: Path) -> None:
    assert terminal.run("replay", "trace.jsonl") == 0
    assert terminal.out.startswith("The same decisions. trace.jsonl: 2 events, ")
    assert terminal.out.endswith(", up to the end of the file; the session's end is not in it\n")


def test_the_first_difference_of_a_replay_is_shown(terminal: Terminal, trace: Path) -> None:
    lines = trace.read_text().splitlines(keepends=True)
    number = next(index for index, line in enumerate(lines) if '"action"' in line)
    trace.write_text("".join([*lines[:number], lines[number].replace('"turn":1', '"turn":7'), *lines[number + 1 :]]))
    assert terminal.run("replay", "trace.jsonl") == 1
    assert terminal.out.startswith(f"Another decision at 1.000 s, trace.jsonl:{number + 1}")
    assert '"turn": 7' in terminal.out and '"turn": 1' in terminal.out


def test_a_file_that_is_no_trace_is_an_error_not_a_crash(terminal: Terminal) -> None:
    Path("notes.txt").write_text("hello\n")
    assert terminal.run("replay", "notes.txt") == 1
    assert "notes.txt:1: not JSON" in terminal.err


# --- doctor -------------------------------------------------------------------------------------------------------


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
