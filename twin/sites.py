"""Clusters, pools and the network between them as columns, kept from the inventory, telemetry, control and network shards.

The order of clusters, pools and nodes is the order in which the inventory named them and only grows, so that placements
and prices can be carried by index. Columns are rebuilt only when a shard they come from has changed.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from twin import events as ev
from twin.arrays import AnyArray, Bool1, Float1, Float2, Int1
from twin.energy.power import idle_kw
from twin.mirror import Mirror
from twin.network import Names, Paths
from twin.shards import control
from twin.shards.fold import Tables
from twin.shards.table import Table
from twin.shards.telemetry import STATES

UP, DEGRADED, DRAINING, DOWN = range(4)


@dataclass(frozen=True, slots=True)
class Columns:
    """P pools of C clusters. ``pool_ids`` are (cluster_id, pool_id). Texts are by pool or cluster, in their order."""

    pool_ids: tuple[tuple[str, str], ...]
    cluster: Int1
    capacity: Float2
    open: Bool1
    holds: Bool1
    model: tuple[str, ...]
    domestic: Bool1
    nodes: Float1
    w_per_accelerator: Float1
    w_per_core: Float1
    tokens: tuple[dict[str, float], ...]
    cluster_ids: tuple[str, ...]
    zone: tuple[str, ...]
    province: tuple[str, ...]
    labels: tuple[frozenset[str], ...]
    node: Int1
    pue: Float1
    idle_kw: Float1
    cap_kw: Float1
    tier: Int1
    lat: Float1
    lon: Float1


@dataclass(slots=True)
class _Cluster:
    zone: str = ""
    province: str = ""
    node: int = 0
    pue: float = 1.0
    idle_kw: float = 0.0
    cap_kw: float = float("inf")
    tier: int = 0
    lat: float = float("nan")
    lon: float = float("nan")
    open: bool = False
    holds: bool = True
    labels: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Pool:
    cluster: int
    capacity: tuple[float, float, float] = (0.0, 0.0, 0.0)
    here: bool = False
    model: str = ""
    domestic: bool = False
    nodes: float = 0.0
    w_accelerator: float = 0.0
    w_core: float = 0.0
    tokens: dict[str, float] | None = None


class SitesCarry(msgspec.Struct, array_like=True, frozen=True):
    """The order in which places were named."""

    clusters: tuple[str, ...]
    pools: list[tuple[str, str]]
    nodes: tuple[str, ...]


class Sites:
    """The twin's places. ``refresh`` brings the columns up to date with a mirror."""

    def __init__(self) -> None:
        self.clusters = Names()
        self.pools = Names()
        self.paths = Paths()
        self.nodes = self.paths.nodes
        self._pool_ids: list[tuple[str, str]] = []
        self._versions: tuple[tuple[int, ...], bytes] = ((), b"")
        self._meter_rows: dict[int, tuple[tuple[int, int, int], Int1, Int1, Int1]] = {}
        self.allocated: Float1 = np.zeros(0)
        self.version = 0
        self.columns: Columns | None = None

    def refresh(self, mirror: Mirror) -> Columns:
        """The columns as of ``mirror``; ``version`` moves when they have changed."""
        versions = tuple(s.version for name in ("inventory", "control") for s in mirror.of(name))
        said = b"".join(s.tables["clusters"].live()["state_seq"].tobytes() for s in mirror.of("telemetry"))
        if self.columns is None or (versions, said) != self._versions:
            self._versions = (versions, said)
            self.columns = self._build(mirror)
            self.version += 1
        self.allocated = self._meters(mirror)
        self.paths.refresh(mirror)
        return self.columns

    def carry(self) -> SitesCarry:
        """What the columns do not follow from a mirror without: the order of names."""
        return SitesCarry(self.clusters.names, self._pool_ids, self.nodes.names)

    def restore(self, carry: SitesCarry) -> None:
        """Go on from a carry."""
        self.clusters.restore(carry.clusters)
        self.pools.restore(f"{cluster}|{pool}" for cluster, pool in carry.pools)
        self.nodes.restore(carry.nodes)
        self._pool_ids = carry.pools

    def _meters(self, mirror: Mirror) -> Float1:
        """Accelerators that each pool says are allocated by the newest reading of its cluster, NaN: none, (P,)."""
        allocated = np.full(len(self.pools), np.nan)
        for shard in mirror.of("telemetry"):
            table, clusters = shard.tables["pools"], shard.tables["clusters"]
            key = (self.version, table.count, clusters.count)
            cached = self._meter_rows.get(shard.partition)
            if cached is None or cached[0] != key:
                cached = self._meter_rows[shard.partition] = (key, *self._meter_lut(table, clusters))
            _, rows, pools, owners = cached
            live = table.rows[rows]
            newest = (live["meter_seq"] > 0) & (live["meter_seq"] == clusters.rows["meter_seq"][owners])
            allocated[pools[newest]] = live["allocated"][newest]
        return allocated

    def _meter_lut(self, table: Table, clusters: Table) -> tuple[Int1, Int1, Int1]:
        """Rows of known pools, their pool indices, and the rows of their clusters, all (n,)."""
        found = []
        for row, name in enumerate(table.ids.names):
            pool = self.pools.index.get(name, -1) if name is not None else -1
            owner = clusters.ids.row_of.get(self._pool_ids[pool][0]) if pool >= 0 else None
            if owner is not None:
                found.append((row, pool, owner))
        columns = np.array(found, np.int64).reshape(-1, 3)
        return columns[:, 0], columns[:, 1], columns[:, 2]

    def pool_index(self, cluster: str, pool: str) -> int:
        """Index of a pool, -1 when it is not registered."""
        return self.pools.index.get(f"{cluster}|{pool}", -1)

    # ------------------------------------------------------------------------------------------------ clusters

    def _build(self, mirror: Mirror) -> Columns:
        clusters: dict[int, _Cluster] = {}
        pools: dict[int, _Pool] = {}
        for shard in mirror.of("inventory"):
            self._read_inventory(shard.tables, clusters, pools)
        for shard in mirror.of("telemetry"):
            self._read_telemetry(shard.tables, clusters, pools)
        for shard in mirror.of("control"):
            self._read_control(shard.tables["commands"], clusters)
        return self._columns(
            [clusters.get(i, _Cluster(holds=False)) for i in range(len(self.clusters))],
            [pools.get(i, _Pool(self.clusters.add(cluster))) for i, (cluster, _) in enumerate(self._pool_ids)],
        )

    def _read_inventory(self, tables: Tables, clusters: dict[int, _Cluster], pools: dict[int, _Pool]) -> None:
        table, pool_table = tables["clusters"], tables["pools"]
        rows, names = table.rows, table.ids.names
        zones, nodes = table.texts["zone_id"].names, table.texts["node_id"].names
        for row, name in enumerate(names):
            if name is None or not rows["registered"][row]:
                continue
            cell = rows[row]
            cap, pue = float(cell["power_cap_kw"]), float(cell["pue_a"])
            labels = table.texts["labels"].names[cell["labels"]]
            clusters[self.clusters.add(name)] = _Cluster(
                zone=zones[cell["zone_id"]],
                province=table.texts["province"].names[cell["province"]],
                node=self.nodes.add(nodes[cell["node_id"]]),
                pue=1.0 if np.isnan(pue) else pue,
                idle_kw=_idle_kw(table, pool_table, row),
                cap_kw=float("inf") if np.isnan(cap) else cap,
                tier=int(cell["tier"]),
                lat=float(cell["lat"]),
                lon=float(cell["lon"]),
                open=cell["retired"] < cell["registered"],
                holds=bool(cell["retired"] < cell["registered"]),
                labels=frozenset(msgspec.json.decode(labels)) if labels else frozenset(),
            )
        for row, name in enumerate(pool_table.ids.names):
            if name is not None and pool_table.rows["registered"][row]:
                self._read_pool(tables, row, name, pools)

    def _read_pool(self, tables: Tables, row: int, name: str, pools: dict[int, _Pool]) -> None:
        table, owner = tables["pools"], int(tables["pools"].rows["cluster"][row])
        cell = table.rows[row]
        cluster = tables["clusters"].ids.names[owner]
        if cluster is None:
            return
        if name not in self.pools.index:
            self._pool_ids.append((cluster, name[len(cluster) + 1 :]))
        devices = float(cell["nodes"]) * float(cell["accelerators_per_node"])
        tokens = table.texts["tokens_per_s"].names[cell["tokens_per_s"]]
        pools[self.pools.add(name)] = _Pool(
            cluster=self.clusters.add(cluster),
            capacity=(devices, float(cell["cpu_cores"]), float(cell["mem_gib"])),
            here=bool(cell["registered"] == tables["clusters"].rows["registered"][owner]),
            model=table.texts["model"].names[cell["model"]],
            domestic=bool(cell["domestic"]),
            nodes=float(cell["nodes"]),
            w_accelerator=_spread(cell, "w_accelerator"),
            w_core=_spread(cell, "w_core"),
            tokens=msgspec.json.decode(tokens) if tokens else None,
        )

    def _read_telemetry(self, tables: Tables, clusters: dict[int, _Cluster], pools: dict[int, _Pool]) -> None:
        table, pool_table = tables["clusters"], tables["pools"]
        state_seq: dict[str, int] = {}
        for row, name in enumerate(table.ids.names):
            cluster = clusters.get(self.clusters.index.get(name, -1)) if name is not None else None
            if name is None or cluster is None:
                continue
            cell = table.rows[row]
            state_seq[name] = int(cell["state_seq"])
            if cell["state_seq"]:
                state = STATES[cell["state"]]
                cluster.open &= state in {"up", "degraded"}
                cluster.holds &= state in {"up", "degraded"}
                if not np.isnan(cell["cap_kw"]):
                    cluster.cap_kw = min(cluster.cap_kw, float(cell["cap_kw"]))
        for row, name in enumerate(pool_table.ids.names):
            pool = pools.get(self.pools.index.get(name, -1)) if name is not None else None
            if name is None or pool is None:
                continue
            cell, stated = pool_table.rows[row], state_seq.get(self._pool_ids[self.pools.index[name]][0], 0)
            if stated and cell["state_seq"] == stated and pool.nodes:
                share = min(1.0, float(cell["healthy"]) / pool.nodes)
                pool.capacity = (pool.capacity[0] * share, pool.capacity[1] * share, pool.capacity[2] * share)

    def _read_control(self, commands: Table, clusters: dict[int, _Cluster]) -> None:
        for name in commands.ids.names:
            if name is None or not name.startswith("cluster|"):
                continue
            cluster = clusters.get(self.clusters.index.get(name[len("cluster|") :], -1))
            said = control.command(commands, name)
            if cluster is None:
                continue
            if isinstance(said, (ev.ClusterCordon, ev.ClusterDrain)):
                cluster.open = False
            if isinstance(said, ev.ClusterDrain):
                cluster.holds = False

    def _columns(self, clusters: list[_Cluster], pools: list[_Pool]) -> Columns:
        owner = np.array([p.cluster for p in pools], np.int64)
        capacity = np.array([p.capacity for p in pools], np.float64).reshape(-1, 3)
        is_open = np.array([c.open for c in clusters], bool)
        holds = np.array([c.holds for c in clusters], bool)
        here = np.array([p.here for p in pools], bool)

        def floats(values: list[float]) -> Float1:
            return np.array(values, np.float64)

        return Columns(
            pool_ids=tuple(self._pool_ids),
            cluster=owner,
            capacity=capacity,
            open=is_open[owner] & here,
            holds=holds[owner] & here,
            model=tuple(p.model for p in pools),
            domestic=np.array([p.domestic for p in pools], bool),
            nodes=floats([p.nodes for p in pools]),
            w_per_accelerator=floats([p.w_accelerator for p in pools]),
            w_per_core=floats([p.w_core for p in pools]),
            tokens=tuple(p.tokens or {} for p in pools),
            cluster_ids=self.clusters.names,
            zone=tuple(c.zone for c in clusters),
            province=tuple(c.province for c in clusters),
            labels=tuple(c.labels for c in clusters),
            node=np.array([c.node for c in clusters], np.int64),
            pue=floats([c.pue for c in clusters]),
            idle_kw=floats([c.idle_kw for c in clusters]),
            cap_kw=floats([c.cap_kw for c in clusters]),
            tier=np.array([c.tier for c in clusters], np.int64),
            lat=floats([c.lat for c in clusters]),
            lon=floats([c.lon for c in clusters]),
        )


def _idle_kw(clusters: Table, pools: Table, row: int) -> float:
    """IT power of a cluster without any task: as registered, else from the devices of its pools."""
    live = pools.live()
    mine = live[(live["registered"] == clusters.rows["registered"][row]) & (live["cluster"] == row)]
    devices = np.concatenate((mine["nodes"] * mine["accelerators_per_node"], mine["cpu_cores"]))
    watts = np.concatenate((mine["w_accelerator_idle"], mine["w_core_idle"]))
    return idle_kw(float(clusters.rows["idle_kw"][row]), devices, watts)[0]


def _spread(cell: AnyArray, name: str) -> float:
    """Watts that one busy device adds to idle; 0 where the maximum is unknown."""
    full, idle = float(cell[f"{name}_max"]), float(cell[f"{name}_idle"])
    return 0.0 if np.isnan(full) else full - (0.0 if np.isnan(idle) else idle)
