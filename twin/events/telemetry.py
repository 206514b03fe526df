"""What clusters say of themselves."""

from typing import Annotated

from msgspec import Meta

from twin.events.base import ClusterHealth, Count, Event, Id, NonNegative, Origin, Part, Share, Text


class PoolHealth(Part, frozen=True, kw_only=True):
    """How many nodes of a pool work."""

    pool_id: Id
    healthy: Count


class ClusterState(Event, frozen=True, kw_only=True, tag="cluster.state.v1"):
    """The operator's word on whether a cluster takes work. ``cap_kw`` lowers its power cap."""

    cluster_id: Id
    state: ClusterHealth
    pools: Annotated[list[PoolHealth], Meta(max_length=256)] = []
    cap_kw: NonNegative | None = None


class PoolUse(Part, frozen=True, kw_only=True):
    """What a pool reports of itself: accelerators allocated, mean utilisation, accelerators free but unusable."""

    pool_id: Id
    allocated: NonNegative
    util: Share | None = None
    stranded: NonNegative | None = None


class ClusterTelemetry(Event, frozen=True, kw_only=True, tag="cluster.telemetry.v1"):
    """Meter readings of a cluster: IT and facility power in kW, queue, inlet temperature."""

    cluster_id: Id
    it_kw: NonNegative
    facility_kw: NonNegative | None = None
    # a tuple: an empty list would be made anew for each record
    pools: Annotated[tuple[PoolUse, ...], Meta(max_length=256)] = ()
    queue_tasks: Count | None = None
    inlet_c: Annotated[float, Meta(ge=-60, le=120)] | None = None
    statistic: Text = ""
    origin: Origin = "measured"
