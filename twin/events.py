"""Wire types: what may stand in a record of an in-topic, with its bounds.

Every body is one JSON object with a ``type`` tag that carries its version. Decoding checks types and bounds, so nothing
behind this module meets a NaN, a negative capacity or an integer that does not fit in 64 bits. Optional fields that are
absent are unknown (``None``), never zero. Unknown fields are ignored; a new meaning is a new version.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=2000)]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
EpochMs = Annotated[int, Meta(ge=0, le=253_402_300_799_999)]
DurationMs = Annotated[int, Meta(ge=1, le=366 * 86_400_000)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Attempt = Annotated[int, Meta(ge=1, le=1_000_000)]
NonNegative = Annotated[float, Meta(ge=0, le=1e12)]
Seconds = Annotated[float, Meta(ge=0, le=1e9)]
Share = Annotated[float, Meta(ge=0, le=1)]
Price = Annotated[float, Meta(ge=-1e6, le=1e6)]
Pue = Annotated[float, Meta(ge=1, le=10)]
Latency = Annotated[float, Meta(ge=0, le=3_600_000)]
Currency = Annotated[str, Meta(pattern="^[A-Z]{3}$")]
Latitude = Annotated[float, Meta(ge=-90, le=90)]
Longitude = Annotated[float, Meta(ge=-180, le=180)]

Tier = Literal["national", "regional", "edge"]
ClusterRole = Literal["general", "training", "inference", "mixed"]
ClusterHealth = Literal["up", "degraded", "draining", "down"]
TaskKind = Literal["training", "batch", "inference", "edge"]
Market = Literal["mid_long", "day_ahead", "intraday", "real_time", "interprovincial", "retail"]
Stage = Literal["forecast", "ex_ante", "preliminary", "final"]
Origin = Literal["measured", "forecast", "estimated"]


class Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A piece of an event's body."""


def _check_interval(start: int, end: int) -> None:
    """Refuse an interval [start, end) that holds no time; in decoding this becomes a validation error."""
    if end <= start:
        raise ValueError(f"end {end} must be after start {start}")


class Event(Part, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="type", tag="event.v0"):
    """The fields every body has: ``seq`` (monotone per entity and writer role), event time ``t`` and the writer."""

    seq: Seq
    t: EpochMs
    source: Annotated[str, Meta(max_length=200)] = ""


# ---------------------------------------------------------------------------------------------------- inventory


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


# ---------------------------------------------------------------------------------------------------- telemetry


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
    pools: Annotated[list[PoolUse], Meta(max_length=256)] = []
    queue_tasks: Count | None = None
    inlet_c: Annotated[float, Meta(ge=-60, le=120)] | None = None
    statistic: Text = ""
    origin: Origin = "measured"


# -------------------------------------------------------------------------------------------------------- tasks


class Request(Part, frozen=True, kw_only=True):
    """What a task needs. ``accelerators``, ``cpu_cores`` and ``mem_gib`` are totals over its nodes.

    ``compatible`` lists accelerator models; empty means any.
    """

    accelerators: Count = 0
    compatible: list[Id] = []
    nodes: Count = 1
    cpu_cores: NonNegative = 0.0
    mem_gib: NonNegative = 0.0


class TaskSubmitted(Event, frozen=True, kw_only=True, tag="task.submitted.v1"):
    """A tenant asks for a task to be run."""

    task_id: Id
    tenant: Id = "default"
    kind: TaskKind = "batch"
    scenario: Text = ""
    priority: Annotated[int, Meta(ge=0, le=2)] = 0
    qos: Text = ""
    origin: Id
    latency_ms: Latency | None = None
    request: Request
    power_w: NonNegative | None = None
    gang: bool = False
    replicas: Annotated[int, Meta(ge=1, le=1000)] = 1
    failure_domains: Text = ""
    est_duration_s: Seconds
    earliest_start: EpochMs | None = None
    deadline: EpochMs | None = None
    value_per_h: NonNegative | None = None
    data_in_gb: NonNegative = 0.0
    data_rate_gbph: NonNegative = 0.0
    state_gb: NonNegative = 0.0
    residency: list[Id] = []
    movable: bool = False
    interruptible: bool = False
    checkpoint_s: Seconds | None = None


class TaskCancelled(Event, frozen=True, kw_only=True, tag="task.cancelled.v1"):
    """The tenant does not want the task any more."""

    task_id: Id
    reason: Text = ""


class TaskAnswer(Event, frozen=True, kw_only=True):
    """What an executor says of one attempt of a task. ``done_share`` and ``energy_wh`` are cumulative in the attempt."""

    task_id: Id
    attempt: Attempt
    cluster_id: Id
    pool_id: Id = "default"
    decision_id: Text = ""
    done_share: Share | None = None
    energy_wh: NonNegative | None = None
    reason: Text = ""


class TaskStarted(TaskAnswer, frozen=True, kw_only=True, tag="task.started.v1"):
    """The attempt runs since ``t``."""


class TaskProgress(TaskAnswer, frozen=True, kw_only=True, tag="task.progress.v1"):
    """The attempt has come this far."""


class TaskPaused(TaskAnswer, frozen=True, kw_only=True, tag="task.paused.v1"):
    """The attempt holds its resources and does not run."""


class TaskReleased(TaskAnswer, frozen=True, kw_only=True, tag="task.released.v1"):
    """The attempt gave its place up at ``t`` and is not finished (moved away or preempted)."""


class TaskFinished(TaskAnswer, frozen=True, kw_only=True, tag="task.finished.v1"):
    """The task is done."""


class TaskFailed(TaskAnswer, frozen=True, kw_only=True, tag="task.failed.v1"):
    """The attempt ended without success; ``reason`` is ``rejected``, ``final`` or anything else (will be tried again)."""


# ----------------------------------------------------------------------------------------------------- services


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
        _check_interval(self.start, self.end)


class Percentiles(Part, frozen=True, kw_only=True):
    """Median and 99th percentile."""

    p50: NonNegative
    p99: NonNegative | None = None


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


# -------------------------------------------------------------------------------------------------------- power


class PowerPrice(Event, frozen=True, kw_only=True, tag="power.price.v1"):
    """Price of energy in a zone over [start, end), per MWh; ``t`` is its publication."""

    zone_id: Id
    start: EpochMs
    end: EpochMs
    market: Market
    stage: Stage = "final"
    price_per_mwh: Price
    currency: Currency
    floor: Price | None = None
    cap: Price | None = None
    revision: Count = 0
    published_at: EpochMs | None = None

    def __post_init__(self) -> None:
        """Refuse an interval without time."""
        _check_interval(self.start, self.end)


class PowerCarbon(Event, frozen=True, kw_only=True, tag="power.carbon.v1"):
    """Carbon intensity of a zone over [start, end), in gCO2e per kWh."""

    zone_id: Id
    start: EpochMs
    end: EpochMs
    gco2e_per_kwh: Annotated[float, Meta(ge=0, le=100_000)]
    basis: Literal["average", "marginal"] = "average"
    scope: Literal["location", "residual"] = "location"
    renewable_share: Share | None = None
    carbon_free_share: Share | None = None
    origin: Origin = "measured"
    revision: Count = 0

    def __post_init__(self) -> None:
        """Refuse an interval without time."""
        _check_interval(self.start, self.end)


class PowerGeneration(Event, frozen=True, kw_only=True, tag="power.generation.v1"):
    """What a zone generates, uses and curtails over [start, end), in MW."""

    zone_id: Id
    start: EpochMs
    end: EpochMs
    mw: dict[Id, Annotated[float, Meta(ge=-1e7, le=1e7)]] = {}
    load_mw: NonNegative | None = None
    curtailed_mw: NonNegative | None = None
    net_import_mw: Annotated[float, Meta(ge=-1e7, le=1e7)] | None = None

    def __post_init__(self) -> None:
        """Refuse an interval without time."""
        _check_interval(self.start, self.end)


class TouPeriod(Part, frozen=True, kw_only=True):
    """One period of a time-of-use tariff: minutes of the local day and its price."""

    name: Id
    start_min: Annotated[int, Meta(ge=0, le=1440)]
    end_min: Annotated[int, Meta(ge=0, le=1440)]
    price_per_mwh: Price


class PowerTariff(Event, frozen=True, kw_only=True, tag="power.tariff.v1"):
    """Transmission and distribution tariff of a zone at one voltage."""

    zone_id: Id
    voltage: Text = ""
    td_energy_per_mwh: Price | None = None
    capacity_charge_per_kw_month: NonNegative | None = None
    basis: Literal["contract", "max_demand"] = "contract"
    loss_rate: Share | None = None
    funds_per_mwh: Price | None = None
    tou: list[TouPeriod] = []
    from_: EpochMs | None = msgspec.field(name="from", default=None)
    to: EpochMs | None = None


class PowerTransfer(Event, frozen=True, kw_only=True, tag="power.transfer.v1"):
    """What may be bought across a border over [start, end), and what its way costs."""

    zone_id: Id
    to_zone: Id
    start: EpochMs
    end: EpochMs
    limit_mw: NonNegative | None = None
    wheeling_per_mwh: Price | None = None
    loss_rate: Share | None = None

    def __post_init__(self) -> None:
        """Refuse an interval without time."""
        _check_interval(self.start, self.end)


class ProfileMw(Part, frozen=True, kw_only=True):
    """Contracted power over [start, end), in MW."""

    start: EpochMs
    end: EpochMs
    mw: NonNegative

    def __post_init__(self) -> None:
        """Refuse an interval without time."""
        _check_interval(self.start, self.end)


class PowerContract(Event, frozen=True, kw_only=True, tag="power.contract.v1"):
    """A supply contract of one or more clusters with a plant or a seller."""

    contract_id: Id
    clusters: list[Id]
    kind: Literal["direct_green", "direct_hydro", "direct_nuclear", "green_trade", "mid_long", "interprovincial"]
    plant: Text = ""
    profile_mw: list[ProfileMw] = []
    price_per_mwh: Price | None = None
    wheeling_per_mwh: Price | None = None
    take_or_pay: bool = False
    self_use_share_min: Share | None = None
    load_share_min: Share | None = None
    feed_in_share_max: Share | None = None
    certificates: bool = False
    from_: EpochMs | None = msgspec.field(name="from", default=None)
    to: EpochMs | None = None


class PowerCertificate(Event, frozen=True, kw_only=True, tag="power.certificate.v1"):
    """Green certificates cancelled for a cluster, in MWh."""

    cluster_id: Id
    mwh: NonNegative
    kind: Text = ""
    period: Text = ""


class PowerAlert(Event, frozen=True, kw_only=True, tag="power.alert.v1"):
    """The grid asks for less over [start, end)."""

    zone_id: Id
    kind: Literal["curtail_request", "outage", "limit"]
    start: EpochMs
    end: EpochMs
    limit_kw: NonNegative | None = None

    def __post_init__(self) -> None:
        """Refuse an interval without time."""
        _check_interval(self.start, self.end)


# ------------------------------------------------------------------------------------------------------ network


class NetworkLink(Event, frozen=True, kw_only=True, tag="network.link.v1"):
    """Path quality between two network nodes. A missing direction is the other one."""

    src: Id
    dst: Id
    layer: Text = ""
    rtt_ms: Percentiles
    jitter_ms: NonNegative | None = None
    loss: Share | None = None
    available_mbps: NonNegative | None = None


class NetworkFee(Event, frozen=True, kw_only=True, tag="network.fee.v1"):
    """What traffic between two network nodes costs."""

    src: Id
    dst: Id
    per_gb: Price
    per_mbps_month: NonNegative | None = None
    billing: Text = ""
    currency: Currency
    from_: EpochMs | None = msgspec.field(name="from", default=None)
    to: EpochMs | None = None


# ------------------------------------------------------------------------------------------------------ control


class PolicySet(Event, frozen=True, kw_only=True, tag="policy.set.v1"):
    """A whole policy under its name: ``dispatch`` (which dispatcher, with parameters) or ``accounting``."""

    name: Id
    policy: Text = ""
    version: Text = ""
    params: dict[Id, float | bool | str] = {}


class TenantQuota(Event, frozen=True, kw_only=True, tag="tenant.quota.v1"):
    """How much of the network a tenant may hold."""

    name: Id
    accelerators: NonNegative | None = None
    accelerator_h: NonNegative | None = None
    weight: NonNegative = 1.0


class FxRate(Event, frozen=True, kw_only=True, tag="fx.rate.v1"):
    """One unit of ``name`` (a currency) in another one."""

    name: Currency
    to: Currency
    rate: Annotated[float, Meta(gt=0, le=1e9)]


class Operator(Event, frozen=True, kw_only=True):
    """A command of an operator, with who gave it and why."""

    by: Text = ""
    reason: Text = ""


class ClusterCordon(Operator, frozen=True, kw_only=True, tag="cluster.cordon.v1"):
    """No new work on the cluster."""

    id: Id


class ClusterUncordon(Operator, frozen=True, kw_only=True, tag="cluster.uncordon.v1"):
    """The cluster takes work again."""

    id: Id


class ClusterDrain(Operator, frozen=True, kw_only=True, tag="cluster.drain.v1"):
    """The cluster is to be emptied."""

    id: Id


class TaskPin(Operator, frozen=True, kw_only=True, tag="task.pin.v1"):
    """The task belongs on one cluster (none: no longer pinned)."""

    id: Id
    cluster_id: Id | None = None


class DispatchPause(Operator, frozen=True, kw_only=True, tag="dispatch.pause.v1"):
    """No new decisions."""

    id: Id = "dispatch"


class DispatchResume(Operator, frozen=True, kw_only=True, tag="dispatch.resume.v1"):
    """Decisions again."""

    id: Id = "dispatch"


class DispatchAdvisory(Operator, frozen=True, kw_only=True, tag="dispatch.advisory.v1"):
    """Decisions are advice from now on."""

    id: Id = "dispatch"


class Clock(Event, frozen=True, kw_only=True, tag="clock.v1"):
    """Time of a partition: nothing before ``t`` is to be waited for, but for ``lateness_ms``."""

    partition: Count = 0
    window_ms: DurationMs
    lateness_ms: Annotated[int, Meta(ge=0, le=366 * 86_400_000)] = 0
    max_ahead_ms: Annotated[int, Meta(ge=0, le=3660 * 86_400_000)] = 366 * 86_400_000
