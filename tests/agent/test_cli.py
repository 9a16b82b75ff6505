"""The command line: what a newcomer sees, and what a mistake says. Commands of the pipelines are a plugin's here."""

import tomllib
from pathlib import Path

import pytest
from tests.agent.conftest import Terminal

from duologue.core.codec import to_data
from duologue.core.conversation import Conversation
from duologue.core.events import SpeechStarted, SpeechStopped
from duologue.core.policy import Policy
from duologue.errors import ConfigurationError
from duologue.runtime.trace import Trace
from duologue.settings import Settings

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
