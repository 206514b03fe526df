"""Our policy: every item at its cheapest place; where room is scarce, prices decide who gets it.

When the cheapest plan fits, it is optimal and nothing else is done. Otherwise: climb to prices of scarce room (warm from
the last window), round the smoothed plan, fill the rest at prices and then at true cost, improve by single moves and
ejections; and never do worse than cost-greedy placement without moves would.
"""

from dataclasses import dataclass, replace

import numpy as np

from twin.arrays import Float1, Int1
from twin.dispatch import services
from twin.dispatch.ascent import Dual, Prices, lower_bound
from twin.dispatch.costs import MS_PER_H
from twin.dispatch.ejection import eject
from twin.dispatch.explain import Plan, decide
from twin.dispatch.market import Market, Movers, market, movers, penalty
from twin.dispatch.policy import Policy
from twin.dispatch.problem import Problem, problem
from twin.dispatch.relief import Relief, give_back, reserve, unmet
from twin.dispatch.repack import repack
from twin.dispatch.room import EPS, Room, room_of
from twin.dispatch.rounding import Seats, accept, fill_up, improve, planned
from twin.view import Decisions, PriceCarry, View

HOT, WARM, COLD = 1.0, 0.05, 0.003
PATIENCE = 3


def least_cost(view: View, carry: PriceCarry, policy: Policy, seed: int) -> tuple[Decisions, PriceCarry]:
    """Decide ``view`` by cost and scarcity prices."""
    carbon, headroom = policy.number("carbon"), policy.number("headroom")
    everywhere = np.ones(len(view.pools.cluster), np.bool_)
    prices = Prices.of(carry, len(view.pools.cluster), len(view.clusters.ids))
    room = room_of(view)
    d = services.demand(view, carbon, everywhere)
    split = _split(view, d, prices, room)
    growth = d.tokens_per_s * headroom
    before = unmet(d, room, growth)
    prob = problem(view, carbon, everywhere)
    overdue = _overdue(view, prob, policy.number("patience_h"))
    relief, open_room = Relief(view, room), room.copy()
    relief.for_services(d, split.left + before)
    relief.for_blocked(prob, overdue, penalty(view, prob.task), room)
    move = movers(view, carbon, policy.number("break_even_h"), policy.number("hysteresis"), relief.pays)
    m = market(view, prob, move, overdue)
    got = assign(m, room.copy(), prices, policy, seed)
    crowded_out = unmet(d, got.seats.room, growth) - before
    if (crowded_out > services.TINY).any():
        smaller = room.copy()
        scarce = got.prices.of_accelerators(d.kw, view.pools.cluster)
        kept = reserve(d, smaller, crowded_out, services.per_token(d, scarce))
        got = assign(m, smaller, got.prices, policy, seed).opened(m, kept, d.kw)
    pool = got.seats.array()
    chosen = _explained(view, prob, move, pool)
    plan = Plan(chosen[0], chosen[1], split.tokens_per_s, split.left, got.bound(m, open_room), m.objective(pool))
    return decide(view, plan, got.seats.room), PriceCarry(got.prices.pool, got.prices.power, carry.cursor)


def _overdue(view: View, prob: Problem, patience_h: float) -> Int1:
    """Return the items that wait for longer than ``patience_h`` since they might have started, in order of precedence."""
    t, order = view.tasks, np.array(prob.order, np.int64)
    since = np.maximum(t.submitted_at, t.earliest_start)[prob.task[order]]
    late = view.effective_at - since > patience_h * MS_PER_H
    return order[late & ~prob.forced[order]]


@dataclass(frozen=True, slots=True)
class Assigned:
    """Seats of the items of a market, and the prices they were found at; ``optimal``: each has its cheapest place."""

    seats: Seats
    prices: Prices
    optimal: bool

    def opened(self, m: Market, kept: Float1, kw: Float1) -> "Assigned":
        """Return the same after work that found no place may use the accelerators ``kept`` (P,) of ``kw`` (P,) each."""
        if ((self.seats.array() < 0) & ~m.mover).any():
            give_back(self.seats.room, kept, kw)
            in_order(self.seats)
        return replace(self, optimal=False)

    def bound(self, m: Market, room: Room) -> float:
        """Return a lower bound of the objective of ``m`` in ``room``; rounding does not lift it above the objective."""
        objective = m.objective(self.seats.array())
        return objective if self.optimal else min(objective, lower_bound(m, room, self.prices))


def assign(m: Market, room: Room, prices: Prices, policy: Policy, seed: int) -> Assigned:
    """Return seats for the items of ``m`` in ``room``, which may be used up, climbing from ``prices``."""
    order = m.order()
    if cheapest_fits(m, room):
        seats = Seats(m, room, order)
        for i, p in enumerate(_cheapest(m).tolist()):
            seats.put(i, p)
        return Assigned(seats, Prices(np.zeros_like(prices.pool), np.zeros_like(prices.power)), optimal=True)
    greedy = Seats(m, room.copy(), order)
    in_order(greedy)
    dual = Dual(m, room, order)
    short = bool(((greedy.array() < 0) & ~m.mover & dual.live[m.row]).any())
    warm = bool(prices.pool.any() or prices.power.any())
    steps = int(policy.number("warm_iterations" if warm else "iterations"))
    hot = dual.most if short else dual.size * HOT
    cold = dual.size * COLD
    prices = dual.climb(prices, steps, np.maximum(hot * WARM, cold) if warm else hot, cold)
    rent = dual.rent(prices)
    seats = Seats(m, room, order, rent)
    accept(seats, planned(m, dual.answer(prices, cold), dual.pools, seed), rent)
    fill_up(seats, rent, rent)
    fill_up(seats, rent, np.zeros_like(rent))
    _polish(seats)
    if short:  # with work left out both are packings of whole items, and either may be the better start
        greedy = Seats(m, greedy.room, order, rent, seated=greedy.pool)
        _polish(greedy)
    better = m.objective(greedy.array()) < m.objective(seats.array())
    return Assigned(greedy if better else seats, prices, optimal=False)


def _polish(seats: Seats) -> None:
    """Improve a plan by ejections, by packing pools anew where work is left out, and by single moves."""
    eject(seats)
    if repack(seats):
        eject(seats)
    improve(seats, PATIENCE)


def _cheapest(m: Market) -> Int1:
    """Return the cheapest pool of each item, -1 where its outside option is as cheap."""
    if not m.cost.size:
        return np.full(len(m.task), -1, np.int64)
    best = m.cost.argmin(axis=1)
    least = m.cost[np.arange(len(best)), best]
    return np.where(least[m.row] < m.out, best[m.row], -1)


def cheapest_fits(m: Market, room: Room) -> bool:
    """Return whether every item fits at its cheapest pool at once."""
    pool = _cheapest(m)
    item = np.flatnonzero(pool >= 0)
    at = pool[item]
    touched = np.bincount(at, minlength=len(room.acc)) > 0
    free, power_kw = room.free(), room.power_kw()
    for r in range(3):
        used = np.bincount(at, m.use[item, r], len(room.acc))
        if (used > free[:, r] + EPS)[touched].any():
            return False
    kw = m.kw[m.row[item], at] * m.occupancy[item]
    cluster = np.array(room.cluster, np.int64)
    used_kw = np.bincount(cluster[at], kw, len(power_kw))
    return not (used_kw > power_kw + EPS)[cluster[touched]].any()


def in_order(seats: Seats) -> None:
    """Seat items that have no place yet in order of precedence, each at its cheapest pool with room; nothing moves."""
    m = seats.m
    item = np.flatnonzero(~m.mover)
    for i in item[np.argsort(m.rank[item], kind="stable")].tolist():
        if seats.pool[i] >= 0:
            continue
        for p in seats.cheapest(i):
            if seats.fits(i, p):
                seats.put(i, p)
                break


def _split(view: View, d: services.Demand, prices: Prices, room: Room) -> services.Split:
    """Split the services at cost plus the prices of the last window, taking their room."""
    split = services.Split(d, room)
    scarce = prices.of_accelerators(d.kw, view.pools.cluster)
    split.cheapest(services.per_token(d, d.cost + scarce))
    return split


def _explained(view: View, prob: Problem, move: Movers | None, pool: Int1) -> tuple[Problem, Int1]:
    """Return the problem extended by the tasks that do move, and the pool of each."""
    n = len(prob.task)
    gone = np.flatnonzero(pool[n:] >= 0)
    if move is None or not len(gone):
        return prob, pool[:n]
    task = move.task[gone]
    bases, row = np.unique(move.base[gone], return_inverse=True)
    extra = move.costs.take(bases)
    occupancy = view.tasks.occupancy[task]
    both = replace(
        prob,
        task=np.concatenate([prob.task, task]),
        row=np.concatenate([prob.row, row + len(prob.costs.kw)]),
        occupancy=np.concatenate([prob.occupancy, occupancy]),
        use=np.concatenate([prob.use, view.tasks.request[task] * occupancy[:, None]]),
        forced=np.concatenate([prob.forced, np.zeros(len(task), np.bool_)]),
        costs=prob.costs.join(extra),
        ok=np.concatenate([prob.ok, extra.ok]),
    )
    return both, np.concatenate([pool[:n], pool[n:][gone]])
