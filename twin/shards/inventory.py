"""Clusters and their pools, as their operators registered them.

Registrations are rare and carry a list of pools, so this fold walks them one by one; everything that arrives in bulk
has a vectorised fold.
"""

from typing import Any

import numpy as np

from twin import events as ev
from twin.arrays import Int1
from twin.shards.fold import IDENTITY, Outcomes, Tables, Writer, canonical, heard, identify
from twin.shards.table import NAN, NEVER_DUE, Fields, Table

TIERS = ("national", "regional", "edge")
ROLES = ("general", "training", "inference", "mixed")

CLUSTER_TEXTS = ("name", "operator", "hub", "province", "zone_id", "node_id", "labels", "contracts")
CLUSTER_FLOATS = ("lat", "lon", "power_cap_kw", "grid_connection_kw", "idle_kw", "pue_a", "pue_b")
POOL_TEXTS = ("model", "vendor", "kind", "tokens_per_s", "failure_domain")

CLUSTERS = np.dtype(
    [
        *IDENTITY,
        ("retired", "<i8"),
        ("retired_at", "<i8"),
        ("registered", "<i8"),  # sequence number of the registration in force, plus one; 0: none
        ("registered_at", "<i8"),
        ("tier", "<i4"),
        ("role", "<i4"),
        *[(name, "<i4") for name in CLUSTER_TEXTS],
        *[(name, "<f8") for name in CLUSTER_FLOATS],
    ]
)
POOL_FLOATS = (
    "accelerator_mem_gib",
    "cpu_cores",
    "mem_gib",
    "w_accelerator_idle",
    "w_accelerator_max",
    "w_core_idle",
    "w_core_max",
)
POOLS = np.dtype(
    [
        ("last_t", "<i8"),
        ("registered", "<i8"),  # the registration that named the pool last; older than the cluster's: no longer there
        ("cluster", "<i8"),
        *[(name, "<i4") for name in POOL_TEXTS],
        ("domestic", "<i4"),
        ("nodes", "<i8"),
        ("accelerators_per_node", "<i8"),
        *[(name, "<f8") for name in POOL_FLOATS],
    ]
)
_writer = Writer(CLUSTERS)
_retired = Fields(CLUSTERS, "retired", "retired_at")
_registered = Fields(CLUSTERS, "registered", "registered_at", "tier", "role", *CLUSTER_TEXTS, *CLUSTER_FLOATS)
_pool_last_t = Fields(POOLS, "last_t")
_pool_said = Fields(
    POOLS, "registered", "cluster", *POOL_TEXTS, "domestic", "nodes", "accelerators_per_node", *POOL_FLOATS
)


def tables() -> Tables:
    """The empty tables of an inventory shard."""
    return {"clusters": Table("clusters", CLUSTERS, CLUSTER_TEXTS), "pools": Table("pools", POOLS, POOL_TEXTS)}


def fold(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold registrations and retirements."""
    clusters = tables["clusters"]
    outcomes, events, rows = identify(clusters, _writer, [e.cluster_id for e in events], events, t)
    for event, row in zip(events, rows, strict=True):
        if type(event) is ev.ClusterRegistered:
            _register(clusters, row, event)
            for pool in event.pools:
                _register_pool(tables["pools"], row, event, pool)
        elif event.seq + 1 > _retired.get(clusters, row)[0]:
            _retired.put(clusters, row, event.seq + 1, event.t)
    return outcomes


def _known(*values: float | None) -> list[float]:
    return [NAN if value is None else value for value in values]


def _codes(table: Table, texts: dict[str, str]) -> list[int]:
    return [table.texts[name].code_list((text,))[0] for name, text in texts.items()]


def _register(table: Table, row: int, event: ev.ClusterRegistered) -> None:
    texts = {name: getattr(event, name) for name in CLUSTER_TEXTS[:6]}
    codes = _codes(table, texts | {name: canonical(getattr(event, name)) for name in CLUSTER_TEXTS[6:]})
    if event.seq + 1 <= _registered.get(table, row)[0]:
        return
    pue = (None, None) if event.pue is None else (event.pue.a, event.pue.b)
    floats = _known(event.lat, event.lon, event.power_cap_kw, event.grid_connection_kw, event.idle_kw, *pue)
    kinds = TIERS.index(event.tier), ROLES.index(event.role)
    _registered.put(table, row, event.seq + 1, event.t, *kinds, *codes, *floats)


def _register_pool(table: Table, cluster: int, event: ev.ClusterRegistered, pool: ev.Pool) -> None:
    row = table.assign([f"{event.cluster_id}|{pool.pool_id}"])[0]
    chip = pool.accelerator
    texts = {
        "model": chip.model if chip else "",
        "vendor": chip.vendor if chip else "",
        "kind": chip.kind if chip else "",
        "tokens_per_s": canonical(pool.tokens_per_s),
        "failure_domain": pool.failure_domain,
    }
    codes = _codes(table, texts)
    heard(table, _pool_last_t, row, event.t)
    if event.seq + 1 <= _pool_said.get(table, row)[0]:
        return
    pairs = [(None, None) if w is None else (w.idle, w.max) for w in (pool.w_per_accelerator, pool.w_per_core)]
    counts = int(chip.domestic) if chip else 0, pool.nodes, pool.accelerators_per_node
    floats = _known(chip.mem_gib if chip else None, pool.cpu_cores, pool.mem_gib, *pairs[0], *pairs[1])
    _pool_said.put(table, row, event.seq + 1, cluster, *codes, *counts, *floats)


def expired(tables: Tables, before: int) -> None:
    """Free clusters retired for good whose last event is at or before ``before``, with their pools."""
    clusters, pools = tables["clusters"], tables["pools"]
    if before < clusters.due:
        return
    live = clusters.live()
    retired = live["retired"] > live["registered"]
    gone = np.flatnonzero(retired & (live["last_t"] <= before))
    clusters.due = int(live["last_t"][retired & (live["last_t"] > before)].min(initial=NEVER_DUE))
    if len(gone):
        pool = pools.live()
        pools.release(np.flatnonzero((pool["registered"] > 0) & np.isin(pool["cluster"], gone)))
        clusters.release(gone)


FOLDS = {"inventory": fold}
