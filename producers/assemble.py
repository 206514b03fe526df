"""From events to an event log: who gets which partition, in which order, and where the clocks stand."""

from collections.abc import Iterable, Iterator
from operator import attrgetter, itemgetter

import msgspec

from producers.log import LogWriter
from producers.partition import partition_of
from twin.events import Clock, Event
from twin.records import Records
from twin.topics import BY_STRUCT, IN_TOPICS, address

SOURCE = "assemble"
Row = tuple[int, bytes, bytes]  # event time in ms, key, body


def number(events: Iterable[Event]) -> list[Event]:
    """Return the events in order of time, ties as given, with ``seq`` counted per entity and writer role from 0.

    The counting follows the time order: an entity whose numbers jump about by more than 63 would be refused as too old.
    """
    counts: dict[tuple[str, str], int] = {}
    numbered: list[Event] = []
    for event in sorted(events, key=attrgetter("t")):
        info = BY_STRUCT[type(event)]
        entity = (info.fold or info.tag, info.key(event))
        seq = counts.get(entity, 0)
        counts[entity] = seq + 1
        numbered.append(event if event.seq == seq else msgspec.structs.replace(event, seq=seq))
    return numbered


def clock_times(t0: int, end: int, window_ms: int, lateness_ms: int) -> list[int]:
    """Return the times of a partition's clocks: t0, then E + lateness for every window end E up to the first at or after ``end``.

    Window ends are the multiples of ``window_ms`` since the epoch; all times in ms.
    """
    first = (t0 // window_ms + 1) * window_ms
    last = -(-end // window_ms) * window_ms
    return [t0, *(e + lateness_ms for e in range(first, last + 1, window_ms))]


def _with_clocks(rows: list[Row], clocks: list[Row]) -> Iterator[Row]:
    """Merge two lists that are in order of time; a clock stands after the last record before its time."""
    at = 0
    for clock in clocks:
        while at < len(rows) and rows[at][0] < clock[0]:
            yield rows[at]
            at += 1
        yield clock
    yield from rows[at:]


def assemble(
    events: Iterable[Event],
    writer: LogWriter,
    *,
    t0: int,
    end: int,
    window_ms: int,
    lateness_ms: int,
    max_ahead_ms: int,
) -> None:
    """Write ``events`` into ``writer`` as the log of a run, with a clock per window in every partition; does not close it.

    Events go to the topic and key of their type, keys to partitions as in Kafka; within a partition they stand in order of
    time, ties as given. Each partition's first clock stands at ``t0`` and closes what lies before; the others follow at
    every window end (plus lateness) up to the first at or after ``end``. Records from the last clock on follow it.
    ``writer`` must have all seven in-topics. Record timestamp = event time. All times in ms.
    """
    counts = writer.partitions
    rows: dict[tuple[str, int], list[Row]] = {(topic, p): [] for topic in IN_TOPICS for p in range(counts[topic])}
    encode = msgspec.json.Encoder().encode
    for event in events:
        topic, name = address(event)
        key = name.encode()
        rows[topic, partition_of(key, counts[topic])].append((event.t, key, encode(event)))
    times = clock_times(t0, end, window_ms, lateness_ms)
    for p in range(max(counts.values())):
        shape = Clock(
            seq=0,
            t=0,
            source=SOURCE,
            partition=p,
            window_ms=window_ms,
            lateness_ms=lateness_ms,
            max_ahead_ms=max_ahead_ms,
        )
        key = str(p).encode()
        clocks = [(t, key, encode(msgspec.structs.replace(shape, seq=seq, t=t))) for seq, t in enumerate(times)]
        for topic in IN_TOPICS:
            if p < counts[topic]:
                part = rows[topic, p]
                part.sort(key=itemgetter(0))
                _write(writer, topic, p, list(_with_clocks(part, clocks)))
    writer.meta |= {
        "t0": t0,
        "end": end,
        "window_ms": window_ms,
        "lateness_ms": lateness_ms,
        "max_ahead_ms": max_ahead_ms,
    }


def _write(writer: LogWriter, topic: str, partition: int, rows: list[Row]) -> None:
    count = len(rows)
    times, keys, values = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
    writer.extend(topic, partition, Records(0, count, list(range(count)), times, [*keys], values))
