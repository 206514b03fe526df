"""Paths between network nodes and what they cost, keyed ``src|dst``."""

from typing import Any

import numpy as np

from twin.arrays import Byte1, Int1
from twin.shards.fold import IDENTITY, Tables, identify, intern, newest_to_write, sequence, write
from twin.shards.table import Table

_PATH = [*IDENTITY, ("last_t", "<i8"), ("applied", "<i8"), ("src", "<i4"), ("dst", "<i4")]
LINKS = np.dtype(
    [
        *_PATH,
        ("rtt_p50_ms", "<f8"),
        ("rtt_p99_ms", "<f8"),
        ("jitter_ms", "<f8"),
        ("loss", "<f8"),
        ("available_mbps", "<f8"),
    ]
)
FEES = np.dtype(
    [
        *_PATH,
        ("currency", "<i4"),
        ("unused", "<i4"),
        ("per_gb", "<f8"),
        ("per_mbps_month", "<f8"),
        ("from_", "<i8"),  # 0: since ever
        ("to", "<i8"),  # 0: for ever
    ]
)


def tables() -> Tables:
    """The empty tables of a network shard."""
    return {
        "links": Table("links", LINKS, ("src", "dst")),
        "fees": Table("fees", FEES, ("src", "dst", "currency")),
    }


def _paths(table: Table, events: list[Any], t: Int1, texts: tuple[str, ...]) -> tuple[Byte1, list[Any], Int1]:
    seq = sequence(events)
    rows, outcome, accepted = identify(table, [f"{e.src}|{e.dst}" for e in events], seq, t)
    inside = np.flatnonzero(accepted)
    codes = {name: intern(table, name, [getattr(events[i], name) for i in inside]) for name in texts}
    at, to = newest_to_write(table, inside, rows, {"applied": seq + 1})
    kept = np.searchsorted(inside, at)
    for name, code in codes.items():
        table.rows[name][to] = code[kept]
    return outcome, [events[i] for i in at], to


def fold_link(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold path qualities."""
    table = tables["links"]
    outcome, chosen, to = _paths(table, events, t, ("src", "dst"))
    table.rows["rtt_p50_ms"][to] = [e.rtt_ms.p50 for e in chosen]
    table.rows["rtt_p99_ms"][to] = [np.nan if e.rtt_ms.p99 is None else e.rtt_ms.p99 for e in chosen]
    write(table, to, chosen, dict.fromkeys(("jitter_ms", "loss", "available_mbps"), "<f8"))
    return outcome


def fold_fee(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold network fees."""
    table = tables["fees"]
    outcome, chosen, to = _paths(table, events, t, ("src", "dst", "currency"))
    write(table, to, chosen, {"per_gb": "<f8", "per_mbps_month": "<f8", "from_": "<i8", "to": "<i8"})
    return outcome


def expired(tables: Tables, before: int) -> None:
    """Nothing ends here: a path stands until it is said anew."""


FOLDS = {"link": fold_link, "fee": fold_fee}
