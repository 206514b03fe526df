"""Clusters and pools, one registration at a time."""

import json
from collections import defaultdict
from typing import Any

from tests.oracle.book import Book, Seen, identity, latest, number

TIERS = ["national", "regional", "edge"]
ROLES = ["general", "training", "inference", "mixed"]


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False) if value else ""


class Inventory:
    """The greatest sequence number holds; a pool has what the newest registration that named it said."""

    def __init__(self) -> None:
        self.books = {"clusters": Book(), "pools": Book()}
        self._seen: dict[str, Seen] = defaultdict(Seen)

    def fold(self, body: dict[str, Any]) -> str:
        book, name = self.books["clusters"], body["cluster_id"]
        row = book.row(name)
        outcome = self._seen[name].judge(body["seq"])
        if outcome not in {"folded", "older"}:
            return outcome
        identity(row, self._seen[name])
        latest(row, body["t"])
        mark = body["seq"] + 1
        if body["type"] == "cluster.retired.v1":
            if mark > row.get("retired", 0):
                row.update(retired=mark, retired_at=body["t"])
            return outcome
        self._register(book, row, body, newer=mark > row.get("registered", 0))
        for position, pool in enumerate(body["pools"]):
            again = pool["pool_id"] in {other["pool_id"] for other in body["pools"][:position]}
            self._pool(body, pool, again=again)
        return outcome

    def _register(self, book: Book, row: dict[str, Any], body: dict[str, Any], *, newer: bool) -> None:
        texts = {
            name: book.note(name, body.get(name, ""))
            for name in ("name", "operator", "hub", "province", "zone_id", "node_id")
        }
        texts |= {name: book.note(name, canonical(body.get(name))) for name in ("labels", "contracts")}
        if not newer:
            return
        row.update(texts, registered=body["seq"] + 1, registered_at=body["t"])
        row["tier"], row["role"] = TIERS.index(body["tier"]), ROLES.index(body.get("role", "general"))
        for name in ("lat", "lon", "power_cap_kw", "grid_connection_kw", "idle_kw"):
            row[name] = number(body.get(name))
        pue = body.get("pue")
        row["pue_a"] = number(pue and pue["a"])
        row["pue_b"] = number(pue and pue.get("b", 0.0))

    def _pool(self, body: dict[str, Any], pool: dict[str, Any], *, again: bool) -> None:
        book = self.books["pools"]
        row = book.row(f"{body['cluster_id']}|{pool['pool_id']}")
        chip = pool.get("accelerator")
        texts = {name: book.note(name, (chip or {}).get(name, "")) for name in ("model", "vendor", "kind")}
        texts["tokens_per_s"] = book.note("tokens_per_s", tokens(pool.get("tokens_per_s")))
        texts["failure_domain"] = book.note("failure_domain", pool.get("failure_domain", ""))
        latest(row, body["t"])
        if again or body["seq"] + 1 <= row.get("registered", 0):
            return
        row.update(texts, registered=body["seq"] + 1, cluster=self.books["clusters"].number(body["cluster_id"]))
        row["domestic"] = int((chip or {}).get("domestic", False))
        row["accelerator_mem_gib"] = number((chip or {}).get("mem_gib"))
        for name in ("nodes", "accelerators_per_node", "cpu_cores", "mem_gib"):
            row[name] = pool.get(name, 0)
        for column, field in (("w_accelerator", "w_per_accelerator"), ("w_core", "w_per_core")):
            watts = pool.get(field)
            row[f"{column}_idle"] = number(watts and watts.get("idle", 0.0))
            row[f"{column}_max"] = number(watts and watts["max"])

    def expire(self, before: int) -> None:
        clusters, pools = self.books["clusters"], self.books["pools"]
        gone = [
            name
            for name in clusters.names
            if name is not None
            and clusters.rows[name].get("retired", 0) > clusters.rows[name].get("registered", 0)
            and clusters.rows[name]["last_t"] <= before
        ]
        of_gone = [name for name in pools.names if name is not None and name.split("|")[0] in gone]
        pools.free(of_gone)
        clusters.free(gone)
        for name in gone:
            del self._seen[name]


def tokens(value: dict[str, float] | None) -> str:
    """Numbers of a typed map are floats."""
    return canonical({name: float(rate) for name, rate in value.items()} if value else None)
