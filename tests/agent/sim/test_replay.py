"""A seed replays byte for byte, in this process and in any other."""

import subprocess
import sys

import pytest

from duologue.core import conversation
from duologue.core.events import ReplyHeard
from duologue.sim import cli

ANOTHER = "import sys; from duologue.cli import run; sys.exit(run(sys.argv[1:]))"


@pytest.mark.parametrize("flags", [[], ["--whole"]], ids=["core", "whole"])
def test_two_processes_tell_a_seed_in_the_same_bytes(flags, repository):
    first, second = (
        subprocess.run(
            [sys.executable, "-c", ANOTHER, "sim", "--replay", "17", *flags],
            cwd=repository / "agent",
            capture_output=True,
            check=True,
        ).stdout
        for _ in range(2)
    )
    assert first == second
    assert len(first.splitlines()) > 20


@pytest.mark.parametrize("whole", [False, True], ids=["core", "whole"])
def test_a_log_tells_circumstances_events_and_actions(whole, capsys):
    assert cli.run(replay=5, whole=whole) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("seed 5: faults")
    assert lines[1].startswith("policy Policy")
    assert any("SpeechStarted" in line for line in lines)
    assert any("CloseSession" in line for line in lines)


def test_a_log_ends_with_the_rules_that_were_broken(monkeypatch, capsys):
    monkeypatch.setitem(conversation.HANDLERS, ReplyHeard, lambda core, event: 1 / 0)
    assert cli.run(replay=5) == 1
    assert "! nothing raises: ZeroDivisionError" in capsys.readouterr().out.splitlines()[-1]
