"""Paths between network nodes and what they cost, keyed ``src|dst``."""

from operator import attrgetter
from typing import Any

import numpy as np

from twin import events as ev
from twin.arrays import Int1
from twin.shards.fold import IDENTITY, Outcomes, Tables, Writer, identify, intern, marks, newest_to_write
from twin.shards.table import Fields, Table

_LINK = ("rtt_p50_ms", "rtt_p99_ms", "jitter_ms", "loss", "available_mbps")
LINKS = np.dtype([*IDENTITY, ("applied", "<i8"), ("src", "<i4"), ("dst", "<i4"), *[(name, "<f8") for name in _LINK]])
FEES = np.dtype(
    [
        *IDENTITY,
        ("applied", "<i8"),
        ("unused", "<i4"),  # keeps 8-byte alignment
        ("src", "<i4"),
        ("dst", "<i4"),
        ("currency", "<i4"),
        ("per_gb", "<f8"),
        ("per_mbps_month", "<f8"),
        ("from_", "<i8"),  # 0: since ever
        ("to", "<i8"),  # 0: for ever
    ]
)
_link, _link_order, _link_said = Writer(LINKS), Fields(LINKS, "applied"), Fields(LINKS, "src", "dst", *_LINK)
_quality = attrgetter("rtt_ms.p50", "rtt_ms.p99", *_LINK[2:])
_fee, _fee_order = Writer(FEES), Fields(FEES, "applied")
_fee_said = Fields(FEES, "src", "dst", "currency", "per_gb", "per_mbps_month", "from_", "to")


def tables() -> Tables:
    """The empty tables of a network shard."""
    return {
        "links": Table("links", LINKS, ("src", "dst")),
        "fees": Table("fees", FEES, ("src", "dst", "currency")),
    }


def fold_link(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold path qualities."""
    table = tables["links"]
    outcomes, events, rows = identify(table, _link, [f"{e.src}|{e.dst}" for e in events], events, t)
    src, dst = intern(table, src=[e.src for e in events], dst=[e.dst for e in events])
    at, to = newest_to_write(table, _link_order, rows, marks(events))
    _link_said.write(table, to, ((src[i], dst[i], *_quality(events[i])) for i in at))
    return outcomes


def fold_fee(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold network fees."""
    table = tables["fees"]
    outcomes, events, rows = identify(table, _fee, [f"{e.src}|{e.dst}" for e in events], events, t)
    src, dst = intern(table, src=[e.src for e in events], dst=[e.dst for e in events])
    (currency,) = intern(table, currency=[e.currency for e in events])
    at, to = newest_to_write(table, _fee_order, rows, marks(events))
    _fee_said.write(table, to, ((src[i], dst[i], currency[i], *_fee_of(events[i])) for i in at))
    return outcomes


def _fee_of(event: ev.NetworkFee) -> tuple[float | None, ...]:
    return event.per_gb, event.per_mbps_month, event.from_ or 0, event.to or 0


def expired(tables: Tables, before: int) -> None:
    """Nothing ends here: a path stands until it is said anew."""


FOLDS = {"link": fold_link, "fee": fold_fee}
