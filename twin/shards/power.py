"""Electricity: prices and carbon intensity as rows of (zone, interval, kind); the greatest revision holds.

``published_at`` is the event time: a price's event time is its publication, and the field of that name is not read.
"""

from typing import Any

import numpy as np

from twin import events as ev
from twin.arrays import Int1
from twin.shards.fold import IDENTITY, Outcomes, Tables, Writer, identify, intern, marks, newest_to_write
from twin.shards.table import NEVER_DUE, Fields, Table

MARKETS = ("mid_long", "day_ahead", "intraday", "real_time", "interprovincial", "retail")
STAGES = ("forecast", "ex_ante", "preliminary", "final")
BASES = ("average", "marginal")
SCOPES = ("location", "residual")
ORIGINS = ("measured", "forecast", "estimated")

_INTERVAL = [
    *IDENTITY,
    ("revision", "<i8"),  # in force, plus one; 0: none
    ("applied", "<i8"),
    ("published_at", "<i8"),
    ("start", "<i8"),
    ("end", "<i8"),
    ("zone_id", "<i4"),
]
PRICES = np.dtype(
    [
        *_INTERVAL,
        ("currency", "<i4"),
        ("market", "<i4"),
        ("stage", "<i4"),
        ("price_per_mwh", "<f8"),
        ("floor", "<f8"),
        ("cap", "<f8"),
    ]
)
CARBON = np.dtype(
    [
        *_INTERVAL,
        ("basis", "<i4"),
        ("scope", "<i4"),
        ("origin", "<i4"),
        ("gco2e_per_kwh", "<f8"),
        ("renewable_share", "<f8"),
        ("carbon_free_share", "<f8"),
    ]
)


_PRICES = ("price_per_mwh", "floor", "cap")
_TIMES = ("published_at", "start", "end", "zone_id")
_price, _price_order = Writer(PRICES), Fields(PRICES, "revision", "applied")
_price_said = Fields(PRICES, *_TIMES, "currency", "market", "stage", *_PRICES)
_carbon, _carbon_order = Writer(CARBON), Fields(CARBON, "revision", "applied")
_SHARES = ("gco2e_per_kwh", "renewable_share", "carbon_free_share")
_carbon_said = Fields(CARBON, *_TIMES, "basis", "scope", "origin", *_SHARES)


def tables() -> Tables:
    """The empty tables of a power shard."""
    return {
        "prices": Table("prices", PRICES, ("zone_id", "currency")),
        "carbon": Table("carbon", CARBON, ("zone_id",)),
    }


def fold_price(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold prices: one row per zone, market, start and stage."""
    table = tables["prices"]
    names = [f"{e.zone_id}|{e.market}|{e.start}|{e.stage}" for e in events]
    outcomes, events, rows = identify(table, _price, names, events, t)
    zone, currency = intern(table, zone_id=[e.zone_id for e in events], currency=[e.currency for e in events])
    at, to = newest_to_write(table, _price_order, rows, _revisions(events), marks(events))
    _price_said.write(table, to, (_price_of(events[i], zone[i], currency[i]) for i in at))
    return outcomes


def _price_of(event: ev.PowerPrice, zone: int, currency: int) -> tuple[float | None, ...]:
    kinds = MARKETS.index(event.market), STAGES.index(event.stage)
    return event.t, event.start, event.end, zone, currency, *kinds, event.price_per_mwh, event.floor, event.cap


def fold_carbon(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold carbon intensities: one row per zone, basis, scope and start."""
    table = tables["carbon"]
    names = [f"{e.zone_id}|{e.basis}|{e.scope}|{e.start}" for e in events]
    outcomes, events, rows = identify(table, _carbon, names, events, t)
    (zone,) = intern(table, zone_id=[e.zone_id for e in events])
    at, to = newest_to_write(table, _carbon_order, rows, _revisions(events), marks(events))
    _carbon_said.write(table, to, (_carbon_of(events[i], zone[i]) for i in at))
    return outcomes


def _carbon_of(event: ev.PowerCarbon, zone: int) -> tuple[float | None, ...]:
    kinds = BASES.index(event.basis), SCOPES.index(event.scope), ORIGINS.index(event.origin)
    shares = event.gco2e_per_kwh, event.renewable_share, event.carbon_free_share
    return event.t, event.start, event.end, zone, *kinds, *shares


def _revisions(events: list[Any]) -> list[int]:
    """The greatest revision is in force, of equal ones the greatest sequence number."""
    return [event.revision + 1 for event in events]


def expired(tables: Tables, before: int) -> None:
    """Free intervals that ended and were last heard of at or before ``before``."""
    for table in tables.values():
        free_ended(table, before)


def free_ended(table: Table, before: int) -> None:
    """Free rows of intervals [start, end) that ended and were last heard of at or before ``before``."""
    if before < table.due:
        return
    live = table.live()
    used, ends = live["applied"] > 0, np.maximum(live["end"], live["last_t"])
    over = used & (ends <= before)
    table.due = int(ends[used & ~over].min(initial=NEVER_DUE))
    table.release(np.flatnonzero(over))


FOLDS = {"price": fold_price, "carbon": fold_carbon}
