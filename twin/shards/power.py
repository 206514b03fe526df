"""Electricity: prices and carbon intensity as rows of (zone, interval, kind); the greatest revision holds."""

from typing import Any

import numpy as np

from twin.arrays import Byte1, Int1
from twin.shards.fold import IDENTITY, Tables, identify, intern, newest_to_write, sequence, write
from twin.shards.table import Table

MARKETS = ("mid_long", "day_ahead", "intraday", "real_time", "interprovincial", "retail")
STAGES = ("forecast", "ex_ante", "preliminary", "final")
BASES = ("average", "marginal")
SCOPES = ("location", "residual")
ORIGINS = ("measured", "forecast", "estimated")

_INTERVAL = [
    *IDENTITY,
    ("last_t", "<i8"),
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


def tables() -> Tables:
    """The empty tables of a power shard."""
    return {
        "prices": Table("prices", PRICES, ("zone_id", "currency")),
        "carbon": Table("carbon", CARBON, ("zone_id",)),
    }


def fold_price(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold prices: one row per zone, market, start and stage."""
    table = tables["prices"]
    names = [f"{e.zone_id}|{e.market}|{e.start}|{e.stage}" for e in events]
    outcome, chosen, to, at, inside = _intervals(table, names, events, t)
    codes = intern(table, "currency", [events[i].currency for i in inside])
    table.rows["currency"][to] = codes[np.searchsorted(inside, at)]
    table.rows["market"][to] = [MARKETS.index(e.market) for e in chosen]
    table.rows["stage"][to] = [STAGES.index(e.stage) for e in chosen]
    write(table, to, chosen, dict.fromkeys(("price_per_mwh", "floor", "cap"), "<f8"))
    return outcome


def fold_carbon(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold carbon intensities: one row per zone, basis, scope and start."""
    table = tables["carbon"]
    names = [f"{e.zone_id}|{e.basis}|{e.scope}|{e.start}" for e in events]
    outcome, chosen, to, _, _ = _intervals(table, names, events, t)
    table.rows["basis"][to] = [BASES.index(e.basis) for e in chosen]
    table.rows["scope"][to] = [SCOPES.index(e.scope) for e in chosen]
    table.rows["origin"][to] = [ORIGINS.index(e.origin) for e in chosen]
    write(table, to, chosen, dict.fromkeys(("gco2e_per_kwh", "renewable_share", "carbon_free_share"), "<f8"))
    return outcome


def _intervals(table: Table, names: list[str], events: list[Any], t: Int1) -> tuple[Byte1, list[Any], Int1, Int1, Int1]:
    """Identity, revision and the columns that both tables have.

    Returns the outcomes, the events to write, their rows and indices, and the indices of all accepted events.
    """
    seq = sequence(events)
    revision = np.array([e.revision for e in events], np.int64)
    rows, outcome, accepted = identify(table, names, seq, t)
    inside = np.flatnonzero(accepted)
    zone = intern(table, "zone_id", [events[i].zone_id for i in inside])
    at, to = newest_to_write(table, inside, rows, {"revision": revision + 1, "applied": seq + 1})
    table.rows["zone_id"][to] = zone[np.searchsorted(inside, at)]
    chosen = [events[i] for i in at]
    table.rows["published_at"][to] = t[at]
    write(table, to, chosen, {"start": "<i8", "end": "<i8"})
    return outcome, chosen, to, at, inside


def expired(tables: Tables, before: int) -> None:
    """Free intervals that ended and were last heard of at or before ``before``."""
    for table in tables.values():
        live = table.live()
        table.release(np.flatnonzero((live["applied"] > 0) & (np.maximum(live["end"], live["last_t"]) <= before)))


FOLDS = {"price": fold_price, "carbon": fold_carbon}
