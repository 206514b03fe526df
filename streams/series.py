"""What a report shows of one run: series by window, clusters and flows, gathered from its windows and its history."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.embedded import Run
from streams.report import ClusterResult, Flow, RunSeries, ZoneSeries
from twin.arrays import AnyArray, Float1, Int1
from twin.dispatcher import Window
from twin.energy.ledger import Kind
from twin.score import History
from twin.sites import Columns

MS_PER_H = 3_600_000
MOST_FLOWS = 400
_TIERS = ("national", "regional", "edge")


@dataclass(frozen=True, slots=True)
class RunHistory:
    """The parts of a report that come from the main run."""

    run: RunSeries
    clusters: list[ClusterResult]
    flows: list[Flow]


class Collector:
    """Takes in each window as it is decided, keeping numbers only."""

    def __init__(self) -> None:
        self._counts: list[dict[str, int]] = []
        self._totals: list[dict[str, float | None]] = []
        self._ends: list[int] = []
        self._gaps: list[float | None] = []
        self._price: list[dict[str, float | None]] = []
        self._carbon: list[dict[str, float | None]] = []
        self._energy_mwh: list[Int1] = []
        self._window_ms = 0

    def add(self, window: Window) -> None:
        """Take in ``window``."""
        record, b, clusters = window.record, window.bookings, window.view.clusters
        self._ends.append(record.end)
        self._counts.append(record.counts | {"unplaced": sum(record.unplaced.values())})
        self._totals.append(record.totals)
        self._gaps.append(record.gap)
        self._price.append(record.prices)
        carbon = zip(clusters.zone, clusters.carbon_g_per_kwh.tolist(), strict=True)
        self._carbon.append({zone: None if np.isnan(grams) else grams for zone, grams in carbon})
        work = (b.kind == Kind.TASK) | (b.kind == Kind.SERVICE)
        energy = np.zeros(int(b.cluster.max(initial=0)) + 1, np.int64)
        np.add.at(energy, b.cluster[work], b.energy_mwh[work])
        self._energy_mwh.append(energy)
        self._window_ms = record.end - record.start

    def collect(self, run: Run) -> RunHistory:
        """What the report shows of ``run``, which has ended."""
        columns = run.dispatcher.sites.columns
        if columns is None:
            return RunHistory(self._series([], {}), [], [])
        zone_of = dict(zip(columns.cluster_ids, columns.zone, strict=True))
        province_of = dict(zip(columns.zone, columns.province, strict=True))
        names = run.history.fleet.cluster_names.names
        series = self._series([zone_of.get(name, "") for name in names], province_of)
        moves = _moves(run.history)
        return RunHistory(series, _clusters(run, columns, moves), _flows(run, columns, moves))

    def _series(self, zone_of_code: list[str], names: dict[str, str]) -> RunSeries:
        def counted(name: str) -> list[int]:
            return [counts[name] for counts in self._counts]

        def cost(name: str) -> list[float]:
            return [totals[name] or 0.0 for totals in self._totals]

        zones = sorted({zone for zone in zone_of_code if zone})
        load = self._load_kw(zone_of_code, zones)
        return RunSeries(
            t_ms=self._ends,
            zones=[
                ZoneSeries(
                    zone=zone,
                    name=names.get(zone) or zone,
                    price=[prices.get(zone) for prices in self._price],
                    load_kw=load[:, z].tolist(),
                    carbon=[carbon.get(zone) for carbon in self._carbon],
                )
                for z, zone in enumerate(zones)
            ],
            running=counted("running"),
            waiting=counted("waiting"),
            moving=counted("moving"),
            placed=counted("places"),
            moves=counted("moves"),
            unplaced=counted("unplaced"),
            cost_energy=cost("energy_cost"),
            cost_network=cost("network_cost"),
            cost_moves=cost("move_cost"),
            gap=self._gaps,
        )

    def _load_kw(self, zone_of_code: list[str], zones: list[str]) -> AnyArray:
        """Mean facility power of our work per window and zone, (W, Z)."""
        load = np.zeros((len(self._energy_mwh), len(zones)))
        at = {zone: z for z, zone in enumerate(zones)}
        for w, energy in enumerate(self._energy_mwh):
            for code in np.flatnonzero(energy).tolist():
                zone = zone_of_code[code] if code < len(zone_of_code) else ""
                if zone:
                    load[w, at[zone]] += int(energy[code]) / 1e6 / (self._window_ms / MS_PER_H)
        return load


@dataclass(frozen=True, slots=True)
class _Moves:
    """Runs that went on elsewhere: task, cluster codes from and to, all (n,)."""

    task: Int1
    source: Int1
    target: Int1


def _moves(history: History) -> _Moves:
    runs = history.runs
    order = np.lexsort((runs["start"], runs["attempt"], runs["task"]))
    before, after = order[:-1], order[1:]
    moved = (runs["task"][before] == runs["task"][after]) & (runs["cluster"][before] != runs["cluster"][after])
    moved &= (runs["failed"][before] == 0) & (runs["finished"][before] == 0)
    return _Moves(runs["task"][after][moved], runs["cluster"][before][moved], runs["cluster"][after][moved])


def _hours(history: History, until: int) -> Float1:
    runs = history.runs
    hours: Float1 = np.maximum(np.minimum(runs["end"], until) - runs["start"], 0) / MS_PER_H
    return hours


def _clusters(run: Run, columns: Columns, moves: _Moves) -> list[ClusterResult]:
    history, until = run.history, run.result.last_window
    runs, tasks = history.runs, history.tasks
    codes = {name: code for code, name in enumerate(history.fleet.cluster_names.names)}
    n = len(codes)
    hours, cluster = _hours(history, until), runs["cluster"]
    chips, cores = tasks["accelerators"][runs["task"]], tasks["cpu_cores"][runs["task"]]

    def summed(weights: AnyArray) -> Float1:
        total: Float1 = np.bincount(cluster, weights, n).astype(np.float64)
        return total

    task_h, chip_h, core_h = summed(hours), summed(hours * chips), summed(hours * cores)
    started = np.bincount(cluster[runs["attempt"] == 1], minlength=n)
    ledger = run.dispatcher.ledger
    booked = ledger.by_cluster(Kind.TASK, Kind.SERVICE) if ledger else {}
    capacity = np.zeros((len(columns.cluster_ids), 3))
    np.add.at(capacity, columns.cluster, columns.capacity)
    results = []
    for i, name in enumerate(columns.cluster_ids):
        sums, code = booked.get(name), codes.get(name, 0)
        energy_mwh = sums["energy_mwh"] if sums else 0
        priced_mwh = energy_mwh - sums["unpriced_mwh"] if sums else 0
        cost = sums["cost_micro"] / 1e6 if sums else 0.0
        known = sums is not None and sums["carbon_unknown_mwh"] == 0
        results.append(
            ClusterResult(
                cluster_id=name,
                name=name,
                tier=_TIERS[int(columns.tier[i])],
                zone=columns.zone[i],
                lat=_known(columns.lat[i]),
                lon=_known(columns.lon[i]),
                accelerators=float(capacity[i, 0]),
                cpu_cores=float(capacity[i, 1]),
                energy_kwh=energy_mwh / 1e6,
                cost_energy=cost,
                carbon_kg=sums["carbon_mg"] / 1e6 if sums and known else None,
                task_h=float(task_h[code]),
                accelerator_h=float(chip_h[code]),
                core_h=float(core_h[code]),
                tasks_started=int(started[code]),
                moves_in=int(np.count_nonzero(moves.target == code)),
                moves_out=int(np.count_nonzero(moves.source == code)),
                mean_price=cost / (priced_mwh / 1e9) if priced_mwh else None,
            )
        )
    return results


def _flows(run: Run, columns: Columns, moves: _Moves) -> list[Flow]:
    """The largest flows of each kind: origin → cluster by task-hours, cluster → cluster by moves."""
    history, until = run.history, run.result.last_window
    names = history.fleet.cluster_names.names
    nodes = history.fleet.nodes.names
    where = _coordinates(run, columns)
    runs, tasks = history.runs, history.tasks
    hours = _hours(history, until)
    serve = _grouped(tasks["origin"][runs["task"]], runs["cluster"], hours, np.zeros(len(hours)))
    move = _grouped(moves.source, moves.target, np.zeros(len(moves.task)), tasks["state_gb"][moves.task])
    flows = []
    kinds: tuple[tuple[Any, str, list[str]], ...] = ((serve, "serve", nodes), (move, "move", names))
    for groups, kind, sources in kinds:
        for source, target, count, spent, gigabytes in groups[:MOST_FLOWS]:
            a, b = where.get(sources[source], (None, None)), where.get(names[target], (None, None))
            flows.append(
                Flow(
                    kind="move" if kind == "move" else "serve",
                    src=sources[source],
                    dst=names[target],
                    src_lat=a[0],
                    src_lon=a[1],
                    dst_lat=b[0],
                    dst_lon=b[1],
                    tasks=count,
                    hours=spent,
                    gb=gigabytes,
                )
            )
    return flows


def _grouped(source: Int1, target: Int1, hours: Float1, gb: Float1) -> list[tuple[int, int, int, float, float]]:
    """(source, target, count, hours, GB) of each pair, most hours first, then most often."""
    width = int(target.max(initial=0)) + 1
    pairs, at, counts = np.unique(source * width + target, return_inverse=True, return_counts=True)
    at = at.reshape(-1)
    spent, sent = np.bincount(at, hours, len(pairs)), np.bincount(at, gb, len(pairs))
    order = np.lexsort((pairs, -counts, -spent))
    return [
        (int(pairs[i]) // width, int(pairs[i]) % width, int(counts[i]), float(spent[i]), float(sent[i])) for i in order
    ]


def _coordinates(run: Run, columns: Columns) -> dict[str, tuple[float | None, float | None]]:
    """Of clusters, and of network nodes that have a cluster (the largest one's)."""
    where: dict[str, tuple[float | None, float | None]] = {}
    nodes = run.dispatcher.sites.nodes.names
    for i in np.argsort(columns.tier, kind="stable")[::-1].tolist():  # national clusters come last and stay
        place = (_known(columns.lat[i]), _known(columns.lon[i]))
        where[nodes[int(columns.node[i])]] = place
        where[columns.cluster_ids[i]] = place
    return where


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
