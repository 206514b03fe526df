"""The checker must find each fault that is planted and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.dispatch.views import Mix, random_view
from twin.dispatch import Policy, check, dispatch, violations
from twin.view import Action, Decisions, PriceCarry, State, View

CALM = Mix(closed=0.0, down=0.0, caps=1.0, unknown_rtt=0.0, barred=0.0, load=0.3, tight=0.0, short=0.0)


def decided(view: View) -> Decisions:
    return dispatch(view, PriceCarry.empty(), Policy.parse("first-fit"), 0)[0]


def fresh(seed: int = 3) -> tuple[View, Decisions]:
    view = random_view(seed, CALM)
    d = decided(view)
    assert len(d.task) > 2
    assert check(view, d) == []
    return view, d


def rules(view: View, d: Decisions) -> set[str]:
    return {v.rule for v in violations(view, d)}


def with_column(d: Decisions, name: str, value: float, at: int = 0) -> Decisions:
    column = getattr(d, name).copy()
    column[at] = value
    return replace(d, **{name: column})


def test_a_violation_reads_as_a_line_of_text() -> None:
    view, d = fresh()
    assert check(view, with_column(d, "pool", 10_000))[0] == f"unknown_pool {view.tasks.ids[d.task[0]]}: no pool 10000"


def test_two_decisions_about_one_task_are_found() -> None:
    view, d = fresh()
    assert "two_decisions" in rules(view, with_column(d, "task", d.task[1]))


@pytest.mark.parametrize(("column", "value"), [("task", 10_000), ("task", -1), ("pool", 10_000), ("pool", -1)])
def test_unknown_indexes_are_found(column: str, value: int) -> None:
    view, d = fresh()
    assert f"unknown_{column}" in rules(view, with_column(d, column, value))


def test_an_action_that_is_none_is_found() -> None:
    view, d = fresh()
    for action in (Action.KEEP, Action.SPLIT, 77):
        assert rules(view, with_column(d, "action", action)) == {"unknown_action"}


@pytest.mark.parametrize("state", [s for s in State if s is not State.WAITING])
def test_placing_a_task_that_does_not_wait_is_found(state: State) -> None:
    view, d = fresh()
    states = view.tasks.state.copy()
    states[d.task[0]] = state
    assert rules(replace(view, tasks=replace(view.tasks, state=states)), d) == {"wrong_state"}


def test_a_start_before_its_time_is_found() -> None:
    view, d = fresh()
    late = view.tasks.earliest_start.copy()
    late[d.task[0]] = view.effective_at + 1
    assert rules(replace(view, tasks=replace(view.tasks, earliest_start=late)), d) == {"not_yet"}


def test_a_move_of_what_cannot_move_or_stays_where_it_is_is_found() -> None:
    view, d = fresh()
    t = view.tasks
    i = int(d.task[0])
    state, desired, movable = t.state.copy(), t.desired.copy(), t.movable.copy()
    state[i], desired[i], movable[i] = State.RUNNING, d.pool[0], False
    moved = with_column(d, "action", Action.MOVE)
    broken = replace(view, tasks=replace(t, state=state, desired=desired, movable=movable))
    assert rules(broken, moved) == {"not_movable", "same_place"}


def test_closed_pools_bars_and_incompatible_pools_are_found() -> None:
    view, d = fresh()
    i, pool = int(d.task[0]), int(d.pool[0])
    shut = view.pools.open.copy()
    shut[pool] = False
    assert rules(replace(view, pools=replace(view.pools, open=shut)), d) == {"closed"}
    barred = view.tasks.barred.copy()
    barred[i, 1] = pool
    assert rules(replace(view, tasks=replace(view.tasks, barred=barred)), d) == {"barred"}
    allowed = view.allowed.copy()
    allowed[view.tasks.shape[i], pool] = False
    assert rules(replace(view, allowed=allowed), d) == {"compatibility"}


def test_a_broken_rtt_limit_is_found_and_an_unknown_rtt_breaks_any() -> None:
    view, d = fresh()
    i, pool = int(d.task[0]), int(d.pool[0])
    limit = view.tasks.latency_ms.copy()
    limit[i] = 10.0
    node = view.clusters.node[view.pools.cluster[pool]]
    for rtt_ms, bad in ((9.0, False), (10.0, False), (10.5, True), (np.nan, True)):
        rtt = view.network.rtt_ms.copy()
        rtt[view.tasks.origin[i], node] = rtt_ms
        broken = replace(view, tasks=replace(view.tasks, latency_ms=limit), network=replace(view.network, rtt_ms=rtt))
        assert ("latency" in rules(broken, d)) is bad


@pytest.mark.parametrize("resource", [0, 1, 2])
def test_taking_more_than_is_free_is_found_per_resource(resource: int) -> None:
    view, d = fresh()
    p = view.pools
    taken = np.zeros_like(p.free)
    np.add.at(taken, d.pool, view.tasks.request[d.task] * view.tasks.occupancy[d.task, None])
    back = np.zeros(len(p.ids))
    for k in range(len(view.services.keys)):
        speed = p.tokens_per_s[:, view.services.model[k]]
        back += np.divide(view.services.split[k], speed, out=np.zeros(len(p.ids)), where=speed > 0)
        taken[:, 0] += np.divide(d.split[k], speed, out=np.zeros(len(p.ids)), where=speed > 0)
    pool = int(taken[:, resource].argmax())
    for more, bad in ((0.0, False), (-0.001, True)):
        free = p.free.copy()
        free[pool, resource] = taken[pool, resource] + more - (back[pool] if resource == 0 else 0.0)
        assert rules(replace(view, pools=replace(p, free=free)), d) == ({"capacity"} if bad else set())


def test_a_request_beyond_what_works_of_a_pool_is_found_even_if_it_is_short() -> None:
    view, d = fresh()
    capacity = view.pools.capacity.copy()
    capacity[d.pool[0], 1] = view.tasks.request[d.task[0], 1] - 1
    assert "too_big" in rules(replace(view, pools=replace(view.pools, capacity=capacity)), d)


def test_breaking_a_power_cap_is_found() -> None:
    view, d = fresh()
    power = view.clusters.power_free_kw.copy()
    power[view.pools.cluster[d.pool[0]]] = -1e9
    assert rules(replace(view, clusters=replace(view.clusters, power_free_kw=power)), d) == {"power_cap"}


def test_faults_in_the_split_of_services_are_found() -> None:
    view, d = fresh()
    k, pool = (int(x) for x in np.argwhere(d.split > 0)[0])

    def edited(value: float) -> Decisions:
        split = d.split.copy()
        split[k, pool] = value
        return replace(d, split=split)

    assert "negative_split" in rules(view, edited(-1.0))
    assert "negative_split" in rules(view, edited(np.nan))
    assert "unserved" in rules(view, edited(d.split[k, pool] / 2))
    assert "oversupply" in rules(view, edited(d.split[k, pool] * 2))
    assert "shape" in rules(view, replace(d, split=d.split[:, 1:]))
    speed = view.pools.tokens_per_s.copy()
    speed[pool] = 0.0
    assert "compatibility" in rules(replace(view, pools=replace(view.pools, tokens_per_s=speed)), d)
    shut = view.pools.open.copy()
    shut[pool] = False
    assert "closed" in rules(replace(view, pools=replace(view.pools, open=shut)), d)
    limits = np.zeros(len(view.services.keys))
    rtt = view.network.rtt_ms + 1.0
    near = replace(view, services=replace(view.services, latency_ms=limits), network=replace(view.network, rtt_ms=rtt))
    assert "latency" in rules(near, d)
