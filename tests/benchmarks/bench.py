"""`make bench`: our engine and its peers under one script, on this machine, in one run, as one table.

The script: 20 ms frames in and out, the final transcript with the last voiced frame, the first LLM token after 200 ms
and then one each 20 ms, the first audio 100 ms after the synthesiser's first text. The stages' own sum is 300 ms; what
is above that and above the waits that a configuration asks for is the engine's.

Each measurement is a process of its own, one after the other, so that none disturbs another. Writes report.json.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks import engine, machine, peers, table
from benchmarks.figures import Contender

REPOSITORY: Final = Path(__file__).resolve().parent.parent.parent
FULL: Final = peers.Effort(turns=20, sessions=25, load_s=40)
QUICK: Final = peers.Effort(turns=4, sessions=25, load_s=10)


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for report.json")
    parser.add_argument("--quick", action="store_true", help="a few turns each: shows that it works, not how fast")
    parser.add_argument(
        "--minutes", type=float, default=None, help="how long to watch our memory (2; 0.3 with --quick)"
    )
    parser.add_argument("--no-peers", action="store_true", help="ours only")
    return parser.parse_args()


def main() -> int:
    """Measure, print, write; 0 whatever the figures are."""
    asked = arguments()
    effort = QUICK if asked.quick else FULL
    minutes = asked.minutes if asked.minutes is not None else 0.3 if asked.quick else 2.0
    console = Console(width=max(150, Console().width) if not sys.stdout.isatty() else None)
    here = machine.describe()
    console.print(machine.headline(here), highlight=False)

    def say(what: str) -> None:
        console.print(f"  {what}", style="dim", highlight=False)

    contenders = engine.measure(effort, minutes, say)
    others, notes = ([], ["peers left out (--no-peers)"]) if asked.no_peers else _measure_peers(effort, say)
    contenders += others
    table.show(contenders, machine.headline(here), notes, console)
    asked.out.mkdir(parents=True, exist_ok=True)
    report = asked.out / "report.json"
    content = {
        "machine": here,
        "quick": asked.quick,
        "turns": effort.turns,
        "sessions": effort.sessions,
        "memory_minutes": minutes,
        "notes": notes,
        "contenders": [contender.as_json() for contender in contenders],
    }
    report.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    console.print(f"written: {report}", highlight=False)
    return 0


def _measure_peers(effort: peers.Effort, say: peers.Say) -> tuple[list[Contender], list[str]]:
    """The peers' columns, and a note where there are no runners for them."""
    runners = Path(os.environ.get("DUOLOGUE_SHARED", REPOSITORY.parent / "shared")) / "peers"
    if not runners.is_dir():
        return [], [f"no peers: {runners} is not there (DUOLOGUE_SHARED names the folder that holds peers/)"]
    environments = REPOSITORY / ".bench-venvs"
    return [column for peer in peers.PEERS for column in peers.measure(peer, runners, environments, effort, say)], []


if __name__ == "__main__":
    sys.exit(main())
