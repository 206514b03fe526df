"""What a task costs at every pool, and where it may run at all.

All costs are rates in currency per hour while the task runs, so that tasks of different length compare; what is paid
once per start is spread over the hours it serves. Rows are tasks or classes of equal tasks (:func:`classes`).
"""

from dataclasses import dataclass, fields

import numpy as np

from twin.arrays import AnyArray, Bool2, Float1, Float2, Int1
from twin.view import View

MS_PER_H = 3_600_000
AMORTISE_H = 24.0  # a start is paid back by at most a day of the task
SMALL = 48  # fewer tasks than this are faster without looking for equal ones


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs and permissions of G rows at P pools, all (G, P).

    Attributes:
        kw: IT power while it runs, kW.
        energy, network: currency per hour (energy without a carbon price).
        start: currency once per start (input data from the origin).
        cost: what decides, currency per hour: energy, carbon price, network and the start spread over its hours.
        rtt_ms: between origin and pool, NaN where unknown.
        allowed: the pool is of a kind that the task can use.
        near: the RTT limit holds. An unknown RTT keeps no limit.
        barred: barred after a rejection.
        within: healthy capacity and power cap hold the task if nothing else ran.
        ok: all of these, and the pool is open.
    """

    kw: Float2
    energy: Float2
    network: Float2
    start: Float2
    cost: Float2
    rtt_ms: Float2
    allowed: Bool2
    near: Bool2
    barred: Bool2
    within: Bool2
    ok: Bool2

    def take(self, rows: Int1) -> "Costs":
        """Return the costs of ``rows``."""
        return Costs(*(getattr(self, f.name)[rows] for f in fields(self)))

    def join(self, other: "Costs") -> "Costs":
        """Return the rows of both, those of ``other`` behind."""
        return Costs(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))


def classes(view: View, tasks: Int1, start_h: Float1) -> tuple[Int1, Int1]:
    """Return a member of each class of equal ``tasks`` and the class of each task: shapes (G,) and (n,).

    Equal means: the same row in every array of :class:`Costs`, exactly. ``start_h`` (n,) are the hours over which a
    start is spread; it tells tasks apart only where there is something to spread. Classes are in order of their first
    member.
    """
    n = len(tasks)
    if n < SMALL:
        return np.arange(n), np.arange(n)
    t = view.tasks
    data_gb = t.data_in_gb[tasks]
    columns: list[AnyArray] = [
        t.shape[tasks], t.origin[tasks], t.latency_ms[tasks], t.power_w[tasks], t.data_rate_gbph[tasks],
        data_gb, np.where(data_gb > 0, start_h, 0.0),
        *(t.request[tasks, r] for r in range(3)),
        *(t.barred[tasks, k] for k in range(t.barred.shape[1])),
    ]  # fmt: skip
    return equal_rows(columns)


def equal_rows(columns: list[AnyArray]) -> tuple[Int1, Int1]:
    """Return the first index of each distinct row of ``columns`` (each (n,), 8 bytes wide) and the class of each row.

    Rows are compared by their bits. They are sorted by a hash; a collision is noticed and then all columns are sorted.
    """
    bits = [np.ascontiguousarray(c).view(np.uint64) for c in columns]
    key = np.zeros(len(bits[0]), np.uint64)
    for b in bits:
        key ^= b
        key *= np.uint64(0x9E3779B97F4A7C15)
        key ^= key >> np.uint64(29)
    order = np.argsort(key, kind="stable")
    first, of = _runs(order, [key])
    if any((b != b[first][of]).any() for b in bits):
        first, of = _runs(np.lexsort(bits), bits)
    rank = np.argsort(first, kind="stable")  # number the classes by their first member
    place = np.empty_like(rank)
    place[rank] = np.arange(len(rank))
    return first[rank], place[of]


def _runs(order: Int1, keys: list[AnyArray]) -> tuple[Int1, Int1]:
    """Return first member and class number of equal neighbours in ``order`` (a stable sort, so first is lowest)."""
    new = np.zeros(len(order), np.bool_)
    new[:1] = True
    for key in keys:
        k = key[order]
        new[1:] |= k[1:] != k[:-1]
    of = np.empty(len(order), np.int64)
    of[order] = np.cumsum(new) - 1
    return order[new], of


def energy_price(view: View, carbon: float) -> tuple[Float1, Float1]:
    """Return the cost of one kWh of IT energy per pool, plain and with a carbon price: currency, both (P,).

    ``carbon`` is in currency per kg. Where the intensity is unknown the highest known one counts: not knowing must not
    make a place look clean.
    """
    c = view.clusters
    plain = c.pue * c.price_per_mwh / 1000.0
    at = view.pools.cluster
    if carbon == 0:
        return plain[at], plain[at]
    known = c.carbon_g_per_kwh[~np.isnan(c.carbon_g_per_kwh)]
    grams = np.where(np.isnan(c.carbon_g_per_kwh), known.max() if len(known) else 0.0, c.carbon_g_per_kwh)
    return plain[at], (plain + c.pue * carbon * grams / 1000.0)[at]


def power_kw(view: View, tasks: Int1) -> Float2:
    """Return the IT power of ``tasks`` at every pool, (n, P) kW: the task's own, else that of the devices it asks for."""
    t, p = view.tasks, view.pools
    watts = t.power_w[tasks][:, None]
    unknown = np.isnan(watts)
    if not unknown.any():
        return np.repeat(watts / 1000.0, len(p.cluster), axis=1)
    request = t.request[tasks]
    devices = request[:, 0, None] * p.w_per_accelerator + request[:, 1, None] * p.w_per_core
    return np.where(unknown, devices, watts) / 1000.0


def start_hours(view: View, tasks: Int1) -> Float1:
    """Return the hours over which a start of ``tasks`` is spread, (n,): what is left to run, at most a day."""
    shortest = 1.0  # seconds; a task beyond its expected end still has some time to go
    return np.minimum(np.maximum(view.tasks.remaining_s[tasks], shortest) / 3600.0, AMORTISE_H)


def costs(view: View, tasks: Int1, carbon: float = 0.0, start_h: Float1 | None = None) -> Costs:
    """Return costs and permissions of ``tasks`` at every pool; ``start_h`` as in :func:`start_hours`.

    cost = kW · PUE · (price / 1000 + carbon · g / 1000) + GB/h · fee + GB · fee / hours.
    """
    t, p = view.tasks, view.pools
    node = view.clusters.node[p.cluster]
    origin = t.origin[tasks][:, None]
    plain, full = energy_price(view, carbon)
    hours = start_hours(view, tasks) if start_h is None else start_h
    kw = power_kw(view, tasks)
    fee = view.network.fee_per_gb[origin, node]
    rtt_ms = view.network.rtt_ms[origin, node]
    network = t.data_rate_gbph[tasks][:, None] * fee
    start = t.data_in_gb[tasks][:, None] * fee
    limit_ms = t.latency_ms[tasks][:, None]
    near = (rtt_ms <= limit_ms) | np.isinf(limit_ms)
    allowed = view.allowed[t.shape[tasks]]
    barred = _barred(view, tasks)
    inside = within(view, tasks, kw)
    return Costs(
        kw=kw,
        energy=kw * plain,
        network=network,
        start=start,
        cost=kw * full + network + start / hours[:, None],
        rtt_ms=rtt_ms,
        allowed=allowed,
        near=near,
        barred=barred,
        within=inside,
        ok=allowed & near & p.open & ~barred & inside,
    )


def _barred(view: View, tasks: Int1) -> Bool2:
    """Return where each task is barred after a rejection, (n, P)."""
    barred = view.tasks.barred[tasks]
    mask = np.zeros((len(tasks), len(view.pools.cluster)), np.bool_)
    if not (barred >= 0).any():
        return mask
    row, k = np.nonzero(barred >= 0)
    mask[row, barred[row, k]] = True
    return mask


def within(view: View, tasks: Int1, kw: Float2) -> Bool2:
    """Return where a task could run if nothing else did, (n, P): healthy capacity and the power cap hold it.

    A short task occupies only a share of its window, but while it runs it needs its whole request.
    """
    request, capacity = view.tasks.request[tasks], view.pools.capacity
    c = view.clusters
    mask = np.ones(kw.shape, np.bool_)
    for r in range(3):
        mask &= request[:, r, None] <= capacity[:, r]
    if np.isinf(c.power_cap_kw).all():
        return mask
    most_kw = c.power_cap_kw / c.pue - c.idle_kw
    mask &= kw <= most_kw[view.pools.cluster] + 1e-9
    return mask
