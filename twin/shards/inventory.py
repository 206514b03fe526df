"""Clusters and their pools, as their operators registered them.

Registrations are rare and carry a list of pools, so this fold walks them one by one; everything that arrives in bulk
has a vectorised fold.
"""

from typing import Any

import numpy as np

from twin import events as ev
from twin.arrays import Byte1, Int1
from twin.shards.fold import IDENTITY, Tables, canonical, identify, sequence
from twin.shards.order import Outcome
from twin.shards.table import Table

TIERS = ("national", "regional", "edge")
ROLES = ("general", "training", "inference", "mixed")

CLUSTER_TEXTS = ("name", "operator", "hub", "province", "zone_id", "node_id", "labels", "contracts")
POOL_TEXTS = ("model", "vendor", "kind", "tokens_per_s", "failure_domain")

CLUSTERS = np.dtype(
    [
        *IDENTITY,
        ("last_t", "<i8"),
        ("registered", "<i8"),  # sequence number of the registration in force, plus one; 0: none
        ("registered_at", "<i8"),
        ("retired", "<i8"),
        ("retired_at", "<i8"),
        ("tier", "<i4"),
        ("role", "<i4"),
        *[(name, "<i4") for name in CLUSTER_TEXTS],
        ("lat", "<f8"),
        ("lon", "<f8"),
        ("power_cap_kw", "<f8"),
        ("grid_connection_kw", "<f8"),
        ("idle_kw", "<f8"),
        ("pue_a", "<f8"),
        ("pue_b", "<f8"),
    ]
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
        ("accelerator_mem_gib", "<f8"),
        ("cpu_cores", "<f8"),
        ("mem_gib", "<f8"),
        ("w_accelerator_idle", "<f8"),
        ("w_accelerator_max", "<f8"),
        ("w_core_idle", "<f8"),
        ("w_core_max", "<f8"),
    ]
)


def tables() -> Tables:
    """The empty tables of an inventory shard."""
    return {"clusters": Table("clusters", CLUSTERS, CLUSTER_TEXTS), "pools": Table("pools", POOLS, POOL_TEXTS)}


def fold(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold registrations and retirements."""
    clusters = tables["clusters"]
    rows, outcome, accepted = identify(clusters, [e.cluster_id for e in events], sequence(events), t)
    for i in np.flatnonzero(accepted).tolist():
        event, row = events[i], int(rows[i])
        if isinstance(event, ev.ClusterRegistered):
            _register(tables, row, event)
        else:
            cell = clusters.rows[row]
            if event.seq + 1 > cell["retired"]:
                cell["retired"], cell["retired_at"] = event.seq + 1, event.t
    return outcome


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _register(tables: Tables, row: int, event: ev.ClusterRegistered) -> None:
    table = tables["clusters"]
    texts = {
        "name": event.name,
        "operator": event.operator,
        "hub": event.hub,
        "province": event.province,
        "zone_id": event.zone_id,
        "node_id": event.node_id,
        "labels": canonical(event.labels),
        "contracts": canonical(event.contracts),
    }
    codes = {name: int(table.texts[name].codes([text])[0]) for name, text in texts.items()}
    newer = event.seq + 1 > table.rows[row]["registered"]
    if newer:
        cell = table.rows[row]
        cell["registered"], cell["registered_at"] = event.seq + 1, event.t
        cell["tier"], cell["role"] = TIERS.index(event.tier), ROLES.index(event.role)
        for name, code in codes.items():
            cell[name] = code
        for name in ("lat", "lon", "power_cap_kw", "grid_connection_kw", "idle_kw"):
            cell[name] = _number(getattr(event, name))
        cell["pue_a"] = np.nan if event.pue is None else event.pue.a
        cell["pue_b"] = np.nan if event.pue is None else event.pue.b
    for pool in event.pools:
        _register_pool(tables["pools"], row, event, pool)


def _register_pool(table: Table, cluster: int, event: ev.ClusterRegistered, pool: ev.Pool) -> None:
    row = int(table.assign([f"{event.cluster_id}|{pool.pool_id}"])[0])
    chip = pool.accelerator
    texts = {
        "model": chip.model if chip else "",
        "vendor": chip.vendor if chip else "",
        "kind": chip.kind if chip else "",
        "tokens_per_s": canonical(pool.tokens_per_s),
        "failure_domain": pool.failure_domain,
    }
    codes = {name: int(table.texts[name].codes([text])[0]) for name, text in texts.items()}
    table.touch(row)
    cell = table.rows[row]
    cell["last_t"] = max(int(cell["last_t"]), event.t)
    if event.seq + 1 <= cell["registered"]:
        return
    cell["registered"], cell["cluster"] = event.seq + 1, cluster
    for name, code in codes.items():
        cell[name] = code
    cell["domestic"] = int(chip.domestic) if chip else 0
    cell["accelerator_mem_gib"] = _number(chip.mem_gib) if chip else np.nan
    for name in ("nodes", "accelerators_per_node", "cpu_cores", "mem_gib"):
        cell[name] = getattr(pool, name)
    for name, watts in (("w_accelerator", pool.w_per_accelerator), ("w_core", pool.w_per_core)):
        cell[f"{name}_idle"] = np.nan if watts is None else watts.idle
        cell[f"{name}_max"] = np.nan if watts is None else watts.max


def expired(tables: Tables, before: int) -> None:
    """Free clusters retired for good whose last event is at or before ``before``, with their pools."""
    clusters, pools = tables["clusters"], tables["pools"]
    live = clusters.live()
    gone = np.flatnonzero((live["retired"] > live["registered"]) & (live["last_t"] <= before))
    if len(gone):
        pool = pools.live()
        pools.release(np.flatnonzero((pool["registered"] > 0) & np.isin(pool["cluster"], gone)))
        clusters.release(gone)


FOLDS = {"inventory": fold}
__all__ = ["CLUSTERS", "FOLDS", "POOLS", "ROLES", "TIERS", "Outcome", "expired", "fold", "tables"]
