"""Clusters and pools as the bill sees them: zone, network node, PUE, idle power, watts per busy device.

A cluster keeps its last registered columns after it is gone, because late corrections still have to be billed.
"""

import msgspec
import numpy as np

from twin.arrays import Int1
from twin.energy.fixed import FOREVER
from twin.energy.power import idle_kw, pue_at_margin, swing_w
from twin.ids import Texts
from twin.mirror import Mirror, MirrorShard
from twin.packed import Packed, pack, pack_columns, unpack, unpack_rows
from twin.shards.table import Table

CLUSTER = np.dtype(
    [
        ("registered", "<i8"),
        ("since", "<i8"),  # ms: registered for the first time
        ("until", "<i8"),  # ms: retired
        ("node", "<i8"),
        ("pue", "<f8"),
        ("pue_assumed", "?"),
        ("idle_kw", "<f8"),
    ]
)
POOL = np.dtype([("w_accelerator", "<f8"), ("w_core", "<f8")])
_POOL_KEY = 1 << 31


class FleetCarry(msgspec.Struct, array_like=True, frozen=True):
    """Rows of clusters and pools, and the names that their codes stand for."""

    cluster_names: list[str]
    pool_names: list[str]
    nodes: list[str]
    zones: list[str]
    clusters: dict[str, Packed]
    pools: dict[str, Packed]
    pool_keys: Packed
    tokens_per_s: list[str]
    models: list[str]


class Fleet:
    """Columns of clusters and pools, one row per name; row 0 stands for unknown ones. Rows are never reused."""

    def __init__(self) -> None:
        self.cluster_names = Texts()
        self.pool_names = Texts()
        self.nodes = Texts()
        self.zone_names: list[str] = [""]
        self.clusters = np.zeros(1, CLUSTER)
        self.pools = np.full(1, np.nan, POOL)
        self.tokens_per_s: list[str] = [""]
        self.models: list[str] = [""]
        self._pool_row: dict[tuple[int, int], int] = {}
        self._pool_keys = np.zeros(0, np.int64)
        self._pool_order = np.zeros(0, np.int64)
        self._versions: tuple[int, ...] = ()

    def update(self, mirror: Mirror) -> bool:
        """Follow the mirror; says whether anything changed."""
        shards = mirror.of("inventory")
        versions = tuple(shard.version for shard in shards)
        if versions == self._versions:
            return False
        for shard in shards:
            self._read(shard)
        self._sort_pools()
        self._versions = versions
        return True

    def _sort_pools(self) -> None:
        keys = np.array([cluster * _POOL_KEY + pool for cluster, pool in self._pool_row], np.int64)
        self._pool_order = np.argsort(keys, kind="stable")
        self._pool_keys = keys[self._pool_order]
        self._pool_order += 1

    def carry(self) -> FleetCarry:
        """Everything: rows outlive what they were read from."""
        return FleetCarry(
            self.cluster_names.names[1:],
            self.pool_names.names[1:],
            self.nodes.names[1:],
            self.zone_names,
            pack_columns(self.clusters),
            pack_columns(self.pools),
            pack(np.array(list(self._pool_row), np.int64).reshape(-1, 2)),
            self.tokens_per_s,
            self.models,
        )

    def restore(self, carry: FleetCarry, mirror: Mirror) -> None:
        """Go on from a carry of where ``mirror`` stands.

        Raises:
            ConfigError: the carry is of another version.
        """
        self.cluster_names.codes(carry.cluster_names)
        self.pool_names.codes(carry.pool_names)
        self.nodes.codes(carry.nodes)
        self.zone_names, self.tokens_per_s, self.models = carry.zones, carry.tokens_per_s, carry.models
        self.clusters, self.pools = unpack_rows(carry.clusters, CLUSTER), unpack_rows(carry.pools, POOL)
        keys = unpack(carry.pool_keys, np.int64).tolist()
        self._pool_row = {(cluster, pool): row for row, (cluster, pool) in enumerate(keys, 1)}
        self._sort_pools()
        self._versions = tuple(shard.version for shard in mirror.of("inventory"))

    def cluster_codes(self, names: list[str]) -> Int1:
        """Row of each cluster, known or not yet, (len(names),)."""
        codes = self.cluster_names.codes(names)
        self.fit()
        return codes

    def pool_rows(self, cluster: Int1, pool: Int1) -> Int1:
        """Row in ``pools`` of each (cluster code, code of the pool's name), 0 where there is no such pool, (n,)."""
        keys = cluster * _POOL_KEY + pool
        if not len(self._pool_keys):
            return np.zeros(len(keys), np.int64)
        at = np.minimum(np.searchsorted(self._pool_keys, keys), len(self._pool_keys) - 1)
        return np.where(self._pool_keys[at] == keys, self._pool_order[at], 0)

    def fit(self) -> None:
        """Make rows for all clusters that have a code."""
        missing = len(self.cluster_names.names) - len(self.clusters)
        if missing > 0:
            self.clusters = np.concatenate([self.clusters, np.zeros(missing, CLUSTER)])
            self.zone_names += [""] * missing

    # ------------------------------------------------------------------------------------------------ reading rows

    def _read(self, shard: MirrorShard) -> None:
        clusters, pools = shard.tables["clusters"], shard.tables["pools"]
        of: dict[int, list[int]] = {}
        rows = pools.live()
        for row in np.flatnonzero(rows["registered"] > 0).tolist():
            of.setdefault(int(rows["cluster"][row]), []).append(row)
        for row, name in clusters.ids.assignments():
            if clusters.rows["registered"][row] > 0:
                self._read_cluster(clusters, row, name or "", pools, of.get(row, []))

    def _read_cluster(self, table: Table, row: int, name: str, pools: Table, mine: list[int]) -> None:
        cell = table.rows[row]
        code = int(self.cluster_codes([name])[0])
        here = self.clusters[code]
        mine = [pool for pool in mine if pools.rows["registered"][pool] >= cell["registered"]]
        if here["registered"] == 0:
            here["since"] = cell["registered_at"]
        here["registered"] = cell["registered"]
        here["until"] = cell["retired_at"] if cell["retired"] > cell["registered"] else FOREVER
        here["node"] = self.nodes.codes([table.texts["node_id"].names[int(cell["node_id"])]])[0]
        self.zone_names[code] = table.texts["zone_id"].names[int(cell["zone_id"])]
        pue, assumed = pue_at_margin(np.array([cell["pue_a"]]))
        here["pue"], here["pue_assumed"] = pue[0], assumed[0]
        here["idle_kw"] = self._idle_kw(float(cell["idle_kw"]), pools, mine)
        for pool in mine:
            self._read_pool(code, pools, pool, str(pools.ids.names[pool])[len(name) + 1 :])

    @staticmethod
    def _idle_kw(registered_kw: float, table: Table, rows: list[int]) -> float:
        pools = table.rows[rows]
        devices = np.concatenate([pools["nodes"] * pools["accelerators_per_node"], pools["cpu_cores"]])
        return idle_kw(registered_kw, devices, np.concatenate([pools["w_accelerator_idle"], pools["w_core_idle"]]))[0]

    def _read_pool(self, cluster: int, table: Table, row: int, pool_id: str) -> None:
        key = (cluster, int(self.pool_names.codes([pool_id])[0]))
        at = self._pool_row.get(key)
        if at is None:
            at = self._pool_row[key] = len(self.pools)
            self.pools = np.append(self.pools, np.zeros(1, POOL))
            self.tokens_per_s.append("")
            self.models.append("")
        cell = table.rows[row]
        for device in ("accelerator", "core"):
            idle, most = np.array([cell[f"w_{device}_idle"]]), np.array([cell[f"w_{device}_max"]])
            self.pools[f"w_{device}"][at] = swing_w(idle, most)[0]
        self.models[at] = table.texts["model"].names[int(cell["model"])]
        self.tokens_per_s[at] = table.texts["tokens_per_s"].names[int(cell["tokens_per_s"])]
