"""Our columns of the table: `benchmarks.ours` measured in processes of its own, as the peers' runners are.

Two configurations, as with the peers: `default` takes the settings as they come (a finished sentence ends the turn
after 0.4 s), `tuned` waits 0.2 s, as LiveKit's tuned one does.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Contender, Figure, spread
from benchmarks.peers import IMPORT_RUNS, Effort, Say

CONFIGURATIONS: Final = ("default", "tuned")
SETTLED_MINUTES: Final = 9.9  # before that, traces and histories still fill to their bounds
# What the import may bring along besides the standard library: the engine's own tools, no vendor's.
OWN_TOOLS: Final = frozenset(
    {
        "annotated_types", "click", "duologue", "markdown_it", "mdurl", "numpy", "packaging", "pydantic",
        "pydantic_core", "pydantic_settings", "pygments", "rapidfuzz", "rich", "shellingham", "typer",
        "typing_extensions", "typing_inspection",
    }
)  # fmt: skip
_TIMED: Final = "import time; t = time.perf_counter(); {}; print(1e3 * (time.perf_counter() - t))"
_LOADED: Final = (
    "import sys; before = set(sys.modules); from duologue import Agent, tool; "
    "print(*{name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))"
)


def measure(effort: Effort, minutes: float, say: Say) -> list[Contender]:
    """One contender for each configuration. `minutes`: how long the default's memory is watched."""
    imported = {"import": import_ms("import duologue"), "import_all": import_ms("from duologue import Agent, tool")}
    vendors = vendors_loaded()
    columns = []
    for name in CONFIGURATIONS:
        column = Contender(f"Duologue {name}", version("duologue"))
        for mode, arguments in _runs(effort, minutes if name == "default" else 0).items():
            say(f"{column.name}: {mode}")
            try:
                column.figures |= read(mode, ours([mode, name, *arguments]))
            except RuntimeError as error:
                column.notes.append(f"{mode}: {error}")
        if (growth := column.figures.get("growth")) and growth.provisional:
            column.notes.append("growth: buffers still fill to their bounds; flat is judged over ten (--minutes 10)")
        column.figures |= {**imported, "vendors": Figure(float(len(vendors)))}
        if vendors:
            column.notes.append(f"the import brought {', '.join(sorted(vendors))}")
        columns.append(column)
    return columns


def _runs(effort: Effort, minutes: float) -> dict[str, list[str]]:
    sessions = ["--sessions", str(effort.sessions)]
    runs = {
        "latency": ["--turns", str(effort.turns)],
        "barge": ["--turns", str(effort.turns)],
        "noise": ["--turns", str(max(3, effort.turns // 5))],
        "load": [*sessions, "--seconds", f"{effort.load_s:g}"],
    }
    if minutes:
        runs["memory"] = [*sessions, "--seconds", f"{60 * minutes:g}"]
    return runs


def read(mode: str, result: Mapping[str, Any]) -> dict[str, Figure]:
    """Figures from what `benchmarks.ours` printed for `mode`."""
    if mode == "latency":
        response, configured = result["response_ms"], result["configured_ms"]
        return {"response": spread(response), "overhead": spread(value - configured for value in response)}
    if mode == "barge":
        return {"hold": spread(result["hold_ms"]), "heard_error": spread(result["words_off"])}
    if mode == "noise":
        return {"noise_dead_air": spread(result["dead_air_ms"]), "noise_words_lost": spread(result["words_lost"])}
    if mode == "load":
        return {"cpu": Figure(result["cpu_ms_per_session_second"])}
    settled = result["at_s"][-1] >= 60 * SETTLED_MINUTES
    growth = Figure(result["mb_per_session_minute"], provisional=not settled)
    return {"memory": Figure(result["mb_per_session"]), "growth": growth}


def import_ms(statement: str) -> Figure:
    """How long an import takes in a fresh interpreter, the files warm: the median of a few."""
    taken = sorted(float(_python("-c", _TIMED.format(statement))) for _ in range(IMPORT_RUNS + 1))
    return Figure(taken[len(taken) // 2 - 1], taken[-1], len(taken))


def vendors_loaded() -> set[str]:
    """Packages that the engine's import loads and that are neither Python's nor the engine's own tools."""
    loaded = set(_python("-c", _LOADED).split()) - OWN_TOOLS
    return {name for name in loaded if not name.startswith("_sysconfigdata")}  # Python's own, named after the machine


def ours(arguments: list[str]) -> Mapping[str, Any]:
    """What `benchmarks.ours` prints in a process of its own. Raises `RuntimeError` with its last words."""
    result: Mapping[str, Any] = json.loads(_python("-m", "benchmarks.ours", *arguments))
    return result


def _python(*arguments: str) -> str:
    """What this Python prints. Raises `RuntimeError` with its last words."""
    folder = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(words[-1] if words else f"ended with {done.returncode}")
    return done.stdout
