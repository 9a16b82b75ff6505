"""Each example runs from its first line to its last, in virtual time, and prints what it promises."""

import asyncio
import functools
import runpy
from pathlib import Path

import pytest

from duologue.audio import read_wav
from duologue.testing import virtual_time

PROMISES = {
    "01_ten_lines.py": ["caller: When does the museum open", "agent:  The museum opens at nine in the morning"],
    "02_own_tool.py": ["tool:   book_table", "result: Booked for 4 on friday", "agent:  Done: four of you"],
    "03_wav_conversation.py": ["'How do rockets fly?': answered after", "the agent went on after", "was silent after"],
    "04_own_asr_plugin.py": ["agent: A ticket is twelve dollars."],
    "05_test_in_virtual_time.py": ["answered after 0.", "silent after 0.0"],
    "06_migrate.py": ["state: ", "UserItem   How do I get to the station?", "on your right."],
}


@pytest.mark.parametrize("name", PROMISES)
def test_an_example_keeps_its_promise(
    name: str,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DUOLOGUE_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(asyncio, "run", functools.partial(virtual_time.run, tasks_left="cancel"))
    runpy.run_path(str(repository / "examples" / name), run_name="__main__")
    printed = capsys.readouterr().out
    for promised in PROMISES[name]:
        assert promised in printed, printed


def test_the_recording_of_an_example_has_both_voices(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(asyncio, "run", functools.partial(virtual_time.run, tasks_left="cancel"))
    runpy.run_path(str(repository / "examples" / "01_ten_lines.py"), run_name="__main__")
    samples, rate_hz = read_wav(tmp_path / "out" / "01_ten_lines.wav")
    assert rate_hz == 24_000
    assert (abs(samples).max(axis=0) > 3000).all()


def test_every_example_is_run(repository: Path) -> None:
    elsewhere = ["07_tcp_transport.py"]  # test_tcp_transport: it needs a caller
    assert sorted(path.name for path in (repository / "examples").glob("*.py")) == sorted([*PROMISES, *elsewhere])
