"""What clusters say of themselves: the operator's state, and the meters."""

from typing import Any

import numpy as np

from twin.arrays import Byte1, Int1
from twin.shards.fold import Tables, column, identify, newest_to_write, sequence, write
from twin.shards.table import Table

STATES = ("up", "degraded", "draining", "down")
ORIGINS = ("measured", "forecast", "estimated")

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
        ("meter_seq", "<i8"),
        ("meter_at", "<i8"),
        ("meter_origin", "<i8"),
        ("readings", "<i8"),  # readings that counted, since the row began
        ("it_w_sum", "<i8"),  # sum of their IT power in whole W: two cuts apart give the window's mean
        ("it_kw", "<f8"),
        ("facility_kw", "<f8"),
        ("queue_tasks", "<f8"),
        ("inlet_c", "<f8"),
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


def tables() -> Tables:
    """The empty tables of a telemetry shard."""
    return {"clusters": Table("clusters", CLUSTERS), "pools": Table("pools", POOLS)}


def fold_state(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold the operators' words on their clusters."""
    table, seq = tables["clusters"], sequence(events)
    rows, outcome, accepted = identify(table, [e.cluster_id for e in events], seq, t, "state_high", "state_seen")
    at, to = newest_to_write(table, np.flatnonzero(accepted), rows, {"state_seq": seq + 1})
    chosen = [events[i] for i in at]
    table.rows["state"][to] = [STATES.index(e.state) for e in chosen]
    table.rows["state_at"][to] = t[at]
    write(table, to, chosen, {"cap_kw": "<f8"})
    _pools(tables["pools"], events, accepted, "state_seq", ("healthy",))
    return outcome


def fold_telemetry(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold meter readings: the newest is kept, all that count are summed."""
    table, seq = tables["clusters"], sequence(events)
    rows, outcome, accepted = identify(table, [e.cluster_id for e in events], seq, t, "meter_high", "meter_seen")
    all_in = bool(accepted.all())
    hit = rows if all_in else rows[accepted]
    it_w = np.rint(np.array([e.it_kw for e in events]) * 1000).astype(np.int64)
    np.add.at(table.rows["readings"], hit, 1)
    np.add.at(table.rows["it_w_sum"], hit, it_w if all_in else it_w[accepted])
    at, to = newest_to_write(table, np.flatnonzero(accepted), rows, {"meter_seq": seq + 1})
    chosen = [events[i] for i in at]
    table.rows["meter_at"][to] = t[at]
    table.rows["meter_origin"][to] = [ORIGINS.index(e.origin) for e in chosen]
    write(table, to, chosen, {"it_kw": "<f8", "facility_kw": "<f8", "queue_tasks": "<f8", "inlet_c": "<f8"})
    _pools(tables["pools"], events, accepted, "meter_seq", ("allocated", "util", "stranded"))
    return outcome


def _pools(table: Table, events: list[Any], accepted: Any, key: str, names: tuple[str, ...]) -> None:
    """Per pool of the accepted events, keep what the newest says."""
    pairs = [(e, p) for e, ok in zip(events, accepted.tolist(), strict=True) if ok for p in e.pools]
    if not pairs:
        return
    rows = table.assign([f"{e.cluster_id}|{p.pool_id}" for e, p in pairs])
    seq = np.array([e.seq + 1 for e, _ in pairs], np.int64)
    table.touch(rows)
    np.maximum.at(table.rows["last_t"], rows, np.array([e.t for e, _ in pairs], np.int64))
    at, to = newest_to_write(table, np.arange(len(pairs)), rows, {key: seq})
    chosen = [pairs[i][1] for i in at]
    for name in names:
        table.rows[name][to] = column(chosen, name)


def expired(tables: Tables, before: int) -> None:
    """Nothing ends here: a silent cluster is stale, not gone."""


FOLDS = {"state": fold_state, "telemetry": fold_telemetry}
