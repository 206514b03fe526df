"""Tasks: what they ask for, when, and that somebody can do it."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from producers.scenario import Scenario, generate, tables
from producers.scenario.shapes import shapes_of, sizes_of
from producers.scenario.tasks import origin_weights, tenant_name
from twin import events as ev

HOUR_MS = 3_600_000


def tasks(scenario: Scenario) -> list[ev.TaskSubmitted]:
    return [e for e in scenario.events if isinstance(e, ev.TaskSubmitted)]


def rtt_of(scenario: Scenario) -> dict[tuple[str, str], float]:
    links = [e for e in scenario.events if isinstance(e, ev.NetworkLink)]
    both = {(e.src, e.dst): e.rtt_ms.p50 for e in links}
    return both | {(dst, src): rtt for (src, dst), rtt in both.items()}


def holds(pool: ev.Pool, r: ev.Request) -> bool:
    """Whether an empty pool can take the request: model, then accelerators, cores and memory of each of its nodes."""
    if r.accelerators and (pool.accelerator is None or pool.accelerators_per_node == 0):
        return False
    if r.compatible and (pool.accelerator is None or pool.accelerator.model not in r.compatible):
        return False
    return (
        r.nodes <= pool.nodes
        and r.accelerators <= r.nodes * pool.accelerators_per_node
        and r.cpu_cores * pool.nodes <= r.nodes * pool.cpu_cores
        and r.mem_gib * pool.nodes <= r.nodes * pool.mem_gib
    )


def test_every_task_has_a_pool_that_can_hold_it_within_its_rtt_and_residency(scenario: Scenario) -> None:
    clusters = [e for e in scenario.events if isinstance(e, ev.ClusterRegistered)]
    rtt = rtt_of(scenario)
    seen: set[tuple[object, ...]] = set()
    for task in tasks(scenario):
        r = task.request
        shape = (task.origin, task.latency_ms, tuple(task.residency), r.accelerators, r.nodes, r.cpu_cores, r.mem_gib)
        if (*shape, tuple(r.compatible)) in seen:
            continue
        seen.add((*shape, tuple(r.compatible)))
        assert any(
            holds(pool, r)
            for c in clusters
            if (task.latency_ms is None or rtt[task.origin, c.node_id] <= task.latency_ms)
            and (not task.residency or c.zone_id in task.residency)
            for pool in c.pools
        ), task


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_that_also_holds_for_seeds_nobody_has_looked_at(seed: int) -> None:
    for name in ("tiny", "islands"):
        test_every_task_has_a_pool_that_can_hold_it_within_its_rtt_and_residency(generate(name, seed=seed))


def test_tasks_are_submitted_within_the_scenario_and_can_end_within_it(scenario: Scenario) -> None:
    for task in tasks(scenario):
        assert scenario.t0 <= task.t < scenario.end - HOUR_MS
        assert task.est_duration_s >= 1
        assert task.t + 1000 * task.est_duration_s + scenario.window_ms <= scenario.end


def test_deadlines_and_earliest_starts_leave_room_for_the_run(scenario: Scenario) -> None:
    dated = [task for task in tasks(scenario) if task.deadline is not None]
    assert dated
    for task in dated:
        assert task.deadline is not None
        begin = task.t if task.earliest_start is None else task.earliest_start
        assert task.t <= begin
        assert begin + 1000 * task.est_duration_s <= task.deadline <= scenario.end
    assert any(task.earliest_start for task in dated)


def test_kinds_come_in_the_shares_of_the_preset(scenario: Scenario) -> None:
    counts = Counter(task.kind for task in tasks(scenario))
    mix = tables.preset(scenario.name).mix
    total = sum(counts.values())
    for kind, share in mix.items():
        assert counts[kind] / total == pytest.approx(share, abs=0.01)


def test_priorities_are_50_35_15_percent_where_the_class_does_not_say(edwc: Scenario) -> None:
    counts = Counter(task.priority for task in tasks(edwc) if task.scenario != "telemedicine")
    total = sum(counts.values())
    assert [counts[p] / total for p in (0, 1, 2)] == pytest.approx([0.50, 0.35, 0.15], abs=0.02)
    assert {task.priority for task in tasks(edwc) if task.scenario == "telemedicine"} == {2}


def test_big_requests_are_gangs_of_whole_nodes(edwc: Scenario) -> None:
    gangs = [task for task in tasks(edwc) if task.gang]
    assert max(task.request.accelerators for task in gangs) == 256
    for task in tasks(edwc):
        assert task.gang == (task.request.nodes > 1)
        assert task.request.accelerators <= 8 * task.request.nodes
        assert task.power_w is None


def test_limits_fit_the_kind_of_work(edwc: Scenario) -> None:
    limits = defaultdict(list)
    for task in tasks(edwc):
        limits[task.scenario].append(np.inf if task.latency_ms is None else task.latency_ms)
    assert np.median(limits["autonomous_driving"]) <= 8
    assert np.median(limits["industrial_internet"]) <= 15
    assert np.median(limits["telemedicine"]) <= 20
    assert min(limits["near-line"]) >= 20
    assert max(limits["near-line"]) <= 60
    assert min(limits["pretraining"]) == np.inf


def test_latency_scale_tightens_only_edge_work() -> None:
    strict = generate("edge-heavy")
    limits = {task.latency_ms for task in tasks(strict) if task.scenario == "autonomous_driving"}
    assert min(limit for limit in limits if limit is not None) == 3.0
    assert {task.latency_ms for task in tasks(strict) if task.scenario == "near-line-large"} <= {30.0, 40.0, 60.0}


def test_some_tasks_wait_when_the_day_begins_and_the_busiest_hour_is_by_day(edwc: Scenario) -> None:
    hours = Counter((task.t - edwc.t0) // HOUR_MS for task in tasks(edwc) if task.t >= edwc.t0 + 60_000)
    stock = sum(task.t < edwc.t0 + 60_000 for task in tasks(edwc))
    assert 300 < stock < 2000
    assert 8 <= hours.most_common(1)[0][0] <= 20
    assert hours[3] < hours[10] / 2


def test_most_work_comes_from_where_people_and_industry_are(edwc: Scenario) -> None:
    origins = Counter(task.origin for task in tasks(edwc))
    assert len(origins) == 31
    assert origins["CN-GD"] > origins["CN-SC"] > origins["CN-GZ"] > origins["CN-XZ"] > 0


def test_a_few_tenants_have_most_of_the_work_and_many_have_little(edwc: Scenario) -> None:
    tenants = Counter(task.tenant for task in tasks(edwc))
    large = sum(count for name, count in tenants.items() if name.startswith("large"))
    assert len(tenants) == 128
    assert large / sum(tenants.values()) == pytest.approx(0.6, abs=0.02)
    assert tenant_name(0) == "large-01"
    assert tenant_name(8) == "small-001"


def test_resident_tasks_name_the_zone_of_their_origin(edwc: Scenario) -> None:
    resident = [task for task in tasks(edwc) if task.residency]
    assert 50 < len(resident) < 1000
    assert all(task.residency == [task.origin] for task in resident)


def test_origin_weights_run_from_people_to_economy() -> None:
    provinces = tuple(tables.places().provinces)
    people, gdp = origin_weights(provinces, 0.0), origin_weights(provinces, 1.0)
    assert people.sum() == pytest.approx(1)
    assert gdp == pytest.approx(np.array([p.gdp_tcny for p in provinces]) / sum(p.gdp_tcny for p in provinces))
    henan = [p.id for p in provinces].index("CN-HA")
    assert people[henan] > gdp[henan]


def test_the_catalogue_holds_each_class_times_list_times_size_in_order() -> None:
    workload = tables.workload()
    shapes = shapes_of(workload, 256)
    expected = [
        (c.name, tuple(models), size) for c in workload.classes for models in c.compatible for size in sizes_of(c, 256)
    ]
    assert [(s.task_class.name, s.compatible, s.amount) for s in shapes] == expected
    assert max(s.accelerators for s in shapes_of(workload, 16)) == 16
    for c in workload.classes:
        assert len(c.p) == len(c.accelerators or c.cores)
        assert sum(c.p) == pytest.approx(1)
        assert c.profile in workload.profiles
