"""What machine the figures are from: a figure without it says nothing."""

import os
import platform
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """CPU model, cores this process may use, memory in GB, Python and system, and how busy the machine is already."""
    return {
        "cpu": _first_value("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(int((_first_value("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 2**20, 1),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def headline(machine: dict[str, Any]) -> str:
    """`machine` in one line."""
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, Python {machine['python']}, "
        f"load {machine['load_average']} before the run"
    )


def _first_value(path: str, key: str) -> str:
    """The first `key : value` of a file under /proc; empty where there is no such file."""
    file = Path(path)
    if not file.is_file():
        return ""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""
