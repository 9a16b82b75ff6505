"""The verdicts on a call, for a person's eyes."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from duologue_pipelines.calls.verdicts import Verdict


def verdict_table(verdicts: Sequence[Verdict]) -> Table:
    """A row for each thing that the caller did: what it should have led to, and what it did."""
    table = Table(title="\nDid it go as it should?", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for heading in ("", "act", "the caller", "should lead to", "did"):
        table.add_column(heading, overflow="fold")
    for verdict in verdicts:
        table.add_row(
            Text("✓", "bold green") if verdict.passed else Text("✗", "bold red"),
            verdict.act.name,
            Text(verdict.said, "blue"),
            verdict.act.expects,
            Text(verdict.why, "green" if verdict.passed else "red"),
        )
    return table
