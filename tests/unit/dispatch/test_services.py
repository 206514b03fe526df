"""The split of services against plain loops and against a linear programme."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog

from tests.unit.dispatch.views import Mix, random_view
from twin.dispatch import Policy, check, dispatch
from twin.dispatch.room import Room, room_of
from twin.dispatch.services import SPARE, Demand, Split, demand, per_token
from twin.view import PriceCarry, View

SEEDS = range(15)
BUSY = Mix(services=6, new=4, running=10, load=0.8, closed=0.1)


def of(view: View) -> Demand:
    return demand(view, 0.0, np.ones(len(view.pools.ids), np.bool_))


def limit(room: Room, d: Demand, p: int) -> float:
    """Accelerators that services may still take at pool ``p``, by hand."""
    most = room.acc[p] - SPARE
    if d.kw[p] > 0:
        most = min(most, room.power[room.cluster[p]] / float(d.kw[p]) - SPARE)
    return max(most, 0.0)


def by_hand(d: Demand, room: Room, order: Callable[[int], list[int]]) -> np.ndarray:
    split = np.zeros(d.speed.shape)
    for k in range(len(d.tokens_per_s)):
        left = float(d.tokens_per_s[k])
        for p in order(k):
            if not d.ok[k, p]:
                continue
            given = min(left, limit(room, d, p) * d.speed[k, p])
            split[k, p] += given
            left -= given
            room.take(p, (given / d.speed[k, p], 0.0, 0.0), given / d.speed[k, p] * float(d.kw[p]))
    return split


def test_demand_asks_model_rtt_and_openness_as_a_plain_loop_does() -> None:
    for seed in SEEDS:
        view = random_view(seed, BUSY)
        d = of(view)
        for k in range(len(view.services.keys)):
            for p in range(len(view.pools.ids)):
                speed = view.pools.tokens_per_s[p, view.services.model[k]]
                rtt = view.network.rtt_ms[view.services.origin[k], view.clusters.node[view.pools.cluster[p]]]
                near = np.isinf(view.services.latency_ms[k]) or rtt <= view.services.latency_ms[k]
                assert d.ok[k, p] == (speed > 0 and near and view.pools.open[p])


@pytest.mark.parametrize("text", ["first-fit", "cost-greedy", "latency-first", "price-greedy", "carbon-greedy"])
def test_a_ranking_policy_fills_pools_in_its_order(text: str) -> None:
    served = 0.0
    for seed in SEEDS:
        view = random_view(seed, BUSY)
        d, at = of(view), view.pools.cluster

        def order(k: int, d: Demand = d, view: View = view, at: np.ndarray = at) -> list[int]:
            c = view.clusters
            score = {
                "first-fit": lambda p: 0.0,
                "cost-greedy": lambda p: d.cost[p] / d.speed[k, p] if d.ok[k, p] else 0.0,
                "latency-first": lambda p: np.nan_to_num(d.rtt_ms[k, p], nan=1e99),
                "price-greedy": lambda p: c.price_per_mwh[at[p]],
                "carbon-greedy": lambda p: np.nan_to_num(c.carbon_g_per_kwh[at[p]], nan=1e99),
            }[text]
            return sorted(range(len(at)), key=lambda p: (score(p), p))

        want = by_hand(d, room_of(view), order)
        got, _ = dispatch(view, PriceCarry.empty(), Policy.parse(text), 0)
        assert got.split == pytest.approx(want, abs=1e-6)
        assert got.unserved == pytest.approx(view.services.tokens_per_s - want.sum(axis=1), abs=1e-6)
        served += want.sum()
    assert served > 0


def test_round_robin_starts_the_next_service_at_the_next_of_its_pools() -> None:
    for seed in SEEDS:
        view = random_view(seed, BUSY)
        d = of(view)

        def order(k: int, d: Demand = d) -> list[int]:
            pools = np.flatnonzero(d.ok[k]).tolist()
            first = k % max(len(pools), 1)
            return pools[first:] + pools[:first]

        got, _ = dispatch(view, PriceCarry.empty(), Policy.parse("round-robin"), 0)
        assert got.split == pytest.approx(by_hand(d, room_of(view), order), abs=1e-6)


def optimum(d: Demand, room: Room, cost: np.ndarray, unserved: float) -> float:
    """The linear programme: cost of all served plus ``unserved`` per token left out."""
    at = np.argwhere(d.ok)
    c = np.array([cost[k, p] for k, p in at] + [unserved] * len(d.tokens_per_s))
    eq = np.zeros((len(d.tokens_per_s), len(c)))
    rows = [np.zeros(len(c)) for _ in range(len(d.kw) + len(room.power))]
    for j, (k, p) in enumerate(at):
        eq[k, j] = 1.0
        rows[p][j] = 1 / d.speed[k, p]
        rows[len(d.kw) + room.cluster[p]][j] = d.kw[p] / d.speed[k, p]
    eq[:, len(at) :] = np.eye(len(d.tokens_per_s))
    # the same spare room as the split leaves
    caps = [max(a - SPARE, 0.0) for a in room.acc] + [max(x, 0.0) if np.isfinite(x) else 1e9 for x in room.power]
    return float(linprog(c, np.array(rows), caps, eq, d.tokens_per_s).fun)


def test_the_cheapest_split_is_near_the_optimum_of_the_linear_programme() -> None:
    gaps = []
    for seed in range(40):
        view = random_view(seed, replace(BUSY, services=8, clusters=5, load=0.7))
        d, room = of(view), room_of(view)
        if not d.ok.any():
            continue
        cost = per_token(d, np.abs(d.cost) + 0.01)
        dear = 10 * cost[d.ok].max()
        best = optimum(d, room, np.where(d.ok, cost, 0.0), dear)
        split = Split(d, room)
        split.cheapest(cost)
        got = (np.where(d.ok, cost, 0.0) * split.tokens_per_s).sum() + dear * split.left.sum()
        gaps.append(float(got / best - 1))
    assert len(gaps) > 30
    assert min(gaps) > -1e-6
    assert np.median(gaps) < 0.005
    assert np.quantile(gaps, 0.9) < 0.08


def test_with_room_everywhere_every_service_is_at_its_cheapest_pool() -> None:
    view = random_view(4, replace(BUSY, caps=0.0, closed=0.0, down=0.0))
    n = len(view.pools.ids)
    view = replace(view, pools=replace(view.pools, free=np.full((n, 3), 1e9), capacity=np.full((n, 3), 1e9)))
    d = of(view)
    got, _ = dispatch(view, PriceCarry.empty(), Policy.parse("price"), 0)
    cost = per_token(d, d.cost)
    for k in np.flatnonzero(d.ok.any(axis=1)):
        assert np.flatnonzero(got.split[k]).tolist() == [cost[k].argmin()]
        assert got.split[k].sum() == pytest.approx(d.tokens_per_s[k])


def test_the_standing_split_is_given_back_before_it_is_made_anew() -> None:
    for seed in SEEDS:
        view = random_view(seed, BUSY)
        for text in ("price", "cost-greedy", "round-robin"):
            first, carry = dispatch(view, PriceCarry.empty(), Policy.parse(text), 0)
            used = np.zeros_like(view.pools.free)
            kw = np.zeros(len(view.clusters.ids))
            for split, sign in ((view.services.split, -1), (first.split, 1)):
                for k in range(len(view.services.keys)):
                    speed = view.pools.tokens_per_s[:, view.services.model[k]]
                    a = np.divide(split[k], speed, out=np.zeros(len(speed)), where=speed > 0)
                    used[:, 0] += sign * a
                    np.add.at(kw, view.pools.cluster, sign * a * view.pools.w_per_accelerator / 1000)
            served = replace(
                view,
                pools=replace(view.pools, free=view.pools.free - used),
                clusters=replace(view.clusters, power_free_kw=view.clusters.power_free_kw - kw),
                services=replace(view.services, split=first.split),
            )
            again, _ = dispatch(served, carry, Policy.parse(text), 0)
            assert check(served, again) == []
            if text != "price":
                assert again.split == pytest.approx(first.split, abs=1e-5)
