"""What the folds of all tables share: admission by identity, and writing the newest record's columns.

A fold takes the events of its types out of one segment (no clock inside), in log order, and changes the rows. It returns
the ``Outcome`` of each event. Text columns are interned for every accepted event, not only the newest, so that the codes
depend on the log and not on where a chunk was cut.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from twin.arrays import AnyArray, Bool1, Byte1, Int1
from twin.shards.order import Outcome, admit, newest
from twin.shards.table import Table

Tables = dict[str, Table]
Fold = Callable[[Tables, list[Any], Int1], Byte1]

IDENTITY = [("high", "<i8"), ("seen", "<u8")]

_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(value: Any) -> str:
    """``value`` as canonical JSON text: how lists and maps stand in a dictionary. Empty ones are the empty text."""
    return _encode(value).decode() if value else ""


def column(events: Sequence[Any], name: str, dtype: str = "<f8") -> AnyArray:
    """One attribute of each event, (n,); None becomes NaN in floats and 0 in integers."""
    missing: float = np.nan if dtype == "<f8" else 0
    values = [getattr(event, name) for event in events]
    return np.array([missing if value is None else value for value in values], dtype)


def identify(
    table: Table, names: list[str], seq: Int1, t: Int1, high: str = "high", seen: str = "seen"
) -> tuple[Int1, Byte1, Bool1]:
    """Rows, outcomes and accepted mask of n events of one role; notes the rows as changed and moves ``last_t``."""
    rows = table.assign(names)
    outcome = admit(rows, seq, table.rows[high], table.rows[seen])
    accepted: Bool1 = outcome < Outcome.REPEAT
    hit = rows if accepted.all() else rows[accepted]
    table.touch(hit)
    np.maximum.at(table.rows["last_t"], hit, t if len(hit) == len(rows) else t[accepted])
    return rows, outcome, accepted


def sequence(events: Iterable[Any]) -> Int1:
    """Sequence numbers, (n,)."""
    return np.array([event.seq for event in events], np.int64)


def newest_to_write(table: Table, at: Int1, rows: Int1, keys: dict[str, Int1]) -> tuple[Int1, Int1]:
    """Of the events ``at`` (indices), those newer than what their row holds, one per row, and their rows.

    ``keys`` are stored columns and the events' values for them (n,), most significant first; a stored 0 is "none yet".
    The stored columns are brought up to date.
    """
    none = np.zeros(0, np.int64)
    if not len(at):
        return none, none
    values = [key[at] for key in keys.values()]
    pick = newest(rows[at], *values)
    index = at[pick]
    to = rows[index]
    later = np.zeros(len(index), bool)
    equal = np.ones(len(index), bool)
    for name, key in keys.items():
        new, old = key[index], table.rows[name][to]
        later |= equal & (new > old)
        equal &= new == old
    index, to = index[later], to[later]
    for name, key in keys.items():
        table.rows[name][to] = key[index]
    return index, to


def write(table: Table, to: Int1, events: Sequence[Any], columns: dict[str, str]) -> None:
    """Copy attributes (named like the columns) of one event per row of ``to``; ``columns`` gives each dtype."""
    for name, dtype in columns.items():
        table.rows[name][to] = column(events, name, dtype)


def intern(table: Table, name: str, texts: list[str]) -> Int1:
    """Codes of ``texts`` in the dictionary of a text column, (n,)."""
    return table.texts[name].codes(texts)
