"""The peers under the same script: the runners in ../shared/peers, each framework in a virtual environment of its own.

A runner prints JSON of its own shape; `read_livekit` and `read_pipecat` bring it to our rows. Whatever goes wrong (no
network, a runner that fails) becomes a note in the table, never the end of the bench.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Contender, Figure

Json = Mapping[str, Any]
Say = Callable[[str], None]
INSTALL_S_MAX: Final = 900
IMPORT_RUNS: Final = 5


class PeerError(Exception):
    """A peer could not be installed or measured; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure. `turns` each of latency and barge-in; `load_s` seconds of `sessions` sessions at once."""

    turns: int
    sessions: int
    load_s: float


@dataclass(frozen=True, slots=True)
class Peer:
    """A framework: what pip installs, what is imported, its runner and its two configurations."""

    key: str
    title: str
    requirements: tuple[str, ...]
    module: str
    runner: str
    configurations: tuple[tuple[str, str], ...]  # (name in the table, the runner's name)
    runs: Callable[[str, Effort], dict[str, list[str]]]
    read: Callable[[Mapping[str, Json]], dict[str, Figure]]


def _livekit_runs(config: str, effort: Effort) -> dict[str, list[str]]:
    load = ["--n", str(effort.sessions), "--secs", f"{effort.load_s:g}"]
    return {
        "latency": ["latency", config, "--turns", str(effort.turns)],
        "barge": ["barge", config, "--turns", str(effort.turns)],
        "noise": ["noise", config, "--ms", "300"],
        "load": ["load", config, *load],
    }


def read_livekit(results: Mapping[str, Json]) -> dict[str, Figure]:
    """Figures from what livekit_runner.py printed, by mode."""
    figures: dict[str, Figure] = {}
    if latency := results.get("latency"):
        figures["response"] = _stat(latency["total"], "median")
        if latency["config"] == "tuned":  # the default waits longer than its stages do, by rules of its own
            ideal = latency["ideal_ms"]
            total = latency["total"]
            figures["overhead"] = Figure(total["median"] - ideal, total["p95"] - ideal, total["n"])
    if barge := results.get("barge"):
        figures["hold"] = _stat(barge["barge_to_audio_stop"], "median")
    if noise := results.get("noise"):
        figures["noise_dead_air"] = _dead_air(noise["events"])
    if load := results.get("load"):
        figures["cpu"] = Figure(load["cpu_ms_per_session_second"])
        figures["memory"] = Figure(load["mb_per_session_end"])
        grown = load["rss_end_mb"] - load["rss_running_mb"]
        figures["growth"] = Figure(grown / load["n"] / (load["secs"] / 60))
    return figures


def _dead_air(events: Sequence[Sequence[Any]]) -> Figure:
    """From the first pause to the resume; a reply that was cleared, or never resumed, is lost."""
    paused = next((at for name, at in events if name == "pause"), None)
    resumed = next((at for name, at in events if name == "resume"), None)
    if any(name == "clear" for name, _ in events):
        return Figure(word="reply lost")
    if paused is None:
        return Figure(0.0, count=1)
    return Figure(word="never resumed") if resumed is None else Figure(float(resumed - paused), count=1)


def _pipecat_runs(config: str, effort: Effort) -> dict[str, list[str]]:
    # The runner spends 4 s at either end of a load run on warming up and winding down.
    load = ["--sessions", str(effort.sessions), "--seconds", f"{effort.load_s + 8:g}"]
    return {
        "turns": ["turns", "--config", config, "--turns", str(effort.turns + 1)],
        "barge": ["barge", "--config", config, "--turns", str(effort.turns + 1)],
        "load": ["load", "--config", config, *load],
    }


def read_pipecat(results: Mapping[str, Json]) -> dict[str, Figure]:
    """Figures from what pipecat_runner.py printed, by mode."""
    figures: dict[str, Figure] = {}
    if turns := results.get("turns"):
        figures["response"] = _stat(turns["voice_end_to_first_audio"], "p50")
        figures["overhead"] = _stat(turns["overhead_beyond_configured"], "p50")
    if barge := results.get("barge"):
        figures["hold"] = _stat(barge["barge_to_end_of_last_written_audio"], "p50")
    if load := results.get("load"):
        figures["cpu"] = Figure(load["cpu_ms_per_session_second"])
        figures["memory"] = Figure((load["rss_mb"] - load["rss_before_mb"]) / load["sessions"])
    return figures


def _stat(stat: Json, median: str) -> Figure:
    return Figure(stat[median], stat["p95"], stat["n"]) if stat["n"] else Figure(word="no answer")


PEERS: Final = (
    Peer(
        "livekit", "LiveKit", ("livekit-agents==1.8.9", "psutil", "numpy"), "livekit.agents", "livekit_runner.py",
        (("default", "vad_default"), ("tuned", "tuned")), _livekit_runs, read_livekit,
    ),
    Peer(
        "pipecat", "Pipecat", ("pipecat-ai[silero]==1.14.0", "soxr", "numpy"), "pipecat.pipeline.pipeline",
        "pipecat_runner.py", (("default", "default"), ("tuned", "tuned")), _pipecat_runs, read_pipecat,
    ),
)  # fmt: skip


def install(peer: Peer, environments: Path, say: Say) -> Path:
    """A Python that has `peer`, made on first use under `environments`. Raises `PeerError`."""
    home = environments / peer.key
    python = home / "bin" / "python"
    stamp = home / "installed.txt"
    wanted = "\n".join(peer.requirements)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    say(f"installing {', '.join(peer.requirements)} into {home}")
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(home)], INSTALL_S_MAX)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run([*pip, *peer.requirements], INSTALL_S_MAX)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def measure(peer: Peer, runners: Path, environments: Path, effort: Effort, say: Say) -> list[Contender]:
    """One contender for each configuration of `peer`, one run after the other."""
    columns = [Contender(f"{peer.title} {name}", peer.requirements[0].partition("==")[2]) for name, _ in
               peer.configurations]  # fmt: skip
    try:
        python = install(peer, environments, say)
        import_figure = _import_ms(python, peer.module)
    except PeerError as error:
        for column in columns:
            column.notes.append(str(error))
        return columns
    for column, (_, config) in zip(columns, peer.configurations, strict=True):
        results: dict[str, Json] = {}
        for mode, arguments in peer.runs(config, effort).items():
            say(f"{column.name}: {mode}")
            try:
                results[mode] = _last_json(_run([str(python), str(runners / peer.runner), *arguments], _limit(effort)))
            except PeerError as error:
                column.notes.append(f"{mode}: {error}")
        column.figures = peer.read(results)
        column.figures["import_all"] = import_figure
    if peer.key == "livekit":
        _add_heard_text(columns, python, runners, say)
    return columns


def _add_heard_text(columns: Sequence[Contender], python: Path, runners: Path, say: Say) -> None:
    """How far LiveKit's history is from what was heard; its runner speaks with the espeak-ng command."""
    if shutil.which("espeak-ng") is None:
        columns[0].notes.append("heard text: needs the espeak-ng command (Debian: apt-get install espeak-ng)")
        return
    say(f"{columns[0].name}: heard text")
    try:
        result = _last_json(_run([str(python), str(runners / "livekit_heard_text.py")], 300))
        columns[0].figures["heard_error"] = Figure(result["mean_abs_err_words"], count=result["n"])
    except PeerError as error:
        columns[0].notes.append(f"heard text: {error}")


def _limit(effort: Effort) -> float:
    return 60 + 12 * effort.turns + 2 * effort.load_s


def _import_ms(python: Path, module: str) -> Figure:
    """How long `import module` takes in a fresh interpreter, the files warm: the median of a few."""
    timed = f"import time; t = time.perf_counter(); import {module}; print(1e3 * (time.perf_counter() - t))"
    taken = sorted(float(_run([str(python), "-c", timed], 120).split()[-1]) for _ in range(IMPORT_RUNS + 1))
    return Figure(taken[len(taken) // 2 - 1], taken[-1], len(taken))


def _run(command: Sequence[str], limit_s: float) -> str:
    """What `command` printed. Raises `PeerError` with its last words."""
    name = Path(command[1] if len(command) > 1 else command[0]).name
    # The runners read nothing from the network and must not try: downloads would be counted as latency.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"{name} took more than {limit_s:.0f} s") from error
    except OSError as error:
        raise PeerError(f"{name}: {error}") from error
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise PeerError(f"{name} ended with {done.returncode}: {words[-1] if words else 'no word'}")
    return done.stdout


def _last_json(printed: str) -> Json:
    """The JSON object that a runner printed, whatever it printed before. Raises `PeerError`."""
    start = printed.find("{")
    try:
        parsed = json.loads(printed[start:]) if start >= 0 else None
    except json.JSONDecodeError as error:
        raise PeerError(f"printed no JSON that can be read: {error}") from error
    if not isinstance(parsed, dict):
        raise PeerError("printed no JSON")
    return parsed
