"""The policies that ours is compared with: new tasks in order of precedence, each by one rule, what runs stays.

Work on a pool that holds none (down, draining) is moved off by the same rule; ``stay`` does not even do that. Services
are split before tasks by the same idea as the rule. Order: priority, then time of submission, then id.
"""

from collections.abc import Iterable

import numpy as np

from twin.arrays import Bool1, Float1, Float2
from twin.dispatch import services
from twin.dispatch.explain import Plan, decide
from twin.dispatch.policy import Policy
from twin.dispatch.problem import Problem, problem
from twin.dispatch.room import Room, Rule, room_of
from twin.view import Decisions, PriceCarry, View


class Ranked:
    """Pools in a fixed order per row: the lowest score first, ties to the lowest pool."""

    def __init__(self, prob: Problem, score: Float2) -> None:
        """``score`` is (G, P); pools that are not ok are left out."""
        ok = prob.ok
        order: list[list[int]] = np.argsort(np.where(ok, score, np.inf), axis=1, kind="stable").tolist()
        self._pools = [o[:n] for o, n in zip(order, ok.sum(axis=1).tolist(), strict=True)]
        self._row: list[int] = prob.row.tolist()

    def pools(self, item: int) -> Iterable[int]:
        """Return the pools of the row of ``item``."""
        return self._pools[self._row[item]]

    def placed(self, item: int, pool: int) -> None:
        """Nothing to remember."""


class Turns:
    """Pools in turns: the search starts behind the pool that took the last task."""

    def __init__(self, prob: Problem, cursor: int) -> None:
        self._ok = [np.flatnonzero(ok) for ok in prob.ok]
        self._row: list[int] = prob.row.tolist()
        self.cursor = cursor

    def pools(self, item: int) -> Iterable[int]:
        """Return the pools of ``item`` from the cursor on, around."""
        ok = self._ok[self._row[item]]
        k = int(np.searchsorted(ok, self.cursor))
        return [*ok[k:].tolist(), *ok[:k].tolist()]

    def placed(self, item: int, pool: int) -> None:  # noqa: ARG002 - the rule's protocol
        """Move the cursor behind ``pool``."""
        self.cursor = pool + 1


class Tightest:
    """The pool that is left fullest: least free share, summed over its resources, after the task."""

    def __init__(self, prob: Problem, room: Room, capacity: Float2) -> None:
        inverse = np.where(capacity > 0, 1.0 / np.where(capacity > 0, capacity, 1.0), 0.0)
        self._free = (np.maximum(room.free(), 0.0) * inverse).sum(axis=1)
        self._inverse, self._use = inverse, prob.use
        self._ok = [np.flatnonzero(ok) for ok in prob.ok]
        self._row: list[int] = prob.row.tolist()

    def pools(self, item: int) -> Iterable[int]:
        """Return the pools of ``item``, the fullest afterwards first."""
        ok = self._ok[self._row[item]]
        left = self._free[ok] - (self._use[item] * self._inverse[ok]).sum(axis=1)
        return ok[np.argsort(left, kind="stable")].tolist()  # type: ignore[no-any-return]

    def placed(self, item: int, pool: int) -> None:
        """Remember how much fuller ``pool`` is."""
        self._free[pool] -= (self._use[item] * self._inverse[pool]).sum()


def baseline(view: View, carry: PriceCarry, policy: Policy) -> tuple[Decisions, PriceCarry]:
    """Decide ``view`` by one of the baselines."""
    choice = _choice(view, policy)
    prob = problem(view, carbon_price(policy), choice, evict=policy.name != "stay")
    room = room_of(view)
    split, unserved = _split(view, policy, choice, room)
    rule = _rule(view, prob, policy, room, carry.cursor)
    pool = prob.fill(room, rule)
    cursor = rule.cursor if isinstance(rule, Turns) else carry.cursor
    return decide(view, Plan(prob, pool, split, unserved), room), PriceCarry(
        carry.pool_prices, carry.power_prices, cursor
    )


def _choice(view: View, policy: Policy) -> Bool1:
    """Return the pools that the policy considers, (P,): all, or those of the place it is pinned to (maybe none)."""
    if "place" not in policy.params:
        return np.ones(len(view.pools.cluster), np.bool_)
    place, c = policy.text("place"), view.clusters
    inside = [place in {cid, zone} for cid, zone in zip(c.ids, c.zone, strict=True)]
    return np.array(inside, np.bool_)[view.pools.cluster]


def _rule(view: View, prob: Problem, policy: Policy, room: Room, cursor: int) -> Rule:
    """Return the rule of the policy."""
    if policy.name == "round-robin":
        return Turns(prob, cursor)
    if policy.name == "best-fit":
        return Tightest(prob, room, view.pools.capacity)
    return Ranked(prob, _score(view, policy, prob.costs.cost, prob.costs.rtt_ms))


def _score(view: View, policy: Policy, cost: Float2, rtt_ms: Float2) -> Float2:
    """Return what a ranking policy goes by, (rows, P): lower is better. Unknown values come last, after all known.

    First-fit and pinned rank all pools equal: the first with room.
    """
    c, at = view.clusters, view.pools.cluster
    everywhere = np.zeros(cost.shape)
    match policy.name:
        case "cost-greedy" | "stay":
            return cost
        case "price-greedy":
            return everywhere + c.price_per_mwh[at]
        case "carbon-greedy":
            return everywhere + _last_if_unknown(c.carbon_g_per_kwh[at])
        case "latency-first":
            return _last_if_unknown(rtt_ms)
        case _:
            return everywhere


def _last_if_unknown(x: Float2) -> Float2:
    return np.where(np.isnan(x), np.finfo(np.float64).max, x)


def _split(view: View, policy: Policy, choice: Bool1, room: Room) -> tuple[Float2, Float1]:
    """Split the services by the idea of the policy, taking their room."""
    if not len(view.services.keys):
        return np.zeros((0, len(view.pools.cluster))), np.zeros(0)
    d = services.demand(view, carbon_price(policy), choice)
    split = services.Split(d, room)
    if policy.name == "round-robin":
        split.in_turns()
    else:
        split.in_order(_score(view, policy, services.per_token(d, d.cost), d.rtt_ms))
    return split.tokens_per_s, split.left


def carbon_price(policy: Policy) -> float:
    """Return the carbon price of a policy, 0 for those that have none."""
    return policy.number("carbon") if "carbon" in policy.params else 0.0
