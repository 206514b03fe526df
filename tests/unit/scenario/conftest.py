"""Scenarios the tests share: each preset made once."""

from functools import cache

import pytest

from producers.scenario import Scenario, generate, preset_names


@cache
def made(name: str) -> Scenario:
    """The preset ``name`` with the default seed."""
    return generate(name)


@pytest.fixture(params=preset_names())
def scenario(request: pytest.FixtureRequest) -> Scenario:
    """Every preset in turn."""
    return made(request.param)


@pytest.fixture
def edwc() -> Scenario:
    """The default scenario."""
    return made("edwc")


@pytest.fixture
def tiny() -> Scenario:
    """The small scenario for tests."""
    return made("tiny")
