"""Files of the Hugging Face hub.

The hub's own client (`huggingface_hub`) lists the files and speaks HTTP: mirror, proxies, redirects, offline mode. What
it would do with the bytes is done in `download` instead (docs/decisions/012). `$DUOLOGUE_HUB_URL` (or `$HF_ENDPOINT`)
names a mirror.
"""

import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duologue.errors import StageUnavailable
from duologue_pipelines.models.download import HASTY, PATIENT, Downloader, Wanted, http_error, shown
from duologue_pipelines.models.files import ModelFile, Note, Progress, disk_errors_told, unavailable

if TYPE_CHECKING:  # importing it takes 0.3 s, which only a download is worth
    from huggingface_hub import hf_api

HUB_VARIABLE: Final = "DUOLOGUE_HUB_URL"
MIRROR_VARIABLE: Final = "HF_ENDPOINT"
PUBLIC_HUB: Final = "https://huggingface.co"
TIMEOUT_S: Final = 30.0
# How long a dead hub may delay what can be had elsewhere. A name server's second answer comes after 5 s.
REACH_S: Final = 6.0


def hub_url() -> str:
    """The hub, or its mirror, without a slash at the end."""
    return (os.environ.get(HUB_VARIABLE) or os.environ.get(MIRROR_VARIABLE) or PUBLIC_HUB).rstrip("/")


class Hub:
    """The hub at `url`. `wait`: how to pass the seconds between two tries. `clock`: seconds that only grow."""

    name = "hub"

    def __init__(
        self,
        url: str | None = None,
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        reach_s: float = REACH_S,
    ) -> None:
        self._url = url or hub_url()
        self._reach_s = reach_s
        self._dead: StageUnavailable | None = None
        self._downloader = Downloader(
            shown(self._url), _client, _line_errors, wait=wait, clock=clock,
            way_out=f"Check the network or a proxy; {HUB_VARIABLE} names a mirror. "
            "Models copied by hand are found as well: `duologue models list` says where",
        )  # fmt: skip

    def has(self, file: ModelFile) -> bool:
        """Whether the hub is said to hold `file`."""
        return bool(file.repository)

    def listed(self, repository: str) -> list[ModelFile]:
        """The files of a repository, named by their paths. Raises `StageUnavailable`: no such model, no network, a hub
        that answers garbage."""
        return self._downloader.retried(lambda: self._listing(repository))

    def bring(self, files: Sequence[ModelFile], staging: Path, progress: Progress, note: Note) -> None:
        """Fetch each of `files` that the hub has into the folder `staging`. Raises `StageUnavailable`; what is there
        by then stays."""
        from huggingface_hub import hf_hub_url

        if all(file.parts for file in files):
            self._check_reach()
        note(f"from {shown(self._url)}")
        for file in filter(self.has, files):
            target = staging / file.name
            address = hf_hub_url(file.repository, file.path, endpoint=self._url)
            wanted = Wanted(file.name.rpartition("/")[2], file.size, file.checksum)
            patience = HASTY if file.parts else PATIENT
            with disk_errors_told(target):
                self._downloader.fetch(wanted, address, target, progress, patience=patience)

    def _check_reach(self) -> None:
        """Raise `StageUnavailable` unless the hub answers anything at all, soon; a dead one is asked once only.

        In a thread, because no timeout of an HTTP client covers the look-up of the name.
        """
        if self._dead is None:
            answers: queue.SimpleQueue[object] = queue.SimpleQueue()
            client, line_errors = _client(), _line_errors()

            def ask() -> None:
                try:
                    client.head(self._url, timeout=self._reach_s)
                    answers.put("")
                except line_errors as error:
                    answers.put(error)

            threading.Thread(target=ask, name="hub", daemon=True).start()
            try:
                reason = answers.get(timeout=self._reach_s)
            except queue.Empty:
                reason = f"no answer within {self._reach_s:g} s"
            self._dead = self._downloader.unreachable(reason) if reason != "" else None
        if self._dead is not None:
            raise self._dead

    def _listing(self, repository: str) -> list[ModelFile]:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi(endpoint=self._url, token=False)  # all that we list is public; a mirror is told no secrets
        try:
            found = api.model_info(repository, files_metadata=True, timeout=TIMEOUT_S).siblings
            return [_hub_file(repository, entry) for entry in found or ()]
        except HfHubHTTPError as error:
            raise http_error(error.response) from error
        except (TypeError, KeyError, ValueError) as error:
            raise unavailable(
                f"{shown(self._url)} answered something that is no list of files", "Check the mirror"
            ) from error


def _client() -> Any:
    from huggingface_hub import get_session

    return get_session()


def _line_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises when the line fails: errors of the HTTP library below it, and its offline mode's."""
    from huggingface_hub.errors import HfHubHTTPError

    return (HfHubHTTPError.__bases__[0], ConnectionError)


def _hub_file(repository: str, entry: "hf_api.RepoSibling") -> ModelFile:
    if entry.size is None or entry.blob_id is None:
        raise ValueError(f"{entry.rfilename} has no size or no checksum")
    checksum = f"sha256:{entry.lfs.sha256}" if entry.lfs else f"git:{entry.blob_id}"
    return ModelFile(entry.rfilename, entry.size, checksum, repository, entry.rfilename)
