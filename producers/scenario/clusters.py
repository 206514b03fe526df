"""Clusters as events: registration, and what goes wrong with some of them during the day."""

import numpy as np

from producers.scenario.draw import HOUR_MS
from producers.scenario.tables import CPU, Device, Devices
from producers.scenario.world import World
from twin.arrays import Int1
from twin.events import (
    Accelerator,
    ClusterHealth,
    ClusterRegistered,
    ClusterState,
    IdleMax,
    Pool,
    PoolHealth,
    PueCurve,
    Tier,
)

PUE_MORE: dict[Tier, float] = {"national": 0.0, "regional": 0.02, "edge": 0.10}
CAP_AT = 0.85
"""A cap binds at this share of the swing between idle and full power."""
CONNECTION_MARGIN = 1.1
_INCIDENTS: tuple[tuple[Tier, ClusterHealth, float], ...] = (("regional", "down", 0.0), ("national", "degraded", 0.6))
"""Tier, state, and the share of nodes that still works."""


def cluster_events(world: World, nodes: Int1, rng: np.random.Generator) -> list[ClusterRegistered]:
    """The registration of every site; ``nodes`` is the size of each pool, (P,)."""
    place, racks = world.place, world.racks
    capped = rng.random(len(place.sites)) < world.preset.capped_share
    events = []
    for s, site in enumerate(place.sites):
        province = place.provinces[place.site_province[s]]
        pools = [_pool(racks.device[p], int(nodes[p]), world.devices, site.id) for p in np.flatnonzero(racks.site == s)]
        pue = site.pue or round(province.pue + PUE_MORE[site.tier] + 0.04 * float(rng.random()) - 0.02, 3)
        idle_kw, full_kw = _power_kw(pools)
        # an edge site has nothing to put off, so a binding cap there would only lose work
        has_cap = bool(capped[s]) and site.tier != "edge"
        events.append(
            ClusterRegistered(
                seq=0,
                t=world.time.t0 - 1,
                source="scenario",
                cluster_id=site.id,
                name=site.name,
                operator=f"operator-{s % 4 + 1}",
                tier=site.tier,
                role=site.role,
                hub=site.hub,
                province=province.name,
                lat=site.lat,
                lon=site.lon,
                zone_id=province.id,
                node_id=place.nodes[place.site_node[s]].id,
                pools=pools,
                power_cap_kw=round(pue * (idle_kw + CAP_AT * (full_kw - idle_kw)), 1) if has_cap else None,
                grid_connection_kw=round(pue * full_kw * CONNECTION_MARGIN, 1),
                pue=PueCurve(a=pue),
                labels=[site.name_zh, province.name_zh],
            )
        )
    return events


def _pool(device: Device, nodes: int, devices: Devices, site: str) -> Pool:
    rates = {service.model: service.tokens_per_s(device) for service in devices.services}
    accelerated = device.model != CPU
    return Pool(
        pool_id=device.model.lower(),
        accelerator=Accelerator(
            model=device.model, vendor=device.vendor, kind=device.kind, mem_gib=device.mem_gib, domestic=device.domestic
        )
        if accelerated
        else None,
        nodes=nodes,
        accelerators_per_node=device.per_node,
        cpu_cores=float(nodes * device.cores_per_node),
        mem_gib=float(nodes * device.gib_per_node),
        w_per_accelerator=IdleMax(idle=device.idle_w, max=device.max_w) if accelerated else None,
        w_per_core=devices.w_per_core,
        tokens_per_s={model: rate for model, rate in rates.items() if rate > 0},
        failure_domain=f"{site}/{device.model.lower()}",
    )


def _power_kw(pools: list[Pool]) -> tuple[float, float]:
    """IT power at rest and at full load, kW."""
    idle = full = 0.0
    for pool in pools:
        for count, power in (
            (pool.nodes * pool.accelerators_per_node, pool.w_per_accelerator),
            (pool.cpu_cores, pool.w_per_core),
        ):
            if power is not None:
                idle += count * power.idle / 1000
                full += count * power.max / 1000
    return idle, full


def incident_events(world: World, clusters: list[ClusterRegistered]) -> list[ClusterState]:
    """Clusters that fail for two hours (a third of a short scenario), and their recovery.

    The first is a regional cluster that goes down, the second a national one that keeps part of its nodes, and so on.
    """
    span = world.time.end - world.time.t0
    length = min(2 * HOUR_MS, span // 3)
    events = []
    for i in range(world.preset.incidents):
        tier, state, share = _INCIDENTS[i % len(_INCIDENTS)]
        those = [cluster for cluster in clusters if cluster.tier == tier]
        hit = those[i % len(those)]
        begin = world.time.t0 + span * (5 + 2 * i) // 12
        events += [_state(hit, 0, begin, state, share), _state(hit, 1, begin + length, "up", 1.0)]
    return events


def _state(cluster: ClusterRegistered, seq: int, t: int, state: ClusterHealth, healthy: float) -> ClusterState:
    pools = [PoolHealth(pool_id=pool.pool_id, healthy=int(pool.nodes * healthy)) for pool in cluster.pools]
    return ClusterState(seq=seq, t=t, source="scenario", cluster_id=cluster.cluster_id, state=state, pools=pools)
