"""`duologue models`: the catalogue as a table, and downloads with a progress bar.

What a store of models is stands here as a Protocol, because the real one lives in the pipelines.
"""

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


class ModelRow(Protocol):
    """One model."""

    @property
    def spec(self) -> str: ...
    @property
    def what(self) -> str: ...
    @property
    def megabytes(self) -> int: ...
    @property
    def path(self) -> Path: ...
    @property
    def is_here(self) -> bool: ...


class Store(Protocol):
    """Where models are listed and pulled."""

    @property
    def folder(self) -> Path: ...
    @property
    def layout(self) -> str: ...

    def models(self) -> Sequence[ModelRow]: ...

    def pull(self, spec: str, progress: Callable[[str, int, int], None], *, force: bool) -> Path: ...


def show_models(store: Store, console: Console, *, here_only: bool = False) -> None:
    """Print the catalogue; models that are there say where."""
    rows = [model for model in store.models() if model.is_here or not here_only]
    if not rows:
        console.print(f"No models in {escape(str(store.folder))}.", highlight=False)
    else:
        table = Table("", "model", "what", "size", "where", title="Models", title_justify="left")
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
                Text(str(model.path) if model.is_here else "", style="dim"),
            )
        console.print(table)
    console.print(
        f"Cache: {escape(str(store.folder))} (set DUOLOGUE_MODELS for another). "
        "To get one: [bold]duologue models pull whisper:base[/]",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"Copied by hand, models belong there as {escape(store.layout)}.", highlight=False, soft_wrap=True)


def pull_models(store: Store, specs: Sequence[str], console: Console, *, force: bool = False) -> None:
    """Pull each of `specs`, a progress bar a file; say where it lies."""
    for spec in specs:
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as bars:
            path = store.pull(spec, _Bars(bars).advance, force=force)
        console.print(f"[green]✓[/] {escape(spec)} is in {escape(str(path))}", highlight=False, soft_wrap=True)


class _Bars:
    """One bar a file, made when the file first moves."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def advance(self, name: str, there: int, size: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(escape(name), total=size)
        self._bars.update(self._tasks[name], completed=there, total=size)
