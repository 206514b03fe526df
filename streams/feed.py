"""One partition of an event log, read for an open loop or window by window for a closed one."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec
import numpy as np

from twin import events as ev
from twin.arrays import Bool1, Int1
from twin.columns import CLOCK, Columns, Decoder
from twin.records import Records
from twin.topics import BY_STRUCT, Role, address

_encode = msgspec.json.encode


class EventLog(Protocol):
    """Where recorded events come from."""

    def partitions(self) -> list[tuple[str, int]]:
        """Every (topic, partition)."""
        ...

    def read(self, topic: str, partition: int) -> Iterator[Records]:
        """The records of one partition, in order."""
        ...


class Batch:
    """The records of one window of one partition, collected, then decoded columns numbered from the run log's position."""

    def __init__(self) -> None:
        self.records = Records(0, 0)
        self.events: list[Any] = []
        self._groups: list[int] = []
        self._bad: dict[int, tuple[str, str]] = {}

    def add(self, chunk: Columns, at: list[int]) -> None:
        """Records ``at`` of a decoded chunk."""
        if not at:
            return
        source, out = chunk.records, self.records
        for i in at:
            if i in chunk.bad:
                self._bad[len(self.events)] = chunk.bad[i]
            self.events.append(chunk.events[i])
        out.times.extend(source.times[i] for i in at)
        out.keys.extend(source.keys[i] for i in at)
        out.values.extend(source.values[i] for i in at)
        self._groups.extend(chunk.group[at].tolist())
        if source.headers:
            out.headers.extend([()] * (len(out.values) - len(at) - len(out.headers)))
            out.headers.extend(source.headers[i] for i in at)

    def add_event(self, event: ev.Event, decoder: Decoder) -> None:
        """An event of the runtime's own (an answer, a policy, a clock), as a reader of the log will see it."""
        key = str(event.partition) if isinstance(event, ev.Clock) else address(event)[1]
        value = _encode(event)
        self.records.times.append(event.t)
        self.records.keys.append(key.encode())
        self.records.values.append(value)
        seen = decoder.read(value)
        self.events.append(seen)
        self._groups.append(decoder.code(type(seen)))

    def columns(self, position: int) -> Columns:
        """All of it, at log position ``position``."""
        n, out = len(self.events), self.records
        if out.headers:
            out.headers.extend([()] * (n - len(out.headers)))
        out.base, out.next, out.offsets = position, position + n, list(range(position, position + n))
        group = np.array(self._groups, np.uint8)
        t = np.array([0 if event is None else event.t for event in self.events], np.int64)
        return Columns(out, self.events, group, t, np.flatnonzero(group == CLOCK), self._bad)


class Feed:
    """Reads one partition of a log ahead by a chunk. ``seconds`` is added to by stage, as ``stage_clock`` measures them."""

    def __init__(
        self,
        log: EventLog,
        topic: str,
        partition: int,
        seconds: dict[str, float],
        *,
        stage_clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.topic, self.partition = topic, partition
        self.decoder = Decoder(topic)
        self._log, self._reader = log, log.read(topic, partition)
        self._seconds, self._clock = seconds, stage_clock
        self._chunk: Columns | None = None
        self._at = 0
        self._position = 0
        self._clocks = 0
        self._latest: Int1 = np.zeros(0, np.int64)
        self._recorded: ev.Clock | None = None
        self._keep: Bool1 = np.zeros(0, bool)

    def _load(self) -> bool:
        """Read and decode the next chunk if this one is used up; False at the end of the log."""
        while self._chunk is None or self._at == len(self._chunk):
            began = self._clock()
            self._chunk = None  # what comes next may take its memory
            records = next(self._reader, None)
            read = self._clock()
            self._seconds["read"] += read - began
            if records is None:
                return False
            self._chunk, self._at = self.decoder.decode(records), 0
            self._keep = np.zeros(0, bool)
            self._seconds["decode"] += self._clock() - read
        return True

    # ------------------------------------------------------------------------------------------------ open loop

    def chunk(self) -> tuple[Columns, int] | None:
        """The chunk in hand and the position in it to go on from; None at the end of the log."""
        return (self._chunk, self._at) if self._load() and self._chunk is not None else None

    def used(self, position: int) -> None:
        """Note that the chunk in hand has been folded up to ``position``."""
        self._at = position

    # ---------------------------------------------------------------------------------------------- closed loop

    def first_clock(self) -> ev.Clock | None:
        """The first clock of the partition; None where there is none. Read apart: nothing is used up."""
        for records in self._log.read(self.topic, self.partition):
            columns = self.decoder.decode(records)
            if len(columns.clocks):
                clock: ev.Clock = columns.events[int(columns.clocks[0])]
                return clock
        return None

    def exhausted(self) -> bool:
        """Whether nothing that a closed loop keeps is left."""
        while self._load():
            self._mark_kept()
            left = np.flatnonzero(self._keep[self._at :])
            if len(left):
                self._at += int(left[0])
                return False
            self._at = len(self._keep)
        return True

    def before(self, to: int) -> Batch:
        """The records before the first one with a timestamp at or after ``to``, less what a closed loop leaves out."""
        batch = Batch()
        while self._load() and self._chunk is not None:
            self._mark_kept()
            end = int(np.searchsorted(self._latest, to, side="left"))
            if end > self._at:
                batch.add(self._chunk, (np.flatnonzero(self._keep[self._at : end]) + self._at).tolist())
                self._at = end
            if end < len(self._chunk):
                break
        return batch

    def _mark_kept(self) -> None:
        if not len(self._keep) and self._chunk is not None:
            self._latest = np.maximum.accumulate(self._due(self._chunk))
            self._keep = np.array([kept_in_closed_loop(event) for event in self._chunk.events], bool)

    def _due(self, chunk: Columns) -> Int1:
        """When each record is due, ms, (n,): at its timestamp, or now if that lies too far ahead of the recorded clock.

        A stray stamp would hold back everything behind it. Records before the first clock are held against that one.
        """
        times = np.array(chunk.records.times, np.int64)
        clocks = [chunk.events[i] for i in chunk.clocks.tolist()]
        before = self._recorded or (clocks[0] if clocks else None)
        if before is None:
            return times
        running = [before, *clocks]
        now = np.maximum.accumulate([clock.t for clock in running])
        ahead = np.array([clock.max_ahead_ms for clock in running], np.int64)
        at = np.searchsorted(chunk.clocks, np.arange(len(times)), side="right")
        self._recorded = msgspec.structs.replace(running[-1], t=int(now[-1]))
        return np.where(times > now[at] + ahead[at], now[at], times)

    def window(self, batch: Batch, answers: list[ev.Event], clock: ev.Clock) -> Columns:
        """A window of the run log: its records, then ``answers``, then ``clock``."""
        for event in answers:
            batch.add_event(event, self.decoder)
        own = msgspec.structs.replace(clock, partition=self.partition, seq=self._clocks)
        self._clocks += 1
        batch.add_event(own, self.decoder)
        columns = batch.columns(self._position)
        self._position += len(columns)
        return columns


def kept_in_closed_loop(event: ev.Event | None) -> bool:
    """Whether a closed loop keeps a recorded event: all but clocks, answers and the recorded dispatch policy.

    None stands for a record that did not decode; it is kept and dead-lettered again.
    """
    if event is None:
        return True
    if isinstance(event, ev.Clock) or BY_STRUCT[type(event)].role is Role.ANSWER:
        return False
    return not (isinstance(event, ev.PolicySet) and event.name == "dispatch")
