"""What every test shares: Hypothesis without deadlines, and the published data where it is present."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

REPOSITORY = Path(__file__).resolve().parent.parent

# A deadline measures the machine, not the code; the examples are the same in every run, so a failure can be run again.
settings.register_profile("cpn", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
# For a long search by hand: pytest --hypothesis-profile=search
settings.register_profile("search", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cpn")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of published data, or skip: it is not part of the repository."""
    folder = Path(os.environ.get("CPN_DATA_DIR") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no published data at {folder}: set CPN_DATA_DIR to its folder")
    return folder
