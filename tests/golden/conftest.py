"""The published fortnight: where it is, as an event log, and as plain tables."""

from pathlib import Path

import pytest

from tests.golden import bills
from tests.golden.bills import Tables


@pytest.fixture(scope="module")
def fortnight(data_dir: Path) -> Path:
    return bills.reference_folder(data_dir)


@pytest.fixture(scope="module")
def log(fortnight: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bills.imported(fortnight, tmp_path_factory.mktemp("fortnight") / "log")


@pytest.fixture(scope="module")
def tables(fortnight: Path) -> Tables:
    return Tables.read(fortnight)
