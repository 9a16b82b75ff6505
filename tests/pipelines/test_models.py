"""Models are pulled from a hub on loopback that can be told to misbehave."""

import errno
import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import huggingface_hub.constants
import pytest

from duologue.errors import ConfigurationError, StageUnavailable
from duologue_pipelines import model_cache
from duologue_pipelines.asr.whisper_models import REPOSITORIES
from duologue_pipelines.models import CATALOGUE, ModelStore, catalogue, find_model
from duologue_pipelines.models.files import ModelFile
from duologue_pipelines.models.hub import Hub, hub_url

TINY = "Systran/faster-whisper-tiny"
LESSAC = "en/en_US/lessac/medium"


class ScriptedHub:
    """Repositories as bytes. `breaks`: how many answers end half-way. `ranges`: whether it knows them.

    `promises`: whether an answer says how long it will be.
    """

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.served_wrong: dict[str, bytes] = {}
        self.breaks = 0
        self.ranges = True
        self.promises = True
        self.statuses: list[int] = []
        self.listing: bytes | None = None
        self.asked: list[tuple[str, str | None]] = []
        self.url = ""

    def info(self, repository: str) -> dict[str, object]:
        entries: list[dict[str, object]] = []
        for path, data in self.files[repository].items():
            entry: dict[str, object] = {
                "rfilename": path,
                "size": len(data),
                "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(),
            }
            if len(data) > 1000:
                entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
                entry["blobId"] = "0" * 40  # the pointer's, of no use
            entries.append(entry)
        return {"id": repository, "siblings": entries}


class Answers(NamedTuple):
    status: int
    body: bytes
    promised: int


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    hub: ScriptedHub

    def do_GET(self) -> None:
        start = self.headers.get("Range")
        self.hub.asked.append((self.path, start))
        answer = self._answer(start)
        self.send_response(answer.status)
        if self.hub.promises:
            self.send_header("Content-Length", str(answer.promised))
        self.end_headers()
        self.wfile.write(answer.body)

    def _answer(self, start: str | None) -> Answers:
        if self.hub.statuses and (status := self.hub.statuses.pop(0)) != 200:
            return Answers(status, b"", 0)
        if self.path.startswith("/api/models/"):
            return self._info()
        repository, path = self.path[1:].split("/resolve/main/")
        if path not in self.hub.files.get(repository, {}):
            return Answers(404, b"", 0)
        data = self.hub.served_wrong.get(path, self.hub.files[repository][path])
        status = 200
        if start and self.hub.ranges:
            data = data[int(start.removeprefix("bytes=").removesuffix("-")) :]
            status = 206
        if self.hub.breaks and len(data) > 1000:
            self.hub.breaks -= 1
            return Answers(status, data[: len(data) // 2], len(data))
        return Answers(status, data, len(data))

    def _info(self) -> Answers:
        repository, _, query = self.path.removeprefix("/api/models/").partition("?")
        assert "blobs=true" in query.lower()  # without it there are no sizes and no checksums
        if repository not in self.hub.files:
            return Answers(404, b"", 0)
        body = self.hub.listing or json.dumps(self.hub.info(repository)).encode()
        return Answers(200, body, len(body))

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[ScriptedHub]:
    scripted = ScriptedHub()
    scripted.files[TINY] = {
        "model.bin": bytes(range(256)) * 4000,
        "config.json": b"{}",
        "tokenizer.json": b'{"a": 1}',
        "vocabulary.txt": b"a\nb\n",
        "README.md": b"read me",
    }
    scripted.files["rhasspy/piper-voices"] = {
        f"{LESSAC}/en_US-lessac-medium.onnx": b"onnx" * 20_000,
        f"{LESSAC}/en_US-lessac-medium.onnx.json": b'{"audio": {}}',
        f"{LESSAC}/MODEL_CARD": b"card",
    }
    handler = type("BoundHandler", (Handler,), {"hub": scripted})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    scripted.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield scripted
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def store(hub: ScriptedHub, cache: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    monkeypatch.setenv("DUOLOGUE_HUB_URL", hub.url + "/")
    return ModelStore(Hub(wait=waits.append))


def leftovers(folder: Path) -> list[str]:
    """What a download leaves besides its lock."""
    return sorted(path.name for path in folder.rglob(".*") if path.suffix != ".lock")


def test_a_whisper_model_arrives_whole_and_checked(store: ModelStore, hub: ScriptedHub, cache: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}
    folder = store.pull("whisper:tiny", lambda name, there, size: seen.update({name: (there, size)}))
    assert folder == cache / "whisper" / "tiny" == model_cache.whisper_folder("tiny")
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "model.bin", "tokenizer.json", "vocabulary.txt",
    ]  # fmt: skip
    assert (folder / "model.bin").read_bytes() == hub.files[TINY]["model.bin"]
    assert seen["model.bin"] == (1_024_000, 1_024_000)
    assert model_cache.whisper_models() == ["tiny"]
    assert leftovers(cache) == []


def test_a_piper_voice_arrives_with_its_description(store: ModelStore, cache: Path) -> None:
    onnx = store.pull("piper:en_US-lessac-medium")
    assert onnx == cache / "piper" / "en_US-lessac-medium.onnx" == model_cache.piper_voice("en_US-lessac-medium")
    assert (cache / "piper" / "en_US-lessac-medium.onnx.json").read_bytes() == b'{"audio": {}}'
    assert model_cache.piper_voices() == ["en_US-lessac-medium"]


def test_a_model_that_is_there_is_not_fetched_again_unless_forced(store: ModelStore, hub: ScriptedHub) -> None:
    store.pull("whisper:tiny")
    hub.asked.clear()
    store.pull("tiny")
    assert hub.asked == []
    hub.files[TINY]["config.json"] = b'{"new": true}'
    folder = store.pull("tiny", force=True)
    assert (folder / "config.json").read_bytes() == b'{"new": true}'
    assert leftovers(folder.parent) == []


def test_a_broken_line_is_taken_up_where_it_broke(store: ModelStore, hub: ScriptedHub, waits: list[float]) -> None:
    hub.breaks = 2
    folder = store.pull("whisper:tiny")
    assert (folder / "model.bin").read_bytes() == hub.files[TINY]["model.bin"]
    ranges = [start for path, start in hub.asked if path.endswith("model.bin")]
    assert ranges == [None, "bytes=512000-", "bytes=768000-"]
    assert waits == [1.0, 2.0]


def test_an_answer_cut_off_that_promised_no_length_is_taken_up_too(
    store: ModelStore, hub: ScriptedHub, waits: list[float]
) -> None:
    hub.breaks, hub.promises = 1, False
    folder = store.pull("whisper:tiny")
    assert (folder / "model.bin").read_bytes() == hub.files[TINY]["model.bin"]
    ranges = [start for path, start in hub.asked if path.endswith("model.bin")]
    assert (ranges, waits) == ([None, "bytes=512000-"], [1.0])


def test_a_later_run_goes_on_from_what_an_earlier_one_left(store: ModelStore, hub: ScriptedHub) -> None:
    hub.breaks = 4
    with pytest.raises(StageUnavailable, match=r"broke.*same command again"):
        store.pull("whisper:tiny")
    assert model_cache.whisper_models() == []
    hub.asked.clear()
    store.pull("whisper:tiny")
    [(_, start)] = [(path, start) for path, start in hub.asked if path.endswith("model.bin")]
    assert start == "bytes=960000-"
    assert model_cache.whisper_models() == ["tiny"]


def test_files_complete_from_an_earlier_run_are_not_fetched_again(store: ModelStore, hub: ScriptedHub) -> None:
    hub.served_wrong["model.bin"] = bytes(len(hub.files[TINY]["model.bin"]))
    with pytest.raises(StageUnavailable):
        store.pull("tiny")
    del hub.served_wrong["model.bin"]
    hub.asked.clear()
    store.pull("tiny")
    assert [path for path, _ in hub.asked if "/resolve/" in path] == [f"/{TINY}/resolve/main/model.bin"]


def test_a_mirror_without_ranges_begins_at_the_beginning(store: ModelStore, hub: ScriptedHub) -> None:
    hub.breaks, hub.ranges = 1, False
    folder = store.pull("tiny")
    assert (folder / "model.bin").read_bytes() == hub.files[TINY]["model.bin"]


@pytest.mark.parametrize("path", ["model.bin", "config.json"], ids=["sha256", "git"])
def test_a_wrong_checksum_throws_the_file_away(path: str, store: ModelStore, hub: ScriptedHub, cache: Path) -> None:
    hub.served_wrong[path] = bytes(len(hub.files[TINY][path]))
    with pytest.raises(StageUnavailable, match=rf"{path}: checksum .* expected .*Pull it again"):
        store.pull("tiny")
    assert model_cache.whisper_models() == []
    assert not list(cache.rglob("*.part"))
    hub.served_wrong.clear()
    assert store.pull("tiny").is_dir()


def test_a_part_longer_than_the_file_is_begun_again(hub: ScriptedHub, tmp_path: Path) -> None:
    data = hub.files[TINY]["model.bin"]
    file = ModelFile("model.bin", len(data), "sha256:" + hashlib.sha256(data).hexdigest(), TINY, "model.bin")
    part = tmp_path / f".model.bin.{file.checksum[-12:]}.part"
    part.write_bytes(data + b"too much")
    Hub(hub.url).bring([file], tmp_path, lambda *_: None, lambda _: None)
    assert (tmp_path / "model.bin").read_bytes() == data
    part.write_bytes(data)
    hub.asked.clear()
    Hub(hub.url).bring([file], tmp_path, lambda *_: None, lambda _: None)
    assert hub.asked == []


def test_a_model_that_the_hub_lacks_is_a_wrong_name(store: ModelStore) -> None:
    with pytest.raises(StageUnavailable, match=r"404.*duologue models list"):
        store.pull("whisper:base")


def test_a_voice_that_lacks_its_model_is_refused(store: ModelStore, hub: ScriptedHub) -> None:
    del hub.files["rhasspy/piper-voices"][f"{LESSAC}/en_US-lessac-medium.onnx"]
    with pytest.raises(StageUnavailable, match=r"lacks en_US-lessac-medium.onnx"):
        store.pull("piper:en_US-lessac-medium")


def test_a_busy_hub_is_asked_again_and_then_given_up(store: ModelStore, hub: ScriptedHub, waits: list[float]) -> None:
    hub.statuses = [503, 429]
    assert store.pull("tiny").is_dir()
    assert waits == [1.0, 2.0]
    hub.statuses = [429] * 4
    with pytest.raises(StageUnavailable, match=r"429 .*Wait some minutes"):
        store.pull("tiny", force=True)


@pytest.mark.parametrize(
    "listing",
    [b"<html>", b"[]", b'{"id": "x", "siblings": [{"size": 1}]}', b'{"id": "x", "siblings": [{"rfilename": "a"}]}'],
)
def test_a_mirror_that_answers_garbage_is_named(listing: bytes, store: ModelStore, hub: ScriptedHub) -> None:
    hub.listing = listing
    with pytest.raises(StageUnavailable, match=r"127\.0\.0\.1.*answered something.*Check the mirror"):
        store.pull("tiny")


def test_offline_is_said_in_one_message_with_the_way_out(cache: Path, waits: list[float]) -> None:
    offline = ModelStore(Hub("http://127.0.0.1:9", wait=waits.append))
    with pytest.raises(StageUnavailable, match=r"can't reach http://127.0.0.1:9 .*DUOLOGUE_HUB_URL names a mirror"):
        offline.pull("tiny")
    assert waits == []


def test_offline_by_the_hubs_own_variable_is_the_same_message(
    store: ModelStore, hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read from the environment on import
    with pytest.raises(StageUnavailable, match=r"can't reach http://127.0.0.1:\d+ \(.*HF_HUB_OFFLINE"):
        store.pull("tiny")
    assert hub.asked == []


def test_a_folder_that_cannot_be_written_is_named(store: ModelStore, cache: Path) -> None:
    cache.mkdir()
    (cache / "whisper").write_text("in the way")
    with pytest.raises(StageUnavailable, match=r"can't write .*DUOLOGUE_MODELS"):
        store.pull("tiny")


def test_a_full_disk_is_said_before_the_download(
    store: ModelStore, hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(".")._replace(free=100_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(StageUnavailable, match=r"no room in .*model.bin needs 1 MB, 100 kB are free.*Make room"):
        store.pull("tiny")
    assert not [path for path, _ in hub.asked if path.endswith("model.bin")]


def test_a_disk_that_fills_up_on_the_way_is_said_too(
    store: ModelStore, hub: ScriptedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_room)
    with pytest.raises(StageUnavailable, match=r"no room in .*No space left"):
        store.pull("tiny")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("whisper:tini", "Did you mean 'whisper:tiny'"),
        ("lesac", "there is no model 'lesac'"),
        ("vosk:small", "no 'vosk' models.*like whisper:tiny"),
        ("piper:en-US", "there is no model"),
        ("whisper:../../etc", "there is no model"),
    ],
)
def test_an_unknown_model_names_the_nearest(spec: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        find_model(spec)


def test_any_well_formed_voice_can_be_pulled() -> None:
    assert find_model("piper:en_GB-cori-high").folder == "en/en_GB/cori/high"
    model = find_model("piper:en_US-joe-medium")
    assert (model.repository, model.folder) == ("rhasspy/piper-voices", "en/en_US/joe/medium")


def test_every_size_that_the_recogniser_knows_can_be_pulled_from_where_it_looks() -> None:
    known = {model.name: model.repository for model in CATALOGUE if model.kind == "whisper"}
    assert known == dict(REPOSITORIES)


def test_the_catalogue_has_one_entry_a_name_and_lists_the_users_own(store: ModelStore, cache: Path) -> None:
    assert len({model.spec for model in CATALOGUE}) == len(CATALOGUE)
    mine = cache / "whisper" / "mine"
    mine.mkdir(parents=True)
    (mine / "model.bin").touch()
    (mine / "config.json").touch()
    (cache / "piper").mkdir()
    (cache / "piper" / "my_voice.onnx").touch()
    assert [model.spec for model in store.models() if model.is_here] == ["whisper:mine"]
    (cache / "piper" / "my_voice.onnx.json").touch()
    assert [model.spec for model in store.models() if model.is_here] == ["whisper:mine", "piper:my_voice"]


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUOLOGUE_MODELS", "~/my-models")
    assert model_cache.cache_folder() == Path.home() / "my-models"
    monkeypatch.delenv("DUOLOGUE_MODELS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert model_cache.cache_folder() == tmp_path / "duologue" / "models"
    assert model_cache.whisper_models() == model_cache.piper_voices() == []
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert model_cache.cache_folder() == Path.home() / ".cache" / "duologue" / "models"


@pytest.mark.parametrize("place", [model_cache.whisper_folder, model_cache.piper_voice])
@pytest.mark.parametrize("name", ["", "..", "a/b", "a\\b", ".hidden"])
def test_a_name_cannot_lead_out_of_the_cache(place: Callable[[str], Path], name: str) -> None:
    with pytest.raises(ConfigurationError, match="no model's name"):
        place(name)


def test_the_hub_can_be_a_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DUOLOGUE_HUB_URL", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/")
    assert hub_url() == "https://mirror.example"
    monkeypatch.delenv("HF_ENDPOINT")
    assert hub_url() == "https://huggingface.co"


def test_everything_pinned_is_of_a_model_in_the_catalogue_and_ends_with_the_file_that_counts() -> None:
    for spec, files in catalogue._pinned().items():
        model = find_model(spec)
        assert model.files == files
        assert files[-1].name == model.needed[-1]
        assert set(model.needed) <= {file.name for file in files}
        assert model.origins == ("hub", "index")
        assert abs(sum(file.size for file in files) / 1e6 - model.megabytes) < 2


def test_real_models_are_what_is_pinned(real_model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = real_model("kokoro:v1.0")
    monkeypatch.setenv("DUOLOGUE_MODELS", str(folder.parent.parent))
    assert ModelStore().check("kokoro:v1.0") == []
