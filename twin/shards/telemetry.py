"""What clusters say of themselves: the operator's state, and the meters.

The two are roles of their own, each with its identity and its newest word. Sums of readings run on since the row began:
the sum of a window is the difference of two cuts. A column of a role that has not spoken is zero, not known: its sequence
number is 0.
"""

from collections import defaultdict
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np

from twin import events as ev
from twin.arrays import Int1
from twin.shards.fold import (
    Outcomes,
    Tables,
    Writer,
    admitted,
    hear,
    heard_many,
    identify,
    marks,
    newest_of_many,
    newest_to_write,
)
from twin.shards.order import by_row
from twin.shards.table import Fields, Table

STATES = ("up", "degraded", "draining", "down")
ORIGINS = ("measured", "forecast", "estimated")
_ORIGIN_CODE = {name: code for code, name in enumerate(ORIGINS)}
METERS = ("it_kw", "facility_kw", "queue_tasks", "inlet_c")

CLUSTERS = np.dtype(
    [
        ("last_t", "<i8"),
        ("state_high", "<i8"),
        ("state_seen", "<u8"),
        ("state_seq", "<i8"),  # of the state in force, plus one; 0: the operator has said nothing
        ("state_at", "<i8"),
        ("state", "<i8"),
        ("cap_kw", "<f8"),
        ("meter_high", "<i8"),
        ("meter_seen", "<u8"),
        ("readings", "<i8"),  # readings that counted, since the row began
        ("it_w_sum", "<i8"),  # sum of their IT power in whole W: two cuts apart give the window's mean
        ("meter_seq", "<i8"),
        ("meter_at", "<i8"),
        ("meter_origin", "<i8"),
        *[(name, "<f8") for name in METERS],
    ]
)
POOLS = np.dtype(
    [
        ("last_t", "<i8"),
        ("state_seq", "<i8"),
        ("healthy", "<f8"),
        ("meter_seq", "<i8"),
        ("allocated", "<f8"),
        ("util", "<f8"),
        ("stranded", "<f8"),
    ]
)
_state, _state_order = Writer(CLUSTERS, "state_high", "state_seen"), Fields(CLUSTERS, "state_seq")
_state_said = Fields(CLUSTERS, "state_at", "state", "cap_kw")
_meter, _meter_order = Writer(CLUSTERS, "meter_high", "meter_seen"), Fields(CLUSTERS, "meter_seq")
_meter_sums, _meter_said = (
    Fields(CLUSTERS, "readings", "it_w_sum"),
    Fields(CLUSTERS, "meter_at", "meter_origin", *METERS),
)
_pool_last_t = Fields(POOLS, "last_t")
_pool_state_order, _pool_state_said = Fields(POOLS, "state_seq"), Fields(POOLS, "healthy")
_pool_meter_order, _pool_meter_said = Fields(POOLS, "meter_seq"), Fields(POOLS, "allocated", "util", "stranded")
_use = attrgetter(*_pool_meter_said.names)


def tables() -> Tables:
    """The empty tables of a telemetry shard."""
    return {"clusters": Table("clusters", CLUSTERS), "pools": Table("pools", POOLS)}


def fold_state(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold the operators' words on their clusters."""
    table = tables["clusters"]
    outcomes, events, rows = identify(table, _state, [e.cluster_id for e in events], events, t)
    at, to = newest_to_write(table, _state_order, rows, marks(events))
    _state_said.write(table, to, (_state_of(events[i]) for i in at))
    pools, to = _pools(tables["pools"], events, _pool_state_order)
    _pool_state_said.write(tables["pools"], to, ((pool.healthy,) for pool in pools))
    return outcomes


def _state_of(event: ev.ClusterState) -> tuple[float | None, ...]:
    return event.t, STATES.index(event.state), event.cap_kw


def fold_telemetry(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold meter readings: the newest is kept, all that count are summed."""
    table = tables["clusters"]
    if len(events) > table.FEW:
        return _fold_many(tables, events, t)
    outcomes, events, rows = identify(table, _meter, [e.cluster_id for e in events], events, t)
    _sum(table, rows, events)
    at, to = newest_to_write(table, _meter_order, rows, marks(events))
    _write_meters(table, to, [events[i] for i in at])
    pools, to = _pools(tables["pools"], events, _pool_meter_order)
    _pool_meter_said.write(tables["pools"], to, map(_use, pools))
    return outcomes


def _fold_many(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """``fold_telemetry`` in columns. What only the newest reading says is read of that one alone."""
    table = tables["clusters"]
    rows = np.array(table.assign([e.cluster_id for e in events]), np.int64)
    outcomes, events, rows, seq, t = admitted(table, _meter, rows, events, t)
    np.add.at(table.rows["readings"], rows, 1)
    power_w = np.rint(np.array([e.it_kw for e in events], np.float64) * 1000).astype(np.int64)
    np.add.at(table.rows["it_w_sum"], rows, power_w)
    at, to = newest_of_many(table, _meter_order, rows, seq + 1)
    _write_meters(table, to.tolist(), [events[i] for i in at.tolist()])
    pools, of_pools = _pools_many(tables["pools"], events, rows, seq, t)
    _pool_meter_said.write(tables["pools"], of_pools, map(_use, pools))
    return outcomes


def _write_meters(table: Table, rows: list[int], said: list[Any]) -> None:
    origins = (_ORIGIN_CODE[e.origin] for e in said)
    # one attribute of all events after the other: a function called for each event would cost more than all of them
    meters = ([getattr(e, name) for e in said] for name in METERS)
    _meter_said.write(table, rows, zip((e.t for e in said), origins, *meters, strict=True))


def _sum(table: Table, rows: list[int], events: list[Any]) -> None:
    """Count readings and add up their power."""
    for row, event in zip(rows, events, strict=True):
        readings, total_w = _meter_sums.get(table, row)
        # around the ends as NumPy does, so that absurd readings stop nobody; differences of sums stay right
        _meter_sums.put(table, row, readings + 1, (total_w + round(event.it_kw * 1000) + 2**63) % 2**64 - 2**63)


def _pools(table: Table, events: list[Any], order: Fields) -> tuple[list[Any], list[int]]:
    """What the newest events say of their pools, and the pools' rows."""
    pools = [pool for event in events if event.pools for pool in event.pools]
    if not pools:
        return [], []
    of = [event for event in events if event.pools for _ in event.pools]
    rows = table.assign([f"{event.cluster_id}|{pool.pool_id}" for event, pool in zip(of, pools, strict=True)])
    hear(table, _pool_last_t, rows, [event.t for event in of])
    at, to = newest_to_write(table, order, rows, marks(of))
    return [pools[i] for i in at], to


def _pools_many(table: Table, events: list[Any], clusters: Int1, seq: Int1, t: Int1) -> tuple[list[Any], list[int]]:
    """``_pools`` in columns: of n accepted events with the rows of their clusters, (n,) each."""
    lists = [event.pools for event in events]
    if not any(lists):
        return [], []
    pools = list(chain.from_iterable(lists))
    of = np.repeat(np.arange(len(events)), np.fromiter(map(len, lists), np.int64, len(lists)))
    rows = _rows_of_pools(table, events, pools, of, clusters)
    heard_many(table, rows, t[of])
    at, to = newest_of_many(table, _pool_meter_order, rows, seq[of] + 1)
    return [pools[i] for i in at.tolist()], to.tolist()


def _rows_of_pools(table: Table, events: list[Any], pools: list[Any], of: Int1, clusters: Int1) -> Int1:
    """The row of each pool, (pools,); ``of`` is the event of each. Only the first mention of a pool is looked up."""
    codes: defaultdict[str, int] = defaultdict()
    codes.default_factory = codes.__len__
    code = np.array([codes[pool.pool_id] for pool in pools], np.int64)
    place = clusters[of] * len(codes) + code
    order = by_row(place)
    first = np.ones(len(order), bool)
    np.not_equal(place[order[1:]], place[order[:-1]], out=first[1:])
    mentions = order[first]  # the first one of each pool, by pool
    in_log_order = np.argsort(mentions)
    names = [f"{events[of[i]].cluster_id}|{pools[i].pool_id}" for i in mentions[in_log_order].tolist()]
    row_of = np.empty(len(mentions), np.int64)
    row_of[in_log_order] = table.assign(names)
    rows = np.empty(len(order), np.int64)
    rows[order] = np.repeat(row_of, np.diff(np.flatnonzero(first), append=len(order)))
    return rows


def expired(tables: Tables, before: int) -> None:
    """Nothing ends here: a silent cluster is stale, not gone."""


FOLDS = {"state": fold_state, "telemetry": fold_telemetry}
