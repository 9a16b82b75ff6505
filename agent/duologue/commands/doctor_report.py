"""A diagnosis for a person's eyes: the verdict last, where the eye ends up."""

import textwrap

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from duologue.commands.doctor import Diagnosis, StageFinding
from duologue.registry import install_command
from duologue.stages import STAGES

_TITLES = {kind.name: kind.title for kind in STAGES}
_YES, _NO = Text("✓", style="green"), Text("–", style="dim")
_WRONG = Text("✗", style="red")
_LAST_CHARS = 20  # the reasons are what a table is for: narrower than this nobody reads them


def show(diagnosis: Diagnosis, console: Console) -> None:
    """Print it. What keeps the settings from being read comes first: all the rest is then about other settings."""
    if diagnosis.unread:
        console.print(f"[bold red]The settings can't be read:[/] [red]{escape(diagnosis.unread)}[/]", soft_wrap=True)
        console.print("What follows is about the defaults.\n")
    console.print(
        f"[bold]Duologue {diagnosis.version}[/]  Python {diagnosis.python}, {diagnosis.machine}", highlight=False
    )
    console.print(f"settings from: {escape(', '.join(diagnosis.sources) or 'defaults')}", highlight=False)
    packs = ", ".join(
        f"[bold]{escape(name)}[/]" if name == diagnosis.pack else escape(name) for name in diagnosis.packs
    )
    console.print(f"packs: {packs or 'none'}\n", highlight=False)
    _print_whole(_stages(diagnosis), console)
    for finding in diagnosis.stages:
        if finding.note:
            console.print(f"[yellow]Note:[/] {escape(finding.note)}.", highlight=False)
    for remark in diagnosis.pack_remarks:
        console.print(f"[yellow]Note:[/] {escape(remark)}.", highlight=False)
    if diagnosis.endpoints:
        console.print()
        _print_whole(_endpoints(diagnosis), console)
    console.print()
    _print_whole(_models(diagnosis), console)
    console.print()
    _print_whole(_packages(diagnosis), console)
    console.print()
    _verdict(diagnosis, console)


def _stages(diagnosis: Diagnosis) -> Table:
    table = Table("", "stage", "set to", "will use", "why", title="Stages", title_justify="left", expand=False)
    for finding in diagnosis.stages:
        table.add_row(
            _YES if finding.chosen else _NO if finding.is_left_out else _WRONG,
            _TITLES[finding.stage],
            escape(finding.use),
            Text(finding.chosen or "nothing", style=_style(finding)),
            _why(finding),
        )
    return table


def _style(finding: StageFinding) -> str:
    return "bold" if finding.chosen else "dim" if finding.is_left_out else "red"


def _print_whole(found: Table | Text, console: Console) -> None:
    """Print a table, or its rows as paragraphs where the terminal is too narrow for its longest words: half a path or
    command helps nobody."""
    if isinstance(found, Text) or _fits(found, console.width):
        console.print(found)
        return
    console.print(Text(str(found.title), "italic"))
    rows = zip(*(column.cells for column in found.columns), strict=True)
    for row in rows:
        cells = [_plain(cell) for cell in row]
        mark, name, *rest = cells if not found.columns[0].header else ["", *cells]
        named = [f"{column.header}: " for column in found.columns[len(cells) - len(rest) :]]
        console.print(Text(f"{mark} {name}".strip(), "bold"))
        for heading, cell in zip(named, rest, strict=True):
            for number, line in enumerate(cell.splitlines()):
                _print_wrapped(f"    {'' if number else heading}", line, console)


def _fits(table: Table, width: int) -> bool:
    """Whether no word of `table` is cut in `width` columns of the terminal; its columns are set for that then."""
    least, wanted = [], []
    for column in table.columns:
        texts = [str(column.header), *(_plain(cell) for cell in column.cells)]
        lines = [line for text in texts for line in text.splitlines()]
        least.append(max([cell_len(word) for line in lines for word in line.split()], default=1))
        wanted.append(max([cell_len(line) for line in lines], default=1))
    spare = width - sum(least) - 3 * len(least) - 1  # padding and borders
    for index in sorted(range(len(least)), key=lambda index: least[index] - wanted[index]):
        more = max(0, min(spare, wanted[index] - least[index]))
        table.columns[index].width, spare = least[index] + more, spare - more
    return spare >= 0 and (table.columns[-1].width or 0) >= min(wanted[-1], _LAST_CHARS)


def _plain(cell: object) -> str:
    return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell)).plain


def _print_wrapped(start: str, text: str, console: Console) -> None:
    """Lines broken between words alone; a word longer than the terminal is left to it whole."""
    lines = textwrap.wrap(
        text, console.width, initial_indent=start, subsequent_indent=" " * 6,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _why(finding: StageFinding) -> Text:
    text = Text(finding.why)
    for name, problem in finding.candidates:
        if problem and problem not in finding.why:
            text.append(f"\n{name}: {problem}", style="dim")
    return text


def _endpoints(diagnosis: Diagnosis) -> Table:
    table = Table("", "endpoint", "where", "models", "found", title="Language model endpoints", title_justify="left")
    for endpoint in diagnosis.endpoints:
        models = ", ".join(endpoint.models[:3]) + (", …" if len(endpoint.models) > 3 else "")
        mark = _YES if endpoint.available else _NO
        table.add_row(mark, endpoint.name, Text(endpoint.where), Text(models), Text(endpoint.why))
    return table


def _models(diagnosis: Diagnosis) -> Table | Text:
    if not diagnosis.models:
        return Text(
            f"No downloaded models in {diagnosis.models_folder or 'the cache'}. To get some: duologue models list",
            style="dim",
        )
    table = Table("model", "where", title="Downloaded models", title_justify="left")
    for model in diagnosis.models:
        table.add_row(Text(model.spec), Text(model.path))
    return table


def _packages(diagnosis: Diagnosis) -> Table:
    table = Table("", "package", "version", title="Packages", title_justify="left")
    for package in diagnosis.packages:
        missing = install_command(package.extra) if package.extra else f"missing: {install_command()}"
        mark = _YES if package.version else _NO if package.extra else _WRONG
        table.add_row(mark, package.name, Text(package.version or missing, style="" if package.version else "dim"))
    return table


def _verdict(diagnosis: Diagnosis, console: Console) -> None:
    if diagnosis.is_healthy:
        console.print("[bold green]A conversation can be held.[/] Try it: [bold]duologue demo[/]", highlight=False)
        return
    console.print("[bold red]No conversation can be held like this:[/]")
    for problem in diagnosis.problems:
        console.print(f"  [red]{escape(problem)}[/]", highlight=False, soft_wrap=True)
