"""`duologue models` as people read it, over a store that is made up."""

import io
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from duologue.commands.model_tables import check_models, pull_models
from duologue.errors import ConfigurationError, StageUnavailable


@dataclass
class MadeUpStore:
    """Four models: one here and whole, one here and damaged, one to be had, one that can't be had."""

    folder: Path = Path("/cache")
    layout: str = ""
    here: tuple[str, ...] = ("whole", "damaged")
    pulled: list[str] = field(default_factory=list)

    def kinds(self) -> list[Any]:
        return [SimpleNamespace(name="piper", title="voices", package="sys", extra="")]

    def models(self) -> list[Any]:
        return [
            SimpleNamespace(kind="piper", name=name, spec=f"piper:{name}", is_here=name in self.here, settings="")
            for name in ("whole", "damaged", "amy", "none")
        ]

    def find(self, spec: str) -> Any:
        found = next((model for model in self.models() if model.spec == spec), None)
        if found is None:
            raise ConfigurationError(f"there is no model {spec!r}")
        return found

    def check(self, spec: str) -> list[str]:
        return [] if spec == "piper:whole" else ["x.onnx"]

    def pull(self, spec: str, progress: Any, note: Any, *, force: bool, source: str) -> Path:
        self.pulled.append(spec)
        note("can't reach the hub")
        if spec == "piper:none":
            raise StageUnavailable("models", "can't be had")
        if spec == "piper:damaged":
            raise KeyboardInterrupt
        return Path("/cache") / spec


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=100)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_model_that_cannot_be_had_does_not_keep_the_others(console: Console) -> None:
    store = MadeUpStore()
    failures = pull_models(store, ["piper:none", "piper:amy"], console)
    assert [str(failure) for failure in failures] == ["models: can't be had"]
    assert store.pulled == ["piper:none", "piper:amy"]
    assert text(console) == "  can't reach the hub\n✗ piper:none\n✓ piper:amy is in /cache/piper:amy\n"


def test_a_wrong_name_is_said_before_anything_is_fetched(console: Console) -> None:
    store = MadeUpStore()
    with pytest.raises(ConfigurationError, match="no model 'piper:lost'"):
        pull_models(store, ["piper:amy", "piper:lost"], console)
    assert store.pulled == []


def test_a_pull_that_is_stopped_says_how_to_go_on(console: Console) -> None:
    with pytest.raises(KeyboardInterrupt):
        pull_models(MadeUpStore(), ["piper:damaged"], console)
    assert text(console).endswith("Stopped. The same command goes on where it stopped.\n")


def test_damaged_and_missing_models_are_told_with_the_way_out(console: Console) -> None:
    assert not check_models(MadeUpStore(), [], console)
    assert not check_models(MadeUpStore(), ["piper:amy"], console)
    assert text(console) == (
        "✓ piper:whole is whole\n"
        "✗ piper:damaged: damaged or missing: x.onnx. To get it: duologue models pull piper:damaged\n"
        "✗ piper:amy: not here. To get it: duologue models pull piper:amy\n"
    )


def test_a_cache_without_models_is_whole(console: Console) -> None:
    assert check_models(MadeUpStore(here=()), [], console)
    assert text(console) == "No models in /cache.\n"
