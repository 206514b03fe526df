"""What the folds of all tables share: admission by identity, and finding the newest event of each row.

A fold takes the events of its types out of one segment (no clock inside), in log order, and changes the rows. It returns
the ``Outcome`` of each event. Text columns are interned for every accepted event, not only the newest, so that the codes
depend on the log and not on where a chunk was cut.

Each step has two ways that are the same rule: one by one for a few events (``Table.FEW``), in columns for more.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from twin.arrays import Bool1, Int1
from twin.shards.order import Outcome, admit, admit_one, newest
from twin.shards.table import Fields, Table

Tables = dict[str, Table]
Outcomes = list[int]
Fold = Callable[[Tables, list[Any], Int1], Outcomes]

IDENTITY = [("high", "<i8"), ("seen", "<u8"), ("last_t", "<i8")]

_REPEAT = int(Outcome.REPEAT)
_encode = msgspec.json.Encoder(order="sorted").encode


def canonical(value: list[Any] | dict[str, Any]) -> str:
    """``value`` as canonical JSON text: how lists and maps stand in a dictionary. Empty ones are the empty text."""
    return _encode(value).decode() if value else ""


class Writer:
    """The columns in which a table keeps the identity of one role."""

    def __init__(self, dtype: np.dtype[np.void], high: str = "high", seen: str = "seen") -> None:
        self.high, self.seen = high, seen
        self.identity = Fields(dtype, high, seen)
        self.last_t = Fields(dtype, "last_t")


def identify(
    table: Table, writer: Writer, names: list[str], events: list[Any], t: Int1
) -> tuple[Outcomes, list[Any], list[int]]:
    """Admit events of one role: the outcome of each, the accepted ones, and the rows of the accepted ones.

    Rows of accepted events are noted as changed; ``last_t`` and ``due`` follow.
    """
    rows = table.assign(names)
    if len(rows) > table.FEW:
        return _identify_many(table, writer, rows, events, t)
    outcomes, accepted, hit = [], [], []
    for row, event in zip(rows, events, strict=True):
        high, seen = writer.identity.get(table, row)
        outcome, high, seen = admit_one(high, seen, event.seq)
        outcomes.append(outcome)
        if outcome < _REPEAT:
            writer.identity.put(table, row, high, seen)
            heard(table, writer.last_t, row, event.t)
            accepted.append(event)
            hit.append(row)
    return outcomes, accepted, hit


def _identify_many(
    table: Table, writer: Writer, rows: list[int], events: list[Any], t: Int1
) -> tuple[Outcomes, list[Any], list[int]]:
    accepted = admitted(table, writer, np.array(rows, np.int64), events, t)
    return accepted.outcomes, accepted.events, accepted.rows.tolist()


class Admitted(NamedTuple):
    """The outcome of each of many events, and the accepted ones: events, rows, sequence numbers and times, (accepted,)."""

    outcomes: Outcomes
    events: list[Any]
    rows: Int1
    seq: Int1
    t: Int1


def admitted(table: Table, writer: Writer, rows: Int1, events: list[Any], t: Int1) -> Admitted:
    """``identify`` in columns, for events of the given ``rows``."""
    seq = sequence(events)
    outcome = admit(rows, seq, table.rows[writer.high], table.rows[writer.seen])
    accepted: Bool1 = outcome < Outcome.REPEAT
    if not accepted.all():
        events = [events[i] for i in np.flatnonzero(accepted).tolist()]
        rows, seq, t = rows[accepted], seq[accepted], t[accepted]
    heard_many(table, rows, t)
    return Admitted(outcome.tolist(), events, rows, seq, t)


def heard(table: Table, last_t: Fields, row: int, t: int) -> None:
    """Note that ``row`` changed by an event of time ``t``."""
    table.touch_one(row)
    if t > last_t.get(table, row)[0]:
        last_t.put(table, row, t)
    table.due = min(table.due, t)


def hear(table: Table, last_t: Fields, rows: list[int], t: list[int]) -> None:
    """``heard`` for n events."""
    if len(rows) > table.FEW:
        heard_many(table, np.array(rows, np.int64), np.array(t, np.int64))
        return
    for row, event_t in zip(rows, t, strict=True):
        heard(table, last_t, row, event_t)


def heard_many(table: Table, rows: Int1, t: Int1) -> None:
    """``heard`` in columns, (n,)."""
    if len(rows):
        table.touch(rows)
        np.maximum.at(table.rows["last_t"], rows, t)
        table.due = min(table.due, int(t.min()))


def sequence(events: Iterable[Any]) -> Int1:
    """Sequence numbers, (n,)."""
    return np.array([event.seq for event in events], np.int64)


def newest_to_write(table: Table, order: Fields, rows: list[int], *keys: list[int]) -> tuple[list[int], list[int]]:
    """Positions of those of n events that are newer than what their row holds, one per row, and these rows.

    ``keys`` are the events' values for the columns ``order``, most significant first; a stored 0 is "none yet". Of equal
    ones the last holds. The stored columns are brought up to date.
    """
    if len(rows) > table.FEW:
        at, to = newest_of_many(table, order, *(np.array(column, np.int64) for column in (rows, *keys)))
        return at.tolist(), to.tolist()
    latest: dict[int, int] = {}
    best: dict[int, tuple[int, ...]] = {}
    for i, (row, *values) in enumerate(zip(rows, *keys, strict=True)):
        key = tuple(values)
        if key >= best[row] if row in best else key > order.get(table, row):
            best[row], latest[row] = key, i
    for row, key in best.items():
        order.put(table, row, *key)
    return list(latest.values()), list(latest)


def newest_of_many(table: Table, order: Fields, rows: Int1, *keys: Int1) -> tuple[Int1, Int1]:
    """``newest_to_write`` in columns."""
    index = newest(rows, *keys)
    to = rows[index]
    later = np.zeros(len(index), bool)
    equal = np.ones(len(index), bool)
    for name, value in zip(order.names, keys, strict=True):
        new, old = value[index], table.rows[name][to]
        later |= equal & (new > old)
        equal &= new == old
    index, to = index[later], to[later]
    for name, value in zip(order.names, keys, strict=True):
        table.rows[name][to] = value[index]
    return index, to


def marks(events: Iterable[Any]) -> list[int]:
    """Sequence numbers as they are stored for order: plus one, 0 being "none yet"."""
    return [event.seq + 1 for event in events]


def intern(table: Table, **texts: list[str]) -> list[list[int]]:
    """Codes of the texts of n events for each of some text columns, in the order given."""
    return [table.texts[name].code_list(column) for name, column in texts.items()]
