"""The command line in a terminal of its own, with made-up pipelines behind it."""

import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import invalidate_caches
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from duologue import cli
from duologue.stages import STAGES

METADATA = """\
Metadata-Version: 2.1
Name: duologue
Version: 9.9
Requires-Dist: numpy>=1.26
Requires-Dist: duologue-nowhere
Requires-Dist: duologue-elsewhere>=1; extra == 'piper'
Requires-Dist: pytest; extra == 'test'
"""

PLUGIN = """
from collections import namedtuple
from pathlib import Path
from typing import NamedTuple
from duologue.errors import StageUnavailable

calls = []

def demo(settings, out, caller):
    calls.append(("demo", settings, out, caller))
    return 1 if settings.language == "xx" else 0

def talk(settings, inputs, script, out, realtime, verbose):
    calls.append(("talk", inputs, script, out, realtime, verbose))

Kind = namedtuple("Kind", "name title package extra", defaults=("sys", ""))

class Row(NamedTuple):
    kind: str
    name: str
    what: str
    megabytes: int
    path: Path
    is_here: bool
    licence: str = ""
    origins: tuple = ("hub",)
    settings: str = ""
    @property
    def spec(self):
        return f"{self.kind}:{self.name}"

class Store:
    folder = Path("/cache")
    layout = "whisper/NAME/"
    damaged = {"whisper:mine": ["model.bin"]}
    def kinds(self):
        return [Kind("whisper", "recognisers"), Kind("piper", "voices", "no_such_package", "piper")]
    def models(self):
        return [Row("whisper", "tiny", "quick", 78, Path("/cache/tiny"), True, settings="--set asr.use=whisper"),
                Row("piper", "amy", "[she]", 63, Path("/x"), False, "CC0", ("hub", "index")),
                Row("whisper", "mine", "your own", 0, Path("/cache/mine"), True)]
    def find(self, spec):
        kind, _, name = spec.partition(":")
        return next((row for row in self.models() if row.spec == spec), Row(kind, name, "", 0, Path("/x"), False))
    def check(self, spec):
        return self.damaged.get(spec, [] if spec == "whisper:tiny" else ["amy.onnx"])
    def pull(self, spec, progress, note, *, force, source):
        if spec == "whisper:none":
            raise StageUnavailable("models", "can't reach the hub", hint="Check the network")
        calls.append(("pull", spec, force, source))
        note("from https://pypi.org/simple")
        progress("model.bin", 10, 100)
        progress("model.bin", 100, 100)
        return Path("/cache") / spec

class EmptyStore(Store):
    def models(self): return []

class Found(NamedTuple):
    name: str
    use: str
    base_url: str
    models: tuple
    why: str
    available: bool
    options: dict

async def endpoints(environ):
    there = environ.get("LLM_THERE") == "1"
    return [
        Found("ollama", "openai", "http://127.0.0.1:1/v1", ("a", "b", "c", "d") if there else (),
              "port 1 answers" if there else "port 1 has nothing listening", there,
              {"base_url": "http://127.0.0.1:1/v1", "model": "a"}),
        Found("rehearsal", "rehearsal", "", ("rehearsal",), "always there", environ.get("LLM_THERE") != "none", {}),
    ]

def crash(settings, out, caller):
    raise ZeroDivisionError("by [zero]")

def stop(settings, out, caller):
    raise KeyboardInterrupt

def pipe(settings, out, caller):
    raise BrokenPipeError
"""


class Terminal:
    """Runs the command line in this process; holds what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], install: Callable[..., None]) -> None:
        self._capsys = capsys
        self.install = install
        self.out = ""
        self.err = ""

    def run(self, *arguments: str) -> int:
        status = cli.run(arguments)
        self.out, self.err = self._capsys.readouterr()
        return status

    @property
    def calls(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = sys.modules["duologue_cli_plugin"].calls
        return found


def entry_points_of(stages: Iterable[str], commands: dict[str, str]) -> str:
    """Our own stages as they are installed, and a plugin's commands."""
    lines: list[str] = []
    for group in stages:
        lines += [f"[{group}]", *(f"{entry.name} = {entry.value}" for entry in entry_points(group=group))]
    return "\n".join([*lines, "[duologue.commands]", *(f"{k} = duologue_cli_plugin:{v}" for k, v in commands.items())])


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """An installation of Duologue with other pipelines: it lies first on the path and hides the real one."""
    info = tmp_path / "site" / "duologue-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info.parent / "duologue_cli_plugin.py").write_text(PLUGIN)
    stages = {kind.group: entry_points_of([kind.group], {}) for kind in STAGES}

    def install(**commands: str) -> None:
        own = "\n".join(stages.values())
        (info / "entry_points.txt").write_text(f"{own}\n{entry_points_of([], commands)}\n")
        invalidate_caches()

    install(demo="demo", talk="talk", models="Store", endpoints="endpoints")
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("DUOLOGUE_MODELS", str(tmp_path / "models"))
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "FORCE_COLOR", "LLM_THERE"):
        monkeypatch.delenv(variable, raising=False)
    yield Terminal(capsys, install)
    sys.modules.pop("duologue_cli_plugin", None)
