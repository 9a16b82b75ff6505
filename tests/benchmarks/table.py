"""The one table: rows are what is measured, columns are who was measured, our budget and its verdict at the end."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.figures import ROWS, Contender, Figure, Row


def render(contenders: Sequence[Contender], headline: str) -> Table:
    """`contenders` side by side; the first one is ours, and the budgets are held against it."""
    table = Table(title=f"median (p95) · {headline}", title_justify="left", show_lines=False)
    table.add_column("")
    for contender in contenders:
        table.add_column(f"{contender.name}\n{contender.version}", justify="right")
    table.add_column("budget", justify="left")
    for row in ROWS:
        cells = [number(contender.figures.get(row.key)) for contender in contenders]
        table.add_row(f"{row.label}, {row.unit}", *cells, verdict(row, contenders[0].figures.get(row.key)))
    return table


def number(figure: Figure | None) -> str:
    """`median (p95)` with as many digits as say something; the word where there is no number; a dash for nothing."""
    if figure is None or (figure.p50 is None and not figure.word):
        return "–"
    if figure.p50 is None:
        return figure.word
    median = _digits(figure.p50)
    return median if figure.p95 is None else f"{median} ({_digits(figure.p95)})"


def verdict(row: Row, ours: Figure | None) -> str:
    """`≤ 2 (≤ 10) ✓`; without a mark where nothing was measured."""
    if row.p50_max is None:
        return ""
    budget = f"≤ {row.p50_max:g}" + (f" (≤ {row.p95_max:g})" if row.p95_max is not None else "")
    kept = ours.within(row) if ours else None
    return budget if kept is None else f"{budget} {'✓' if kept else '✗'}"


def _digits(value: float) -> str:
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 else f"{value:.3f}"


def show(contenders: Sequence[Contender], headline: str, notes: Sequence[str], console: Console) -> None:
    """Print the table, then what could not be measured and why."""
    console.print(render(contenders, headline))
    for note in notes:
        console.print(f"· {note}", highlight=False)
    for contender in contenders:
        for note in contender.notes:
            console.print(f"· {contender.name}: {note}", highlight=False)
