"""What the demo fetches before its first call, so that what a newcomer hears is the real thing.

A recogniser that takes free speech as it is, and voices that sound like people: once, into the cache that every command
shares. Only for stages that are left to `auto`; where nothing can be fetched the embedded stages take their place, and
that is said.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn
from rich.text import Text

from duologue.errors import StageUnavailable
from duologue.settings import Settings
from duologue_pipelines.cascade import AUTO
from duologue_pipelines.models import ModelStore, find_model

RECOGNISERS: Final = {"en": "whisper:tiny.en"}  # the smallest that takes the language well
RECOGNISER: Final = "whisper:base"
VOICES: Final = "kokoro:v1.0"  # for the caller always, for the agent where it is the best that keeps up
PIPER_VOICES: Final = {"en": "piper:en_US-joe-medium"}


def has_voices() -> bool:
    """Whether the voices that sound like people are here."""
    return find_model(VOICES).is_here


def wanted_models(settings: Settings, language: str) -> list[str]:
    """The specs of the catalogue that a call in `language` (BCP 47) wants, for the stages that are left to `auto`."""
    tongue = language.split("-")[0]
    wanted = []
    if settings.asr.use == AUTO and "model" not in settings.asr.options:
        wanted.append(RECOGNISERS.get(tongue, RECOGNISER))
    speaks = settings.tts.use == AUTO and "voice" not in settings.tts.options
    if speaks and tongue in PIPER_VOICES and find_spec("piper") is not None:
        wanted.append(PIPER_VOICES[tongue])
    return [*wanted, VOICES] if wanted else []


def fetch_models(settings: Settings, language: str, console: Console) -> None:
    """Bring those of them that are missing into the cache, with a bar for each; say what can't be had."""
    missing = [spec for spec in wanted_models(settings, language) if not find_model(spec).is_here]
    if not missing:
        return
    megabytes = sum(find_model(spec).megabytes for spec in missing)
    console.print(Text(f"Fetching {', '.join(missing)} once (about {megabytes} MB)", "dim"))
    store, lacking, why = ModelStore(), list[str](), ""
    with _bars(console) as bars:
        for spec in missing:
            bar = bars.add_task(spec, total=None)

            def show(name: str, there: int, size: int, bar: TaskID = bar) -> None:
                bars.update(bar, completed=there, total=size)

            try:
                store.pull(spec, show)
            except StageUnavailable as error:
                bars.remove_task(bar)
                lacking, why = [*lacking, spec], why or str(error)
    if lacking:
        told = f"Without {', '.join(lacking)}: what comes along takes the place. {why}"
        console.print(Text(told, "yellow"))


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("  {task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        yield bars
