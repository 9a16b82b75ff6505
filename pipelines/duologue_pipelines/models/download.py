"""One file over HTTP, so that a broken line costs nothing and nobody's answer is believed.

Bytes go to a part file, which is checked and only then renamed to what was wanted; what is there of it after a failure
or a Ctrl-C is taken up again by the next try (HTTP Range). No more is read than the file has, whatever the server says.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from duologue.errors import StageUnavailable
from duologue_pipelines.models.files import Progress, check_space, check_sum, megabytes, unavailable

T = TypeVar("T")

_HINTS: Final = {
    401: "It may be private, or the name is wrong: see `duologue models list`",
    403: "It may be private, or a proxy is in the way",
    404: "Check the name with `duologue models list`",
    429: "Wait some minutes and run the same command again",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server may try ours. `silence_s`: without a byte. `bytes_per_s_min`: over each `window_s`."""

    silence_s: float
    tries_max: int
    bytes_per_s_min: int = 0
    window_s: float = 20.0


# Where there is nowhere else to go, a slow line is better than none.
PATIENT: Final = Patience(30.0, 4)
# Where the same bytes can be had elsewhere. 30 kB/s would take an hour for the smallest recogniser.
HASTY: Final = Patience(10.0, 2, 30_000)
CONNECT_S: Final = 10.0


class Passing(Exception):
    """A failure that may pass: worth another try. `error`: what to raise if it does not."""

    def __init__(self, error: StageUnavailable) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is fetched: `name` for people, `size` in bytes, `checksum` as in `ModelFile`."""

    name: str
    size: int
    checksum: str

    def part(self, target: Path) -> Path:
        """Where its bytes are kept until all are there; no other content shares the name."""
        return target.with_name(f".{target.name}.{self.checksum[-12:]}.part")


class Downloader:
    """Downloads from one server, which people know by `server`. `client`: makes the HTTP client, when one is needed.

    `line_errors`: tells what that client raises when the line fails. `wait`: how to pass the seconds between two tries.
    `clock`: seconds that only grow.
    """

    def __init__(
        self,
        server: str,
        client: Callable[[], Any],
        line_errors: Callable[[], tuple[type[Exception], ...]],
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        way_out: str = "",
    ) -> None:
        self._server = server
        self._client = client
        self._line_errors = line_errors
        self._wait = wait
        self._clock = clock
        self._way_out = way_out

    def fetch(
        self,
        wanted: Wanted,
        address: str,
        target: Path,
        progress: Progress,
        *,
        headers: Mapping[str, str] | None = None,
        patience: Patience = PATIENT,
    ) -> None:
        """Bring what lies at `address` to `target`, going on with what is there of it; checked, then renamed.

        Raises `StageUnavailable` with the next step, and `OSError` for the disk. What was fetched stays for the next
        try, unless its checksum is wrong.
        """
        part = wanted.part(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        there = part.stat().st_size if part.exists() else 0
        check_space(wanted.name, wanted.size - there, part.parent)
        self.retried(lambda: self._download(wanted, address, part, progress, headers or {}, patience), patience)
        check_sum(wanted.name, part, wanted.checksum)
        part.replace(target)

    def retried(self, attempt: Callable[[], T], patience: Patience = PATIENT) -> T:
        """The result of `attempt`, tried again while the line or the server is at fault."""
        for number in range(1, patience.tries_max):
            try:
                return self._told(attempt)
            except Passing:
                self._wait(2.0 ** (number - 1))
        try:
            return self._told(attempt)
        except Passing as passing:
            raise passing.error from passing.__cause__

    def unreachable(self, reason: object) -> StageUnavailable:
        """The error for a server that can't be reached."""
        said = str(reason) or type(reason).__name__
        return unavailable(f"can't reach {self._server} ({said})", self._way_out)

    def _told(self, attempt: Callable[[], T]) -> T:
        try:
            return attempt()
        except self._line_errors() as error:
            raise self.unreachable(error) from error

    def _download(
        self,
        wanted: Wanted,
        address: str,
        part: Path,
        progress: Progress,
        headers: Mapping[str, str],
        patience: Patience,
    ) -> None:
        there = part.stat().st_size if part.exists() else 0
        if there > wanted.size:
            part.unlink()
            there = 0
        progress(wanted.name, there, wanted.size)
        if there == wanted.size and part.exists():
            return
        asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={there}-"} if there else {})}
        timeout = (CONNECT_S, patience.silence_s, patience.silence_s, patience.silence_s)
        with self._client().stream("GET", address, headers=asked, timeout=timeout) as answer:
            if answer.status_code == 416:  # there is no such range: what was kept is of another file
                part.unlink(missing_ok=True)
            check_status(answer)
            there = self._starts_at(answer, wanted, there)
            with part.open("r+b" if there else "wb") as out:
                out.seek(there)
                for piece in self._pieces(answer, wanted.size - there, patience):
                    out.write(piece)
                    there += len(piece)
                    progress(wanted.name, there, wanted.size)

    def _starts_at(self, answer: Any, wanted: Wanted, asked: int) -> int:
        """With which byte of the file `answer` begins; raises `StageUnavailable` where it is another file."""
        if answer.headers.get("content-type", "").startswith("text/html"):
            raise unavailable(
                f"{shown(answer.url)} answers with a web page instead of {wanted.name}",
                "A proxy or a sign-in page may be in the way; open the address in a browser",
            )
        if answer.status_code != 206:  # a mirror that knows no ranges begins at the beginning
            start, total = 0, answer.headers.get("content-length", "")
        else:
            span, _, total = answer.headers.get("content-range", "").removeprefix("bytes ").partition("/")
            first = span.partition("-")[0]
            start = int(first) if first.isdigit() else asked
        is_whole = not answer.headers.get("content-encoding") and total.isdigit()
        if start > asked or (is_whole and int(total) != wanted.size):
            raise unavailable(
                f"{shown(answer.url)} is another file: {total or '?'} bytes from {start}, expected {wanted.size} bytes "
                f"from {asked}",
                "If that stays so, the mirror is broken, or the file was replaced there",
            )
        return start

    def _pieces(self, answer: Any, wanted: int, patience: Patience) -> Iterator[bytes]:
        """`wanted` bytes of `answer`, as they come; a line that breaks on the way is worth another try."""
        reason: Exception | None = None
        since, got = self._clock(), 0
        try:
            for piece in answer.iter_bytes():
                yield piece[:wanted]
                wanted -= len(piece)
                got += len(piece)
                if wanted <= 0:
                    return
                waited = self._clock() - since
                if waited >= patience.window_s:
                    self._check_speed(got / waited, patience)
                    since, got = self._clock(), 0
        except self._line_errors() as error:
            reason = error
        raise Passing(
            unavailable(
                f"the connection to {self._server} broke: {reason or f'{wanted} bytes are missing'}",
                "Run the same command again to go on",
            )
        ) from reason

    def _check_speed(self, bytes_per_s: float, patience: Patience) -> None:
        if bytes_per_s < patience.bytes_per_s_min:
            raise unavailable(
                f"{self._server} is too slow: {megabytes(round(bytes_per_s))}/s", "Run the same command again to go on"
            )


def check_status(answer: Any) -> None:
    """Raise for an HTTP error what `http_error` says."""
    if answer.status_code >= 400:
        raise http_error(answer)


def http_error(answer: Any) -> Exception:
    """The `StageUnavailable` for an HTTP error; wrapped in `Passing` where another try may help."""
    status = answer.status_code
    hint = _HINTS.get(status, "Try again later")
    error = unavailable(f"{shown(answer.url)} answers {status} {answer.reason_phrase}", hint)
    return Passing(error) if status in (416, 429) or status >= 500 else error


def shown(address: object) -> str:
    """An address as it may be printed: without passwords and signatures."""
    parts = urlsplit(str(address))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
