"""Clusters and their pools."""

from typing import Annotated

from msgspec import Meta

from twin.events.base import ClusterRole, Count, Event, Id, Latitude, Longitude, NonNegative, Part, Pue, Text, Tier


class Accelerator(Part, frozen=True, kw_only=True):
    """An accelerator model as data: what it is, not what we believe of it."""

    model: Id
    vendor: Text = ""
    kind: Text = ""
    mem_gib: NonNegative | None = None
    domestic: bool = False


class IdleMax(Part, frozen=True, kw_only=True):
    """Electrical power of one device at rest and at full load, in W."""

    idle: NonNegative = 0.0
    max: NonNegative


class Pool(Part, frozen=True, kw_only=True):
    """Equal nodes of one cluster. ``cpu_cores`` and ``mem_gib`` are totals of the pool."""

    pool_id: Id
    accelerator: Accelerator | None = None
    nodes: Count
    accelerators_per_node: Count = 0
    cpu_cores: NonNegative = 0.0
    mem_gib: NonNegative = 0.0
    w_per_accelerator: IdleMax | None = None
    w_per_core: IdleMax | None = None
    tokens_per_s: dict[Id, NonNegative] = {}
    failure_domain: Text = ""


class PueCurve(Part, frozen=True, kw_only=True):
    """PUE = a + b * (1 - load share): the overhead of a cluster, ``a`` at full load."""

    a: Pue
    b: Annotated[float, Meta(ge=0, le=10)] = 0.0


class ClusterRegistered(Event, frozen=True, kw_only=True, tag="cluster.registered.v1"):
    """A cluster exists, with its pools, its grid connection and its place in the network."""

    cluster_id: Id
    name: Text = ""
    operator: Text = ""
    tier: Tier
    role: ClusterRole = "general"
    hub: Text = ""
    province: Text = ""
    lat: Latitude | None = None
    lon: Longitude | None = None
    zone_id: Id
    node_id: Id
    pools: Annotated[list[Pool], Meta(max_length=256)]
    power_cap_kw: NonNegative | None = None
    grid_connection_kw: NonNegative | None = None
    idle_kw: NonNegative | None = None
    pue: PueCurve | None = None
    labels: list[Id] = []
    contracts: list[Id] = []


class ClusterRetired(Event, frozen=True, kw_only=True, tag="cluster.retired.v1"):
    """A cluster is gone."""

    cluster_id: Id
