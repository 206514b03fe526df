"""How much stands where: capacity is built for a plan that spreads the work over all places that can do it.

The plan starts every task when it is submitted and splits it over all pools that can hold it, by the weight of the site, the
affinity of its kind to the tier, and nearness. A pool gets its busiest quarter of an hour over a target utilisation. So the
work is deliverable in principle whatever the seed, and what is scarce or ample is a parameter, not an accident.
"""

from dataclasses import dataclass

import numpy as np

from producers.scenario.draw import INTERVAL_MS
from producers.scenario.services import Demand
from producers.scenario.tables import KINDS
from producers.scenario.tasks import Tasks
from producers.scenario.world import World
from twin.arrays import Bool2, Float1, Float2, Int1

NEAR_MS = 5.0
"""A pool so much further away has half the weight."""
EDGE_UTILISATION = 0.85
"""The most an edge site is planned for, whatever the preset: its work has nowhere else to go."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What was planned for one device model: devices (cores for ``cpu``) in use at the busiest time, on average, and built."""

    model: str
    peak: float
    mean: float
    capacity: float

    @property
    def load(self) -> float:
        """Peak over capacity."""
        return self.peak / self.capacity


def in_use(tasks: Tasks, amount: Float1, t0: int, intervals: int) -> Float2:
    """Mean amount in use per task and interval when each starts at once, (N, T)."""
    edge = t0 + INTERVAL_MS * np.arange(intervals + 1)
    begin = tasks.submit_ms[:, None]
    finish = begin + (1000 * tasks.duration_s).astype(np.int64)[:, None]
    overlap = np.minimum(finish, edge[1:]) - np.maximum(begin, edge[:-1])
    return np.asarray(np.maximum(overlap, 0) * (amount[:, None] / INTERVAL_MS))


def planned_use(world: World, tasks: Tasks) -> Float2:
    """Devices (cores in CPU pools) the plan puts on each pool in each interval, (P, T)."""
    amount = np.array([shape.amount for shape in world.shapes], np.float64)[tasks.shape]
    limit = np.where(np.isfinite(tasks.latency_ms), np.round(10 * tasks.latency_ms), 10**7).astype(np.int64)
    key = ((limit * len(world.shapes) + tasks.shape) * len(world.provinces) + tasks.origin) * 2 + tasks.resident
    groups, first, member = np.unique(key, return_index=True, return_inverse=True)
    order = np.argsort(member, kind="stable")
    rows = in_use(tasks, amount, world.time.t0, world.time.intervals)[order]
    use = np.add.reduceat(rows, np.searchsorted(member[order], np.arange(len(groups))), axis=0)
    kind = np.array([KINDS.index(shape.task_class.kind) for shape in world.shapes])
    far = world.pool_rtt_ms[tasks.origin[first]]
    allowed = world.fit[tasks.shape[first]] & (far <= tasks.latency_ms[first][:, None])
    allowed &= world.at_home[tasks.origin[first]] | ~tasks.resident[first][:, None]
    return spread(use, _weights(world)[kind[tasks.shape[first]]] / (1 + far / NEAR_MS), allowed)


def served_use(world: World, demand: Demand) -> Float2:
    """Devices the plan puts on each pool for services, (P, T)."""
    weight = _weights(world)[KINDS.index("inference")] / (1 + world.pool_rtt_ms / NEAR_MS)
    out = np.zeros((len(world.racks), len(demand.start)))
    for k, tokens in enumerate(demand.tokens_per_s):
        allowed = (world.rate[k] > 0) & (world.pool_rtt_ms <= demand.latency_ms[k][:, None])
        # tokens go by weight and speed, so that devices are taken by weight
        out += spread(tokens, weight * world.rate[k], allowed) / np.maximum(world.rate[k], 1e-9)[:, None]
    return out


def _weights(world: World) -> Float2:
    """Weight of each pool in the plan, by kind, (4, P); never 0, so that a plan exists wherever a pool fits."""
    sites = [world.place.sites[s] for s in world.racks.site]
    scale = np.array([site.size / len(site.models) for site in sites])
    affinity = np.array([[world.workload.affinity[kind][site.tier] for site in sites] for kind in KINDS])
    return np.asarray(affinity * scale + 1e-6)


def spread(use: Float2, weight: Float2, allowed: Bool2) -> Float2:
    """Split ``use`` (G, T) over the allowed pools (G, P) by weight: (P, T). Plain sums, the same on every machine."""
    share = np.where(allowed, weight, 0.0)
    share /= share.sum(axis=1, keepdims=True)
    out = np.empty((share.shape[1], use.shape[1]))
    for t in range(use.shape[1]):
        out[:, t] = (share * use[:, t, None]).sum(axis=0)
    return out


def size_nodes(world: World, use: Float2) -> Int1:
    """Nodes of each pool for the planned ``use`` (P, T): its peak over the target utilisation, (P,)."""
    nodes = world.racks.min_nodes.copy()
    peak = use.max(axis=1)
    for p, device in enumerate(world.racks.device):
        s = int(world.racks.site[p])
        side = world.provinces[world.place.site_province[s]].side
        tier = world.place.sites[s].tier
        target = world.workload.utilisation[tier][side] * world.preset.load
        if tier == "edge":
            target = min(target, EDGE_UTILISATION)
        # a hair less, so that a last bit of the sums does not buy a node
        nodes[p] = max(int(nodes[p]), int(np.ceil(peak[p] / target / device.units_per_node - 1e-9)))
    return nodes


def balances(world: World, use: Float2, nodes: Int1) -> tuple[Balance, ...]:
    """Planned use against capacity by device model."""
    out = []
    for model in dict.fromkeys(device.model for device in world.racks.device):
        mine = np.array([device.model == model for device in world.racks.device])
        units = world.devices.by_model()[model].units_per_node
        total = use[mine].sum(axis=0)
        out.append(
            Balance(
                model, round(float(total.max()), 1), round(float(total.mean()), 1), float(nodes[mine].sum() * units)
            )
        )
    return tuple(out)
