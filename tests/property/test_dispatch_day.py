"""Over a day in closed loop ``price`` costs less than every baseline, on days that nobody tuned it on."""

import pytest

from tests.unit.dispatch.day import World, bill

BASELINES = ("cost-greedy", "latency-first", "price-greedy", "first-fit", "best-fit", "round-robin", "carbon-greedy")


@pytest.mark.parametrize("load", [0.6, 0.9])
@pytest.mark.parametrize("seed", [101, 102, 103])
def test_a_day_costs_less_under_price_than_under_every_baseline(seed: int, load: float) -> None:
    world = World(seed, load=load)
    ours = bill(world, "price")
    assert ours.violations == 0
    for text in BASELINES:
        theirs = bill(world, text)
        assert theirs.violations == 0
        assert ours.undelivered <= theirs.undelivered * 1.001 + 1e-9
        assert ours.total < theirs.total, (text, ours, theirs)
