"""What a type checker makes of a user's file: the names are known with their types, misspelt ones are refused."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

USER_FILE = '''
from __future__ import annotations

from typing import TYPE_CHECKING

from duologue import Agent, Settings, actions, events, log_events, tool

if TYPE_CHECKING:
    from duologue import Session
    from duologue.ports.transport import Transport


@tool
async def goodbye(reason: str, session: Session) -> str:
    """The caller wants to end the call."""
    session.hang_up(reason)
    return session.id


def told(event: events.Event | actions.Action) -> str:
    if isinstance(event, events.ReplyEnded):
        return event.heard
    return event.text if isinstance(event, actions.TurnEnded) else ""


async def answer(transport: Transport) -> None:
    agent = Agent(tools=[goodbye], settings={"language": "en"})
    async with agent.session(transport, user_data={"name": "Ada"}) as session:
        log_events(session)
        session.say("Hello.")
'''
# Each line has one mistake, and the name that is to be complained about.
MISTAKES = """
from duologue import Agnet
from duologue import events, log_events, Session, Settings
import duologue
duologue.Sesion
events.ReplyEnd
events.ReplyEnded(0.0, 1, heard=3)
Session.hangup
log_events("wrong")
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a user's program, and one full of mistakes."""
    folder = tmp_path_factory.mktemp("types")
    (folder / "right.py").write_text(USER_FILE.lstrip(), encoding="utf-8")
    (folder / "wrong.py").write_text(MISTAKES.lstrip(), encoding="utf-8")
    return folder


def check(files, repository, *command):
    """Exit status and what was said, for both files in one run."""
    paths = os.pathsep.join([str(repository / "agent"), str(repository / "pipelines")])
    environ = {**os.environ, "MYPYPATH": paths, "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-m", *command, "right.py", "wrong.py"], cwd=files, env=environ,
                          capture_output=True, text=True)  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_mypy_knows_every_name_and_refuses_what_is_misspelt(files, repository):
    code, said = check(files, repository, "mypy", "--strict", "--config-file=", f"--cache-dir={files / 'cache'}")
    assert code == 1 and re.findall(r"^(right|wrong)\.py:(\d+): error", said, re.M) == [
        ("wrong", line) for line in "145678"
    ], said


def test_pyright_knows_every_name_and_refuses_what_is_misspelt(files, repository):
    if importlib.util.find_spec("basedpyright") is None:
        pytest.skip("needs basedpyright, pyright with its own node (pip install -e '.[types]')")
    code, said = check(files, repository, "basedpyright", "--level", "error", "--pythonpath", sys.executable)
    assert code == 1 and re.findall(r"(right|wrong)\.py:(\d+):\d+ - error", said) == [
        ("wrong", line) for line in "145678"
    ], said
