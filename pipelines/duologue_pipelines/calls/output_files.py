"""Where the files of a call go: checked and kept from others, told truly after it.

Nobody should learn after ten minutes of talk that a name was a folder's or that another call wrote into the same files.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from duologue.errors import ConfigurationError

_HINT: Final = "Choose another place with --out"


def check_files(files: Sequence[Path]) -> None:
    """Raise `ConfigurationError` where one of `files` can't be written."""
    for file in files:
        if file.is_dir():
            raise ConfigurationError(f"{file}: a folder, expected a file to write", hint=_HINT)
        if file.exists() and not file.is_file():
            raise ConfigurationError(f"{file}: not a regular file", hint=_HINT)
        where = file if file.exists() else _nearest_folder(file)
        if not os.access(where, os.W_OK):
            raise ConfigurationError(f"{file}: {where} may not be written to", hint=_HINT)


def _nearest_folder(file: Path) -> Path:
    return next((folder for folder in file.absolute().parents if folder.exists()), file.absolute().parent)


@contextmanager
def kept_from_others(lock: Path, what: str) -> Iterator[None]:
    """Keep other processes, and other calls of this one, from `what` while the body runs, by a lock on the file `lock`.

    The system frees the lock of a process that dies, so one that is left behind is no obstacle. Raises
    `ConfigurationError` if another has it.
    """
    holder = FileLock(lock, timeout=0)
    try:
        holder.acquire()
    except Timeout as error:
        by = lock.read_text(encoding="utf-8", errors="replace").strip() if lock.exists() else ""
        raise ConfigurationError(
            f"{what}: another call is being written there" + (f" (process {by})" if by else ""),
            hint="Wait until it is over, or choose another place with --out",
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{lock}: {error.strerror or error}", hint=_HINT) from error
    try:
        with suppress(OSError):  # Windows lets nobody write to it, nor take it away below
            lock.write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            lock.unlink()  # still locked: who opened it meanwhile sees that it is gone, and makes another
        holder.release()


class Written:
    """Which of `files` have been written since this was made, and which were there before."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._before = {file: _stamp(file) for file in files}

    def was_there(self, file: Path) -> bool:
        """Before this was made."""
        return self._before[file] is not None

    def __contains__(self, file: Path) -> bool:
        now = _stamp(file)
        return now is not None and now[1] > 0 and now != self._before[file]


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if stat.S_ISREG(found.st_mode) else None
