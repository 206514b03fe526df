"""The plan that capacity is built for: against plain loops, and that supply and demand are where they should be."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.scenario import Scenario, generate, tables
from producers.scenario.capacity import in_use, planned_use, spread
from producers.scenario.draw import INTERVAL_MS, rng_of
from producers.scenario.generate import T0
from producers.scenario.tasks import Tasks, draw_tasks
from producers.scenario.world import World, make_world

# busiest quarter of an hour over capacity, all accelerators together
LOAD = {
    "edwc": (0.7, 0.88),
    "islands": (0.85, 1.05),
    "edge-heavy": (0.6, 0.9),
    "gpu-crunch": (0.95, 1.15),
    "tiny": (0.5, 0.8),
}


@pytest.fixture(scope="module")
def world() -> World:
    preset = tables.preset("tiny")
    return make_world(preset, T0, T0 + preset.hours * 3_600_000, 1)


@pytest.fixture(scope="module")
def drawn(world: World) -> Tasks:
    return draw_tasks(world, 300, rng_of(1, "tasks"))


def test_accelerators_are_as_scarce_as_the_preset_says(scenario: Scenario) -> None:
    accelerators = [b for b in scenario.balance if b.model != "cpu"]
    peak, capacity = sum(b.peak for b in accelerators), sum(b.capacity for b in accelerators)
    low, high = LOAD[scenario.name]
    assert low <= peak / capacity <= high
    assert sum(b.mean for b in accelerators) < 0.9 * capacity


@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("name", ["islands", "gpu-crunch", "tiny"])
def test_another_seed_is_as_scarce(name: str, seed: int) -> None:
    test_accelerators_are_as_scarce_as_the_preset_says(generate(name, seed=seed))


def test_the_coast_is_scarce_and_the_west_ample() -> None:
    target = tables.workload().utilisation
    for tier in ("national", "regional", "edge"):
        assert 0.65 <= target[tier]["west"] < target[tier]["central"] < target[tier]["east"] < 1


def test_the_plan_agrees_with_a_plain_loop(world: World, drawn: Tasks) -> None:
    intervals = world.time.intervals
    expected = np.zeros((len(world.racks), intervals))
    affinity = world.workload.affinity
    for i in range(len(drawn)):
        shape = world.shapes[drawn.shape[i]]
        weights = np.zeros(len(world.racks))
        for p in range(len(world.racks)):
            site = world.place.sites[world.racks.site[p]]
            rtt = world.pool_rtt_ms[drawn.origin[i], p]
            home = world.provinces[drawn.origin[i]].id == site.province
            if world.fit[drawn.shape[i], p] and rtt <= drawn.latency_ms[i] and (home or not drawn.resident[i]):
                weight = affinity[shape.task_class.kind][site.tier] * site.size / len(site.models) + 1e-6
                weights[p] = weight / (1 + rtt / 5)
        begin, end = drawn.submit_ms[i], drawn.submit_ms[i] + 1000 * drawn.duration_s[i]
        for t in range(intervals):
            left, right = T0 + INTERVAL_MS * t, T0 + INTERVAL_MS * (t + 1)
            overlap = max(0.0, min(end, right) - max(begin, left))
            expected[:, t] += weights / weights.sum() * shape.amount * overlap / INTERVAL_MS
    assert planned_use(world, drawn) == pytest.approx(expected, abs=1e-9)


def test_what_is_in_use_adds_up_to_the_work_of_each_task(world: World, drawn: Tasks) -> None:
    amount = np.arange(1.0, len(drawn) + 1)
    use = in_use(drawn, amount, T0, world.time.intervals)
    assert use.sum(axis=1) * INTERVAL_MS / 1000 == pytest.approx(amount * drawn.duration_s)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.data())
def test_spreading_keeps_the_total_and_the_proportions(
    groups: int, pools: int, times: int, data: st.DataObject
) -> None:
    number = st.integers(0, 8).map(float)
    use = np.array([[data.draw(number) for _ in range(times)] for _ in range(groups)])
    weight = np.array([[data.draw(number) + 1 for _ in range(pools)] for _ in range(groups)])
    allowed = np.array([[data.draw(st.booleans()) or p == g % pools for p in range(pools)] for g in range(groups)])
    expected = np.zeros((pools, times))
    for g in range(groups):
        total = sum(weight[g, p] for p in range(pools) if allowed[g, p])
        for p in range(pools):
            for t in range(times):
                expected[p, t] += allowed[g, p] * weight[g, p] / total * use[g, t]
    got = spread(use, weight, allowed)
    assert got == pytest.approx(expected)
    assert got.sum(axis=0) == pytest.approx(use.sum(axis=0))


def test_the_default_scenario_is_made_within_seconds() -> None:
    begin = time.process_time()
    generate("edwc", seed=7)
    assert time.process_time() - begin < 4
