"""What every test may ask for: the shared material, where it is there, and a promise that no test reaches the network.

At the end of a run stands what was left out on this machine, and how to switch it on.
"""

import ipaddress
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from duologue_pipelines import model_cache
from duologue_pipelines.models import find_model

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("DUOLOGUE_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real speech, models and noise; the test is left out where it is missing."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs ../shared/data (set DUOLOGUE_SHARED to the folder that holds data/)")
    return SHARED / "data"


@pytest.fixture(scope="session")
def real_model() -> Callable[[str], Path]:
    """Tells where a model of the catalogue lies ("whisper:tiny.en"); the test is left out where it was not pulled."""
    folder = model_cache.cache_folder()  # before a test names another

    def find(spec: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(model_cache.CACHE_VARIABLE, str(folder))
            model = find_model(spec)
            if not model.is_here:
                pytest.skip(f"needs the model {spec} (make models)")
            return model.path

    return find


def _is_local(address: Any) -> bool:
    """Whether a socket address stays on this machine: a Unix path, `localhost` or a loopback address."""
    host = address[0] if isinstance(address, tuple) else address
    if not isinstance(host, str) or not isinstance(address, tuple) or host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """A connection that leaves this machine fails at once: no test calls a real model by accident."""

    class LoopbackSocket(socket.socket):
        def connect(self, address: Any) -> None:
            if not _is_local(address):
                raise OSError(f"a test tried to reach {address}: tests stay on this machine (tests/conftest.py)")
            super().connect(address)

        def connect_ex(self, address: Any) -> int:
            if not _is_local(address):
                raise OSError(f"a test tried to reach {address}: tests stay on this machine (tests/conftest.py)")
            return super().connect_ex(address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", LoopbackSocket)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what this machine could not run. The reason of a skip names the switch: "needs X (do Y)"."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):
            reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section("left out on this machine, and how to switch it on")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:4d} left out: {reason}")
