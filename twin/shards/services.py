"""Services: how much is wanted from each origin and interval, and what each cluster serves."""

from typing import Any

import numpy as np

from twin.arrays import Byte1, Int1
from twin.shards.fold import IDENTITY, Tables, canonical, identify, intern, newest_to_write, sequence, write
from twin.shards.table import Table

DEMAND_TEXTS = ("service", "origin", "model", "compatible")
SERVING_TEXTS = ("cluster_id", "pool_id", "service", "origin")
DEMAND_FLOATS = ("requests_per_s", "tokens_in_per_s", "tokens_out_per_s", "latency_ms", "ttft_ms_limit")

DEMAND = np.dtype(
    [
        *IDENTITY,
        ("last_t", "<i8"),
        ("applied", "<i8"),
        ("start", "<i8"),
        ("end", "<i8"),
        *[(name, "<f8") for name in DEMAND_FLOATS],
        *[(name, "<i4") for name in DEMAND_TEXTS],
    ]
)
SERVING = np.dtype(
    [
        *IDENTITY,
        ("last_t", "<i8"),
        ("applied", "<i8"),
        ("since", "<i8"),
        ("replicas", "<f8"),
        ("tokens_per_s", "<f8"),
        ("queue", "<f8"),
        ("ttft_p50_ms", "<f8"),
        ("ttft_p99_ms", "<f8"),
        *[(name, "<i4") for name in SERVING_TEXTS],
    ]
)


def tables() -> Tables:
    """The empty tables of a service shard."""
    return {"demand": Table("demand", DEMAND, DEMAND_TEXTS), "serving": Table("serving", SERVING, SERVING_TEXTS)}


def fold_demand(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold demand: one row per service, origin and start of the interval."""
    table, seq = tables["demand"], sequence(events)
    rows, outcome, accepted = identify(table, [f"{e.service}@{e.origin}|{e.start}" for e in events], seq, t)
    inside = np.flatnonzero(accepted)
    some = [events[i] for i in inside]
    codes = {name: intern(table, name, [getattr(e, name) for e in some]) for name in ("service", "origin", "model")}
    codes["compatible"] = intern(table, "compatible", [canonical(e.compatible) for e in some])
    at, to = newest_to_write(table, inside, rows, {"applied": seq + 1})
    kept = np.searchsorted(inside, at)
    for name, code in codes.items():
        table.rows[name][to] = code[kept]
    write(table, to, [events[i] for i in at], {"start": "<i8", "end": "<i8"} | dict.fromkeys(DEMAND_FLOATS, "<f8"))
    return outcome


def fold_serving(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold what clusters serve: one row per cluster, pool, service and origin."""
    table, seq = tables["serving"], sequence(events)
    names = [f"{e.cluster_id}|{e.pool_id}|{e.service}|{e.origin}" for e in events]
    rows, outcome, accepted = identify(table, names, seq, t)
    inside = np.flatnonzero(accepted)
    some = [events[i] for i in inside]
    codes = {name: intern(table, name, [getattr(e, name) for e in some]) for name in SERVING_TEXTS}
    at, to = newest_to_write(table, inside, rows, {"applied": seq + 1})
    kept = np.searchsorted(inside, at)
    chosen = [events[i] for i in at]
    for name, code in codes.items():
        table.rows[name][to] = code[kept]
    table.rows["since"][to] = t[at]
    write(table, to, chosen, {"replicas": "<f8", "tokens_per_s": "<f8", "queue": "<f8"})
    for name, of in (("ttft_p50_ms", "p50"), ("ttft_p99_ms", "p99")):
        values = [np.nan if e.ttft_ms is None else getattr(e.ttft_ms, of) for e in chosen]
        table.rows[name][to] = [np.nan if value is None else value for value in values]
    return outcome


def expired(tables: Tables, before: int) -> None:
    """Free demand of intervals that ended, and servings of nothing, that are old enough."""
    demand, serving = tables["demand"], tables["serving"]
    live = demand.live()
    over = (live["applied"] > 0) & (np.maximum(live["end"], live["last_t"]) <= before)
    demand.release(np.flatnonzero(over))
    idle = serving.live()
    serving.release(np.flatnonzero((idle["applied"] > 0) & (idle["tokens_per_s"] == 0) & (idle["last_t"] <= before)))


FOLDS = {"demand": fold_demand, "serving": fold_serving}
