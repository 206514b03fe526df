"""Demand for services: output tokens per second of each service from each origin, by quarters of an hour."""

from dataclasses import dataclass

import numpy as np

from producers.scenario.draw import INTERVAL_MS, at_hours
from producers.scenario.racks import nearest_ms
from producers.scenario.tables import Province, ServiceKind
from producers.scenario.tasks import origin_weights
from producers.scenario.world import World
from twin.arrays import Float2, Int1
from twin.events import ServiceDemand

NOISE = 0.04
ECONOMY = 0.5


@dataclass(frozen=True, slots=True)
class Demand:
    """Demand of K services from O origins in T intervals.

    Attributes:
        services: the K services.
        start: ms, (T,).
        tokens_per_s: output tokens, one (O, T) array per service.
        latency_ms: RTT limit, one per service and origin, (K, O).
    """

    services: tuple[ServiceKind, ...]
    start: Int1
    tokens_per_s: tuple[Float2, ...]
    latency_ms: Float2


def draw_demand(world: World, accelerators: float, rng: np.random.Generator) -> Demand:
    """Draw demand that takes about ``accelerators`` devices at its peak, shared over the services.

    A limit that no pool can meet is raised to the RTT of the nearest one that can serve.
    """
    time = world.time
    start = np.arange(time.t0, time.end, INTERVAL_MS)
    hour = time.local_hour(start + INTERVAL_MS // 2)
    share = origin_weights(world.provinces, ECONOMY)
    curves = []
    for k, service in enumerate(world.devices.services):
        rates = np.unique(world.rate[k])
        peak = accelerators * service.share * rates[rates > 0].mean()
        shape = at_hours(world.workload.profiles[service.profile], hour)
        noise = 1 + NOISE * rng.standard_normal((len(share), len(start)))
        curves.append(np.asarray(np.round(peak * share[:, None] * (shape / shape.max()) * np.maximum(noise, 0.5), 1)))
    limit = np.array([service.latency_ms for service in world.devices.services])
    near = nearest_ms(world.rate > 0, world.pool_rtt_ms)
    return Demand(tuple(world.devices.services), start, tuple(curves), np.maximum(limit[:, None], np.ceil(near)))


def demand_events(demand: Demand, provinces: tuple[Province, ...]) -> list[ServiceDemand]:
    """One event per service, origin and interval, known just before the interval begins."""
    starts = demand.start.tolist()
    events = []
    for k, service in enumerate(demand.services):
        for o, province in enumerate(provinces):
            events += [
                ServiceDemand(
                    seq=seq,
                    t=start - 1,
                    source="scenario",
                    service=service.name,
                    origin=province.id,
                    start=start,
                    end=start + INTERVAL_MS,
                    requests_per_s=round(tokens / service.tokens_per_request, 3),
                    tokens_in_per_s=round(tokens * service.tokens_in_ratio, 1),
                    tokens_out_per_s=tokens,
                    latency_ms=float(demand.latency_ms[k, o]),
                    ttft_ms_limit=service.ttft_ms_limit,
                    model=service.model,
                )
                for seq, (start, tokens) in enumerate(zip(starts, demand.tokens_per_s[k][o].tolist(), strict=True))
            ]
    return events
