"""Fixtures: small worlds to account for."""

from collections.abc import Callable

import pytest

from tests.unit.energy.worlds import World


@pytest.fixture
def world() -> World:
    """A world with no cluster, no price and no task yet."""
    return World()


@pytest.fixture
def new_world() -> Callable[..., World]:
    """Makes worlds."""
    return World
