"""The scenario's tables: TOML files beside this module, read into typed rows with bounds."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from twin.errors import ConfigError
from twin.events import ClusterRole, IdleMax, Latitude, Longitude, NonNegative, Price, Pue, Share, TaskKind, Tier

Side = Literal["east", "central", "west"]
Positive = Annotated[float, Meta(gt=0)]
Weight24 = Annotated[list[NonNegative], Meta(min_length=24, max_length=24)]
Range = Annotated[list[NonNegative], Meta(max_length=2)]
KINDS: tuple[TaskKind, ...] = ("training", "batch", "inference", "edge")
CPU = "cpu"

T = TypeVar("T", bound=Struct)


class Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of a table."""


class Province(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A zone of the power market and an origin of demand; its node stands in the capital."""

    id: str
    name: str
    name_zh: str
    lat: Latitude
    lon: Longitude
    side: Side
    gdp_tcny: Positive
    population_m: Positive
    pue: Pue


class Site(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a cluster stands. ``models`` are devices (or ``cpu``), one pool each; ``node`` empty: a node of its own."""

    id: str
    name: str
    name_zh: str
    tier: Tier
    role: ClusterRole
    province: str
    lat: Latitude
    lon: Longitude
    models: list[str]
    size: Positive = 1.0
    hub: str = ""
    pue: Pue | None = None
    node: str = ""


class Places(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Provinces and the named sites."""

    provinces: list[Province]
    sites: list[Site]


class Zone(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shape of a zone's prices (currency per MWh) and its mean carbon factor (kg per kWh)."""

    id: str
    base_per_mwh: Price
    solar_dip_per_mwh: Price
    evening_rise: NonNegative
    floor: Price
    cap: Price
    carbon_kg_per_kwh: NonNegative
    published: bool


class ZoneTariff(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A time-of-use tariff: ``hours`` names the period of each hour of the day by a letter."""

    zone: str
    voltage: str
    basis: Literal["contract", "max_demand"]
    capacity_charge_per_kw_month: NonNegative
    hours: Annotated[str, Meta(pattern="^[vfps]{24}$")]
    price_per_mwh: dict[str, Price]


class Power(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Currency, local time, zones and their tariffs."""

    currency: str
    utc_offset_h: float
    zones: list[Zone]
    tariffs: list[ZoneTariff]


class Device(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An accelerator model (or plain CPU nodes) and the node it comes in."""

    model: str
    vendor: str
    kind: str
    domestic: bool
    mem_gib: NonNegative
    idle_w: NonNegative
    max_w: NonNegative
    bandwidth_tb_per_s: NonNegative
    per_node: int
    cores_per_node: int
    gib_per_node: int
    serves: bool

    @property
    def units_per_node(self) -> int:
        """What is counted of a node: accelerators, or cores where it has none."""
        return self.per_node or self.cores_per_node


class ServiceKind(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service and the model it runs."""

    name: str
    model: str
    share: Share
    tokens_per_s_per_tb_s: Positive
    min_mem_gib: NonNegative
    latency_ms: Positive
    ttft_ms_limit: Positive
    tokens_in_ratio: Positive
    tokens_per_request: Positive
    profile: str

    def tokens_per_s(self, device: Device) -> float:
        """Output tokens per second of one accelerator; 0 where it does not serve or the model does not fit."""
        if not device.serves or device.mem_gib < self.min_mem_gib:
            return 0.0
        return round(self.tokens_per_s_per_tb_s * device.bandwidth_tb_per_s, 1)


class Devices(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that stands in a rack, and what it can serve."""

    w_per_core: IdleMax
    devices: list[Device]
    services: list[ServiceKind]

    def by_model(self) -> dict[str, Device]:
        """Devices by model name."""
        return {device.model: device for device in self.devices}


class Duration(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A clipped lognormal, in seconds."""

    median_s: Positive
    sigma: Positive
    min_s: Positive
    max_s: Positive


class TaskClass(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tasks of one sort: shapes, limits and how they behave. Either ``accelerators`` or ``cores`` is given."""

    name: str
    kind: TaskKind
    share: Share
    p: list[Share]
    compatible: list[list[str]]
    duration: Duration
    latency_ms: list[Positive]
    data_in_gb: NonNegative
    data_rate_gbph: NonNegative
    state_gb: NonNegative
    movable: bool
    interruptible: bool
    checkpoint_s: list[Positive]
    slack_h: Range
    profile: str
    scenario: str = ""
    resident_share: Share = 0.0
    priority: Annotated[int, Meta(ge=0, le=2)] | None = None
    accelerators: list[int] = []
    cores: list[int] = []
    cores_per_accelerator: int = 0
    gib_per_accelerator: int = 0
    gib_per_core: int = 0


class Workload(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Classes of tasks and the shapes of the day."""

    profiles: dict[str, Weight24]
    origin: dict[TaskKind, Share]
    stock: dict[TaskKind, Share]
    affinity: dict[TaskKind, dict[Tier, NonNegative]]
    utilisation: dict[Tier, dict[Side, Positive]]
    classes: list[TaskClass]


class Preset(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scenario as parameters of the generator; the table says what each one means."""

    name: str
    description: str
    provinces: list[str]
    national: int
    regional: int
    edge: int
    hours: int
    tasks: int
    load: Positive
    spread: Positive
    mix: dict[TaskKind, Share]
    latency_scale: Positive
    service_share: Share
    capped_share: Share
    incidents: int
    max_gang: int


class Presets(Row, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All presets."""

    presets: list[Preset]


def _read(name: str, kind: type[T]) -> T:
    data: dict[str, Any] = tomllib.loads(files(__package__).joinpath("data", name).read_text("utf-8"))
    return msgspec.convert(data, kind)


@cache
def places() -> Places:
    """Provinces and sites."""
    return _read("places.toml", Places)


@cache
def power() -> Power:
    """Zones of the power market."""
    return _read("power.toml", Power)


@cache
def devices() -> Devices:
    """Accelerators, nodes and services."""
    return _read("devices.toml", Devices)


@cache
def workload() -> Workload:
    """Classes of tasks."""
    return _read("workload.toml", Workload)


@cache
def presets() -> dict[str, Preset]:
    """Presets by name, in the order of the table."""
    return {preset.name: preset for preset in _read("presets.toml", Presets).presets}


def preset(name: str) -> Preset:
    """The preset called ``name``.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    found = presets().get(name)
    if found is None:
        raise ConfigError(f"there is no scenario '{name}'; choose one of: {', '.join(presets())}")
    return found
