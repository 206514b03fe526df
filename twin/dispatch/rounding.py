"""From prices to places: the smoothed plan in whole items, then the rest by regret.

The plan of a class is laid along a line and its items are cut off it one after the other, so that each pool gets as many
as the plan says, up to one (systematic rounding). Prices alone would send all items that are indifferent to one pool.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import numpy as np

from twin.arrays import Float1, Float2, Int1, Int2
from twin.dispatch.ascent import Smooth
from twin.dispatch.market import Market
from twin.dispatch.room import Room, roomy

ROUNDS = 12
GOLDEN = 0.6180339887498949


class Seats:
    """Pools of items while a plan grows and changes, with the room that is left. Plain numbers: steps are single items."""

    def __init__(
        self, m: Market, room: Room, order: Int2, rent: Float2 | None = None, *, seated: Sequence[int] = ()
    ) -> None:
        """``order`` (G, P) are the pools of each class by cost; ``rent`` (G, P) is what room is worth, None: nothing.

        ``seated`` are pools of items that ``room`` already counts, none: all start at their outside option.
        """
        self.m, self.room = m, room
        self.pool: list[int] = list(seated) or [-1] * len(m.task)
        self._at: list[dict[int, None]] = [{} for _ in room.acc]  # items at each pool, in order of arrival
        for i, p in enumerate(seated):
            if p >= 0:
                self._at[p][i] = None
        self._row: list[int] = m.row.tolist()
        self._use: list[list[float]] = m.use.tolist()
        self._share: list[float] = m.occupancy.tolist()
        self._out: list[float] = m.out.tolist()
        self._cost, self._kw, self._order, self._rent = m.cost, m.kw, order, rent
        self._little: list[float] = _little(m, np.arange(len(m.cost))).tolist()
        self._open: list[int] = np.isfinite(m.cost).sum(axis=1).tolist()
        self._cheapest: dict[int, tuple[list[int], list[float]]] = {}

    def cheapest(self, item: int) -> list[int]:
        """Return the pools that ``item`` may use for less than its outside option, cheapest first."""
        g = self._row[item]
        if g not in self._cheapest:
            pools = self._order[g, : self._open[g]]
            self._cheapest[g] = pools.tolist(), self._cost[g, pools].tolist()
        pools_, costs = self._cheapest[g]
        return pools_[: bisect_left(costs, self._out[item])]

    def cost_at(self, item: int, pool: int) -> float:
        """Return the cost per hour of ``item`` at ``pool``, -1 for its outside option, weighed by occupancy."""
        return (self._cost.item(self._row[item], pool) if pool >= 0 else self._out[item]) * self._share[item]

    def cost(self, item: int) -> float:
        """Return the same for where it stands."""
        return self.cost_at(item, self.pool[item])

    def out(self, item: int) -> float:
        """Return the same for the outside option."""
        return self.cost_at(item, -1)

    def use(self, item: int) -> list[float]:
        """Return the resources that ``item`` takes."""
        return self._use[item]

    def rent(self, item: int, pool: int) -> float:
        """Return what room for ``item`` at ``pool`` is worth."""
        g = self._row[item]
        return (self._little[g] + (0.0 if self._rent is None else self._rent.item(g, pool))) * self._share[item]

    def at(self, pool: int) -> list[int]:
        """Return the items seated at ``pool``."""
        return list(self._at[pool])

    def kw(self, item: int, pool: int) -> float:
        """Return the power that ``item`` takes at ``pool``."""
        return self._kw.item(self._row[item], pool) * self._share[item]

    def fits(self, item: int, pool: int) -> bool:
        """Return whether ``item`` fits at ``pool`` as things stand."""
        return self.room.fits(pool, self._use[item], self.kw(item, pool))

    def put(self, item: int, pool: int) -> None:
        """Move ``item`` to ``pool``, -1 for its outside option; gives back what it held."""
        old = self.pool[item]
        if old >= 0:
            self.room.take(old, self._use[item], self.kw(item, old), -1.0)
            del self._at[old][item]
        if pool >= 0:
            self.room.take(pool, self._use[item], self.kw(item, pool))
            self._at[pool][item] = None
        self.pool[item] = pool

    def array(self) -> Int1:
        """Return the pool of each item, (n,)."""
        return np.array(self.pool, np.int64)


def planned(m: Market, smooth: Smooth, pools: Int2, seed: int) -> Int1:
    """Return a pool per item by systematic rounding of the smoothed plan, -1 where the plan rather leaves it out.

    ``pools`` (G, K) are the candidates of each class. Items of a class stand in order of precedence; the offset of each
    class comes from its number and ``seed``.
    """
    n = len(m.task)
    order = np.lexsort((m.rank, m.row))
    row, mass = m.row[order], (m.occupancy * smooth.placed)[order]
    first = np.ones(n, np.bool_)
    first[1:] = row[1:] != row[:-1]
    before = np.cumsum(mass) - mass
    before -= before[first][np.cumsum(first) - 1]
    total = np.bincount(row, mass, len(m.cost))
    offset = ((np.arange(len(total)) + seed % 1024) * GOLDEN) % 1.0
    at = (before + offset[row] * mass) / np.maximum(total[row], 1e-300)
    reach = np.cumsum(smooth.share, axis=1)
    reach[:, -1:] = 2.0
    flat = (reach + 3.0 * np.arange(len(reach))[:, None]).ravel()
    k = np.searchsorted(flat, at + 3.0 * row, side="right") - row * reach.shape[1]
    plan = np.empty(n, np.int64)
    plan[order] = np.where(smooth.placed[order] >= 0.5, pools[row, k], -1)
    return plan


def accept(seats: Seats, plan: Int1, rent: Float2) -> None:
    """Seat items at their planned pool while there is room: without a place first, then who is worth most for its rent.

    ``rent`` (G, P) is what room costs. The worth of a place is what the next best one costs more, rent included there.
    """
    m = seats.m
    item = np.flatnonzero(plan >= 0)
    item = item[m.cost[m.row[item], plan[item]] < m.out[item]]
    row, pool = m.row[item], plan[item]
    each = np.arange(len(item))
    others = m.cost[row] + rent[row]
    others[each, pool] = np.inf
    worth = np.minimum(others.min(axis=1, initial=np.inf), m.out[item]) - m.cost[row, pool]
    bid = worth / (rent[row, pool] + _little(m, row))
    for k in np.lexsort((m.rank[item], -bid, m.mover[item])).tolist():
        i, p = int(item[k]), int(pool[k])
        if seats.fits(i, p):
            seats.put(i, p)


def fill_up(seats: Seats, rent: Float2, paid: Float2) -> None:
    """Seat what is left, in rounds: each item at its best pool with room at cost plus ``paid``, by worth for ``rent``.

    Shapes are (G, P). Within a round items without a place come before those that run. An item whose best pool has
    filled up meanwhile waits for the next round.
    """
    m = seats.m
    reduced = m.cost + paid
    left = np.flatnonzero(seats.array() < 0)
    for _ in range(ROUNDS):
        left = left[reduced.min(axis=1, initial=np.inf)[m.row[left]] < m.out[left]]
        if not len(left):
            return
        at = _open(m, left, reduced, seats.room)
        each = np.arange(len(left))
        best = at.argmin(axis=1)
        least = at[each, best].copy()
        wants = least < m.out[left]
        at[each, best] = np.inf
        worth = np.minimum(at.min(axis=1, initial=np.inf), m.out[left]) - np.where(wants, least, 0.0)
        bid = worth / (rent[m.row[left], best] + _little(m, m.row[left]))
        order = np.lexsort((m.rank[left], -bid, m.mover[left]))
        seated = _seat_each(seats, left, best, order[wants[order]].tolist())
        left = np.array([i for i in left[wants].tolist() if seats.pool[i] < 0], np.int64)
        if not seated:
            return


def _seat_each(seats: Seats, items: Int1, best: Int1, order: Iterable[int]) -> int:
    seated = 0
    for k in order:
        i, p = int(items[k]), int(best[k])
        if seats.fits(i, p):
            seats.put(i, p)
            seated += 1
    return seated


def _open(m: Market, items: Int1, cost: Float2, room: Room) -> Float2:
    """Return ``cost`` of ``items`` where they fit now, inf elsewhere, (k, P)."""
    kw = m.kw[m.row[items]] * m.occupancy[items, None]
    resources, power = roomy(room, m.use[items], kw)
    return np.where(resources & power, cost[m.row[items]], np.inf)


def _little(m: Market, rows: Int1) -> Float1:
    """Return a size of classes that decides where room costs nothing: accelerators, cores and GiB as parts of one."""
    request = m.request[rows]
    return 1e-6 * np.maximum(np.maximum(request[:, 0] + 0.02 * request[:, 1], 0.001 * request[:, 2]), 1e-3)


def improve(seats: Seats, rounds: int) -> None:
    """Move single items to where they cost less, as far as there is room, at true cost; best gains first."""
    m = seats.m
    for _ in range(rounds):
        pool = seats.array()
        now = np.where(pool >= 0, m.cost[m.row, np.maximum(pool, 0)], m.out) if m.cost.size else m.out
        item = np.flatnonzero(m.cost.min(axis=1, initial=np.inf)[m.row] < now)
        if not len(item):
            return
        at = _open(m, item, m.cost, seats.room)
        best = at.argmin(axis=1)
        gain = (now[item] - at[np.arange(len(item)), best]) * m.occupancy[item]
        better = np.flatnonzero(gain > 1e-9)
        order = better[np.argsort(-gain[better], kind="stable")]
        if not _seat_each(seats, item, best, order.tolist()):
            return
