"""The made-up run as fixtures."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from tests.unit.report import synthetic


@pytest.fixture(scope="session")
def made_up() -> ModuleType:
    """Return the generator: ``synthetic(seed, windows, zones, clusters)`` and ``summary(name, k)``."""
    return synthetic


@pytest.fixture
def summary_of(made_up: ModuleType) -> Callable[..., dict[str, Any]]:
    """Return a summary with the total and share asked for."""

    def build(total: float | None, share: float | None, **more: Any) -> dict[str, Any]:
        base = made_up.summary("price", 0)
        base["cost"] |= {"total": total}
        base["delivered"] |= {"share": share}
        return base | more

    return build
