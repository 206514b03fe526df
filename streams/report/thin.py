"""Make a long run small enough to look at: neighbouring windows become one step, missing stays missing."""

from collections.abc import Sequence

import msgspec
import numpy as np

from streams.report.data import ClusterResult, Flow, RunSeries, ZoneSeries
from streams.report.insight import stack

MOST_CELLS = 36_000
"""Zones × steps: three series of this size are under 1 MB of JSON, and finer than a screen shows."""
MOST_STEPS = 1_500
MOST_CLUSTERS = 1_200
MOST_FLOWS = 400


def check_run(run: RunSeries) -> None:
    """Refuse a run whose lists differ in length.

    Raises:
        ValueError: Names the list and both lengths.
    """
    width = len(run.t_ms)
    lists = {name: getattr(run, name) for name in run.__struct_fields__ if name != "zones"}
    for zone in run.zones:
        lists |= {f"{name} of zone {zone.zone}": getattr(zone, name) for name in ("price", "load_kw", "carbon")}
    for name, values in lists.items():
        if len(values) != width:
            raise ValueError(f"report: {name} has {len(values)} values, expected one a window ({width})")


def thin_run(run: RunSeries) -> tuple[RunSeries, int]:
    """Return ``run`` with every k windows as one step, and k (1 where it is small already).

    Prices, loads, carbon, gaps and counts of tasks become means over the known values; costs and counts of decisions
    become sums. A step is missing only where all its values are.
    """
    width = len(run.t_ms)
    steps = min(MOST_STEPS, max(1, MOST_CELLS // max(1, len(run.zones))))
    k = -(-width // steps) if width else 1
    return RunSeries(
        t_ms=[run.t_ms[min(i + k, width) - 1] for i in range(0, width, k)],
        zones=[_thin_zone(zone, k) for zone in run.zones],
        running=_counts(run.running, k),
        waiting=_counts(run.waiting, k),
        moving=_counts(run.moving, k),
        placed=_sums(run.placed, k),
        moves=_sums(run.moves, k),
        unplaced=_counts(run.unplaced, k),
        cost_energy=_money(run.cost_energy, k),
        cost_network=_money(run.cost_network, k),
        cost_moves=_money(run.cost_moves, k),
        gap=means(run.gap, k, 6),
    ), k


def _thin_zone(zone: ZoneSeries, k: int) -> ZoneSeries:
    load = [0.0 if value is None else value for value in means(zone.load_kw, k, 2)]
    return msgspec.structs.replace(zone, price=means(zone.price, k, 3), load_kw=load, carbon=means(zone.carbon, k, 1))


def means(values: Sequence[float | None], k: int, digits: int) -> list[float | None]:
    """Return the mean of the known values of each k neighbours, rounded; None where none is known."""
    row = stack([values], len(values))[0]
    starts = np.arange(0, row.size, k)
    if not starts.size:
        return []
    known = np.add.reduceat((~np.isnan(row)).astype(np.float64), starts)
    sums = np.add.reduceat(np.nan_to_num(row), starts)
    return [
        round(total / count, digits) if count else None
        for total, count in zip(sums.tolist(), known.tolist(), strict=True)
    ]


def _counts(values: Sequence[int], k: int) -> list[int]:
    return [round(value or 0) for value in means(values, k, 3)]


def _sums(values: Sequence[int], k: int) -> list[int]:
    return [sum(values[i : i + k]) for i in range(0, len(values), k)]


def _money(values: Sequence[float], k: int) -> list[float]:
    return [round(sum(values[i : i + k]), 4) for i in range(0, len(values), k)]


def thin_clusters(clusters: Sequence[ClusterResult]) -> list[ClusterResult]:
    """Return the clusters that ran the most task-hours, in their given order."""
    if len(clusters) <= MOST_CLUSTERS:
        return list(clusters)
    by_work = sorted(range(len(clusters)), key=lambda i: -clusters[i].task_h)[:MOST_CLUSTERS]
    return [clusters[i] for i in sorted(by_work)]


def thin_flows(flows: Sequence[Flow]) -> list[Flow]:
    """Return the largest flows of each kind that can be drawn, by hours."""
    drawable = [flow for flow in flows if None not in (flow.src_lat, flow.src_lon, flow.dst_lat, flow.dst_lon)]
    kept: list[Flow] = []
    for kind in ("serve", "move"):
        kept += sorted((flow for flow in drawable if flow.kind == kind), key=lambda flow: -flow.hours)[:MOST_FLOWS]
    return kept
