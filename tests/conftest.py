"""What every test may ask for: the shared material, where it is there, and a promise that no test reaches the network."""

import os
from pathlib import Path

import pytest

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
