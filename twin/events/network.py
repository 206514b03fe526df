"""Paths between network nodes and their fees."""

import msgspec

from twin.events.base import Currency, EpochMs, Event, Id, NonNegative, Percentiles, Price, Share, Text


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
