"""Demand for services, and what is served."""

from twin.events.base import EpochMs, Event, Id, Latency, NonNegative, Percentiles, Text, check_interval


class ServiceDemand(Event, frozen=True, kw_only=True, tag="service.demand.v1"):
    """Mean demand for a service from one origin in [start, end)."""

    service: Id
    origin: Id
    start: EpochMs
    end: EpochMs
    requests_per_s: NonNegative | None = None
    tokens_in_per_s: NonNegative | None = None
    tokens_out_per_s: NonNegative
    latency_ms: Latency | None = None
    ttft_ms_limit: Latency | None = None
    model: Id
    compatible: list[Id] = []

    def __post_init__(self) -> None:
        """Refuse an interval without time."""
        check_interval(self.start, self.end)


class ServiceServing(Event, frozen=True, kw_only=True, tag="service.serving.v1"):
    """What a cluster serves of a service for one origin since ``t``, until its next word."""

    cluster_id: Id
    service: Id
    pool_id: Id = "default"
    origin: Text = ""
    replicas: NonNegative = 0.0
    tokens_per_s: NonNegative
    ttft_ms: Percentiles | None = None
    queue: NonNegative | None = None
