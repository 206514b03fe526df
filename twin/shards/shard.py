"""A shard: the state of one partition, folded from its log and cut at its clocks.

``feed`` takes a decoded chunk from a position and stops where a clock closes windows, so that the caller gets the cut
before anything behind it is folded. State depends on the log alone, never on where chunks end.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from types import ModuleType
from typing import Any

import numpy as np

from twin.arrays import Byte1, Int1
from twin.columns import BAD, NOT_FOLDED, Columns, DeadLetter, Decoder
from twin.shards import control, inventory, network, power, services, tasks, telemetry
from twin.shards.fold import Fold, Tables
from twin.shards.order import Outcome
from twin.shards.table import TableDelta
from twin.window import NEVER, WindowClock

SCHEMA = 1
RETAIN_MS = 24 * 3_600_000
BASE_EVERY = 64
"""Every so many cuts one is a full base."""

_MODULES: dict[str, ModuleType] = {
    "inventory": inventory,
    "telemetry": telemetry,
    "tasks": tasks,
    "services": services,
    "power": power,
    "network": network,
    "control": control,
}
_REASONS = {int(Outcome.TOO_OLD): "seq.too_old", tasks.ATTEMPT_TOO_OLD: "attempt.too_old"}
_COUNTED = {int(Outcome.NEW): "folded", int(Outcome.OLDER): "older", int(Outcome.REPEAT): "repeats"}


@dataclass(frozen=True, slots=True)
class Cut:
    """A shard at the clock that closed ``window`` (and ``skipped`` windows before it).

    ``next`` is the log position behind that clock. ``base``: the deltas are whole tables. ``sums`` counts the records
    folded since the cut before.
    """

    topic: str
    partition: int
    window: int
    skipped: tuple[int, ...]
    serial: int
    next: int
    time: int
    base: bool
    tables: dict[str, TableDelta]
    sums: dict[str, int]


@dataclass(slots=True)
class Fed:
    """How far ``feed`` came: the position in the chunk to go on from, the cut if a clock made one, refused records."""

    position: int
    cut: Cut | None = None
    dead: list[DeadLetter] = field(default_factory=list)


def empty_tables(topic: str) -> Tables:
    """The tables of a shard of ``topic``, without rows."""
    tables: Tables = _MODULES[topic].tables()
    return tables


class Shard:
    """State of one (topic, partition)."""

    def __init__(self, topic: str, partition: int, *, retain_ms: int = RETAIN_MS) -> None:
        self.topic = topic
        self.partition = partition
        self.tables = empty_tables(topic)
        self.clock = WindowClock()
        self.counts: Counter[str] = Counter()
        self._retain_ms = retain_ms
        self._sums: Counter[str] = Counter()
        self._serial = 0
        folds: dict[str, Fold] = _MODULES[topic].FOLDS
        self._folds: list[Fold] = [folds[name] for name in Decoder(topic).folds]
        self._expire: Callable[[Tables, int], None] = _MODULES[topic].expired

    def feed(self, columns: Columns, position: int = 0) -> Fed:
        """Fold ``columns`` from ``position`` up to the clock that closes a window, or to the end."""
        fed = Fed(position)
        for at in columns.clocks[np.searchsorted(columns.clocks, position) :].tolist():
            self._segment(columns, fed, at)
            fed.position = at + 1
            self._count("clocks", 1)
            ends = self.clock.advance(columns.events[at])
            if ends:
                fed.cut = self._cut(ends, columns.records.offsets[at] + 1)
                return fed
        self._segment(columns, fed, len(columns))
        fed.position = len(columns)
        return fed

    # ------------------------------------------------------------------------------------------------- folding

    def _segment(self, columns: Columns, fed: Fed, end: int) -> None:
        """Fold the records [fed.position, end), among which there is no clock."""
        start, letters = fed.position, len(fed.dead)
        if start == end:
            return
        group = columns.group[start:end]
        if columns.bad:
            for i in (np.flatnonzero(group == BAD) + start).tolist():
                self._refuse(columns, fed, i, *columns.bad[i])
        group = self._refuse_times(columns, fed, start, group)
        for fold, inside in self._turns(columns.events, start, group):
            whole, at = len(inside) == end - start, inside + start
            events = columns.events[start:end] if whole else [columns.events[i] for i in at.tolist()]
            self._tally(columns, fed, at, self._folds[fold](self.tables, events, columns.t[at]))
        not_folded = int(np.count_nonzero(group == NOT_FOLDED))
        if not_folded:
            self._count("not_folded", not_folded)
        fed.dead[letters:] = sorted(fed.dead[letters:], key=attrgetter("offset"))

    def _turns(self, events: list[Any], start: int, group: Byte1) -> Iterator[tuple[int, Int1]]:
        """(fold, positions in the segment): which fold takes which events.

        New rows are numbered in log order. Where two folds share tables, either the rows are assigned before (tasks: a
        new id is always accepted), or the folds take turns as in the log (telemetry: only accepted events name pools).
        """
        folded = np.flatnonzero(group < len(self._folds))
        fold = group[folded]
        if len(folded) and (fold != fold[0]).any():
            if self.topic == "telemetry":
                turns = np.flatnonzero(fold[1:] != fold[:-1]) + 1
                yield from ((int(group[at[0]]), at) for at in np.split(folded, turns))
                return
            if self.topic == "tasks":
                self.tables["tasks"].assign([events[i].task_id for i in (folded + start).tolist()])
        for code in range(len(self._folds)):
            at = folded[fold == code]
            if len(at):
                yield code, at

    def _refuse_times(self, columns: Columns, fed: Fed, start: int, group: Byte1) -> Byte1:
        """Dead-letter what is too far ahead of the clock, and tasks that are too old; their group becomes BAD."""
        if self.clock.time == NEVER:
            return group
        t = columns.t[start : start + len(group)]
        ahead, past = self.clock.time + self.clock.max_ahead_ms, self.clock.time - self._retain_ms
        wrong = t > ahead
        if self.topic == "tasks":
            wrong |= t <= past
        if not wrong.any():
            return group
        wrong &= group != BAD
        for i in np.flatnonzero(wrong).tolist():
            event_t = int(t[i])
            if event_t > ahead:
                detail = f"t {event_t} is more than {self.clock.max_ahead_ms} ms ahead of the clock {self.clock.time}"
                self._refuse(columns, fed, start + i, "time.future", detail)
            else:
                detail = f"t {event_t} is {self._retain_ms} ms or more behind the clock {self.clock.time}"
                self._refuse(columns, fed, start + i, "time.past", detail)
        return np.where(wrong, np.uint8(BAD), group)

    def _tally(self, columns: Columns, fed: Fed, at: Int1, outcome: Byte1) -> None:
        if not outcome.any():
            self._count("folded", len(at))
            return
        for code, n in enumerate(np.bincount(outcome).tolist()):
            if n and code in _COUNTED:
                self._count(_COUNTED[code], n)
        for i in np.flatnonzero(outcome > Outcome.REPEAT).tolist():
            event = columns.events[int(at[i])]
            self._refuse(columns, fed, int(at[i]), _REASONS[int(outcome[i])], f"seq {event.seq}")

    def _refuse(self, columns: Columns, fed: Fed, i: int, reason: str, detail: str) -> None:
        records = columns.records
        letter = DeadLetter(
            self.topic, self.partition, records.offsets[i], reason, detail, records.keys[i], records.values[i]
        )
        fed.dead.append(letter)
        self._count("dead", 1)

    def _count(self, name: str, n: int) -> None:
        self._sums[name] += n
        self.counts[name] += n

    # ------------------------------------------------------------------------------------------------- cutting

    def _cut(self, ends: list[int], position: int) -> Cut:
        self._expire(self.tables, self.clock.time - self._retain_ms)
        base = self._serial % BASE_EVERY == 0
        sums, self._sums = dict(self._sums), Counter()
        cut = Cut(
            topic=self.topic,
            partition=self.partition,
            window=ends[-1],
            skipped=tuple(ends[:-1]),
            serial=self._serial,
            next=position,
            time=self.clock.time,
            base=base,
            tables={name: table.delta(whole=base) for name, table in self.tables.items()},
            sums=sums,
        )
        self._serial += 1
        return cut
