"""The window as one assignment problem: new work, work that has to leave, and running work that might move, side by side.

Every item has an outside option, what it costs per hour not to be (re)placed: for running work its cost where it is,
for work without a place the penalty on top of its dearest place, so that nothing that can run is left out to save
money. A place costs energy, network and, for a move, the cost of the move spread over the hours for which today's
saving is believed. All of it is weighed by occupancy, the share of the window that the item uses.
"""

from dataclasses import dataclass

import numpy as np

from twin.arrays import Bool1, Float1, Float2, Int1, Int2
from twin.dispatch.costs import Costs, classes, costs, energy_price, equal_rows, start_hours
from twin.dispatch.moves import lost_work
from twin.dispatch.problem import Problem
from twin.view import ACCELERATORS, CPU_CORES, State, View

OVERDUE = 10.0


@dataclass(frozen=True, slots=True)
class Market:
    """n items in G classes against P pools.

    Attributes:
        task: index into the view's tasks, (n,).
        row: class of each item, (n,).
        occupancy: share of the window, (n,).
        use: request times occupancy, (n, 3).
        out: cost of the outside option, currency per hour, (n,).
        mover: runs already and might move, (n,).
        rank: precedence among items without a place: lower goes first, (n,).
        cost: currency per hour, inf where the class may not go, (G, P).
        kw: IT power, (G, P).
        request: (G, 3).
    """

    task: Int1
    row: Int1
    occupancy: Float1
    use: Float2
    out: Float1
    mover: Bool1
    rank: Int1
    cost: Float2
    kw: Float2
    request: Float2

    def objective(self, pool: Int1) -> float:
        """Return the cost per hour of items at ``pool`` (n,), -1 for the outside option."""
        at = np.where(pool >= 0, self.cost[self.row, np.maximum(pool, 0)], self.out) if self.cost.size else self.out
        return float((self.occupancy * at).sum())

    def order(self) -> Int2:
        """Return the pools of each class by cost, cheapest first, ties to the lowest index, (G, P)."""
        return np.argsort(self.cost, axis=1, kind="stable")


@dataclass(frozen=True, slots=True)
class Movers:
    """Running tasks that would be cheaper elsewhere.

    Attributes:
        task: (m,).
        row: class of each in ``cost``, (m,).
        base: class of each in ``costs``, (m,).
        stay: cost where it is, currency per hour, (m,).
        cost: cost per hour elsewhere with the move spread over its hours, inf where it may not go, (G', P).
        kw: (G', P).
        request: (G', 3).
        costs: costs without the move, of the base classes.
    """

    task: Int1
    row: Int1
    base: Int1
    stay: Float1
    cost: Float2
    kw: Float2
    request: Float2
    costs: Costs


def movers(view: View, carbon: float, break_even_h: float, hysteresis: float, pays: Float1) -> Movers | None:
    """Return the running tasks for which some pool is cheaper even after paying for the move; None: there is none.

    ``pays`` (N,) is what tasks pay for staying besides their running cost. A move pays if saving per hour x min(remaining, break-even) exceeds (1 + hysteresis) x cost of the move.
    """
    t = view.tasks
    task = np.flatnonzero((t.state == State.RUNNING) & t.movable & (t.desired >= 0) & (t.desired == t.reported))
    task = task[view.pools.holds[t.desired[task]]]
    task = task[_may_pay(view, task, carbon, break_even_h, hysteresis) | (pays[task] > 0)]
    if not len(task):
        return None
    hours = np.full(len(task), np.inf)  # input data is there already
    member, base = classes(view, task, hours)
    at = costs(view, task[member], carbon, hours[member])
    open_cost = np.where(at.ok, at.cost, np.inf)
    here = t.desired[task]
    stay = at.cost[base, here] + pays[task]
    cheaper = np.flatnonzero(open_cost.min(axis=1)[base] < stay)
    if not len(cheaper):
        return None
    task, base, here, stay = task[cheaper], base[cheaper], here[cheaper], stay[cheaper]
    lost = lost_work(view, task)
    once_paid = (t.state_gb[task] > 0) | (t.data_in_gb[task] > 0) | (lost > 0)
    trust_h = np.where(once_paid, np.maximum(np.minimum(start_hours(view, task), break_even_h), 1e-9), 1.0)
    node = view.clusters.node[view.pools.cluster]
    source = np.where(once_paid, node[here], -1)
    leaves = np.where(pays[task] > 0, here, -1)  # who pays for its place may not take it again
    first, row = equal_rows([base, source, t.state_gb[task], lost, trust_h, leaves])
    fee = np.where(once_paid[first, None], view.network.fee_per_gb[node[here[first]]][:, node], 0.0)
    once = t.state_gb[task[first], None] * fee + at.start[base[first]] + lost[first, None]
    cost = open_cost[base[first]] + (1.0 + hysteresis) * once / trust_h[first, None]
    gone = np.flatnonzero(leaves[first] >= 0)
    cost[gone, leaves[first[gone]]] = np.inf
    keep = np.flatnonzero(cost.min(axis=1)[row] < stay)
    if not len(keep):
        return None
    used, row = np.unique(row[keep], return_inverse=True)
    kw, request = at.kw[base[first[used]]], t.request[task[first[used]]]
    return Movers(task[keep], row, base[keep], stay[keep], cost[used], kw, request, at)


def _may_pay(view: View, task: Int1, carbon: float, break_even_h: float, hysteresis: float) -> Bool1:
    """Return for which running tasks a move could pay at all, (n,): a bound that asks no pool in particular.

    No place is cheaper than the least energy price and the least fee from the origin, each wherever that may be.
    """
    t, pools = view.tasks, view.pools
    here, request = t.desired[task], t.request[task]
    per_kwh = energy_price(view, carbon)[1]
    fee = view.network.fee_per_gb[:, view.clusters.node[pools.cluster]]
    per_accelerator, per_core = per_kwh * pools.w_per_accelerator / 1000.0, per_kwh * pools.w_per_core / 1000.0
    kw = t.power_w[task] / 1000.0
    devices = np.isnan(kw)
    least = np.where(
        devices, request[:, 0] * _least(per_accelerator) + request[:, 1] * _least(per_core), kw * _least(per_kwh)
    )
    now = np.where(devices, request[:, 0] * per_accelerator[here] + request[:, 1] * per_core[here], kw * per_kwh[here])
    nearest = fee.min(axis=1, initial=np.inf)[t.origin[task]]
    saving = now - least + t.data_rate_gbph[task] * (fee[t.origin[task], here] - nearest)
    once = t.data_in_gb[task] * nearest + lost_work(view, task)
    trust_h = np.maximum(np.minimum(start_hours(view, task), break_even_h), 1e-9)
    slack = 1e-9 * (np.abs(now) + np.abs(least) + 1.0)  # the exact test follows; this one may only let too many pass
    may: Bool1 = saving + slack > (1.0 + hysteresis) * once / trust_h
    return may


def _least(x: Float1) -> float:
    return float(x.min(initial=np.inf))


def market(view: View, prob: Problem, move: Movers | None, overdue: Int1) -> Market:
    """Return the market of the tasks of ``prob``, which need a place, and of those that might move.

    The penalty of the items ``overdue`` of ``prob`` counts ``OVERDUE`` times: they go before what came later.
    """
    first = np.zeros(prob.costs.kw.shape[0], np.int64)
    first[prob.row] = prob.task  # any member of the class: its request is the same
    cost = np.where(prob.ok, prob.costs.cost, np.inf)
    dearest = np.where(prob.ok, prob.costs.cost, 0.0).max(axis=1, initial=0.0)
    lost = penalty(view, prob.task)
    lost[overdue] *= OVERDUE
    out = lost + dearest[prob.row]
    rank = np.empty(len(prob.task), np.int64)
    rank[prob.order] = np.arange(len(prob.task))
    request = view.tasks.request[first]
    new = Market(
        prob.task, prob.row, prob.occupancy, prob.use, out, np.zeros(len(out), np.bool_), rank, cost, prob.costs.kw,
        request,
    )  # fmt: skip
    return new if move is None else _with_movers(view, new, move)


def _with_movers(view: View, new: Market, move: Movers) -> Market:
    occupancy = view.tasks.occupancy[move.task]
    n, m, rows = len(new.task), len(move.task), len(new.cost)
    return Market(
        task=np.concatenate([new.task, move.task]),
        row=np.concatenate([new.row, move.row + rows]),
        occupancy=np.concatenate([new.occupancy, occupancy]),
        use=np.concatenate([new.use, view.tasks.request[move.task] * occupancy[:, None]]),
        out=np.concatenate([new.out, move.stay]),
        mover=np.arange(n + m) >= n,
        rank=np.concatenate([new.rank, n + np.arange(m)]),
        cost=np.concatenate([new.cost, move.cost]),
        kw=np.concatenate([new.kw, move.kw]),
        request=np.concatenate([new.request, move.request]),
    )


def penalty(view: View, tasks: Int1) -> Float1:
    """Return what an hour of ``tasks`` not delivered costs, currency, (n,): penalty rates x weight of the priority."""
    t, rates = view.tasks, view.rates
    request = t.request[tasks]
    per_h = (
        request[:, ACCELERATORS] * rates.penalty_per_accelerator_h + request[:, CPU_CORES] * rates.penalty_per_core_h
    )
    weight = np.array(rates.priority_weight)[np.minimum(t.priority[tasks], len(rates.priority_weight) - 1)]
    weighted: Float1 = per_h * weight
    return weighted
