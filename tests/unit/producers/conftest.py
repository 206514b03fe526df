"""A copy of the small dataset to change."""

import shutil
from pathlib import Path

import pytest

TINY = Path(__file__).resolve().parents[2] / "data" / "tiny"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))
