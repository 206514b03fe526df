"""Electricity: prices, carbon, tariffs, contracts, alerts."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from twin.events.base import (
    Count,
    Currency,
    EpochMs,
    Event,
    Id,
    Market,
    NonNegative,
    Origin,
    Part,
    Price,
    Share,
    Stage,
    Text,
    check_interval,
)


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
        check_interval(self.start, self.end)


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
        check_interval(self.start, self.end)


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
        check_interval(self.start, self.end)


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
        check_interval(self.start, self.end)


class ProfileMw(Part, frozen=True, kw_only=True):
    """Contracted power over [start, end), in MW."""

    start: EpochMs
    end: EpochMs
    mw: NonNegative

    def __post_init__(self) -> None:
        """Refuse an interval without time."""
        check_interval(self.start, self.end)


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
        check_interval(self.start, self.end)
