"""The promises that tests/conftest.py makes to every test."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("example.invalid", 443), ("2001:db8::1", 80, 0, 0)])
def test_no_test_connects_to_another_machine(address: tuple[object, ...]) -> None:
    family = socket.AF_INET6 if len(address) == 4 else socket.AF_INET
    with socket.socket(family) as client:
        for connect in (client.connect, client.connect_ex):
            with pytest.raises(OSError, match="tests stay on this machine"):
                connect(address)


def test_a_test_connects_to_its_own_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()[:2]) as client:
        accepted, _ = server.accept()
        with accepted:
            assert accepted.getpeername() == client.getsockname()


def test_what_was_left_out_stands_at_the_end_with_the_switch(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((repository / "tests" / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "test_x.py").write_text(
        "def test_one(shared_data): ...\ndef test_two(shared_data): ...\ndef test_three(): ...\n", encoding="utf-8"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "DUOLOGUE_SHARED": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout
    assert "2 left out: needs ../shared/data (set DUOLOGUE_SHARED to the folder that holds data/)" in run.stdout
    assert run.stdout.splitlines()[-1].strip("= ").startswith("1 passed, 2 skipped")
