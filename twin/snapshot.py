"""A snapshot becomes a view: the mirror's tables, the desired placement and the prices joined into columns."""

from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np

from twin.arrays import AnyArray, Bool1, Bool2, Byte1, Float1, Int1
from twin.energy.curves import Curves
from twin.energy.follow import Reader
from twin.ids import Texts
from twin.load import committed, foreign, served, throughput
from twin.mirror import Mirror, MirrorShard
from twin.placement import PLACEMENT, Live, Placement
from twin.shards.tasks import TASKS
from twin.sites import Columns, Sites
from twin.view import ACCELERATORS, Clusters, Network, Pools, Rates, Services, State, Tasks, View

REQUEST = ("accelerators", "cpu_cores", "mem_gib")
"""The three resources of ``Tasks.request``, in its order."""
FAR = 2**62
"""Deadline of tasks without one, ms."""
LEAST_OCCUPANCY = 1 / 1024
"""So that a task of no length still takes part in capacity."""


class _Shape(NamedTuple):
    """What decides where a task may run, whatever its size: the key of a row of ``View.allowed``."""

    compatible: str
    residency: str
    accelerators: bool


_WORK = (
    "est_duration_s", "accelerators", "cpu_cores", "mem_gib", "power_w", "compatible", "residency", "origin", "latency_ms",
    "priority", "kind", "submitted_at", "earliest_start", "deadline", "data_in_gb", "data_rate_gbph", "state_gb", "movable",
    "interruptible", "checkpoint_s",
)  # fmt: skip


class _Work:
    """What dispatch reads of the tasks of one shard, a column each, by row; only rows that cuts brought are read again.

    A row of the table is 496 bytes wide: a million of them, read column by column in every window, is what a window with
    many live tasks would cost most.
    """

    def __init__(self) -> None:
        self._reader = Reader("tasks")
        self._columns: dict[str, AnyArray] = {name: np.zeros(0, TASKS[name]) for name in _WORK}
        self._names = np.zeros(0, object)

    def follow(self, shard: MirrorShard) -> None:
        """Bring the columns up to ``shard``."""
        table, rows = shard.tables["tasks"], self._reader.rows(shard)
        short = table.count - len(self._names)
        if short > 0:
            more = max(short, len(self._names))
            self._columns = {
                name: np.concatenate([column, np.zeros(more, column.dtype)]) for name, column in self._columns.items()
            }
            self._names = np.concatenate([self._names, np.zeros(more, object)])
        for name, column in self._columns.items():
            column[rows] = table.rows[name][rows]
        names = table.ids.names
        self._names[rows] = [names[row] for row in rows.tolist()]

    def column(self, name: str, rows: Int1) -> AnyArray:
        """Column ``name`` of ``rows``, (n,)."""
        return self._columns[name][rows]

    def ids(self, rows: Int1) -> list[str]:
        """Task ids of ``rows``."""
        names: list[str] = self._names[rows].tolist()
        return names


class ViewBuilder:
    """Builds views; caches what only changes with the inventory, and the columns of tasks that no cut brought."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._shapes: dict[_Shape, int] = {}
        self._allowed: Bool2 = np.zeros((0, 0), bool)
        self._allowed_version = -1
        self._work: dict[int, _Work] = {}

    def build(
        self,
        mirror: Mirror,
        placement: Placement,
        live: list[Live],
        curves: Curves,
        splits: dict[str, Float1],
        *,
        window: int,
        effective_at: int,
        window_ms: int,
        market: str,
        rates: Rates,
    ) -> View:
        """The view at the end of ``window``. ``splits`` is the split of services decided last, tokens/s per pool."""
        sites, columns = self._sites, self._sites.refresh(mirror)
        tasks, leaving = self._tasks(placement, live, effective_at, window_ms)
        services = self._services(mirror, columns, splits, effective_at)
        used, power_kw = committed(tasks, leaving, columns)
        speed = throughput(columns, services.models)
        taken, served_kw = served(services, columns, speed)
        price, known = curves.prices_at(columns.zone, effective_at, market)
        price = _guessed(price)
        cap_it = columns.cap_kw / columns.pue
        return View(
            window_end=window,
            effective_at=effective_at,
            window_ms=window_ms,
            pools=Pools(
                ids=columns.pool_ids,
                cluster=columns.cluster,
                capacity=columns.capacity,
                free=columns.capacity - used - taken - foreign(tasks, leaving, taken, sites.allocated),
                open=columns.open,
                holds=columns.holds,
                model=_coded(columns.model),
                w_per_accelerator=columns.w_per_accelerator,
                w_per_core=columns.w_per_core,
                tokens_per_s=speed,
            ),
            clusters=Clusters(
                ids=columns.cluster_ids,
                zone=columns.zone,
                node=columns.node,
                pue=columns.pue,
                price_per_mwh=price,
                price_known=known,
                carbon_g_per_kwh=curves.carbon_at(columns.zone, effective_at),
                power_cap_kw=columns.cap_kw,
                idle_kw=columns.idle_kw,
                power_free_kw=cap_it - columns.idle_kw - power_kw - served_kw,
                tier=columns.tier,
            ),
            tasks=tasks,
            network=Network(
                nodes=sites.nodes.names,
                rtt_ms=sites.paths.rtt_ms,
                fee_per_gb=sites.paths.fee_per_gb,
                fee_known=sites.paths.fee_known,
                available_mbps=sites.paths.mbps,
            ),
            services=services,
            allowed=self._allow(columns),
            rates=rates,
        )

    # --------------------------------------------------------------------------------------------------- tasks

    def _tasks(self, placement: Placement, live: list[Live], now: int, window_ms: int) -> tuple[Tasks, Int1]:
        """Columns of the live tasks, and the pool that an older attempt of each still holds (-1: none)."""
        parts = [(self._followed(part.shard), part.rows, part.shard.tables["tasks"].texts) for part in live]

        def column(name: str) -> AnyArray:
            return np.concatenate([work.column(name, rows) for work, rows, _ in parts])

        edges = np.cumsum([0, *(len(part.rows) for part in live)]).tolist()
        # filled, not concatenated: np.concatenate compares the dtypes field by field
        task = np.empty(edges[-1], PLACEMENT)
        for part, a, b in zip(live, edges, edges[1:], strict=False):
            # clip: the default checks by way of a buffer; rows of live tasks exist
            np.take(placement.tasks[part.shard.partition], part.rows, out=task[a:b], mode="clip")
        duration_s, latency_ms, deadline = column("est_duration_s"), column("latency_ms"), column("deadline")
        ran_s = np.where(task["since"] > 0, (now - task["since"]) / 1000, 0.0)
        tasks = Tasks(
            ids=list(chain.from_iterable(work.ids(rows) for work, rows, _ in parts)),
            state=task["state"].astype(np.uint8),
            desired=task["desired"] - 1,
            reported=task["reported"] - 1,
            attempt=task["attempt"],
            request=np.stack([column(name) for name in REQUEST], axis=1, dtype=np.float64),
            occupancy=np.clip(duration_s * 1000 / window_ms, LEAST_OCCUPANCY, 1.0),
            power_w=column("power_w"),
            shape=np.concatenate([self._shape(work, rows, t["compatible"], t["residency"]) for work, rows, t in parts]),
            origin=np.concatenate([self._nodes(t["origin"])[work.column("origin", rows)] for work, rows, t in parts]),
            latency_ms=np.where(np.isnan(latency_ms), np.inf, latency_ms),
            priority=column("priority").astype(np.int64),
            kind=column("kind").astype(np.int64),
            submitted_at=column("submitted_at"),
            earliest_start=np.maximum(column("earliest_start"), task["start_at"]),
            deadline=np.where(deadline > 0, deadline, FAR),
            remaining_s=np.maximum(duration_s * (1 - task["done"]) - ran_s, 0.0),
            data_in_gb=column("data_in_gb"),
            data_rate_gbph=column("data_rate_gbph"),
            state_gb=column("state_gb"),
            movable=(column("movable") > 0) & (task["stuck"] == 0),
            interruptible=column("interruptible") > 0,
            checkpoint_s=column("checkpoint_s"),
            barred=np.where(task["barred_until"] > now, task["barred"], 0) - 1,
        )
        return tasks, task["leaving"] - 1

    def _followed(self, shard: MirrorShard) -> _Work:
        work = self._work.setdefault(shard.partition, _Work())
        work.follow(shard)
        return work

    def _nodes(self, texts: Texts) -> Int1:
        return np.array([self._sites.nodes.add(name) for name in texts.names], np.int64)

    def _shape(self, work: _Work, rows: Int1, compatible: Texts, residency: Texts) -> Int1:
        """Row of ``allowed`` per task; new shapes are appended."""
        needs = work.column("accelerators", rows) > 0
        places = work.column("compatible", rows).astype(np.int64) * len(residency.names)
        key = (places + work.column("residency", rows)) * 2 + needs
        unique, inverse = np.unique(key, return_inverse=True)
        codes = [
            self._shapes.setdefault(
                _Shape(
                    compatible.names[k // 2 // len(residency.names)],
                    residency.names[k // 2 % len(residency.names)],
                    k % 2 > 0,
                ),
                len(self._shapes),
            )
            for k in unique.tolist()
        ]
        return np.array(codes, np.int64)[inverse.reshape(-1)] if codes else np.zeros(0, np.int64)

    def _allow(self, columns: Columns) -> Bool2:
        """Shapes × pools, recomputed when the inventory has changed or a shape is new."""
        if self._allowed_version != self._sites.version or len(self._allowed) != len(self._shapes):
            self._allowed_version = self._sites.version
            rows = [_permitted(shape, columns) for shape in self._shapes]
            self._allowed = np.array(rows, bool).reshape(len(rows), len(columns.pool_ids))
        return self._allowed

    # ------------------------------------------------------------------------------------------------ services

    def _services(self, mirror: Mirror, columns: Columns, splits: dict[str, Float1], now: int) -> Services:
        wanted: dict[str, tuple[int, str, float, float]] = {}
        for shard in mirror.of("services"):
            self._read_demand(shard, now, wanted)
        keys = tuple(sorted(wanted))
        models: dict[str, int] = {}
        for key in keys:
            models.setdefault(wanted[key][1], len(models))
        pools = len(columns.pool_ids)
        split = np.zeros((len(keys), pools))
        for d, key in enumerate(keys):
            before = splits.get(key)
            if before is not None:
                split[d, : len(before)] = before
        return Services(
            keys=keys,
            origin=np.array([wanted[key][0] for key in keys], np.int64),
            model=np.array([models[wanted[key][1]] for key in keys], np.int64),
            tokens_per_s=np.array([wanted[key][2] for key in keys], np.float64),
            latency_ms=np.array([wanted[key][3] for key in keys], np.float64),
            split=split,
            models=tuple(models),
        )

    def _read_demand(self, shard: MirrorShard, now: int, wanted: dict[str, tuple[int, str, float, float]]) -> None:
        table = shard.tables["demand"]
        live = table.live()
        at = np.flatnonzero((live["applied"] > 0) & (live["start"] <= now) & (now < live["end"]))
        services, origins, models = (table.texts[name].names for name in ("service", "origin", "model"))
        for row in at.tolist():
            cell = live[row]
            origin = origins[cell["origin"]]
            limit = float(cell["latency_ms"])
            wanted[f"{services[cell['service']]}@{origin}"] = (
                self._sites.nodes.add(origin),
                models[cell["model"]],
                float(cell["tokens_out_per_s"]),
                np.inf if np.isnan(limit) else limit,
            )


def _coded(models: tuple[str, ...]) -> Int1:
    """Index of each accelerator model among those there are, -1 for none, (P,)."""
    index = {name: i for i, name in enumerate(dict.fromkeys(filter(None, models)))}
    return np.array([index.get(name, -1) for name in models], np.int64)


def _permitted(shape: _Shape, columns: Columns) -> Bool1:
    """Pools that a shape may use: accelerator model, residency (zone, province or label), accelerators at all."""
    ok = np.ones(len(columns.pool_ids), bool)
    if shape.accelerators:
        ok &= columns.capacity[:, ACCELERATORS] > 0
    if shape.compatible:
        models = set(msgspec.json.decode(shape.compatible))
        ok &= np.array([model in models for model in columns.model], bool)
    if shape.residency:
        places = set(msgspec.json.decode(shape.residency))
        inside = [
            zone in places or province in places or bool(places & labels)
            for zone, province, labels in zip(columns.zone, columns.province, columns.labels, strict=True)
        ]
        ok &= np.array(inside, bool)[columns.cluster]
    return ok


def _guessed(price: Float1) -> Float1:
    """Prices with the mean of the known ones (0 where there are none) in place of those that never were, (C,)."""
    never = np.isnan(price)
    mean = float(price[~never].sum()) / max(int((~never).sum()), 1)
    return np.where(never, mean, price)


def counts(state: Byte1) -> dict[str, int]:
    """How many live tasks are in each state."""
    n = np.bincount(state, minlength=len(State))
    return {each.name.lower(): int(n[each]) for each in State if each is not State.DONE}
