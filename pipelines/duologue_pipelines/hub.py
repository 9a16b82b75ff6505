"""Files of the Hugging Face hub, fetched so that a broken line costs nothing.

The hub's own client (`huggingface_hub`) lists the files and speaks HTTP: mirror, proxies, redirects. What it would do
with the bytes is done here instead (docs/decisions/012): they go to a `.part` file beside the target, which is renamed
when its checksum is right; what is there of it after a failure is taken up again by the next try (HTTP Range).

`$DUOLOGUE_HUB_URL` (or `$HF_ENDPOINT`) names a mirror.
"""

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from duologue.errors import StageUnavailable

if TYPE_CHECKING:  # importing it takes 0.3 s, which only a download is worth
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.hf_api import RepoSibling

HUB_VARIABLE: Final = "DUOLOGUE_HUB_URL"
MIRROR_VARIABLE: Final = "HF_ENDPOINT"
PUBLIC_HUB: Final = "https://huggingface.co"
TIMEOUT_S: Final = 30.0
TRIES_MAX: Final = 4

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called with the file's name, bytes there, bytes in all."""


def hub_url() -> str:
    """The hub, or its mirror, without a slash at the end."""
    return (os.environ.get(HUB_VARIABLE) or os.environ.get(MIRROR_VARIABLE) or PUBLIC_HUB).rstrip("/")


class _Passing(Exception):
    """A failure that may pass: worth another try. `error`: what to raise if it does not."""

    def __init__(self, error: StageUnavailable) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository. `size` in bytes. `checksum`: `sha256:…` of the content, or `git:…` of its git blob."""

    repository: str
    path: str
    size: int
    checksum: str

    @property
    def name(self) -> str:
        """Without folders."""
        return self.path.rpartition("/")[2]


class Hub:
    """The hub at `url`. `wait`: how to pass the seconds between two tries."""

    def __init__(self, url: str | None = None, *, stage: str = "models", wait: Callable[[float], None] = time.sleep):
        self._url = url or hub_url()
        self._stage = stage
        self._wait = wait

    def files(self, repository: str, folder: str = "") -> list[HubFile]:
        """The files of a folder. Raises `StageUnavailable`: no such model, no network, a hub that answers garbage."""
        found = self._retried(lambda: self._listing(repository))
        return [file for file in found if file.path.rpartition("/")[0] == folder]

    def fetch(self, file: HubFile, target: Path, progress: Progress) -> None:
        """Bring `file` to `target`, going on with what is there of it; checked, then renamed into place.

        Raises `StageUnavailable` with the next step; what was fetched stays for the next try, unless its checksum is
        wrong.
        """
        part = target.with_name(f".{target.name}.{file.checksum[-12:]}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._check_space(file, part)
            self._retried(lambda: self._download(file, part, progress))
            self._check_sum(file, part)
            part.replace(target)
        except OSError as error:
            raise self._disk_error(error, target) from error

    def has(self, file: HubFile, target: Path) -> bool:
        """Whether `target` is `file`, to the last bit."""
        kind, _, expected = file.checksum.partition(":")
        try:
            return target.is_file() and target.stat().st_size == file.size and _digest(target, kind) == expected
        except OSError as error:
            raise self._disk_error(error, target) from error

    def replace_folder(self, source: Path, target: Path) -> None:
        """Rename folder `source` to `target`; an older `target` is thrown away. Raises `StageUnavailable`."""
        older = target.with_name(f".{target.name}.old")
        try:
            shutil.rmtree(older, ignore_errors=True)
            if target.exists():
                target.rename(older)
            source.rename(target)
            shutil.rmtree(older, ignore_errors=True)
        except OSError as error:
            raise self._disk_error(error, target) from error

    # --- one try ---

    def _listing(self, repository: str) -> list[HubFile]:
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._url, token=False)  # all that we list is public; a mirror is told no secrets
        try:
            found = api.model_info(repository, files_metadata=True, timeout=TIMEOUT_S).siblings
            return [_hub_file(repository, entry) for entry in found or ()]
        except (TypeError, KeyError, ValueError) as error:
            raise self._unavailable(
                f"{self._url} answered something that is no list of files", "Check the mirror"
            ) from error

    def _download(self, file: HubFile, part: Path, progress: Progress) -> None:
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]  # documented as public there

        there = part.stat().st_size if part.exists() else 0
        if there > file.size:
            part.unlink()
            there = 0
        progress(file.name, there, file.size)
        if there == file.size and part.exists():
            return
        address = hf_hub_url(file.repository, file.path, endpoint=self._url)
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={there}-"} if there else {})}
        with get_session().stream("GET", address, headers=headers, timeout=TIMEOUT_S) as answer:
            hf_raise_for_status(answer)
            if answer.status_code != 206:  # a mirror that knows no ranges begins at the beginning
                there = 0
            with part.open("r+b" if there else "wb") as out:
                out.seek(there)
                for piece in self._pieces(answer, file.size - there):
                    out.write(piece)
                    there += len(piece)
                    progress(file.name, there, file.size)

    def _pieces(self, answer: Any, wanted: int) -> Iterator[bytes]:
        """`wanted` bytes of `answer`, as they come; a line that breaks on the way is worth another try."""
        reason: Exception | None = None
        try:
            for piece in answer.iter_bytes():
                yield piece[:wanted]
                wanted -= len(piece)
                if wanted <= 0:
                    return
        except _transport_error() as error:
            reason = error
        raise _Passing(
            self._unavailable(
                f"the connection to {self._url} broke: {reason or f'{wanted} bytes are missing'}",
                "Run the same command again to go on",
            )
        ) from reason

    # --- what went wrong ---

    def _retried(self, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, tried again while the line or the hub is at fault."""
        for number in range(1, TRIES_MAX):
            try:
                return self._explained(attempt)
            except _Passing:
                self._wait(2.0 ** (number - 1))
        try:
            return self._explained(attempt)
        except _Passing as passing:
            raise passing.error from passing.__cause__

    def _explained(self, attempt: Callable[[], T]) -> T:
        from huggingface_hub.errors import HfHubHTTPError

        try:
            return attempt()
        except HfHubHTTPError as error:
            explained = self._http_error(error)
            if error.response.status_code == 429 or error.response.status_code >= 500:
                raise _Passing(explained) from error
            raise explained from error
        except (_transport_error(), ConnectionError) as error:
            raise self._offline(error) from error

    def _http_error(self, error: "HfHubHTTPError") -> StageUnavailable:
        hints = {
            404: "Check the name with `duologue models list`",
            401: "It may be private, or the name is wrong: see `duologue models list`",
            403: "It may be private, or a proxy is in the way",
            429: "Wait some minutes and run the same command again",
        }
        answer = error.response
        hint = hints.get(answer.status_code, "Try again later")
        return self._unavailable(f"{answer.url} answers {answer.status_code} {answer.reason_phrase}", hint)

    def _offline(self, reason: object) -> StageUnavailable:
        return self._unavailable(
            f"can't reach {self._url} ({reason})",
            f"Check the network or a proxy; {HUB_VARIABLE} names a mirror. "
            "Models copied by hand are found as well: `duologue models list` says where",
        )

    def _check_space(self, file: HubFile, part: Path) -> None:
        there = part.stat().st_size if part.exists() else 0
        free = shutil.disk_usage(part.parent).free
        if free < file.size - there:
            raise OSError(errno.ENOSPC, f"{file.name} needs {megabytes(file.size - there)}, {megabytes(free)} are free")

    def _check_sum(self, file: HubFile, part: Path) -> None:
        kind, _, expected = file.checksum.partition(":")
        found = _digest(part, kind)
        if found != expected:
            part.unlink()
            raise self._unavailable(
                f"{file.name}: checksum {found[:12]}…, expected {expected[:12]}… ({kind}); the file was thrown away",
                "Pull it again; if that does not help, the mirror is broken",
            )

    def _disk_error(self, error: OSError, target: Path) -> StageUnavailable:
        if error.errno == errno.ENOSPC:
            detail = error.strerror or "the disk is full"
            return self._unavailable(f"no room in {target.parent}: {detail}", "Make room, or set DUOLOGUE_MODELS")
        return self._unavailable(
            f"can't write {target}: {error.strerror or error}", "Check the folder's permissions, or set DUOLOGUE_MODELS"
        )

    def _unavailable(self, message: str, hint: str) -> StageUnavailable:
        return StageUnavailable(self._stage, message, hint=hint)


def megabytes(count: int) -> str:
    """Bytes as a person reads them: "75 MB"."""
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def _transport_error() -> type[Exception]:
    """What the HTTP library below the hub's client raises when the line fails: httpx, or from 2.0 on httpx2."""
    from huggingface_hub.errors import HfHubHTTPError

    base: type[Exception] = HfHubHTTPError.__bases__[0]
    return base


def _hub_file(repository: str, entry: "RepoSibling") -> HubFile:
    if entry.size is None or entry.blob_id is None:
        raise ValueError(f"{entry.rfilename} has no size or no checksum")
    checksum = f"sha256:{entry.lfs.sha256}" if entry.lfs else f"git:{entry.blob_id}"
    return HubFile(repository, entry.rfilename, entry.size, checksum)


def _digest(path: Path, kind: str) -> str:
    """SHA-256 of the file, or SHA-1 of the git blob that it would be."""
    if kind == "git":
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    else:
        digest = hashlib.sha256()
    with path.open("rb") as source:
        while piece := source.read(2**20):
            digest.update(piece)
    return digest.hexdigest()
