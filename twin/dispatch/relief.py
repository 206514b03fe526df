"""Room where there is none: running tasks asked to go, and room that others leave alone.

Two kinds of work cannot wait for room to turn up. A service without room is penalised like an accelerator standing still,
and its demand climbs within the hour, while a task that once runs stays for long. And a large task finds smaller ones in
every gap that opens, for ever. So room is kept for some growth of services where tasks would leave none, and for tasks that
have waited too long; and where there is none even so, running tasks there pay for the place they keep from others, until
moving is the cheaper way out.
"""

from dataclasses import replace

import numpy as np

from twin.arrays import Float1, Float2, Int1
from twin.dispatch.costs import power_kw
from twin.dispatch.moves import lost_work
from twin.dispatch.problem import Problem
from twin.dispatch.room import EPS, Room, roomy
from twin.dispatch.services import TINY, Demand, Split, per_token
from twin.view import State, View

MOST_BLOCKED = 8  # tasks that room is kept for in one window


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


class Relief:
    """Who is asked to go from where, and what they pay for staying.

    Attributes:
        pays: what running tasks pay for their place, (N,) currency per hour: 0 but for those that are asked to go.
    """

    def __init__(self, view: View, room: Room) -> None:
        self._view = view
        self.pays: Float1 = np.zeros(len(view.tasks.ids))
        t, cluster = view.tasks, view.pools.cluster
        self._free = np.maximum(room.free(), 0.0)
        self._kw = np.maximum(room.power_kw(), 0.0)
        leaving = np.flatnonzero((t.state == State.MOVING) & (t.reported >= 0) & (t.reported != t.desired))
        at = t.reported[leaving]
        np.add.at(self._free, at, self._use(leaving))
        np.add.at(self._kw, cluster[at], self._power(leaving, at))
        stays = (t.state == State.RUNNING) & t.movable & (t.reported == t.desired) & (t.desired >= 0)
        self._task = np.flatnonzero(stays)
        self._pool = t.desired[self._task]
        self._frees = self._use(self._task)
        self._frees_kw = self._power(self._task, self._pool)
        fee = view.network.fee_per_gb[view.clusters.node[cluster[self._pool]]].mean(axis=1)
        self._loss = lost_work(view, self._task) + (t.state_gb[self._task] + t.data_in_gb[self._task]) * fee
        self._asked = np.zeros(len(self._task), np.bool_)

    def _use(self, task: Int1) -> Float2:
        t = self._view.tasks
        use: Float2 = t.request[task] * t.occupancy[task, None]
        return use

    def _power(self, task: Int1, pool: Int1) -> Float1:
        kw = power_kw(self._view, task)[np.arange(len(task)), pool]
        drawn: Float1 = kw * self._view.tasks.occupancy[task]
        return drawn

    def for_services(self, d: Demand, short: Float1) -> None:
        """Ask tasks to go for services that lack room for ``short`` (D,) tokens per second.

        For each service one pool is cleared as far as needed, the cheapest where that can be done, else the first that
        can be in part. Together those who are asked pay what the service loses.
        """
        per_h = self._view.rates.penalty_per_accelerator_h
        for k in np.flatnonzero(short > TINY).tolist():
            pools = np.flatnonzero(d.ok[k])
            order = pools[np.argsort(d.cost[pools] / d.speed[k, pools], kind="stable")].tolist()
            for p, whole in [(p, whole) for whole in (True, False) for p in order]:
                accelerators = float(short[k] / d.speed[k, p])
                need = np.array([accelerators, 0.0, 0.0])
                if self._clear(p, need, accelerators * float(d.kw[p]), accelerators * per_h, whole=whole):
                    break

    def for_blocked(self, prob: Problem, overdue: Int1, penalty: Float1, room: Room) -> None:
        """Keep ``room`` for the items ``overdue`` (of ``prob``, in order) that fit nowhere, and ask tasks to go for them.

        Each waits for one pool, where least is lacking; what is free there is kept for it. ``penalty`` (of the items of
        ``prob``) is what an hour of waiting costs, paid together by those who are asked.
        """
        kw = prob.costs.kw[prob.row[overdue]] * prob.occupancy[overdue, None]
        resources, power = roomy(room, prob.use[overdue], kw)
        fits = (prob.ok[prob.row[overdue]] & resources & power).any(axis=1)
        for j in np.flatnonzero(~fits)[:MOST_BLOCKED].tolist():
            i = int(overdue[j])
            p = self._nearest(prob.ok[prob.row[i]], prob.use[i], kw[j])
            if p < 0:
                continue
            free, power_kw_left = room.free()[p], room.power[room.cluster[p]]
            room.take(
                p, np.minimum(np.maximum(free, 0.0), prob.use[i]).tolist(), min(max(power_kw_left, 0.0), kw[j, p])
            )
            self._clear(p, prob.use[i], float(kw[j, p]), float(penalty[i]), whole=False)

    def _nearest(self, ok: Float1, use: Float1, kw: Float1) -> int:
        """Return the pool of ``ok`` (P,) where the largest share of ``use`` (3,) and ``kw`` (P,) that lacks is least."""
        lack = np.maximum(use - self._free, 0.0) / np.maximum(use, EPS)
        lack_kw = np.maximum(kw - self._kw[self._view.pools.cluster], 0.0) / np.maximum(kw, EPS)
        worst = np.where(ok, np.maximum(lack.max(axis=1, initial=0.0), lack_kw), np.inf)
        p = int(worst.argmin()) if len(worst) else -1
        return p if p >= 0 and np.isfinite(worst[p]) else -1

    def _clear(self, pool: int, need: Float1, kw: float, worth: float, *, whole: bool) -> bool:
        """Ask tasks to go for ``need`` (3,) and ``kw`` at ``pool``, those first that lose least; return whether it helps.

        What is free and what leaves counts. If it has to be ``whole`` and cannot, or nobody can help, nobody is asked.
        """
        cluster = int(self._view.pools.cluster[pool])
        lack = np.append(need - self._free[pool], kw - self._kw[cluster])
        here = self._pool == pool
        near = self._view.pools.cluster[self._pool] == cluster
        frees = np.concatenate(
            [np.where(here[:, None], self._frees, 0.0), np.where(near, self._frees_kw, 0.0)[:, None]], axis=1
        )
        helps = np.where(lack > EPS, np.minimum(frees, np.maximum(lack, 0.0)) / np.maximum(lack, EPS), 0.0).sum(axis=1)
        some = np.flatnonzero((helps > 0) & ~self._asked)
        going: list[int] = []
        for j in some[np.argsort(self._loss[some] / helps[some], kind="stable")].tolist():
            if (lack <= EPS).all():
                break
            going.append(j)
            lack = lack - frees[j]
        if (lack > EPS).any() and (whole or not going):
            return False
        self._asked[going] = True
        self._free[pool] = np.maximum(-lack[:3], 0.0)
        self._kw[cluster] = max(-float(lack[3]), 0.0)
        self.pays[self._task[going]] += worth / max(len(going), 1)
        return True
