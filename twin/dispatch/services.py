"""Splitting the demand for services over pools. It is divisible, stands between windows and comes before new tasks.

Each window gives the standing split back and splits anew. Accelerators used = tokens per second / tokens per second of
one accelerator; power = accelerators x watts of a busy one.
"""

from dataclasses import dataclass

import numpy as np

from twin.arrays import Bool1, Bool2, Float1, Float2, Int1
from twin.dispatch.costs import energy_price
from twin.dispatch.room import Room
from twin.view import View

TINY = 1e-9  # tokens per second, or accelerators, that are nothing
SPARE = 2e-4  # accelerators left free where services fill a pool: executors round each share up to a millionth


@dataclass(frozen=True, slots=True)
class Demand:
    """D service demands against P pools.

    Attributes:
        tokens_per_s: what is asked for, (D,).
        speed: tokens per second of one accelerator, 0 where the service may not be served, (D, P).
        ok: model served, pool open, within the RTT limit, (D, P).
        rtt_ms: (D, P), NaN where unknown.
        kw: IT power of one busy accelerator, (P,) kW.
        cost: of one accelerator, currency per hour, (P,).
    """

    tokens_per_s: Float1
    speed: Float2
    ok: Bool2
    rtt_ms: Float2
    kw: Float1
    cost: Float1


def demand(view: View, carbon: float, choice: Bool1) -> Demand:
    """Return the demand of ``view`` against the pools of ``choice`` (P,)."""
    s, p = view.services, view.pools
    node = view.clusters.node[p.cluster]
    rtt_ms = view.network.rtt_ms[s.origin[:, None], node]
    limit_ms = s.latency_ms[:, None]
    speed = np.ascontiguousarray(p.tokens_per_s[:, s.model].T)
    ok = (speed > 0) & p.open & choice & ((rtt_ms <= limit_ms) | np.isinf(limit_ms))
    kw = p.w_per_accelerator / 1000.0
    return Demand(s.tokens_per_s, np.where(ok, speed, 0.0), ok, rtt_ms, kw, kw * energy_price(view, carbon)[1])


class Split:
    """Tokens per second of each service from each pool, growing as room is taken.

    Attributes:
        tokens_per_s: (D, P).
        left: what is not served yet, (D,).
    """

    def __init__(self, d: Demand, room: Room) -> None:
        self._d, self._room = d, room
        self.tokens_per_s: Float2 = np.zeros(d.speed.shape)
        self.left: Float1 = d.tokens_per_s.copy()

    def give(self, k: int, p: int, tokens: float) -> float:
        """Serve up to ``tokens`` of service ``k`` at pool ``p`` as far as there is room; return how many."""
        room, kw, speed = self._room, float(self._d.kw[p]), float(self._d.speed[k, p])
        most = room.acc[p] - SPARE
        if kw > 0:
            most = min(most, room.power[room.cluster[p]] / kw - SPARE)
        given = min(tokens, max(most, 0.0) * speed)
        if given <= TINY:
            return 0.0
        room.take(p, (given / speed, 0.0, 0.0), given / speed * kw)
        self.tokens_per_s[k, p] += given
        self.left[k] = max(float(self.left[k]) - given, 0.0)
        return given

    def in_order(self, score: Float2) -> None:
        """Serve one service after the other, each from its pools in order of ``score`` (D, P), lowest first."""
        ok = self._d.ok
        order = np.argsort(np.where(ok, score, np.inf), axis=1, kind="stable")
        for k in range(len(self.left)):
            for p in order[k, : int(ok[k].sum())].tolist():
                if self.left[k] <= TINY:
                    break
                self.give(k, p, float(self.left[k]))

    def in_turns(self) -> None:
        """Serve the k-th service from the k-th of its pools on, in turns; the same every window, so nothing hops about."""
        rank = np.cumsum(self._d.ok, axis=1) - 1
        pools = np.maximum(self._d.ok.sum(axis=1), 1)[:, None]
        self.in_order((rank - np.arange(len(self.left))[:, None]) % pools)

    def cheapest(self, cost: Float2) -> None:
        """Serve from the pools of least ``cost`` (D, P) per token; where one fills up, who loses most goes first."""
        open_cost = np.where(self._d.ok, cost, np.inf)
        if self._all_at_best(open_cost):
            return
        known = np.abs(open_cost[self._d.ok])
        dear = 2.0 * float(known.max(initial=0.0)) + 1.0  # to be left out counts more than any place
        k = np.flatnonzero((self.left > TINY) & self._d.ok.any(axis=1))
        while len(k):
            full = self._round(k, open_cost[k], dear)
            open_cost[:, full] = np.inf
            k = k[(self.left[k] > TINY) & np.isfinite(open_cost[k]).any(axis=1)]

    def _round(self, k: Int1, cost: Float2, dear: float) -> list[int]:
        """Serve services ``k`` at their best pool by ``cost`` (their rows), most regret first; return what filled up.

        Regret is what the next best pool costs more per accelerator. Who finds its best pool full waits for the next
        round.
        """
        each = np.arange(len(k))
        best = cost.argmin(axis=1)
        least = cost[each, best]
        cost[each, best] = np.inf
        regret = (np.minimum(cost.min(axis=1), dear) - least) * self._d.speed[k, best]
        full: dict[int, None] = {}
        for j in np.argsort(-regret, kind="stable").tolist():
            i, p = int(k[j]), int(best[j])
            if p not in full:
                self.give(i, p, float(self.left[i]))
                if self.left[i] > TINY:
                    full[p] = None
        return list(full)

    def _all_at_best(self, cost: Float2) -> bool:
        """Put every service at its cheapest pool if all of that fits; return whether it did (else nothing changes)."""
        d, room = self._d, self._room
        k = np.flatnonzero(self.left > TINY)
        if not len(k):
            return True
        best = cost[k].argmin(axis=1) if cost.shape[1] else k
        if not cost.shape[1] or not d.ok[k, best].all():
            return False
        accelerators = np.bincount(best, self.left[k] / d.speed[k, best], len(d.kw))
        kw = np.bincount(np.array(room.cluster, np.int64), accelerators * d.kw, len(room.power))
        fits = accelerators <= np.maximum(np.array(room.acc) - SPARE, 0.0)
        if not fits.all() or (kw > np.maximum(room.power_kw() - SPARE * d.kw.max(initial=0.0), 0.0)).any():
            return False
        for i, p in zip(k.tolist(), best.tolist(), strict=True):
            self.give(i, p, float(self.left[i]))
        return True


def per_token(d: Demand, cost: Float1) -> Float2:
    """Return ``cost`` (P,) of an accelerator as cost of a token per second, (D, P), inf where it is not served."""
    return np.where(d.ok, cost / np.where(d.ok, d.speed, 1.0), np.inf)
