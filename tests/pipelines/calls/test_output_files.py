"""The files of a call: refused before it where they can't be, kept from others while it lasts, told truly after it."""

import os
from pathlib import Path

import pytest

from duologue.errors import ConfigurationError
from duologue_pipelines.calls.output_files import Written, check_files, kept_from_others


def test_files_that_can_be_written_are_fine(tmp_path: Path) -> None:
    (tmp_path / "old.wav").write_bytes(b"old")
    check_files([tmp_path / "old.wav", tmp_path / "new.wav", tmp_path / "none" / "yet" / "new.wav"])


def test_a_folder_or_a_pipe_is_no_file_to_write(tmp_path: Path) -> None:
    (tmp_path / "folder.wav").mkdir()
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(ConfigurationError, match=r"folder\.wav: a folder, expected a file"):
        check_files([tmp_path / "folder.wav"])
    with pytest.raises(ConfigurationError, match=r"pipe\.wav: not a regular file"):
        check_files([tmp_path / "pipe.wav"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_closed_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigurationError, match="may not be written to"):
        check_files([tmp_path / "new" / "a.wav"])


def test_two_calls_at_once_do_not_share_their_files(tmp_path: Path) -> None:
    lock = tmp_path / "a.wav.lock"
    with kept_from_others(lock, "a.wav"):
        with (
            pytest.raises(ConfigurationError, match=rf"a\.wav: another call .* \(process {os.getpid()}\)\. Wait"),
            kept_from_others(lock, "a.wav"),
        ):
            pass
        with kept_from_others(tmp_path / "b.wav.lock", "b.wav"):
            assert lock.exists()
    assert list(tmp_path.iterdir()) == []
    with kept_from_others(lock, "a.wav"):
        pass


def test_a_lock_left_behind_is_no_obstacle(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    lock.write_text("1")
    with kept_from_others(lock, "out"):
        assert lock.read_text() == str(os.getpid())


def test_a_lock_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "no").touch()
    with (
        pytest.raises(ConfigurationError, match=r"no/\.lock: (Not a directory|File exists)"),
        kept_from_others(tmp_path / "no" / ".lock", "no"),
    ):
        pass


def test_only_what_was_written_counts_as_written(tmp_path: Path) -> None:
    old, new, empty, never = (tmp_path / name for name in ("old", "new", "empty", "never"))
    old.write_text("before")
    kept = tmp_path / "kept"
    kept.write_text("before")
    written = Written([old, new, empty, never, kept])
    old.write_text("after it")
    new.write_text("new")
    empty.touch()
    assert [path.name for path in (old, new, empty, never, kept) if path in written] == ["old", "new"]
    assert written.was_there(old) and not written.was_there(new)
