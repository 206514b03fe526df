"""From metered intervals to bookings: energy, money and carbon, split where a price or an intensity changes.

Everything is a difference of running totals that depend on facts alone (when a meter started, its power, the curves), so
booking window by window gives the same sums as booking at once, and going back over an interval takes out exactly what
was booked for it.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import NamedTuple, TypeVar

import numpy as np

from twin.arrays import Bool1, Byte1, Int1
from twin.energy.curves import ZONE, Pieces, spread
from twin.energy.fixed import accrued, per_million


class Kind(IntEnum):
    """What a booking is for."""

    TASK = 0
    SERVICE = 1
    IDLE = 2
    DATA_IN = 3
    DATA_RATE = 4
    MOVE = 5


class Whose(NamedTuple):
    """Cluster code, partition, row, attempt and whether accelerators were asked for, of n meters, all (n,)."""

    cluster: Int1
    partition: Int1
    row: Int1
    attempt: Int1
    accelerated: Int1


@dataclass(frozen=True, slots=True)
class Jobs:
    """Intervals to book, [booked, target) each, backwards where target < booked; all (n,).

    Attributes:
        kind: Kind.
        cluster: code of the cluster.
        partition, row, attempt: whose it is; attempt 0 for services and idle power, whose row is their own.
        accelerated: 1 where accelerators were asked for (services always).
        power_mw: facility power.
        rate: network cost while running, micro-currency per hour.
        anchor: where energy and network cost are counted from, ms.
        booked, target: ms.
    """

    kind: Byte1
    cluster: Int1
    partition: Int1
    row: Int1
    attempt: Int1
    accelerated: Int1
    power_mw: Int1
    rate: Int1
    anchor: Int1
    booked: Int1
    target: Int1


@dataclass(frozen=True, slots=True)
class Bookings:
    """What was booked, one row per meter and interval of price and carbon, or per payment; all (n,).

    Attributes:
        kind: Kind.
        cluster: code of the cluster.
        partition, row, attempt: of the task; partition and row of the serving; 0, cluster code and 0 of idle power.
        accelerated: 1 where accelerators were asked for (services always).
        t0, t1: interval, ms; equal for a payment.
        energy_mwh: facility energy; negative in a correction.
        cost_micro: micro-currency.
        carbon_mg: location-based.
        priced, carbon_known: whether a price, an intensity was known; where not, the amount is 0.
    """

    kind: Byte1
    cluster: Int1
    partition: Int1
    row: Int1
    attempt: Int1
    accelerated: Int1
    t0: Int1
    t1: Int1
    energy_mwh: Int1
    cost_micro: Int1
    carbon_mg: Int1
    priced: Bool1
    carbon_known: Bool1

    def __len__(self) -> int:
        return len(self.kind)


_Columns = TypeVar("_Columns", Jobs, Bookings)


def join(parts: list[_Columns]) -> _Columns:
    """All rows of ``parts`` (at least one), in their order."""
    if len(parts) == 1:
        return parts[0]
    kind = type(parts[0])
    return kind(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(kind)))


def settle(jobs: Jobs, pieces: Pieces, zone: Int1) -> Bookings:
    """Book the energy of ``jobs``, whose clusters lie in ``zone`` (n,). Jobs without power leave nothing."""
    some = np.flatnonzero((jobs.power_mw > 0) & (jobs.target != jobs.booked))
    booked, target, anchor = jobs.booked[some], jobs.target[some], jobs.anchor[some]
    low, high = np.minimum(booked, target), np.maximum(booked, target)
    key = zone[some] * ZONE
    first = np.searchsorted(pieces.key, key + low, "right") - 1
    count = np.searchsorted(pieces.key, key + high, "left") - first
    at = first
    if (count > 1).any():
        at = spread(first, count)
        some, low, high, anchor = (np.repeat(column, count) for column in (some, low, high, anchor))
        booked, target = np.repeat(booked, count), np.repeat(target, count)
    t0, t1 = np.maximum(low, pieces.start[at]), np.minimum(high, pieces.end[at])
    power = jobs.power_mw[some]
    e0, e1 = accrued(power, t0 - anchor), accrued(power, t1 - anchor)
    sign = np.where(target < booked, -1, 1)

    def amount(rate: Int1, since: Int1) -> Int1:
        """By intervals of the rate itself, so that it is rounded once per interval however often it is cut."""
        before = accrued(power, np.maximum(since - anchor, 0))
        result: Int1 = sign * (per_million(e1 - before, rate) - per_million(e0 - before, rate))
        return result

    return Bookings(
        kind=jobs.kind[some],
        cluster=jobs.cluster[some],
        partition=jobs.partition[some],
        row=jobs.row[some],
        attempt=jobs.attempt[some],
        accelerated=jobs.accelerated[some],
        t0=t0,
        t1=t1,
        energy_mwh=sign * (e1 - e0),
        cost_micro=amount(pieces.price[at], pieces.price_from[at]),
        carbon_mg=amount(pieces.carbon[at], pieces.carbon_from[at]),
        priced=pieces.priced[at],
        carbon_known=pieces.carbon_known[at],
    )


def data_rates(jobs: Jobs) -> Bookings:
    """Book what ``jobs`` pay for their network traffic while they run."""
    some = np.flatnonzero((jobs.rate != 0) & (jobs.target != jobs.booked))
    anchor, rate = jobs.anchor[some], jobs.rate[some]
    cost = accrued(rate, jobs.target[some] - anchor) - accrued(rate, jobs.booked[some] - anchor)
    low, high = np.minimum(jobs.booked, jobs.target)[some], np.maximum(jobs.booked, jobs.target)[some]
    columns = (jobs.cluster, jobs.partition, jobs.row, jobs.attempt, jobs.accelerated)
    whose = Whose(*(column[some] for column in columns))
    return _costs(Kind.DATA_RATE, whose, low, high, cost)


def payments(kind: Kind, whose: Whose, t: Int1, cost_micro: Int1) -> Bookings:
    """Bookings of what is paid at once, (n,); those of nothing are left out."""
    some = np.flatnonzero(cost_micro)
    whose = Whose(*(column[some] for column in whose))
    return _costs(kind, whose, t[some], t[some], cost_micro[some])


def _costs(kind: Kind, whose: Whose, t0: Int1, t1: Int1, cost_micro: Int1) -> Bookings:
    n = len(t0)
    nothing, yes = np.zeros(n, np.int64), np.ones(n, bool)
    return Bookings(np.full(n, kind, np.uint8), *whose, t0, t1, nothing, cost_micro, nothing, yes, yes)
