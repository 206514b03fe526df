"""From a plan to decisions: what changes in money, carbon and RTT, the runner-up, and the reason for what was not done."""

from dataclasses import dataclass

import numpy as np

from twin.arrays import Bool2, Byte1, Float1, Float2, Int1
from twin.dispatch.moves import move_cost
from twin.dispatch.problem import Problem
from twin.dispatch.room import Room, roomy
from twin.view import Action, Decisions, Reason, State, View


@dataclass(frozen=True, slots=True)
class Plan:
    """What a policy made of a problem: a pool per task (n,), -1 to leave it where it is, and the split of services.

    ``lower_bound`` and ``objective`` as in :class:`twin.view.Decisions`.
    """

    problem: Problem
    pool: Int1
    split: Float2
    unserved: Float1
    lower_bound: float = float("nan")
    objective: float = float("nan")


def decide(view: View, plan: Plan, room: Room) -> Decisions:
    """Return the decisions of ``plan``, explained; ``room`` is what is left after it."""
    prob = plan.problem
    item = np.flatnonzero(plan.pool >= 0)
    item = item[np.argsort(prob.task[item], kind="stable")]
    task, pool, row = prob.task[item], plan.pool[item], prob.row[item]
    place = view.tasks.state[task] == State.WAITING
    old = np.where(place, -1, view.tasks.desired[task])
    fit = _roomy(prob, item, room)
    runner_up, more = _runner_up(prob.costs.cost[row], prob.ok[row] & fit[0] & fit[1], pool)
    c = prob.costs
    here, there = (row, pool), (row, np.maximum(old, 0))
    return Decisions(
        task=task,
        action=np.where(place, Action.PLACE, Action.MOVE).astype(np.uint8),
        pool=pool,
        start_at=np.where(place, view.effective_at, 0),
        runner_up=runner_up,
        runner_up_more=more,
        delta_energy=c.energy[here] - np.where(place, 0.0, c.energy[there]),
        delta_network=c.network[here] - np.where(place, 0.0, c.network[there]),
        delta_move=np.where(place, c.start[here], move_cost(view, task, np.maximum(old, 0), pool)),
        delta_carbon_g=_grams(view, c.kw[here], pool) - np.where(place, 0.0, _grams(view, c.kw[there], old)),
        delta_rtt_ms=c.rtt_ms[here] - np.where(place, 0.0, c.rtt_ms[there]),
        binding=_binding(view, prob, row, pool, fit),
        unplaced=_unplaced(view, plan, room),
        split=plan.split,
        unserved=plan.unserved,
        lower_bound=plan.lower_bound,
        objective=plan.objective,
    )


def _grams(view: View, kw: Float1, pool: Int1) -> Float1:
    """Return the emissions of ``kw`` of IT power at ``pool``, gCO2e per hour, NaN where the intensity is unknown."""
    c = view.clusters
    return kw * (c.pue * c.carbon_g_per_kwh)[view.pools.cluster[pool]]


def _roomy(prob: Problem, item: Int1, room: Room) -> tuple[Bool2, Bool2]:
    kw = prob.costs.kw[prob.row[item]] * prob.occupancy[item, None]
    return roomy(room, prob.use[item], kw)


def _runner_up(cost: Float2, ok: Bool2, pool: Int1) -> tuple[Int1, Float1]:
    """Return the cheapest pool with room besides the chosen one (-1: none) and what it costs more, NaN: none."""
    if not cost.size:
        return np.full(len(pool), -1, np.int64), np.full(len(pool), np.nan)
    each = np.arange(len(pool))
    others = np.where(ok, cost, np.inf)
    others[each, pool] = np.inf
    best = others.argmin(axis=1)
    least = others[each, best]
    none = np.isinf(least)
    return np.where(none, -1, best), np.where(none, np.nan, least - cost[each, pool])


def _binding(view: View, prob: Problem, row: Int1, pool: Int1, fit: tuple[Bool2, Bool2]) -> Byte1:
    """Return what kept each placed task from the cheapest compatible pool: NONE where it got it (or an equal one)."""
    if not len(row):
        return np.zeros(0, np.uint8)
    c = prob.costs
    each = np.arange(len(row))
    compatible = np.where(c.allowed[row], c.cost[row], np.inf)
    best = compatible.argmin(axis=1)
    at = (row, best)
    reasons = [
        (compatible[each, best] >= c.cost[row, pool], Reason.NONE),
        (~c.near[at], Reason.LATENCY),
        (~view.pools.open[best], Reason.CLUSTER_STATE),
        (c.barred[at], Reason.BARRED),
        (~prob.choice[best], Reason.POLICY),
        (~c.within[at] | ~fit[0][each, best], Reason.CAPACITY),
        (~fit[1][each, best], Reason.POWER_CAP),
    ]
    return np.select([m for m, _ in reasons], [np.uint8(r) for _, r in reasons], np.uint8(Reason.POLICY))


def _unplaced(view: View, plan: Plan, room: Room) -> Byte1:
    """Return why each waiting task stays without a place, NONE for all others, (N,).

    The reason is the constraint that took away the last pool, asked in the order compatible, near, open, not barred,
    considered by the policy, large enough, with room, with power. A task that is left out with room to spare was left
    out by the policy.
    """
    prob, c = plan.problem, plan.problem.costs
    reason = np.where(view.tasks.state == State.WAITING, np.uint8(Reason.NOT_YET), np.uint8(Reason.NONE))
    mine = view.tasks.state[prob.task] == State.WAITING
    reason[prob.task[mine]] = Reason.NONE
    item = np.flatnonzero(mine & (plan.pool < 0))
    if not len(item):
        return reason
    row = prob.row[item]
    resources, power = _roomy(prob, item, room)
    why = np.full(len(item), np.uint8(Reason.POLICY))
    left = np.ones(resources.shape, np.bool_)
    for mask, name in (
        (c.allowed[row], Reason.COMPATIBILITY),
        (c.near[row], Reason.LATENCY),
        (view.pools.open, Reason.CLUSTER_STATE),
        (~c.barred[row], Reason.BARRED),
        (prob.choice, Reason.POLICY),
        (c.within[row] & resources, Reason.CAPACITY),
        (power, Reason.POWER_CAP),
    ):
        had = left.any(axis=1)
        left &= mask
        why[had & ~left.any(axis=1)] = name
        if name is Reason.COMPATIBILITY:
            why[~had] = name  # no pools at all
    reason[prob.task[item]] = why
    return reason
