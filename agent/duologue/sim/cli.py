"""`duologue sim`: runs, counts, and says how to see a failure again."""

import json as json_module
import sys
from typing import Final

from rich.console import Console
from rich.table import Table

from duologue.sim.runner import Report, depth_function, run_many

SHOWN_MAX: Final = 5  # failing conversations; the JSON has more
CONVERSATIONS: Final = {"core": 10_000, "whole": 300}


def run(
    *,
    conversations: int | None = None,
    seed: int | None = None,
    whole: bool = False,
    workers: int | None = None,
    replay: int | None = None,
    json: bool = False,
) -> int:
    """Hold conversations from `seed` (default 0) on, or tell one (`replay`) step by step; the exit status.

    0: no rule was broken. 1: one was, and the output says which and how to replay it.
    """
    depth = "whole" if whole else "core"
    if replay is not None:
        return tell(depth, replay)
    console = Console()
    errors = Console(stderr=True)
    total = conversations or CONVERSATIONS[depth]
    with errors.status(f"holding {total} conversations") as status:
        report = run_many(
            depth,
            first=seed or 0,
            conversations=total,
            workers=workers,
            progress=lambda done: status.update(f"{done} of {total} conversations"),
        )
    if json:
        sys.stdout.write(json_module.dumps(report.as_data(), ensure_ascii=False, indent=2) + "\n")
    else:
        show(report, console)
    return 1 if report.failed else 0


def tell(depth: str, seed: int) -> int:
    """Write the log of one conversation to standard output, the same bytes every time."""
    broken = False
    for line in depth_function(depth, "log")(seed):
        broken = broken or " ! " in line[:16]
        sys.stdout.write(line + "\n")
    return 1 if broken else 0


def show(report: Report, console: Console) -> None:
    """The summary as a table, and each failure with its command."""
    data = report.as_data()
    table = Table(title=f"{data['conversations']} conversations, {report.depth}", title_justify="left")
    table.add_column("what")
    table.add_column("count", justify="right")
    for what, value in _rows(data):
        table.add_row(what, value)
    console.print(table)
    faults = ", ".join(f"{name} {count}" for name, count in data["faults"].items())
    console.print(f"faults injected: {faults or 'none'}", highlight=False, soft_wrap=True)
    if not report.failed:
        console.print("[green]no rule was broken[/]")
        return
    console.print(f"[red]{report.failed} conversations broke a rule[/]")
    for outcome in report.failures[:SHOWN_MAX]:
        first = outcome.violations[0]
        console.print(f"  {first.rule}: {first.text}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"    at {first.at:.3f} s; replay: {report.command(outcome.seed)}", markup=False, highlight=False)


def _rows(data: dict[str, object]) -> list[tuple[str, str]]:
    def pair(key: str, first: str, second: str) -> str:
        counts = data[key]
        assert isinstance(counts, dict)
        share = f" ({100 * counts[second] / counts[first]:.0f} %)" if counts[first] else ""
        return f"{counts[second]} of {counts[first]}{share}"

    def shown(key: str, unit: str = "") -> str:
        return "-" if data[key] is None else f"{data[key]}{unit}"

    return [
        ("hours of talk", shown("hours_of_talk")),
        ("events told to the core", shown("events")),
        ("turns the callers took", shown("turns")),
        ("turns dismissed", shown("turns_dismissed")),
        ("replies", shown("replies")),
        ("speculative replies reused", pair("speculative_replies", "begun", "reused")),
        ("interruptions yielded", pair("interruptions", "made", "yielded")),
        ("backchannels survived", pair("backchannels", "made", "survived")),
        ("tools run", shown("tools_run")),
        ("response, median", shown("response_ms_median", " ms")),
        ("yield, median", shown("yield_ms_median", " ms")),
        ("wall time", shown("wall_seconds", " s")),
        ("conversations a second", shown("conversations_per_second")),
    ]
