"""The policy ``price``: exact where nothing binds, near a mixed-integer optimum where something does, honest about moves."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from tests.unit.dispatch.test_baselines import hourly_cost, may_run, one_task
from tests.unit.dispatch.views import Mix, random_view, task_kw
from twin.dispatch import Policy, check, dispatch
from twin.dispatch.ascent import Prices
from twin.dispatch.market import Market, market, movers
from twin.dispatch.price import assign, cheapest_fits
from twin.dispatch.problem import problem
from twin.dispatch.room import Room, room_of
from twin.view import Action, Decisions, PriceCarry, Reason, State, View

PRICE = Policy.parse("price")
FREE = Mix(state_gb=0.0, fees=0.0, services=0, caps=0.0, new=20, running=40)


def run(view: View, text: str = "price") -> Decisions:
    return dispatch(view, PriceCarry.empty(), Policy.parse(text), 0)[0]


def boundless(view: View) -> View:
    """The same view with room for everything."""
    room = np.full_like(view.pools.capacity, 1e6)
    tasks = replace(view.tasks, checkpoint_s=np.full(len(view.tasks.ids), np.nan))
    return replace(view, pools=replace(view.pools, capacity=room, free=room.copy()), tasks=tasks)


# ------------------------------------------------------------------------------------------- where nothing binds


def test_with_free_moves_and_no_bound_every_task_sits_at_its_cheapest_pool_after_the_window() -> None:
    moved = 0
    for seed in range(12):
        view = boundless(random_view(seed, FREE))
        t, p = view.tasks, view.pools
        d = run(view)
        decided = dict(zip(d.task.tolist(), d.pool.tolist(), strict=True))
        for i in range(len(t.ids)):
            pools = [k for k in range(len(p.ids)) if may_run(view, i, k)]
            here = int(t.desired[i])
            costs = [hourly_cost(view, i, k) for k in pools]
            cheapest = pools[int(np.argmin(costs))] if pools else -1
            if t.state[i] == State.WAITING:
                want = cheapest if t.earliest_start[i] <= view.effective_at else -1
            elif t.state[i] == State.RUNNING and t.movable[i] and p.holds[here]:
                want = cheapest if pools and min(costs) < hourly_cost(view, i, here) else -1
            else:
                continue  # assigned, moving, stranded and what cannot move
            assert decided.get(i, -1) == want
            moved += want >= 0 and t.state[i] == State.RUNNING
        assert d.objective == d.lower_bound
    assert moved > 50


def test_a_second_window_after_free_moves_moves_nothing() -> None:
    view = boundless(random_view(3, replace(FREE, down=0.0)))
    d = run(view)
    assert (d.action == Action.MOVE).any()
    desired, state = view.tasks.desired.copy(), view.tasks.state.copy()
    desired[d.task] = d.pool
    state[d.task] = State.RUNNING
    there = replace(view, tasks=replace(view.tasks, desired=desired, reported=desired, state=state))
    assert len(run(there).task) == 0


def running_task(**changes: object) -> View:
    """One task that runs at the dearer of two pools: 0.05 + 0.02 less per hour at the other."""
    running = {"state": np.array([State.RUNNING], np.uint8), "desired": np.array([1]), "reported": np.array([1])}
    still = {"data_in_gb": np.array([0.0]), "movable": np.array([True]), "remaining_s": np.array([7200.0])}
    return one_task(**(running | still | {"checkpoint_s": np.array([np.nan])} | changes))


@pytest.mark.parametrize(
    ("text", "remaining_s", "pays_up_to"),
    [
        ("price", 7200.0, 2 * 0.07 / 1.5),  # what is left to run
        ("price", 1e6, 3 * 0.07 / 1.5),  # break-even
        ("price:break_even_h=1,hysteresis=0", 1e6, 0.07),
    ],
)
def test_a_move_is_made_exactly_if_the_saving_pays_it_back(text: str, remaining_s: float, pays_up_to: float) -> None:
    for share, moves in ((0.999, True), (1.001, False)):
        gb = np.array([pays_up_to * share / 0.03])
        view = running_task(state_gb=gb, remaining_s=np.array([remaining_s]))
        assert (run(view, text).action.tolist() == [Action.MOVE]) is moves


def test_input_data_and_lost_work_are_part_of_what_a_move_costs() -> None:
    assert len(run(running_task()).task) == 1
    assert len(run(running_task(data_in_gb=np.array([20.0]))).task) == 0
    assert len(run(running_task(checkpoint_s=np.array([3600.0]))).task) == 0
    d = run(running_task(data_in_gb=np.array([1.0]), checkpoint_s=np.array([10.0]), state_gb=np.array([1.0])))
    assert d.delta_move == pytest.approx([0.01 + 0.03 + 5 / 3600 * 5.64])
    assert d.delta_energy == pytest.approx([-0.05])
    assert d.delta_network == pytest.approx([-0.02])


def test_what_cannot_move_or_is_not_there_yet_stays() -> None:
    assert len(run(running_task(movable=np.array([False]))).task) == 0
    assert len(run(running_task(state=np.array([State.ASSIGNED], np.uint8))).task) == 0
    assert len(run(running_task(barred=np.array([[0, -1]]))).task) == 0


def test_a_carbon_price_turns_the_choice() -> None:
    view = one_task()
    dirty = replace(view, clusters=replace(view.clusters, carbon_g_per_kwh=np.array([900.0, 20.0])))
    assert run(dirty).pool.tolist() == [0]
    assert run(dirty, "price:carbon=1").pool.tolist() == [1]
    # what is unknown counts like the dirtiest that is known
    unknown = replace(view, clusters=replace(view.clusters, carbon_g_per_kwh=np.array([900.0, np.nan])))
    assert run(unknown, "price:carbon=1").pool.tolist() == [0]


# ---------------------------------------------------------------------------------------------- where room is scarce


def test_the_only_cheap_slot_goes_to_the_task_that_loses_most_without_it() -> None:
    # equal requests; the first in order loses 0.05 per hour at the dear pool, the second 0.5
    view = one_task()
    double = {
        name: np.repeat(getattr(view.tasks, name), 2, axis=0)
        for name in view.tasks.__slots__
        if name not in {"ids", "power_w", "submitted_at"}
    }
    tasks = replace(
        view.tasks, ids=["a", "b"], power_w=np.array([1000.0, 10_000.0]), submitted_at=np.array([0, 1]), **double
    )
    room = np.array([[1.0, 8.0, 64.0], [8.0, 64.0, 512.0]])
    view = replace(view, tasks=tasks, pools=replace(view.pools, capacity=room, free=room))
    assert run(view, "cost-greedy").pool.tolist() == [0, 1]
    d = run(view)
    assert d.pool.tolist() == [1, 0]
    assert d.lower_bound <= d.objective


def test_work_that_fits_somewhere_is_never_left_out_to_save_money() -> None:
    left = 0
    for seed in range(15):
        view = random_view(seed, Mix(new=30, running=20, fees=5.0, load=0.6, negative=0.0, services=0))
        t, p, d = view.tasks, view.pools, run(view)
        free, power = p.free.copy(), view.clusters.power_free_kw.copy()
        for i, pool in zip(d.task.tolist(), d.pool.tolist(), strict=True):
            free[pool] -= t.request[i] * t.occupancy[i]
            power[p.cluster[pool]] -= task_kw(view, i, pool) * t.occupancy[i]
        for i in np.flatnonzero((d.unplaced > 0) & (d.unplaced != Reason.NOT_YET)).tolist():
            left += 1
            for pool in range(len(p.ids)):
                fits = (t.request[i] * t.occupancy[i] <= free[pool]).all() and (p.free[pool] >= 0).all()
                kw = task_kw(view, i, pool) * t.occupancy[i]
                assert not (fits and kw <= power[p.cluster[pool]] and may_run(view, i, pool))
    assert left > 20


def scarce(seed: int, mix: Mix) -> tuple[View, Market, Room] | None:
    """A market that does not fit at its cheapest, None where it does."""
    view = random_view(seed, mix)
    none = np.zeros(len(view.tasks.ids))
    prob = problem(view, 0.0, np.ones(len(view.pools.ids), np.bool_))
    nobody = np.zeros(0, np.int64)
    m, room = market(view, prob, movers(view, 0.0, 3.0, 0.5, none), nobody), room_of(view)
    return None if cheapest_fits(m, room) else (view, m, room)


def mixed_integer_optimum(m: Market, room: Room) -> float:
    """The least objective of ``m`` in ``room``, by HiGHS."""
    cost = m.cost[m.row]
    item, pool = np.nonzero(np.isfinite(cost) & (np.array(room.acc) >= 0))
    n, pools = len(m.task), cost.shape[1]
    gain = (cost[item, pool] - m.out[item]) * m.occupancy[item]
    cluster = np.array(room.cluster)
    each = np.arange(len(item))
    cells = [(item, each, np.ones(len(item)))]
    cells += [(n + r * pools + pool, each, m.use[item, r]) for r in range(3)]
    cells += [(n + 3 * pools + cluster[pool], each, m.kw[m.row[item], pool] * m.occupancy[item])]
    rows, columns, values = (np.concatenate(x) for x in zip(*cells, strict=True))
    free, power = np.maximum(room.free(), 0.0), np.maximum(room.power_kw(), 0.0)
    upper = np.concatenate([np.ones(n), *free.T, power])
    matrix = coo_matrix((values, (rows, columns)), shape=(len(upper), len(item))).tocsr()
    got = milp(
        gain,
        constraints=LinearConstraint(matrix, -np.inf, upper),
        integrality=np.ones(len(item)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 1e-3},
    )
    return float((m.out * m.occupancy).sum() + got.mip_dual_bound)


@pytest.mark.parametrize(
    ("mix", "seeds", "median", "worst_tenth"),
    [
        (Mix(clusters=3, new=12, running=20, load=0.9, services=0), range(40), 0.005, 0.06),
        (Mix(new=30, running=60, load=0.5, services=0, kinds=12, state_gb=2.0), range(14), 0.03, 0.12),
    ],
)
def test_the_bound_is_below_a_mixed_integer_optimum_and_the_plan_near_it(
    mix: Mix, seeds: range, median: float, worst_tenth: float
) -> None:
    gaps, greedy_gaps = [], []
    for seed in seeds:
        case = scarce(seed, mix)
        if case is None:
            continue
        view, m, room = case
        best = mixed_integer_optimum(m, room)
        got = assign(
            m, room.copy(), Prices.of(PriceCarry.empty(), len(view.pools.ids), len(view.clusters.ids)), PRICE, 0
        )
        objective, bound = m.objective(got.seats.array()), got.bound(m, room)
        scale = abs(best) + 1e-9
        assert bound <= best + 1e-6 * scale
        assert objective >= best - 1e-4 * scale
        gaps.append((objective - best) / scale)
        greedy = dispatch(view, PriceCarry.empty(), Policy.parse("cost-greedy"), 0)[0]
        pool = np.full(len(m.task), -1)
        pool[[_at(m, i) for i in greedy.task]] = greedy.pool
        greedy_gaps.append((m.objective(pool) - best) / scale)
    assert len(gaps) > len(seeds) // 3
    assert np.median(gaps) <= median
    assert np.quantile(gaps, 0.9) <= worst_tenth
    assert np.mean(gaps) < 0.5 * np.mean(greedy_gaps)


def _at(m: Market, task: int) -> int:
    return int(np.flatnonzero(m.task == task)[0])


def test_the_plan_is_never_worse_than_cost_greedy_without_moves() -> None:
    cases = 0
    for seed in range(40):
        case = scarce(seed, Mix(new=40, running=30, load=0.8, services=0))
        if case is None:
            continue
        view, m, room = case
        cases += 1
        start = Prices.of(PriceCarry.empty(), len(view.pools.ids), len(view.clusters.ids))
        got = assign(m, room, start, Policy.parse("price:iterations=0"), 0).seats.array()
        greedy = run(view, "cost-greedy")
        pool = np.full(len(m.task), -1)
        pool[[_at(m, i) for i in greedy.task]] = greedy.pool
        assert m.objective(got) <= m.objective(pool) + 1e-9
    assert cases > 20


def test_prices_are_carried_and_fade_where_nothing_is_scarce() -> None:
    case = scarce(2, Mix(new=60, running=30, load=0.8, services=0))
    assert case is not None
    view, _, _ = case
    d, carry = dispatch(view, PriceCarry.empty(), PRICE, 0)
    assert carry.pool_prices.shape == (len(view.pools.ids), 3)
    assert carry.power_prices.shape == (len(view.clusters.ids),)
    assert carry.pool_prices.min() >= 0
    assert carry.pool_prices.max() > 0
    assert d.lower_bound < d.objective
    _, faded = dispatch(boundless(random_view(2, FREE)), carry, PRICE, 0)
    assert not faded.pool_prices.any()


# ------------------------------------------------------------------------------------------------------ services


def crowded(**changes: object) -> View:
    """One pool that alone may serve a service, full of a running task that could run at the other one."""
    view = running_task(state_gb=np.array([1.0]), remaining_s=np.array([1e5]))
    tasks = replace(view.tasks, desired=np.array([0]), reported=np.array([0]), **changes)  # type: ignore[arg-type]
    free = np.array([[0.0, 64.0, 512.0], [8.0, 64.0, 512.0]])
    services = replace(
        view.services,
        keys=("s@n0",),
        origin=np.array([0]),
        model=np.array([0]),
        tokens_per_s=np.array([100.0]),
        latency_ms=np.array([6.0]),
        split=np.zeros((1, 2)),
    )
    pools = replace(view.pools, free=free, tokens_per_s=np.array([[100.0, 0.0], [100.0, 0.0]]))
    return replace(view, tasks=tasks, pools=pools, services=services)


def test_a_running_task_gives_way_to_a_service_that_has_no_room() -> None:
    d = run(crowded())
    assert d.unserved == pytest.approx([100.0])
    assert (d.action.tolist(), d.pool.tolist()) == ([Action.MOVE], [1])
    assert check(crowded(), d) == []


def test_it_stays_where_moving_costs_more_than_the_service_loses_or_is_not_possible() -> None:
    assert len(run(crowded(state_gb=np.array([1000.0]))).task) == 0
    assert len(run(crowded(movable=np.array([False]))).task) == 0
    assert len(run(crowded(barred=np.array([[1, -1]]))).task) == 0


def test_what_leaves_already_counts_before_anybody_else_is_asked_to_go() -> None:
    view = crowded()
    t = view.tasks
    two = {n: np.repeat(getattr(t, n), 2, axis=0) for n in t.__slots__ if n not in {"ids", "state", "desired"}}
    moving = np.array([State.MOVING, State.RUNNING], np.uint8)
    tasks = replace(t, ids=["a", "b"], state=moving, desired=np.array([1, 0]), **two)
    assert len(run(replace(view, tasks=tasks), "price:headroom=0").task) == 0


def test_new_tasks_leave_room_for_a_service_to_grow_but_rather_use_it_than_wait() -> None:
    view = one_task(data_in_gb=np.array([0.0]), request=np.array([[6.0, 8.0, 64.0]]))
    services = replace(
        view.services,
        keys=("s@n0",),
        origin=np.array([0]),
        model=np.array([0]),
        tokens_per_s=np.array([200.0]),
        latency_ms=np.array([6.0]),
        split=np.zeros((1, 2)),
    )
    pools = replace(view.pools, tokens_per_s=np.array([[100.0, 0.0], [100.0, 0.0]]))
    view = replace(view, services=services, pools=pools)
    small = np.array([[8.5, 64.0, 512.0], [8.0, 64.0, 512.0]])
    view = replace(view, pools=replace(view.pools, free=small, capacity=small))
    assert run(view, "price:headroom=0").pool.tolist() == [0]
    assert run(view, "price:headroom=0.5").pool.tolist() == [1]
    only = replace(view, pools=replace(view.pools, open=np.array([True, False])))
    d = run(only, "price:headroom=0.5")
    assert d.pool.tolist() == [0]
    assert d.unserved == pytest.approx([0.0])


# ------------------------------------------------------------------------------------------------ large and overdue


def blocked(waited_h: float, **changes: object) -> View:
    """Pool 0 alone may run the waiting task "big" (6 of 8 accelerators), but "small" (4) runs there, and could at pool 1.

    A task "late" (2) came after "big" and would fit beside "small".
    """
    view = one_task()
    t, now = view.tasks, view.effective_at
    three = {
        name: np.repeat(getattr(t, name), 3, axis=0) for name in t.__slots__ if name not in {"ids", "request", "shape"}
    }
    request = np.array([[6.0, 8.0, 64.0], [4.0, 8.0, 64.0], [2.0, 8.0, 64.0]])
    tasks = replace(
        t,
        ids=["big", "small", "late"],
        request=request,
        shape=np.array([0, 1, 0]),
        **three
        | {
            "state": np.array([State.WAITING, State.RUNNING, State.WAITING], np.uint8),
            "desired": np.array([-1, 0, -1]),
            "reported": np.array([-1, 0, -1]),
            "submitted_at": np.array([now - int(waited_h * 3_600_000), 0, now]),
            "remaining_s": np.full(3, 1e5),
            "movable": np.full(3, True),
            "data_in_gb": np.zeros(3),
            "checkpoint_s": np.full(3, np.nan),
        }
        | changes,  # type: ignore[arg-type]
    )
    free = np.array([[4.0, 56.0, 448.0], [8.0, 64.0, 512.0]])
    return replace(
        view,
        tasks=tasks,
        allowed=np.array([[True, False], [True, True]]),
        pools=replace(view.pools, free=free),
    )


def test_a_task_that_has_waited_too_long_gets_room_kept_and_made() -> None:
    d = run(blocked(2.1))
    assert (d.task.tolist(), d.action.tolist(), d.pool.tolist()) == ([1], [Action.MOVE], [1])
    assert d.unplaced.tolist() == [Reason.CAPACITY, Reason.NONE, Reason.CAPACITY]
    assert check(blocked(2.1), d) == []


def test_before_that_what_fits_goes_first_and_nobody_has_to_go() -> None:
    d = run(blocked(1.9))
    assert (d.task.tolist(), d.action.tolist(), d.pool.tolist()) == ([2], [Action.PLACE], [0])
    assert (run(blocked(2.1), "price:patience_h=3").task == d.task).all()


def test_room_is_kept_even_if_nobody_can_go() -> None:
    d = run(blocked(2.1, movable=np.full(3, False)))
    assert len(d.task) == 0
    assert d.unplaced.tolist() == [Reason.CAPACITY, Reason.NONE, Reason.CAPACITY]


def test_once_there_is_room_the_overdue_task_takes_it() -> None:
    view = blocked(2.1, priority=np.array([0, 0, 2]))
    room = np.array([[6.0, 56.0, 448.0], [8.0, 64.0, 512.0]])
    d = run(replace(view, pools=replace(view.pools, free=room)))
    assert 0 in d.task
    assert 2 not in d.task
