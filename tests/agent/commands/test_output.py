"""What is printed survives a reader who leaves, a disk that is full and a terminal that knows no ✓."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from duologue.commands.output import PatientOutput, make_stdout_patient

VERSION = [sys.executable, "-c", "from duologue.cli import main; main()", "--version"]


def run(program: str, *, encoding: str = "utf-8") -> subprocess.CompletedProcess[bytes]:
    code = (
        f"import sys\nfrom duologue.commands.output import make_stdout_patient\nout = make_stdout_patient()\n{program}"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=60)


def test_what_the_encoding_lacks_is_spelled_so_that_it_can_be_told_apart() -> None:
    done = run("print('✓ yes ✗ no a → b … 中', '\\udc80')", encoding="ascii")
    assert done.stdout == b"+ yes x no a -> b ... ? ?\n" and not done.stderr


def test_an_encoding_that_has_it_all_is_left_alone() -> None:
    assert run("print('✓ 中')").stdout.decode() == "✓ 中\n"


def test_a_stream_that_is_no_file_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stdout", stream)
        assert make_stdout_patient() is None
        assert sys.stdout is stream


def test_a_reader_who_has_left_does_not_stop_the_work() -> None:
    code = (
        "import sys\nfrom duologue.commands.output import make_stdout_patient\nout = make_stdout_patient()\n"
        "for _ in range(3):\n    print('x' * 100_000)\n    sys.stdout.flush()\n"
        "print(type(out.failure).__name__, sys.stdout.isatty(), sys.stdout.fileno(), file=sys.stderr)\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", code], stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert done.returncode == 0 and done.stderr == b"BrokenPipeError False 1\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_below_the_output_is_told_and_is_no_mistake_of_ours() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(VERSION, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 1
    assert done.stderr.decode().split() == "Error: standard output can't be written: No space left on device".split()


def test_the_program_ends_quietly_when_nobody_reads() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(VERSION, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    os.close(writing)
    assert done.returncode == 0 and done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_what_is_written_after_a_failure_is_dropped_and_the_failure_kept(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb", buffering=0) as raw:
        output = PatientOutput(raw)
        assert output.writable() and not output.isatty() and output.fileno() == raw.fileno()
        assert output.write(memoryview(b"kept")) == 4 and output.failure is None
    with Path("/dev/full").open("wb", buffering=0) as raw:
        output = PatientOutput(raw)
        assert output.write(b"lost") == 4 and output.write(b"too") == 3
        assert output.failure is not None
    assert (tmp_path / "out").read_bytes() == b"kept"
