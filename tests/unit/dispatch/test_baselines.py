"""Each vectorised step against a plain loop that a reader can follow."""

from dataclasses import replace

import numpy as np
import pytest

from tests.unit.dispatch.views import FAR, Mix, random_view, task_kw
from twin.dispatch import Policy, check, dispatch
from twin.dispatch.costs import classes, costs, equal_rows, start_hours
from twin.view import Action, Decisions, PriceCarry, Reason, State, View

SEEDS = range(12)


def run(view: View, text: str, carry: PriceCarry | None = None) -> Decisions:
    return dispatch(view, carry or PriceCarry.empty(), Policy.parse(text), 0)[0]


def hourly_cost(view: View, i: int, pool: int, carbon: float = 0.0) -> float:
    """Energy, carbon, network and spread start of task ``i`` at ``pool``, by hand."""
    c, t = view.clusters, view.tasks
    k = int(view.pools.cluster[pool])
    grams = c.carbon_g_per_kwh[k]
    if np.isnan(grams):
        known = [g for g in c.carbon_g_per_kwh if not np.isnan(g)]
        grams = max(known) if known else 0.0
    fee = view.network.fee_per_gb[t.origin[i], c.node[k]]
    per_kwh = c.pue[k] * (c.price_per_mwh[k] / 1000 + carbon * grams / 1000)
    hours = min(max(t.remaining_s[i], 1.0) / 3600, 24.0)
    return float(task_kw(view, i, pool) * per_kwh + t.data_rate_gbph[i] * fee + t.data_in_gb[i] * fee / hours)


def may_run(view: View, i: int, pool: int) -> bool:
    """The hard constraints of task ``i`` at ``pool``, capacity in use aside, by hand."""
    t, p, c = view.tasks, view.pools, view.clusters
    k = int(p.cluster[pool])
    rtt = view.network.rtt_ms[t.origin[i], c.node[k]]
    if not np.isinf(t.latency_ms[i]) and not rtt <= t.latency_ms[i]:
        return False
    if not p.open[pool] or not view.allowed[t.shape[i], pool] or pool in t.barred[i]:
        return False
    if any(t.request[i, r] > p.capacity[pool, r] for r in range(3)):
        return False
    return bool((task_kw(view, i, pool)) <= c.power_cap_kw[k] / c.pue[k] - c.idle_kw[k] + 1e-9)


@pytest.mark.parametrize("carbon", [0.0, 0.3])
def test_costs_and_permissions_equal_those_of_a_plain_loop(carbon: float) -> None:
    for seed in SEEDS:
        view = random_view(seed)
        tasks = np.arange(len(view.tasks.ids))
        got = costs(view, tasks, carbon)
        for i in tasks.tolist():
            for p in range(len(view.pools.ids)):
                assert got.cost[i, p] == pytest.approx(hourly_cost(view, i, p, carbon), rel=1e-12, abs=1e-12)
                assert got.ok[i, p] == may_run(view, i, p)


def test_classes_join_exactly_the_tasks_of_equal_costs() -> None:
    for seed in SEEDS:
        view = random_view(seed, Mix(new=150, running=60, kinds=4, origins=2))
        tasks = np.arange(len(view.tasks.ids))
        hours = start_hours(view, tasks)
        member, row = classes(view, tasks, hours)
        assert len(member) < len(tasks)
        assert (member == [np.flatnonzero(row == g)[0] for g in range(len(member))]).all()
        assert (np.diff(member) > 0).all()
        by_class, by_task = costs(view, tasks[member], 0.1, hours[member]), costs(view, tasks, 0.1, hours)
        for name in ("kw", "energy", "network", "start", "cost", "rtt_ms", "near", "allowed", "barred", "within", "ok"):
            assert np.array_equal(getattr(by_class, name)[row], getattr(by_task, name), equal_nan=name == "rtt_ms")


def test_rows_whose_hashes_collide_are_still_told_apart() -> None:
    # with two columns, the second can undo the first: (h(a) ^ b) equal for different pairs
    mask = (1 << 64) - 1
    first = np.arange(40, dtype=np.uint64)

    def mixed(x: int) -> int:
        x = (x * 0x9E3779B97F4A7C15) & mask
        return x ^ (x >> 29)

    second = np.array([mixed(int(x)) ^ (5 if k < 39 else 6) for k, x in enumerate(first)], np.uint64)
    member, row = equal_rows([first, second])
    assert member.tolist() == list(range(40))
    assert row.tolist() == list(range(40))


def in_order(view: View, tasks: list[int]) -> list[int]:
    t = view.tasks
    return sorted(tasks, key=lambda i: (-int(t.priority[i]), int(t.submitted_at[i]), t.ids[i]))


def greedy_by_hand(view: View, text: str) -> dict[int, int]:
    """Place stranded work, then new work in order, each at the pool of lowest score that has room."""
    t, p, c = view.tasks, view.pools, view.clusters
    new = [i for i in range(len(t.ids)) if t.state[i] == State.WAITING and t.earliest_start[i] <= view.effective_at]
    out = [
        i
        for i in range(len(t.ids))
        if t.desired[i] >= 0
        and not p.holds[t.desired[i]]
        and (t.state[i] == State.ASSIGNED or (t.state[i] in (State.RUNNING, State.MOVING) and t.movable[i]))
    ]
    free, power, placed = p.free.copy(), c.power_free_kw.copy(), {}
    for i in (in_order(view, out) if text != "stay" else []) + in_order(view, new):
        scores = []
        for pool in range(len(p.ids)):
            k = p.cluster[pool]
            use, kw = t.request[i] * t.occupancy[i], task_kw(view, i, pool) * t.occupancy[i]
            fits = (use <= free[pool]).all() and (free[pool] >= 0).all() and kw <= power[k]
            if fits and may_run(view, i, pool):
                left = sum((free[pool, r] - use[r]) / p.capacity[pool, r] for r in range(3) if p.capacity[pool, r] > 0)
                score = {
                    "first-fit": 0.0,
                    "stay": hourly_cost(view, i, pool),
                    "cost-greedy": hourly_cost(view, i, pool),
                    "price-greedy": c.price_per_mwh[k],
                    "carbon-greedy": 1e99 if np.isnan(c.carbon_g_per_kwh[k]) else c.carbon_g_per_kwh[k],
                    "latency-first": np.nan_to_num(view.network.rtt_ms[t.origin[i], c.node[k]], nan=1e99),
                    "best-fit": round(left, 9),
                    "pinned:z1": 0.0 if c.zone[k] == "z1" else np.inf,
                }[text]
                scores.append((score, pool))
        if scores and min(scores)[0] < np.inf:
            placed[i] = pool = min(scores)[1]
            free[pool] -= t.request[i] * t.occupancy[i]
            power[p.cluster[pool]] -= task_kw(view, i, pool) * t.occupancy[i]
    return placed


@pytest.mark.parametrize(
    "text",
    ["first-fit", "best-fit", "latency-first", "price-greedy", "carbon-greedy", "cost-greedy", "stay", "pinned:z1"],
)
def test_a_greedy_policy_places_as_a_plain_loop_does(text: str) -> None:
    decided = 0
    for seed in SEEDS:
        view = random_view(seed, Mix(new=60, running=40, services=0, load=0.9))
        d = run(view, text)
        assert dict(zip(d.task.tolist(), d.pool.tolist(), strict=True)) == greedy_by_hand(view, text)
        decided += len(d.task)
    assert decided > 30


def test_round_robin_takes_the_pools_in_turns_over_windows() -> None:
    mix = Mix(new=5, running=0, assigned=0, moving=0, services=0, closed=0, down=0, caps=0, tight=0, barred=0, short=0)
    view = random_view(1, mix)
    n = len(view.pools.ids)
    room = np.full((n, 3), 1e6)
    view = replace(view, allowed=np.ones_like(view.allowed), pools=replace(view.pools, capacity=room, free=room))
    view = replace(view, tasks=replace(view.tasks, earliest_start=np.zeros(5, np.int64)))
    d, carry = dispatch(view, PriceCarry.empty(), Policy.parse("round-robin"), 0)
    order = in_order(view, list(range(5)))
    assert d.pool[order].tolist() == [0, 1, 2, 3, 4]
    d, _ = dispatch(view, carry, Policy.parse("round-robin"), 0)
    assert d.pool[order].tolist() == [5, 6, 7, 0, 1]


def test_nothing_that_runs_or_is_assigned_moves_while_its_pool_holds() -> None:
    for seed in SEEDS:
        view = random_view(seed, Mix(down=0.0))
        for text in ("first-fit", "round-robin", "best-fit", "cost-greedy", "stay"):
            assert (run(view, text).action == Action.PLACE).all()


def test_a_place_that_is_not_there_leaves_everything_waiting_by_policy() -> None:
    view = random_view(2, Mix(tight=0.0, closed=0.0, down=0.0, barred=0.0))
    d = run(view, "pinned:nowhere")
    assert len(d.task) == 0
    assert Reason.POLICY in d.unplaced
    assert d.split.sum() == 0


def one_task(**changes: object) -> View:
    """One waiting task that two pools could take; the first is the cheaper one. Changes go to the tasks."""
    mix = Mix(clusters=2, pools_each=1, new=1, running=0, assigned=0, moving=0, services=0, origins=1, barred=0, down=0)
    view = random_view(0, mix)
    room = np.array([[8.0, 64.0, 512.0]] * 2)
    view = replace(
        view,
        allowed=np.ones_like(view.allowed),
        pools=replace(view.pools, capacity=room, free=room, open=np.array([True, True])),
        clusters=replace(
            view.clusters,
            node=np.array([1, 2]),
            pue=np.array([1.0, 1.0]),
            price_per_mwh=np.array([50.0, 100.0]),
            carbon_g_per_kwh=np.array([100.0, np.nan]),
            power_cap_kw=np.array([np.inf, np.inf]),
            power_free_kw=np.array([np.inf, np.inf]),
        ),
        network=replace(
            view.network,
            rtt_ms=np.array([[0.0, 5.0, 9.0], [5.0, 0.0, 4.0], [9.0, 4.0, 0.0]]),
            fee_per_gb=np.array([[0.0, 0.01, 0.02], [0.01, 0.0, 0.03], [0.02, 0.03, 0.0]]),
        ),
        tasks=replace(
            view.tasks,
            request=np.array([[1.0, 8.0, 64.0]]),
            occupancy=np.array([1.0]),
            power_w=np.array([1000.0]),
            latency_ms=np.array([20.0]),
            earliest_start=np.array([0]),
            deadline=np.array([FAR]),
            remaining_s=np.array([7200.0]),
            data_in_gb=np.array([10.0]),
            data_rate_gbph=np.array([2.0]),
        ),
    )
    return replace(view, tasks=replace(view.tasks, **changes))  # type: ignore[arg-type]


def test_a_placement_says_what_it_costs_and_who_came_second() -> None:
    d = run(one_task(), "cost-greedy")
    assert d.pool.tolist() == [0]
    assert d.delta_energy.tolist() == [0.05]
    assert d.delta_network.tolist() == [0.02]
    assert d.delta_move.tolist() == [0.1]
    assert d.delta_carbon_g.tolist() == [100.0]
    assert d.delta_rtt_ms.tolist() == [5.0]
    assert d.runner_up.tolist() == [1]
    # 0.1 + 2 x 0.02 + 10 x 0.02 / 2 h against 0.05 + 2 x 0.01 + 10 x 0.01 / 2 h
    assert d.runner_up_more == pytest.approx([0.24 - 0.12])
    assert d.binding.tolist() == [Reason.NONE]
    assert d.unplaced.tolist() == [Reason.NONE]


def test_emissions_are_unknown_where_the_intensity_is() -> None:
    d = run(one_task(), "pinned:c1")
    assert np.isnan(d.delta_carbon_g).all()
    assert d.binding.tolist() == [Reason.POLICY]


def test_a_forced_move_says_what_changes_and_what_it_costs() -> None:
    running = {"state": np.array([State.RUNNING], np.uint8), "desired": np.array([0]), "reported": np.array([0])}
    state = {"state_gb": np.array([100.0]), "checkpoint_s": np.array([3600.0]), "movable": np.array([True])}
    view = one_task(**running, **state)
    view = replace(view, pools=replace(view.pools, holds=np.array([False, True]), open=np.array([False, True])))
    d = run(view, "cost-greedy")
    assert (d.action.tolist(), d.pool.tolist()) == ([Action.MOVE], [1])
    assert d.delta_energy == pytest.approx([0.05])
    assert d.delta_network == pytest.approx([0.02])
    assert d.delta_rtt_ms.tolist() == [4.0]
    assert d.delta_move == pytest.approx([100 * 0.03 + 0.5 * (1 * 5.0 + 8 * 0.08) + 10 * 0.02])
    assert d.runner_up.tolist() == [-1]
    assert len(run(view, "stay").task) == 0
    still = replace(view, tasks=replace(view.tasks, movable=np.array([False])))
    assert len(run(still, "cost-greedy").task) == 0


def narrowed(view: View, **changes: object) -> View:
    """Change columns of the pools."""
    return replace(view, pools=replace(view.pools, **changes))  # type: ignore[arg-type]


def test_the_reason_names_the_constraint_that_took_the_last_pool() -> None:
    view = one_task()
    tight = np.array([[8.0, 64.0, 512.0], [0.5, 64.0, 512.0]])
    capped = replace(view.clusters, power_free_kw=np.array([0.5, 0.5]), power_cap_kw=np.array([9.0, 9.0]))
    cases = {
        Reason.COMPATIBILITY: replace(view, allowed=np.zeros_like(view.allowed)),
        Reason.LATENCY: one_task(latency_ms=np.array([4.0])),
        Reason.CLUSTER_STATE: narrowed(view, open=np.array([False, False])),
        Reason.BARRED: one_task(barred=np.array([[0, 1]])),
        Reason.CAPACITY: narrowed(view, free=tight * [[0.1], [1.0]]),
        Reason.POWER_CAP: replace(view, clusters=capped),
        Reason.NOT_YET: one_task(earliest_start=np.array([view.effective_at + 1])),
    }
    for reason, case in cases.items():
        d = run(case, "cost-greedy")
        assert len(d.task) == 0
        assert Reason(int(d.unplaced[0])) is reason


def test_binding_names_what_kept_a_task_from_its_cheapest_pool() -> None:
    view = one_task()
    capped = replace(view.clusters, power_free_kw=np.array([0.5, 9.0]), power_cap_kw=np.array([9.0, 99.0]))
    far = replace(view.network, rtt_ms=view.network.rtt_ms + np.array([[0.0, 50.0, 0.0]] * 3))
    cases = {
        Reason.LATENCY: replace(view, network=far),
        Reason.CLUSTER_STATE: narrowed(view, open=np.array([False, True])),
        Reason.BARRED: one_task(barred=np.array([[0, -1]])),
        Reason.CAPACITY: narrowed(view, free=np.array([[0.5, 64.0, 512.0], [8.0, 64.0, 512.0]])),
        Reason.POWER_CAP: replace(view, clusters=capped),
    }
    for reason, case in cases.items():
        d = run(case, "cost-greedy")
        assert d.pool.tolist() == [1]
        assert Reason(int(d.binding[0])) is reason


def test_an_overcommitted_pool_takes_nothing() -> None:
    view = one_task(request=np.array([[0.0, 8.0, 64.0]]))
    d = run(narrowed(view, free=np.array([[-1.0, 64.0, 512.0], [8.0, 64.0, 512.0]])), "cost-greedy")
    assert d.pool.tolist() == [1]


def test_short_tasks_share_a_slot_within_a_window() -> None:
    view = random_view(5, Mix(clusters=1, pools_each=1, new=9, running=0, assigned=0, moving=0, services=0, kinds=1))
    n = 9
    request = np.repeat([[1.0, 1.0, 1.0]], n, axis=0)
    view = narrowed(view, capacity=np.ones((1, 3)), free=np.ones((1, 3)), open=np.array([True]), holds=np.array([True]))
    tasks = replace(
        view.tasks,
        request=request,
        occupancy=np.full(n, 0.25),
        latency_ms=np.full(n, np.inf),
        earliest_start=np.zeros(n, np.int64),
        barred=np.full((n, 2), -1),
    )
    cap = replace(view.clusters, power_cap_kw=np.full(1, np.inf), power_free_kw=np.full(1, np.inf))
    view = replace(view, tasks=tasks, clusters=cap, allowed=np.ones((1, 1), np.bool_))
    d = run(view, "first-fit")
    assert len(d.task) == 4
    assert check(view, d) == []
    assert (d.unplaced == Reason.CAPACITY).sum() == 5
