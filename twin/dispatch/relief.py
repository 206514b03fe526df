"""Room for services where there is none: running tasks asked to go, and room that new tasks and moves leave alone.

A service without room is penalised like an accelerator standing still, and demand climbs within the hour, while a task
that once runs stays for long. So where tasks would leave no room for some growth of demand, that room is kept; and where
there is none even so, running tasks at one of the service's pools pay for the place they keep from it, until moving is
the cheaper way out.
"""

from dataclasses import replace

import numpy as np

from twin.arrays import Float1, Float2, Int1
from twin.dispatch.costs import power_kw
from twin.dispatch.moves import lost_work
from twin.dispatch.room import EPS, Room
from twin.dispatch.services import TINY, Demand, Split, per_token
from twin.view import ACCELERATORS, State, View


def unmet(d: Demand, room: Room, tokens_per_s: Float1) -> Float1:
    """Return how much of ``tokens_per_s`` (D,) would find no place in ``room``, which stays as it is, (D,)."""
    if not (tokens_per_s > TINY).any():
        return np.zeros(len(tokens_per_s))
    more = replace(d, tokens_per_s=tokens_per_s)
    quick = Split(more, room.copy())
    quick.in_order(d.rtt_ms)  # far pools are the common ones: leave them to who has no other
    if not (quick.left > TINY).any():
        return quick.left
    careful = Split(more, room.copy())
    careful.cheapest(per_token(d, d.cost))
    return careful.left


def reserve(d: Demand, room: Room, tokens_per_s: Float1, cost: Float2) -> Float1:
    """Take room for ``tokens_per_s`` (D,) by ``cost`` (D, P) per token; return the accelerators kept, (P,)."""
    kept = Split(replace(d, tokens_per_s=tokens_per_s), room)
    kept.cheapest(cost)
    accelerators: Float1 = (kept.tokens_per_s / np.where(d.ok, d.speed, 1.0)).sum(axis=0)
    return accelerators


def give_back(room: Room, accelerators: Float1, kw: Float1) -> None:
    """Return reserved ``accelerators`` (P,) that draw ``kw`` (P,) each to ``room``."""
    for p in np.flatnonzero(accelerators).tolist():
        a = float(accelerators[p])
        room.take(p, (a, 0.0, 0.0), a * float(kw[p]), -1.0)


def asked_to_go(view: View, d: Demand, short: Float1, room: Room) -> Float1:
    """Return what running tasks pay for their place, (N,) currency per hour: 0 but for those that are asked to go.

    ``short`` (D,) are tokens per second without room. For each service one pool is cleared as far as needed, counting
    what leaves it already, or where none can be, the first that can be in part; those go that lose least by it. Together
    they pay what the service loses.
    """
    pays = np.zeros(len(view.tasks.ids))
    if not (short > TINY).any():
        return pays
    spots = _Spots(view, d, room)
    for k in np.flatnonzero(short > TINY).tolist():
        pools = _nearest(d, k)
        need = [float(short[k] / d.speed[k, p]) for p in pools]
        tries = [(p, a, whole) for whole in (True, False) for p, a in zip(pools, need, strict=True)]
        for p, accelerators, whole in tries:
            going = spots.clear(p, accelerators, whole=whole)
            if going is not None:
                pays[going] += accelerators * view.rates.penalty_per_accelerator_h / max(len(going), 1)
                break
    return pays


def _nearest(d: Demand, k: int) -> list[int]:
    """Return the pools of service ``k``, the cheapest per token first."""
    pools = np.flatnonzero(d.ok[k])
    cost = d.cost[pools] / d.speed[k, pools]
    order: list[int] = pools[np.argsort(cost, kind="stable")].tolist()
    return order


class _Spots:
    """Where running tasks stand and what they would free."""

    def __init__(self, view: View, d: Demand, room: Room) -> None:
        self._view, self._d = view, d
        self._acc = np.maximum(np.array(room.acc), 0.0)
        self._kw = np.maximum(room.power_kw(), 0.0)
        t, cluster = view.tasks, view.pools.cluster
        leaving = np.flatnonzero((t.state == State.MOVING) & (t.reported >= 0) & (t.reported != t.desired))
        at = t.reported[leaving]
        self._acc += np.bincount(at, self._use(leaving), len(cluster))
        self._kw += np.bincount(cluster[at], self._power(leaving, at), len(self._kw))
        stays = (t.state == State.RUNNING) & t.movable & (t.reported == t.desired) & (t.desired >= 0)
        self._task = np.flatnonzero(stays)
        self._pool = t.desired[self._task]
        self._frees_acc = self._use(self._task)
        self._frees_kw = self._power(self._task, self._pool)
        fee = view.network.fee_per_gb[view.clusters.node[cluster[self._pool]]].mean(axis=1)
        self._loss = lost_work(view, self._task) + (t.state_gb[self._task] + t.data_in_gb[self._task]) * fee
        self._asked = np.zeros(len(self._task), np.bool_)

    def _use(self, task: Int1) -> Float1:
        t = self._view.tasks
        accelerators: Float1 = t.request[task, ACCELERATORS] * t.occupancy[task]
        return accelerators

    def _power(self, task: Int1, pool: Int1) -> Float1:
        kw = power_kw(self._view, task)[np.arange(len(task)), pool]
        drawn: Float1 = kw * self._view.tasks.occupancy[task]
        return drawn

    def clear(self, pool: int, accelerators: float, *, whole: bool) -> Int1 | None:
        """Return the tasks that have to go for ``accelerators`` at ``pool``; None if that does not help.

        If it has to be ``whole``, all of the accelerators must come free, counting what is free and what leaves already.
        """
        cluster = int(self._view.pools.cluster[pool])
        lack_acc = accelerators - float(self._acc[pool])
        lack_kw = accelerators * float(self._d.kw[pool]) - float(self._kw[cluster])
        here = self._pool == pool
        near = self._view.pools.cluster[self._pool] == cluster
        frees_acc = np.where(here, self._frees_acc, 0.0) if lack_acc > EPS else np.zeros(len(here))
        frees_kw = np.where(near, self._frees_kw, 0.0) if lack_kw > EPS else np.zeros(len(here))
        helps = frees_acc / max(lack_acc, EPS) + frees_kw / max(lack_kw, EPS)
        some = np.flatnonzero((helps > 0) & ~self._asked)
        going: list[int] = []
        for j in some[np.argsort(self._loss[some] / helps[some], kind="stable")].tolist():
            if lack_acc <= EPS and lack_kw <= EPS:
                break
            going.append(j)
            lack_acc -= float(frees_acc[j])
            lack_kw -= float(frees_kw[j])
        if whole and (lack_acc > EPS or lack_kw > EPS):
            return None
        if not going and not whole:
            return None
        self._asked[going] = True
        self._acc[pool] = max(-lack_acc, 0.0)
        self._kw[cluster] = max(-lack_kw, 0.0)
        return self._task[going]
