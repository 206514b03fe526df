"""A recorded log into Kafka: the same bytes at the same place of the same partition, all at once or at the pace of its time."""

from collections.abc import Callable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import islice
from typing import NamedTuple, Protocol

from producers.clocks import clock_in
from producers.log import LogReader
from producers.log_check import type_of
from producers.publish import Publisher
from producers.read import Partition, TopicReader, slice_of
from producers.topics import list_topics
from twin.errors import ConfigError
from twin.events import Clock
from twin.records import Record, Records
from twin.topics import TYPES, Role

_CHUNK = 5_000


class Waits(Protocol):
    """Says when an event time has come: a ``Pace`` or a ``ClockFollower``."""

    def wait(self, t: int) -> int:
        """Return when ``t`` (ms) is due: the event time that has come by then, ``t`` or later."""


class Tap(NamedTuple):
    """What of a log is to be written: all of it, or ``events_only`` where somebody else writes clocks and answers."""

    log: LogReader
    events_only: bool = False

    def read(self, topic: str, partition: int) -> Iterator[tuple[Records, list[int]]]:
        """Yield the records of a partition in their order, and the event time (ms) at which each is due."""
        clock: Clock | None = None
        for records in self.log.read(topic, partition, _CHUNK):
            dues, clock = due_times(records, clock)
            if self.events_only:
                kept = [i for i, value in enumerate(records.values) if _is_event(value)]
                yield _picked(records, kept), [dues[i] for i in kept]
            else:
                yield records, dues

    def records(self, topic: str, partition: int) -> Iterator[Record]:
        """Yield the records of a partition one by one."""
        for records, _ in self.read(topic, partition):
            yield from map(records.record, range(len(records)))


def due_times(records: Records, clock: Clock | None) -> tuple[list[int], Clock | None]:
    """Return the event time (ms) at which each record is due, and the clock after them; ``clock`` is the one before them.

    A record is due at its own time, but not before the clock that it follows, and before the one that it precedes: one
    that is stamped with the year 3000 holds nothing back. Where the next clock is not among ``records``, it is taken to
    come a window after the last.
    """
    dues: list[int] = []
    ticks: dict[int, int] = {}
    for i, (t, value) in enumerate(zip(records.times, records.values, strict=True)):
        tick = clock_in(value)
        if tick is not None and (clock is None or tick.t >= clock.t):
            clock, ticks[i] = tick, tick.t
        dues.append(t if clock is None else min(max(t, clock.t), clock.t + clock.window_ms - 1))
    following: int | None = None
    for i in range(len(dues) - 1, -1, -1):
        if i in ticks:
            following = dues[i] = ticks[i]
        elif following is not None:
            dues[i] = min(dues[i], following - 1)
    return dues, clock


def produce(
    tap: Tap,
    publisher: Publisher,
    pace: Waits,
    *,
    namespace: str,
    start: Mapping[Partition, int] | None = None,
    on_sent: Callable[[int], None] = lambda _count: None,
) -> int:
    """Write a log into the topics of ``namespace`` and return how many records were written and acknowledged.

    Partitions are merged by the time their records are due; within a partition the order is the log's.

    Args:
        tap: what is to be written.
        publisher: to where.
        pace: when a record is due.
        namespace: prefix of the topics.
        start: records to leave out at the start of a partition, by its Kafka name: they are there already.
        on_sent: called with the number of records handed over since the last call.

    Raises:
        StoreError: the broker did not take a record. What was written is the beginning of each partition.
        ConfigError: the log is damaged, or a record is too large.
    """
    before = publisher.acknowledged
    parts = [
        _Part(tap, topic, p, f"{namespace}.{topic}", (start or {}).get((f"{namespace}.{topic}", p), 0))
        for topic, p in tap.log.partitions()
    ]
    heap = [(part.due, i) for i, part in enumerate(parts) if part.due is not None]
    heapify(heap)
    while heap:
        until = pace.wait(heap[0][0])
        while heap and heap[0][0] <= until:
            _, i = heappop(heap)
            part = parts[i]
            records = part.take(until)
            publisher.send(part.kafka_name, part.partition, records)
            on_sent(len(records))
            if part.due is not None:
                heappush(heap, (part.due, i))
    publisher.flush()
    return publisher.acknowledged - before


class _Part:
    """A partition of a log with what of it is still to be written."""

    def __init__(self, tap: Tap, topic: str, partition: int, kafka_name: str, skip: int) -> None:
        self.kafka_name, self.partition = kafka_name, partition
        self._chunks = tap.read(topic, partition)
        self._records = Records(0, 0)
        self._dues: list[int] = []
        self._at = 0
        while skip >= len(self._records):
            skip -= len(self._records)
            if not self._load():
                skip = len(self._records)
                break
        self._at = skip

    @property
    def due(self) -> int | None:
        """The event time at which the next record is due, ms; None at the end."""
        while self._at >= len(self._records):
            if not self._load():
                return None
        return self._dues[self._at]

    def take(self, until: int) -> Records:
        """Return the records from the next one to before the first that is due later than ``until``, or a part of them."""
        start = end = self._at
        while end < len(self._dues) and self._dues[end] <= until:
            end += 1
        self._at = end
        return slice_of(self._records, start, end)

    def _load(self) -> bool:
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        self._records, self._dues = chunk
        self._at = 0
        return True


# ------------------------------------------------------------------------------------------- what is there already


def check_counts(log: LogReader, bootstrap: str, namespace: str) -> None:
    """Look whether the topics of a log are there, with its partitions.

    Raises:
        ConfigError: no broker, or they are not.
    """
    found = {topic.name: topic.partitions for topic in list_topics(bootstrap, namespace)}
    for topic, count in log.manifest.topics.items():
        have = found.get(f"{namespace}.{topic}")
        if have is None:
            raise ConfigError(f"no topic {namespace}.{topic} at {bootstrap}: cpn topics create --log {log.path}")
        if have != count:
            raise ConfigError(
                f"{namespace}.{topic} has {have} partitions and the log {count}: delete the topics and make them with "
                f"`cpn topics create --log {log.path}`, or use another --namespace"
            )


def already_there(tap: Tap, reader: TopicReader, namespace: str) -> dict[Partition, int]:
    """Return how many records of each partition of a log stand in its topic, by Kafka name.

    They have to be the beginning of the log. Where only events are written, others write between them, and each record of
    the topic is compared; else the counts decide, and the last record is compared.

    Raises:
        ConfigError: something else stands there, or what was there is deleted.
    """
    found = {}
    places = {(f"{namespace}.{topic}", p): topic for topic, p in tap.log.partitions()}
    for at, (begin, end) in reader.ends(list(places)).items():
        topic, p = places[at], at[1]
        if begin:
            raise ConfigError(f"{at[0]}-{p} begins at offset {begin}: its records were deleted; {_ELSEWHERE}")
        if end:
            found[at] = (
                _matched(tap, reader, at, topic, end) if tap.events_only else _counted(tap, reader, at, topic, end)
            )
    return found


_ELSEWHERE = "use another --namespace, or delete the topics and make them anew with `cpn topics create`"


def _counted(tap: Tap, reader: TopicReader, at: Partition, topic: str, end: int) -> int:
    ours = next(islice(tap.records(topic, at[1]), end - 1, None), None)
    if ours is None:
        raise ConfigError(
            f"{at[0]}-{at[1]} holds {end:,} records, more than the log: something else was written there; {_ELSEWHERE}"
        )
    theirs = [chunk.record(i) for chunk in reader.read(at, end - 1, end) for i in range(len(chunk))]
    if [record[1:] for record in theirs] != [ours[1:]]:
        raise ConfigError(
            f"{at[0]}-{at[1]} holds at offset {end - 1} another record than the log: it was not written from this log alone "
            f"(if `cpn clock` writes there, --follow-clock); {_ELSEWHERE}"
        )
    return end


def _matched(tap: Tap, reader: TopicReader, at: Partition, topic: str, end: int) -> int:
    ours = tap.records(topic, at[1])
    expected, count = next(ours, None), 0
    for chunk in reader.read(at, 0, end):
        for i in range(len(chunk)):
            if expected is not None and chunk.record(i)[1:] == expected[1:]:
                expected, count = next(ours, None), count + 1
    return count


def _is_event(value: bytes) -> bool:
    """Whether a body is neither a clock nor an answer; what has no type of ours is an event that went wrong."""
    if clock_in(value) is not None:
        return False
    info = TYPES.get(type_of(value) or "")
    return info is None or info.role is not Role.ANSWER


def _picked(records: Records, kept: list[int]) -> Records:
    return Records(
        records.base,
        records.next,
        [records.offsets[i] for i in kept],
        [records.times[i] for i in kept],
        [records.keys[i] for i in kept],
        [records.values[i] for i in kept],
        [records.headers[i] for i in kept] if records.headers else [],
    )
