"""How many conversations a run of the tests holds: all of them in CI, enough to bite otherwise."""

import os

import pytest

from duologue.sim.runner import Report

IS_FULL = os.environ.get("CI", "").lower() in ("1", "true") or os.environ.get("DUOLOGUE_FULL_SIM") == "1"


@pytest.fixture(scope="session")
def conversations() -> dict[str, int]:
    """How many of each depth. `DUOLOGUE_FULL_SIM=1` holds as many here as CI does."""
    return {"core": 10_000, "whole": 300} if IS_FULL else {"core": 2_000, "whole": 60}


@pytest.fixture(scope="session")
def told():
    """What a failing run tells: the rules broken, and the command that shows each again."""

    def tell(report: Report) -> str:
        lines = [f"{report.failed} of {report.tally.conversations} conversations broke a rule"]
        for outcome in report.failures[:5]:
            lines += [f"{violation.rule}: {violation.text}" for violation in outcome.violations[:1]]
            lines.append(f"    {report.command(outcome.seed)}")
        return "\n".join(lines)

    return tell
