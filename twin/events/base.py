"""What all wire types share: bounds, and the fields every body has."""

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


def check_interval(start: int, end: int) -> None:
    """Refuse an interval [start, end) that holds no time; in decoding this becomes a validation error."""
    if end <= start:
        raise ValueError(f"end {end} must be after start {start}")


class Event(Part, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="type", tag="event.v0"):
    """The fields every body has: ``seq`` (monotone per entity and writer role), event time ``t`` and the writer."""

    seq: Seq
    t: EpochMs
    source: Annotated[str, Meta(max_length=200)] = ""


class Percentiles(Part, frozen=True, kw_only=True):
    """Median and 99th percentile."""

    p50: NonNegative
    p99: NonNegative | None = None
