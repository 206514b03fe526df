"""A shard: the state of one partition, folded from its log and cut at its clocks.

``feed`` takes a decoded chunk from a position and stops where a clock closes windows, so that the caller gets the cut
before anything behind it is folded. State depends on the log alone, never on where chunks end; a record that does not
count (refused, or a repeat) leaves no trace in it.

Refused is what does not decode, what lies further ahead of the clock than it allows (``time.future``), a task's event at or
before clock - retain (``time.past``: the task's row may be gone), and what is too old to be told from a repeat
(``seq.too_old``, ``attempt.too_old``). Before the first clock no time is refused. Clocks are never refused.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter, itemgetter
from types import ModuleType
from typing import Any, Self

import numpy as np

from twin.columns import BAD, NOT_FOLDED, Columns, DeadLetter, Decoder
from twin.errors import TwinBug
from twin.shards import control, inventory, network, power, services, tasks, telemetry
from twin.shards.fold import Fold, Outcomes, Tables
from twin.shards.order import Outcome
from twin.shards.saved import (
    Head,
    ShardSave,
    StoredShard,
    decode_head,
    encode_head,
    load_tables,
    save_tables,
    table_heads,
)
from twin.shards.table import Table, TableDelta
from twin.window import NEVER, WindowClock

SCHEMA = 1
RETAIN_MS = 24 * 3_600_000
BASE_EVERY = 64
"""How often a store that keeps cuts wants a base."""

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
_END_OF_TIME = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Cut:
    """A shard at the clock that closed ``window`` (and ``skipped`` windows before it).

    ``next`` is the log position behind that clock; ``window_ms`` and ``lateness_ms`` are those of the window that it
    opened. ``base``: the deltas are whole tables. ``sums`` counts the records folded since the cut before.
    """

    topic: str
    partition: int
    window: int
    skipped: tuple[int, ...]
    serial: int
    next: int
    time: int
    window_ms: int
    lateness_ms: int
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
    """State of one (topic, partition).

    The first cut is a base, and then each ``base_every``-th where that is given: who follows from the start needs no more.
    ``saved``: keep track of what ``save`` has not given yet.
    """

    def __init__(
        self,
        topic: str,
        partition: int,
        *,
        retain_ms: int = RETAIN_MS,
        base_every: int | None = None,
        saved: bool = False,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.tables = empty_tables(topic)
        self.clock = WindowClock()
        self.counts: Counter[str] = Counter()
        self._retain_ms, self._base_every = retain_ms, base_every
        self._sums: Counter[str] = Counter()
        self._serial = 0
        self._base_next = True
        if saved:
            self._keep_unsaved()
        folds: dict[str, Fold] = _MODULES[topic].FOLDS
        self._folds: list[Fold] = [folds[name] for name in Decoder(topic).folds]
        self._expire: Callable[[Tables, int], None] = _MODULES[topic].expired

    @property
    def serial(self) -> int:
        """Serial of the last cut, -1 before the first."""
        return self._serial - 1

    def feed(self, columns: Columns, position: int = 0) -> Fed:
        """Fold ``columns`` from ``position`` up to the clock that closes a window, or to the end."""
        fed = Fed(position)
        clocks = columns.clocks
        for k in range(int(clocks.searchsorted(position)), len(clocks)):
            at = int(clocks[k])
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
        sift = self._sift_few if end - start <= Table.FEW else self._sift
        folded, codes = sift(columns, fed, end)
        for fold, at in self._turns(columns.events, folded, codes):
            if len(at) == end - start:
                events, t = columns.events[start:end], columns.t[start:end]
            else:
                events, t = [columns.events[i] for i in at], columns.t[at]
            self._tally(columns, fed, at, self._folds[fold](self.tables, events, t))
        if len(fed.dead) > letters + 1:
            fed.dead[letters:] = sorted(fed.dead[letters:], key=attrgetter("offset"))

    def _sift_few(self, columns: Columns, fed: Fed, end: int) -> tuple[list[int], list[int]]:
        """Refuse what is bad or out of time; positions and folds of the others. One by one."""
        start = fed.position
        after, until = self._time_limits()
        folded, codes = [], []
        for i, code, t in zip(
            range(start, end), columns.group[start:end].tolist(), columns.t[start:end].tolist(), strict=True
        ):
            if code == BAD:
                self._refuse(columns, fed, i, *columns.bad[i])
            elif not after < t <= until:
                self._refuse_time(columns, fed, i, t)
            elif code == NOT_FOLDED:
                self._count("not_folded", 1)
            else:
                folded.append(i)
                codes.append(code)
        return folded, codes

    def _sift(self, columns: Columns, fed: Fed, end: int) -> tuple[Sequence[int], list[int]]:
        """``_sift_few`` in columns; one code where it is that of all."""
        start = fed.position
        group, t = columns.group[start:end], columns.t[start:end]
        after, until = self._time_limits()
        fold = int(group[0])
        if fold < NOT_FOLDED and (group == fold).all() and t.min() > after and t.max() <= until:
            return range(start, end), [fold]  # the usual case: nothing is to be picked out
        bad = group == BAD
        out_of_time = ((t <= after) | (t > until)) & ~bad
        for i in (np.flatnonzero(bad) + start).tolist():
            self._refuse(columns, fed, i, *columns.bad[i])
        for i in (np.flatnonzero(out_of_time) + start).tolist():
            self._refuse_time(columns, fed, i, int(columns.t[i]))
        in_time = ~(bad | out_of_time)
        not_folded = int(np.count_nonzero(in_time & (group == NOT_FOLDED)))
        if not_folded:
            self._count("not_folded", not_folded)
        at = np.flatnonzero(in_time & (group != NOT_FOLDED))
        return (at + start).tolist(), group[at].tolist()

    def _turns(self, events: list[Any], folded: Sequence[int], codes: list[int]) -> list[tuple[int, Sequence[int]]]:
        """(fold, positions): which fold takes which events.

        New rows are numbered in log order. Where two folds share tables, either the rows are assigned before (tasks: a
        new id is always accepted), or the folds take turns as in the log (telemetry: only accepted events name pools).
        """
        if not folded:
            return []
        if codes.count(codes[0]) == len(codes):  # one code may stand for all
            return [(codes[0], folded)]
        if self.topic == "telemetry":
            turns = groupby(zip(codes, folded, strict=True), key=itemgetter(0))
            return [(code, [i for _, i in turn]) for code, turn in turns]
        if self.topic == "tasks":
            self.tables["tasks"].assign([events[i].task_id for i in folded])
        parts: dict[int, list[int]] = {fold: [] for fold in sorted(set(codes))}
        for code, i in zip(codes, folded, strict=True):
            parts[code].append(i)
        return list(parts.items())

    def _time_limits(self) -> tuple[int, int]:
        """An event must be after the first and not after the second, ms."""
        if self.clock.time == NEVER:
            return NEVER, _END_OF_TIME
        after = self.clock.time - self._retain_ms if self.topic == "tasks" else NEVER
        return after, self.clock.time + self.clock.max_ahead_ms

    def _refuse_time(self, columns: Columns, fed: Fed, i: int, t: int) -> None:
        clock = self.clock
        if t > clock.time + clock.max_ahead_ms:
            detail = f"t {t} is more than {clock.max_ahead_ms} ms ahead of the clock {clock.time}"
            self._refuse(columns, fed, i, "time.future", detail)
        else:
            detail = f"t {t} is {self._retain_ms} ms or more behind the clock {clock.time}"
            self._refuse(columns, fed, i, "time.past", detail)

    def _tally(self, columns: Columns, fed: Fed, at: Sequence[int], outcomes: Outcomes) -> None:
        left = len(outcomes)
        for outcome, name in _COUNTED.items():
            n = outcomes.count(outcome)
            if n:
                self._count(name, n)
            left -= n
            if not left:
                return
        for i, outcome in zip(at, outcomes, strict=True):
            if outcome not in _COUNTED:
                self._refuse(columns, fed, i, _REASONS[outcome], f"seq {columns.events[i].seq}")

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
        base = self._base_next or (self._base_every is not None and self._serial % self._base_every == 0)
        self._base_next = False
        sums, self._sums = dict(self._sums), Counter()
        cut = Cut(
            topic=self.topic,
            partition=self.partition,
            window=ends[-1],
            skipped=tuple(ends[:-1]),
            serial=self._serial,
            next=position,
            time=self.clock.time,
            window_ms=self.clock.window_ms,
            lateness_ms=self.clock.lateness_ms,
            base=base,
            tables={name: table.delta(whole=base) for name, table in self.tables.items()},
            sums=sums,
        )
        self._serial += 1
        return cut

    # ------------------------------------------------------------------------------------------------- saving

    def save(self) -> ShardSave:
        """What changed since the last save (or load, or the start), for a store; the position is the caller's to keep.

        Raises:
            TwinBug: the shard was made without ``saved``.
        """
        if any(table.ids.unsaved is None for table in self.tables.values()):
            raise TwinBug(f"{self.topic}-{self.partition}: saved, but made without keeping track of changes")
        heads = table_heads(self.tables)
        head = Head(SCHEMA, self.clock, dict(self.counts), dict(self._sums), self._serial, heads)
        return ShardSave(encode_head(head), save_tables(self.tables))

    @classmethod
    def load(
        cls,
        topic: str,
        partition: int,
        stored: StoredShard,
        *,
        retain_ms: int = RETAIN_MS,
        base_every: int | None = None,
    ) -> Self:
        """The shard that its saves were made of, to be fed from its position on and saved again.

        Its next cut is a base: what had changed since the last cut is not stored.

        Raises:
            ConfigError: it was stored in another schema.
            StoreError: what is stored is damaged.
        """
        name = f"{topic}-{partition}"
        shard = cls(topic, partition, retain_ms=retain_ms, base_every=base_every)
        head = decode_head(stored.head, SCHEMA, name)
        load_tables(shard.tables, stored, head, name)
        shard.clock, shard._serial = head.clock, head.serial
        shard.counts, shard._sums = Counter(head.counts), Counter(head.sums)
        shard._keep_unsaved()
        return shard

    def _keep_unsaved(self) -> None:
        for table in self.tables.values():
            table.ids.unsaved = {}
