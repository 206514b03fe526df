"""The made-up run, loaded from the file beside this one: tests are files, not a package."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _load() -> ModuleType:
    path = Path(__file__).with_name("synthetic.py")
    spec = importlib.util.spec_from_file_location("report_synthetic", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made_up() -> ModuleType:
    """Return the generator: ``synthetic(seed, windows, zones, clusters)`` and ``summary(name, k)``."""
    return _load()


@pytest.fixture
def summary_of(made_up: ModuleType) -> Callable[..., dict[str, Any]]:
    """Return a summary with the total and share asked for."""

    def build(total: float | None, share: float | None, **more: Any) -> dict[str, Any]:
        base = made_up.summary("price", 0)
        base["cost"] |= {"total": total}
        base["delivered"] |= {"share": share}
        return base | more

    return build
