"""A diagnosis for a person's eyes: the verdict last, where the eye ends up."""

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
_WHY_CHARS = 30  # the reasons are what the table is for: the other columns give way


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
    console.print(_stages(diagnosis))
    for finding in diagnosis.stages:
        if finding.note:
            console.print(f"[yellow]Note:[/] {escape(finding.note)}.", highlight=False)
    for remark in diagnosis.pack_remarks:
        console.print(f"[yellow]Note:[/] {escape(remark)}.", highlight=False)
    if diagnosis.endpoints:
        console.print()
        console.print(_endpoints(diagnosis))
    console.print()
    console.print(_models(diagnosis))
    console.print()
    console.print(_packages(diagnosis))
    console.print()
    _verdict(diagnosis, console)


def _stages(diagnosis: Diagnosis) -> Table:
    table = Table("", "stage", "set to", "will use", "why", title="Stages", title_justify="left", expand=False)
    _fold(table)
    table.columns[-1].min_width = _WHY_CHARS
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


def _fold(table: Table) -> None:
    """Cut nothing: half a path or command helps nobody."""
    for column in table.columns:
        column.overflow = "fold"


def _why(finding: StageFinding) -> Text:
    text = Text(finding.why)
    for name, problem in finding.candidates:
        if problem and problem not in finding.why:
            text.append(f"\n{name}: {problem}", style="dim")
    return text


def _endpoints(diagnosis: Diagnosis) -> Table:
    table = Table("", "endpoint", "where", "models", "found", title="Language model endpoints", title_justify="left")
    _fold(table)
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
    _fold(table)
    for model in diagnosis.models:
        table.add_row(Text(model.spec), Text(model.path))
    return table


def _packages(diagnosis: Diagnosis) -> Table:
    table = Table("", "package", "version", title="Packages", title_justify="left")
    _fold(table)
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
