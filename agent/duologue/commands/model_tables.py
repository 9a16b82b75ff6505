"""`duologue models`: the catalogue as tables, downloads with a progress bar, and whether what is here is whole.

What a store of models is stands here as a Protocol, because the real one lives in the pipelines.
"""

import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from duologue.errors import DuologueError
from duologue.registry import install_command


class ModelRow(Protocol):
    """One model. `settings`: what chooses it on the command line. `origins`: where it can be had."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def spec(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def megabytes(self) -> int: ...
    @property
    def licence(self) -> str: ...
    @property
    def origins(self) -> Sequence[str]: ...
    @property
    def settings(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def is_here(self) -> bool: ...


class KindRow(Protocol):
    """One kind of models. `package` runs them; `extra` brings it, where not every installation has it."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def package(self) -> str: ...
    @property
    def extra(self) -> str: ...


class Store(Protocol):
    """Where models are listed, pulled and checked."""

    @property
    def folder(self) -> Path: ...
    @property
    def layout(self) -> str: ...

    def kinds(self) -> Sequence[KindRow]: ...

    def models(self) -> Sequence[ModelRow]: ...

    def find(self, spec: str) -> ModelRow: ...

    def check(self, spec: str) -> Sequence[str]: ...

    def pull(
        self,
        spec: str,
        progress: Callable[[str, int, int], None],
        note: Callable[[str], None],
        *,
        force: bool,
        source: str,
    ) -> Path: ...


# --- what there is ---


def show_models(store: Store, console: Console, *, here_only: bool = False) -> None:
    """Print the catalogue, a table a kind: which models are here, and where the others can be had."""
    rows = [model for model in store.models() if model.is_here or not here_only]
    if not rows:
        console.print(f"No models in {escape(str(store.folder))}.", highlight=False)
    for kind in store.kinds():
        of_kind = [model for model in rows if model.kind == kind.name]
        if of_kind:
            console.print(_table(kind, of_kind))
    console.print(
        f"Cache: {escape(str(store.folder))} (set DUOLOGUE_MODELS for another). "
        "To get some: [bold]duologue models pull whisper:base piper:en_US-joe-medium[/]",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"Copied by hand, models belong there as {escape(store.layout)}.", highlight=False, soft_wrap=True)


def _table(kind: KindRow, rows: Sequence[ModelRow]) -> Table:
    title = f"{kind.name}: {kind.title}"
    needs = needed_install(kind)
    if needs:
        title += f" (needs: {needs})"
    table = Table("", "model", "what", "size", "from", "licence", title=Text(title), title_justify="left")
    table.columns[3].justify = "right"
    for column in table.columns:
        column.overflow = "fold"
        column.no_wrap = column.header in ("model", "size")  # a name is there to be copied, whatever the width
    for model in rows:
        table.add_row(
            Text("✓", style="green") if model.is_here else Text(""),
            Text(model.spec, style="bold" if model.is_here else ""),
            Text(model.what),
            f"{model.megabytes} MB" if model.megabytes else "",
            Text(" ".join(model.origins), style="dim"),
            Text(model.licence, style="dim"),
        )
    return table


def needed_install(kind: KindRow) -> str:
    """The command that installs what runs models of this kind; empty where it is here."""
    return install_command(kind.extra) if importlib.util.find_spec(kind.package) is None else ""


# --- bringing them ---


def pull_models(
    store: Store, specs: Sequence[str], console: Console, *, force: bool = False, source: str = ""
) -> list[DuologueError]:
    """Pull each of `specs`: where its bytes come from, a progress bar a file, where it lies and what chooses it.

    A model that can't be had does not keep the others; what was wrong is returned, in their order. Raises
    `ConfigurationError` before anything is fetched if a name is unknown.
    """
    models = [store.find(spec) for spec in specs]
    kinds = {kind.name: kind for kind in store.kinds()}
    failures: list[DuologueError] = []
    told: set[str] = set()
    for model in models:
        try:
            _pull(store, model, console, told, force=force, source=source)
        except DuologueError as error:
            if len(models) > 1:
                console.print(f"[red]✗[/] {escape(model.spec)}", highlight=False)
            failures.append(error)
            continue
        except KeyboardInterrupt:
            console.print("Stopped. The same command goes on where it stopped.", highlight=False)
            raise
        needs = needed_install(kinds[model.kind])
        if needs:
            console.print(f"  install what runs it: [bold]{escape(needs)}[/]", highlight=False, soft_wrap=True)
        if model.settings:
            console.print(f"  use: [bold]{escape(model.settings)}[/]", highlight=False, soft_wrap=True)
    return failures


def _pull(store: Store, model: ModelRow, console: Console, told: set[str], *, force: bool, source: str) -> None:
    began = time.monotonic()
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
    )
    shown = _Bars(bars)

    def note(text: str) -> None:
        if text not in told:  # a hub that is down is so for all of them
            told.add(text)
            bars.console.print(f"  {escape(text)}", highlight=False, soft_wrap=True)

    try:
        path = store.pull(model.spec, shown.advance, note, force=force, source=source)
    finally:
        if bars.tasks:
            bars.stop()
    took = f" ({shown.fetched / 1e6:.0f} MB in {time.monotonic() - began:.1f} s)" if shown.fetched else ""
    console.print(f"[green]✓[/] {escape(model.spec)} is in {escape(str(path))}{took}", highlight=False, soft_wrap=True)


class _Bars:
    """One bar a file, made when the file first moves. `fetched`: bytes that came over the line."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._there: dict[str, int] = {}
        self.fetched = 0

    def advance(self, name: str, there: int, size: int) -> None:
        if name not in self._tasks:
            self._bars.start()  # not before: an empty one is an empty line
            self._tasks[name] = self._bars.add_task(escape(name), total=size)
            self._there[name] = there
        self.fetched += max(0, there - self._there[name])
        self._there[name] = there
        self._bars.update(self._tasks[name], completed=there, total=size)


# --- checking them ---


def check_models(store: Store, specs: Sequence[str], console: Console) -> bool:
    """Say of each of `specs` (of all that are here without any) whether it is whole; whether all are.

    Raises `ConfigurationError` if a name is unknown.
    """
    own = {model.spec: model for model in store.models() if model.is_here}
    models = [own.get(spec) or store.find(spec) for spec in specs] or list(own.values())
    if not models:
        console.print(f"No models in {escape(str(store.folder))}.", highlight=False)
    are_whole = True
    for model in models:
        wrong = store.check(model.spec)
        if not wrong:
            console.print(f"[green]✓[/] {escape(model.spec)} is whole", highlight=False)
            continue
        are_whole = False
        what = f"damaged or missing: {', '.join(wrong)}" if model.is_here else "not here"
        console.print(
            f"[red]✗[/] {escape(model.spec)}: {escape(what)}. "
            f"To get it: [bold]duologue models pull {escape(model.spec)}[/]",
            highlight=False,
            soft_wrap=True,
        )
    return are_whole
