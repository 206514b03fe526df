"""The parts of ``price`` one by one, against loops and against what they promise."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.dispatch.test_price import scarce
from tests.unit.dispatch.views import Mix
from twin.dispatch.ascent import Dual, Prices, _cooling, _root, kernel, lower_bound
from twin.dispatch.ejection import eject
from twin.dispatch.market import Market
from twin.dispatch.price import in_order
from twin.dispatch.repack import repack
from twin.dispatch.room import Room
from twin.dispatch.rounding import Seats, accept, fill_up, improve, planned

MIX = Mix(new=40, running=30, load=0.7, services=0)


def cases() -> list[tuple[Market, Room]]:
    found = [scarce(seed, MIX) for seed in range(12)]
    return [(case[1], case[2]) for case in found if case is not None]


def some_prices(m: Market, room: Room, seed: int = 0) -> Prices:
    r = np.random.default_rng(seed)
    return Prices(r.uniform(0, 0.05, (len(room.acc), 3)), r.uniform(0, 0.05, len(room.power)))


@given(st.lists(st.floats(-1e6, 0), min_size=1, max_size=50))
def test_the_kernel_is_positive_at_most_one_and_grows(x: list[float]) -> None:
    y = kernel(np.sort(np.array(x)))
    assert (y > 0).all()
    assert (y <= 1).all()
    assert (np.diff(y) >= 0).all()


def test_the_kernel_is_one_at_zero_and_close_to_the_exponential_near_it() -> None:
    assert kernel(np.zeros(1)).tolist() == [1.0]
    x = -np.linspace(0, 1, 11)
    assert kernel(x) == pytest.approx(np.exp(x), rel=0.02)


@given(st.floats(1e-9, 1.0), st.integers(1, 200))
def test_a_root_raised_again_gives_the_number(x: float, n: int) -> None:
    assert _root(np.array([x]), n)[0] ** n == pytest.approx(x, rel=1e-6)


def test_cooling_falls_from_hot_to_cold_and_stays_there() -> None:
    hot, cold = np.array([8.0, 1.0]), np.array([0.5, 1.0])
    path = list(_cooling(20, hot, cold))
    assert len(path) == 20
    assert path[0].tolist() == hot.tolist()
    assert all((b <= a + 1e-12).all() for a, b in pairwise(path))
    assert all(heat.tolist() == cold.tolist() for heat in path[14:])


def test_the_smoothed_answer_is_what_a_loop_over_items_and_pools_gives() -> None:
    for m, room in cases()[:4]:
        dual, prices = Dual(m, room, m.order()), some_prices(m, room)
        heat = dual.size * 0.3
        got = dual.answer(prices, heat)
        load, power = np.zeros_like(got.load), np.zeros_like(got.power)
        for i, g in enumerate(m.row.tolist()):
            rent = [
                sum(m.request[g, r] * prices.pool[p, r] for r in range(3))
                + (m.kw[g, p] * prices.power[room.cluster[p]] if len(dual.capped) else 0.0)
                for p in range(len(room.acc))
            ]
            open_ = [p for p in dual.pools[g].tolist() if np.isfinite(dual._cost[g, p])]
            if not open_:
                assert got.placed[i] == 0
                continue
            least = min(dual._cost[g, p] + rent[p] for p in open_)
            e = {p: (1 + (dual._cost[g, p] + rent[p] - least) / heat[g] / 32) ** -32 for p in open_}
            gap = (least - m.out[i]) / heat[g]
            w = (1 + abs(gap) / 32) ** -32
            total = sum(e.values())
            placed = total / (total + w) if gap <= 0 else w * total / (w * total + 1)
            assert got.placed[i] == pytest.approx(placed, rel=1e-9)
            for p in open_:
                mass = m.occupancy[i] * placed * e[p] / total
                load[p] += m.request[g] * mass
                power[room.cluster[p]] += m.kw[g, p] * mass
        assert got.load == pytest.approx(load, rel=1e-6, abs=1e-6)
        if len(dual.capped):
            assert got.power == pytest.approx(power, rel=1e-6, abs=1e-6)


def test_higher_prices_lower_the_demand_there() -> None:
    for m, room in cases():
        dual = Dual(m, room, m.order())
        zero = Prices(np.zeros((len(room.acc), 3)), np.zeros(len(room.power)))
        heat = dual.size * 0.3
        before = dual.answer(zero, heat).load
        for p in range(len(room.acc)):
            dearer = zero.pool.copy()
            dearer[p] += 0.1
            assert (dual.answer(Prices(dearer, zero.power), heat).load[p] <= before[p] + 1e-9).all()


def test_climbing_raises_the_lower_bound_and_keeps_prices_at_zero_or_above() -> None:
    better = 0
    for m, room in cases():
        dual = Dual(m, room, m.order())
        zero = Prices(np.zeros((len(room.acc), 3)), np.zeros(len(room.power)))
        prices = dual.climb(zero, 100, dual.most, dual.size * 0.003)
        assert prices.pool.min() >= 0
        assert prices.power.min() >= 0
        assert np.isfinite(prices.pool).all()
        start, end = lower_bound(m, room, zero), lower_bound(m, room, prices)
        assert end >= start - 1e-6 * abs(start)
        better += end > start + 1e-6
    assert better > len(cases()) // 2


def test_rounding_gives_each_pool_its_share_of_a_class_up_to_one() -> None:
    for m, room in cases():
        dual, prices = Dual(m, room, m.order()), some_prices(m, room)
        smooth = dual.answer(prices, dual.size * 0.3)
        sure = np.ones(len(m.task))
        alike = type(m)(**{n: getattr(m, n) for n in m.__slots__} | {"occupancy": sure})
        whole = type(smooth)(**{n: getattr(smooth, n) for n in smooth.__slots__} | {"placed": sure})
        plan = planned(alike, whole, dual.pools, seed=5)
        for g in np.unique(m.row).tolist():
            mine = plan[m.row == g]
            for k, p in enumerate(dual.pools[g].tolist()):
                assert abs((mine == p).sum() - smooth.share[g, k] * len(mine)) < 1 + 1e-9


def recounted(seats: Seats, full: Room) -> None:
    """Check the room and the lists of ``seats`` against a count from scratch."""
    m, room = seats.m, full.copy()
    for i, p in enumerate(seats.pool):
        if p >= 0:
            assert np.isfinite(m.cost[m.row[i], p])
            room.take(p, m.use[i].tolist(), float(m.kw[m.row[i], p] * m.occupancy[i]))
            assert i in seats.at(p)
    assert seats.room.free() == pytest.approx(room.free(), abs=1e-6)
    assert (seats.room.power_kw() == pytest.approx(room.power_kw(), abs=1e-6)) or np.isinf(room.power_kw()).any()
    assert sum(len(seats.at(p)) for p in range(len(room.acc))) == sum(p >= 0 for p in seats.pool)
    used = {p for p in seats.pool if p >= 0}
    assert all(min(seats.room.acc[p], seats.room.cores[p], seats.room.mem[p]) >= -1e-6 for p in used)


def test_every_step_of_the_plan_keeps_within_room_and_the_improvements_never_cost_more() -> None:
    gained = {"eject": 0, "repack": 0, "improve": 0}
    for m, room in cases():
        order = m.order()
        dual = Dual(m, room, order)
        prices = dual.climb(some_prices(m, room), 20, dual.most, dual.size * 0.003)
        rent = dual.rent(prices)
        seats = Seats(m, room.copy(), order, rent)
        accept(seats, planned(m, dual.answer(prices, dual.size * 0.003), dual.pools, 0), rent)
        recounted(seats, room)
        fill_up(seats, rent, rent)
        recounted(seats, room)
        for name, step in (("eject", eject), ("repack", repack), ("improve", lambda s: improve(s, 3))):
            before = m.objective(seats.array())
            step(seats)
            recounted(seats, room)
            after = m.objective(seats.array())
            assert after <= before + 1e-9
            gained[name] += after < before - 1e-9
    assert min(gained["eject"], gained["repack"]) > 0


def test_seating_in_order_leaves_what_is_seated_and_nobody_who_would_still_fit() -> None:
    for m, room in cases():
        seats = Seats(m, room.copy(), m.order())
        in_order(seats)
        first = seats.array()
        in_order(seats)
        assert (seats.array() == first).all()
        for i in np.flatnonzero((first < 0) & ~m.mover).tolist():
            assert not any(seats.fits(i, p) for p in seats.cheapest(i))
        again = Seats(m, seats.room, m.order(), seated=seats.pool)
        recounted(again, room)
