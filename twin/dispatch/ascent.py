"""Prices of scarce room: the smoothed Lagrangian dual of a market, climbed by a damped diagonal step with momentum.

With a price per pool and resource and one per cluster on power, items separate: each takes the place of least cost plus
prices, or its outside option. Prices rise where demand exceeds room. Smoothing spreads an item over nearly equal
places, so that demand answers smoothly; the temperature is a share of what a class has to lose (the spread of its
costs) and falls along the way. Any prices >= 0 give a valid lower bound (:func:`lower_bound`).

The kernel is (1 - x/32)^-32 in place of exp(x): positive, monotone and the same bits on every processor.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from twin.arrays import AnyArray, Bool2, Float1, Float2, Int1, Int2
from twin.dispatch.market import Market
from twin.dispatch.room import EPS, Room
from twin.view import ACCELERATORS, PriceCarry

DAMP, MOMENTUM = 0.3, 0.9
HOLD = 0.3  # last share of the steps at the final temperature
STEP = 15.0  # longest step in units of temperature x price scale
CANDIDATES = 32
SOFT = 0.02  # floor of the curvature, as a share of room


@dataclass(frozen=True, slots=True)
class Prices:
    """``pool`` (P, 3) in currency per unit and hour, ``power`` (C,) in currency per kWh of IT energy."""

    pool: Float2
    power: Float1

    @classmethod
    def of(cls, carry: PriceCarry, pools: int, clusters: int) -> "Prices":
        """Return the carried prices, zero for pools and clusters that are new."""
        pool, power = np.zeros((pools, 3)), np.zeros(clusters)
        pool[: len(carry.pool_prices)] = carry.pool_prices[:pools]
        power[: len(carry.power_prices)] = carry.power_prices[:clusters]
        return cls(pool, power)

    def of_accelerators(self, kw: Float1, cluster: Int1) -> Float1:
        """Return the price of an accelerator that draws ``kw`` (P,), currency per hour, (P,)."""
        each: Float1 = self.pool[:, ACCELERATORS] + kw * self.power[cluster]
        return each


@dataclass(frozen=True, slots=True)
class Smooth:
    """The answer of a market to prices at one temperature, over the K candidate pools of each class.

    Attributes:
        share: share of each class at each candidate if it is placed, rows sum to 1, (G, K).
        placed: share of each item that is placed at all, (n,).
        load: demand, (P, 3); power (C,) kW.
        slope: how fast demand falls with its own price, (P, 3) and (C,).
    """

    share: Float2
    placed: Float1
    load: Float2
    power: Float1
    slope: Float2
    power_slope: Float1


class Dual:
    """A market with room, ready to be asked at many prices.

    The ascent looks at the ``CANDIDATES`` cheapest pools of each class that have room for one of its items; the bound
    looks at all pools.

    Attributes:
        pools: the candidates of each class, (G, K).
        live: the class has any, (G,).
        size: what a class has to lose between places, currency per hour, (G,): its unit of temperature.
        most: what it has to lose if it is left out, (G,).
    """

    def __init__(self, m: Market, room: Room, order: Int2) -> None:
        """``order`` (G, P) are the pools of each class by cost, cheapest first."""
        self.m = m
        self.free = np.maximum(room.free(), 0.0)
        self.power_kw = np.maximum(room.power_kw(), 0.0)
        self.cluster = np.array(room.cluster, np.int64)
        self.capped = np.flatnonzero(np.isfinite(self.power_kw))
        self._cost = np.where(_alone(m, self.free, self.power_kw[self.cluster]), m.cost, np.inf)
        self.pools, self._near = _candidates(self._cost, order)
        self._kw = np.take_along_axis(m.kw, self.pools, axis=1)
        self._at_cluster = self.cluster[self.pools]
        self._asked = [r for r in range(3) if m.request[:, r].any()]
        open_ = np.isfinite(self._near)
        low = self._near.min(axis=1, initial=np.inf)
        self.live = np.isfinite(low)
        low = np.where(self.live, low, 0.0)
        spread = np.where(open_, self._near - low[:, None], 0.0).sum(axis=1) / np.maximum(open_.sum(axis=1), 1)
        most = np.zeros(len(low))
        np.maximum.at(most, m.row, m.out - low[m.row])
        self.size = np.maximum(np.maximum(spread, 1e-3 * most), 1e-9)
        self.most = np.maximum(self.size, most)
        self._kw_most = m.kw.max(axis=1, initial=0.0)

    def rent(self, prices: Prices) -> Float2:
        """Return what each class pays for its room at each pool, (G, P) currency per hour."""
        return _rent(self.m, self.cluster, prices)

    def answer(self, prices: Prices, heat: Float1) -> Smooth:
        """Return the smoothed demand at ``prices``; ``heat`` (G,) is the temperature of each class."""
        m = self.m
        cost = self._near
        for r in self._asked:
            cost = cost + m.request[:, r, None] * prices.pool[:, r][self.pools]
        if len(self.capped):
            cost = cost + self._kw * prices.power[self._at_cluster]
        least = np.where(self.live, cost.min(axis=1, initial=np.inf), 0.0)
        e = kernel(np.maximum((least[:, None] - cost) / heat[:, None], -1e6))
        total = e.sum(axis=1)
        gap = (least[m.row] - m.out) / heat[m.row]
        w, s = kernel(-np.abs(gap)), total[m.row]
        placed = np.where(gap <= 0, s / (s + w), w * s / (w * s + 1.0)) * self.live[m.row]
        share = e / total[:, None]
        y = share * np.bincount(m.row, m.occupancy * placed, len(least))[:, None]
        y_heat = y / heat[:, None]
        load, slope = np.zeros((len(self.cluster), 3)), np.zeros((len(self.cluster), 3))
        for r in self._asked:
            a = m.request[:, r, None]
            load[:, r] = _sums(self.pools, a * y, len(load))
            slope[:, r] = _sums(self.pools, a * a * y_heat, len(load))
        power = power_slope = np.zeros(len(self.power_kw))
        if len(self.capped):
            power = _sums(self._at_cluster, self._kw * y, len(power))
            power_slope = _sums(self._at_cluster, self._kw * self._kw * y_heat, len(power))
        return Smooth(share, placed, load, power, slope, power_slope)

    def climb(self, start: Prices, steps: int, hot: Float1, cold: Float1) -> Prices:
        """Return prices after ``steps`` steps from ``start``, the heat of each class falling from ``hot`` to ``cold``."""
        pool, power = _Climber(start.pool), _Climber(start.power)
        finite = np.isfinite(self.power_kw)
        power_kw = np.where(finite, self.power_kw, 0.0)
        for heat in _cooling(steps, hot, cold):
            scale = np.array([_scale(heat, self.m.request[:, r]) for r in range(3)])
            got = self.answer(Prices(pool.ahead, power.ahead), heat)
            pool.step((got.load - self.free) / (got.slope + SOFT * self.free / scale + EPS), STEP * scale)
            if len(self.capped):
                power_scale = _scale(heat, self._kw_most)
                give = got.power_slope + SOFT * power_kw / power_scale + EPS
                power.step(np.where(finite, (got.power - power_kw) / give, 0.0), STEP * power_scale)
        return Prices(pool.now, np.where(finite, power.now, 0.0))


class _Climber:
    """One array of prices with momentum; a coordinate that turns around starts afresh."""

    def __init__(self, start: AnyArray) -> None:
        self.now = start
        self.ahead = start

    def step(self, rise: AnyArray, limit: AnyArray | float) -> None:
        new = np.maximum(self.ahead + DAMP * np.minimum(np.maximum(rise, -limit), limit), 0.0)
        moved = new - self.now
        keep = np.where((new - self.ahead) * moved < 0, 0.0, MOMENTUM)
        self.ahead = np.maximum(new + keep * moved, 0.0)
        self.now = new


def _rent(m: Market, cluster: Int1, prices: Prices) -> Float2:
    rent = np.zeros(m.kw.shape)
    for r in range(3):
        if prices.pool[:, r].any():
            rent += m.request[:, r, None] * prices.pool[:, r]
    if prices.power.any():
        rent += m.kw * prices.power[cluster]
    return rent


def lower_bound(m: Market, room: Room, prices: Prices) -> float:
    """Return a lower bound of the objective of ``m`` in ``room``: valid for any prices >= 0, close if they clear.

    Every item takes the cheaper of its best place at cost plus rent and its outside option; the room is paid out. A class
    none of whose items fits at a pool even alone does not count that pool.
    """
    free, power_kw = np.maximum(room.free(), 0.0), np.maximum(room.power_kw(), 0.0)
    cluster = np.array(room.cluster, np.int64)
    cost = np.where(_alone(m, free, power_kw[cluster]), m.cost, np.inf) + _rent(m, cluster, prices)
    least = cost.min(axis=1, initial=np.inf)
    items = (m.occupancy * np.minimum(m.out, least[m.row])).sum()
    capped = np.isfinite(power_kw)
    return float(items - (prices.pool * free).sum() - (prices.power[capped] * power_kw[capped]).sum())


def kernel(x: AnyArray) -> AnyArray:
    """Return (1 - x/32)^-32 for x <= 0, by five squarings."""
    y = 1.0 / (1.0 - x / 32.0)
    for _ in range(5):
        y *= y
    return y


def _sums(index: Int2, values: Float2, n: int) -> Float1:
    """Return the sum of ``values`` per ``index``, (n,)."""
    return np.bincount(index.ravel(), values.ravel(), n).astype(np.float64, copy=False)


def _candidates(cost: Float2, order: Int2) -> tuple[Int2, Float2]:
    """Return the cheapest pools that are open in ``cost`` (G, P), and their costs: (G, K).

    A class with fewer of them is filled up with closed ones.
    """
    k = min(CANDIDATES, cost.shape[1])
    sorted_cost = np.take_along_axis(cost, order, axis=1)
    closed_last = np.argsort(np.isinf(sorted_cost), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(order, closed_last, axis=1), np.take_along_axis(sorted_cost, closed_last, axis=1)


def _cooling(steps: int, hot: Float1, cold: Float1) -> Iterator[Float1]:
    """Yield the heat of each class per step: falling by a constant factor, then held."""
    falling = max(1, int(steps * (1.0 - HOLD)))
    factor = _root(cold / hot, falling)
    heat = hot
    for k in range(steps):
        yield heat if k < falling else cold
        heat = heat * factor


def _root(x: Float1, n: int) -> Float1:
    """Return x^(1/n) for 0 < x <= 1 by halving intervals: the same bits everywhere."""
    low, high = np.zeros(len(x)), np.ones(len(x))
    for _ in range(40):
        middle = 0.5 * (low + high)
        power = np.ones(len(x))
        for _ in range(n):
            power = power * middle
        low, high = np.where(power < x, middle, low), np.where(power < x, high, middle)
    return high


def _scale(size: Float1, request: Float1) -> float:
    """Return the typical price per unit at which the classes' spreads are used up; 1 where nobody asks for it."""
    asks = request > 0
    return float(np.sort(size[asks] / request[asks])[asks.sum() // 2]) if asks.any() else 1.0


def _alone(m: Market, free: Float2, power_kw: Float1) -> Bool2:
    """Return where the smallest item of each class fits if it comes alone, (G, P)."""
    least = np.full(len(m.cost), np.inf)
    np.minimum.at(least, m.row, m.occupancy)
    least = np.where(np.isfinite(least), least, 0.0)
    fits: Bool2 = m.kw * least[:, None] <= power_kw + EPS
    for r in range(3):
        fits &= m.request[:, r, None] * least[:, None] <= free[:, r] + EPS
    return fits
