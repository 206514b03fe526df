"""Services: how much is wanted from each origin and interval, and what each cluster serves."""

from operator import attrgetter
from typing import Any

import numpy as np

from twin import events as ev
from twin.arrays import Int1
from twin.shards.fold import (
    IDENTITY,
    Outcomes,
    Tables,
    Writer,
    canonical,
    identify,
    intern,
    marks,
    newest_to_write,
)
from twin.shards.power import free_ended
from twin.shards.table import NEVER_DUE, Fields, Table

DEMAND_TEXTS = ("service", "origin", "model", "compatible")
SERVING_TEXTS = ("cluster_id", "pool_id", "service", "origin")
DEMAND_FLOATS = ("requests_per_s", "tokens_in_per_s", "tokens_out_per_s", "latency_ms", "ttft_ms_limit")
SERVING_FLOATS = ("replicas", "tokens_per_s", "queue", "ttft_p50_ms", "ttft_p99_ms")

DEMAND = np.dtype(
    [
        *IDENTITY,
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
        ("applied", "<i8"),
        ("since", "<i8"),
        *[(name, "<f8") for name in SERVING_FLOATS],
        *[(name, "<i4") for name in SERVING_TEXTS],
    ]
)
_demand, _demand_order = Writer(DEMAND), Fields(DEMAND, "applied")
_demand_said = Fields(DEMAND, "start", "end", *DEMAND_FLOATS, *DEMAND_TEXTS)
_demanded = attrgetter("start", "end", *DEMAND_FLOATS)
_serving, _serving_order = Writer(SERVING), Fields(SERVING, "applied")
_serving_said = Fields(SERVING, "since", *SERVING_FLOATS, *SERVING_TEXTS)


def tables() -> Tables:
    """The empty tables of a service shard."""
    return {"demand": Table("demand", DEMAND, DEMAND_TEXTS), "serving": Table("serving", SERVING, SERVING_TEXTS)}


def fold_demand(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold demand: one row per service, origin and start of the interval."""
    table = tables["demand"]
    names = [f"{e.service}@{e.origin}|{e.start}" for e in events]
    outcomes, events, rows = identify(table, _demand, names, events, t)
    texts = {name: [getattr(e, name) for e in events] for name in DEMAND_TEXTS[:3]}
    codes = intern(table, **texts, compatible=[canonical(e.compatible) for e in events])
    at, to = newest_to_write(table, _demand_order, rows, marks(events))
    _demand_said.write(table, to, ((*_demanded(events[i]), *[code[i] for code in codes]) for i in at))
    return outcomes


def fold_serving(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold what clusters serve: one row per cluster, pool, service and origin."""
    table = tables["serving"]
    names = [f"{e.cluster_id}|{e.pool_id}|{e.service}|{e.origin}" for e in events]
    outcomes, events, rows = identify(table, _serving, names, events, t)
    codes = intern(table, **{name: [getattr(e, name) for e in events] for name in SERVING_TEXTS})
    at, to = newest_to_write(table, _serving_order, rows, marks(events))
    _serving_said.write(table, to, ((*_served(events[i]), *[code[i] for code in codes]) for i in at))
    return outcomes


def _served(event: ev.ServiceServing) -> tuple[float | None, ...]:
    ttft = (None, None) if event.ttft_ms is None else (event.ttft_ms.p50, event.ttft_ms.p99)
    return event.t, event.replicas, event.tokens_per_s, event.queue, *ttft


def expired(tables: Tables, before: int) -> None:
    """Free demand of intervals that ended, and servings of nothing, that are old enough."""
    free_ended(tables["demand"], before)
    serving = tables["serving"]
    if before < serving.due:
        return
    live = serving.live()
    idle = (live["applied"] > 0) & (live["tokens_per_s"] == 0)
    over = idle & (live["last_t"] <= before)
    serving.due = int(live["last_t"][idle & ~over].min(initial=NEVER_DUE))
    serving.release(np.flatnonzero(over))


FOLDS = {"demand": fold_demand, "serving": fold_serving}
