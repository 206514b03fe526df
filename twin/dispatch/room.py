"""What is left of pools and power caps while a window is being decided, and filling it in order."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from twin.arrays import Bool1, Float1, Float2, Int1
from twin.view import View

EPS = 1e-9


class Room:
    """Free resources of pools and free power of clusters. Plain lists: one task is a handful of numbers.

    A pool (or the power of a cluster) that is already overcommitted takes nothing, whatever is asked of it.
    """

    __slots__ = ("acc", "cluster", "cores", "mem", "power")

    def __init__(self, free: Float2, power_kw: Float1, cluster: Int1) -> None:
        shut = free.min(axis=1, initial=0.0, keepdims=True) < -EPS
        left = np.where(shut, -1.0, free)
        self.acc: list[float] = left[:, 0].tolist()
        self.cores: list[float] = left[:, 1].tolist()
        self.mem: list[float] = left[:, 2].tolist()
        self.power: list[float] = np.where(power_kw < -EPS, -1.0, power_kw).tolist()
        self.cluster: list[int] = cluster.tolist()

    def copy(self) -> "Room":
        """Return a room of its own."""
        return Room(self.free(), self.power_kw(), np.array(self.cluster, np.int64))

    def fits(self, pool: int, use: Sequence[float], kw: float) -> bool:
        """Return whether ``use`` (accelerators, cores, GiB) and ``kw`` of IT power fit at ``pool``."""
        return (
            use[0] <= self.acc[pool] + EPS
            and use[1] <= self.cores[pool] + EPS
            and use[2] <= self.mem[pool] + EPS
            and kw <= self.power[self.cluster[pool]] + EPS
        )

    def take(self, pool: int, use: Sequence[float], kw: float, sign: float = 1.0) -> None:
        """Book ``use`` and ``kw`` at ``pool``; with ``sign`` -1 give them back."""
        self.acc[pool] -= sign * use[0]
        self.cores[pool] -= sign * use[1]
        self.mem[pool] -= sign * use[2]
        self.power[self.cluster[pool]] -= sign * kw

    def free(self) -> Float2:
        """Return what is left of each pool, (P, 3)."""
        return np.array([self.acc, self.cores, self.mem]).T.reshape(-1, 3)

    def power_kw(self) -> Float1:
        """Return the power left in each cluster, (C,) IT kW."""
        return np.array(self.power, np.float64)


def room_of(view: View) -> Room:
    """Return the room of ``view`` with the standing split of services given back."""
    free, power_kw = without_services(view)
    return Room(free, power_kw, view.pools.cluster)


def without_services(view: View) -> tuple[Float2, Float1]:
    """Return free capacity (P, 3) and free power (C,) as if no service were served."""
    s, p = view.services, view.pools
    if not len(s.keys) or not s.split.any():
        return p.free, view.clusters.power_free_kw
    speed = p.tokens_per_s[:, s.model].T
    accelerators = np.where(speed > 0, s.split / np.where(speed > 0, speed, 1.0), 0.0).sum(axis=0)
    free = p.free.copy()
    free[:, 0] += accelerators
    kw = accelerators * p.w_per_accelerator / 1000.0
    return free, view.clusters.power_free_kw + np.bincount(p.cluster, kw, len(view.clusters.ids))


class Rule(Protocol):
    """In which order a policy tries the pools for one task."""

    def pools(self, item: int) -> Iterable[int]:
        """Return the pools that ``item`` may use, the preferred first."""
        ...

    def placed(self, item: int, pool: int) -> None:
        """Take note that ``item`` went to ``pool``."""
        ...


def fill(
    room: Room, rule: Rule, order: Iterable[int], *, row: Int1, use: Float2, kw: Float2, occupancy: Float1
) -> Int1:
    """Place items one after the other at the first pool of their ``rule`` that has room; return the pools, -1 for none.

    Shapes: ``row`` (n,) is the row of each item in ``kw`` (G, P); ``use`` (n, 3) is what it takes and ``occupancy``
    (n,) its share of the window. Rows hold equal requests, so once an item found no room, none of its row that takes
    as much can: room only shrinks.
    """
    pool_of = [-1] * len(row)
    rows, uses, shares, kws = row.tolist(), use.tolist(), occupancy.tolist(), kw.tolist()
    full: dict[int, float] = {}
    for i in order:
        g, share = rows[i], shares[i]
        if share >= full.get(g, 2.0):
            continue
        need, power = uses[i], kws[g]
        for p in rule.pools(i):
            if room.fits(p, need, power[p] * share):
                room.take(p, need, power[p] * share)
                rule.placed(i, p)
                pool_of[i] = p
                break
        else:
            full[g] = share
    return np.array(pool_of, np.int64)


def roomy(room: Room, use: Float2, kw: Float2) -> tuple[Bool1, Bool1]:
    """Return where each item would still fit, by resources and by power: both (n, P).

    ``use`` is (n, 3), ``kw`` (n, P) already times occupancy.
    """
    free, power = room.free(), room.power_kw()
    resources = np.ones(kw.shape, np.bool_)
    for r in range(3):
        resources &= use[:, r, None] <= free[:, r] + EPS
    return resources, kw <= power[np.array(room.cluster, np.int64)] + EPS
