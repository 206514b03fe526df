"""When a record of a log is due, in which order partitions are merged, and what others write instead."""

from pathlib import Path

import msgspec
import pytest

from producers.log import LogReader, LogWriter
from producers.pace import END_OF_TIME, Pace
from producers.produce import Tap, due_times, produce
from producers.read import slice_of
from twin.errors import StoreError
from twin.events import Clock
from twin.records import Record, Records

T0 = 1_751_299_200_000
YEAR_3000 = 32_503_680_000_000
WINDOW = 60_000


def clock(t: int) -> bytes:
    return msgspec.json.encode(Clock(seq=0, t=t, window_ms=WINDOW))


def column(*rows: tuple[int, bytes]) -> Records:
    n = len(rows)
    return Records(0, n, list(range(n)), [t for t, _ in rows], [None] * n, [value for _, value in rows])


class Notes:
    """Takes records as a publisher does and notes them; breaks after ``most`` records."""

    def __init__(self, most: int = 10**9) -> None:
        self.acknowledged, self.failed, self.most = 0, 0, most
        self.sent: list[tuple[str, int, Record]] = []

    def send(self, topic: str, partition: int, records: Records) -> None:
        self.sent += [(topic, partition, records.record(i)) for i in range(len(records))]
        self.acknowledged += len(records)
        if self.acknowledged > self.most:
            raise StoreError("gone")

    def flush(self) -> None: ...
    def close(self) -> None: ...

    def of(self, topic: str, partition: int) -> list[Record]:
        return [record for name, p, record in self.sent if (name, p) == (topic, partition)]


class Steps:
    """Event time that comes in steps, and a note of what was waited for."""

    def __init__(self, step: int) -> None:
        self.step, self.waited = step, list[int]()

    def wait(self, t: int) -> int:
        self.waited.append(t)
        return t + self.step


def test_a_record_is_due_at_its_own_time() -> None:
    dues, last = due_times(
        column((T0 - 5, b"a"), (T0, clock(T0)), (T0 + 7, b"b"), (T0 + WINDOW, clock(T0 + WINDOW))), None
    )
    assert dues == [T0 - 5, T0, T0 + 7, T0 + WINDOW]
    assert last is not None
    assert last.t == T0 + WINDOW


def test_a_record_of_the_year_3000_is_due_no_later_than_the_next_clock() -> None:
    rows = column((YEAR_3000, b"a"), (T0, clock(T0)), (YEAR_3000, b"b"), (T0 + 9, clock(T0 + 9)), (YEAR_3000, b"c"))
    assert due_times(rows, None)[0] == [T0 - 1, T0, T0 + 8, T0 + 9, T0 + 8 + WINDOW]


def test_a_record_that_came_late_is_due_when_it_came() -> None:
    rows = column((T0, clock(T0)), (T0 - 10**9, b"late"))
    assert due_times(rows, None)[0] == [T0, T0]


def test_a_clock_counts_in_the_chunk_after_it_too() -> None:
    _, before = due_times(column((T0, clock(T0))), None)
    assert due_times(column((YEAR_3000, b"a"), (5, b"b")), before)[0] == [T0 + WINDOW - 1, T0]


def test_a_body_that_only_mentions_a_clock_is_none() -> None:
    assert due_times(column((T0, b'{"type":"clock.v1"'), (T0 + 1, b'"clock.v1"')), None) == ([T0, T0 + 1], None)


@pytest.fixture
def log(tmp_path: Path) -> LogReader:
    with LogWriter(tmp_path, {"tasks": 2, "power": 1}) as writer:
        for i in range(300):
            writer.append("tasks", i % 2, t=T0 + 10 * i, key=b"k%d" % i, value=b"{%d" % i)
            if i % 100 == 0:
                for p in range(2):
                    writer.append("tasks", p, t=T0 + 10 * i, key=b"0", value=clock(T0 + 10 * i))
                writer.append("power", 0, t=T0 + 10 * i, key=b"0", value=clock(T0 + 10 * i))
        started = b'{"type":"task.started.v1","seq":0,"t":%d}' % T0
        writer.append("tasks", 0, t=T0 + 3000, key=b"a", value=started)
        writer.append("power", 0, t=T0 + 1500, key=None, value=b"\xff", headers=(("h", b"\x00"),))
    return LogReader(tmp_path)


def records_of(log: LogReader, topic: str, partition: int) -> list[Record]:
    return [chunk.record(i) for chunk in log.read(topic, partition) for i in range(len(chunk))]


@pytest.mark.parametrize("step", [0, 7, 10_000])
def test_partitions_are_merged_by_the_time_records_are_due(log: LogReader, step: int) -> None:
    notes, steps = Notes(), Steps(step)
    assert produce(Tap(log), notes, steps, namespace="x") == log.manifest.records
    assert steps.waited == sorted(steps.waited)
    until = -1
    waits = iter(steps.waited)
    for _, _, record in notes.sent:  # nothing is sent before the step in which it is due
        while min(record.t, T0 + 3000) > until:
            until = next(waits) + step
    for topic, p in log.partitions():
        assert notes.of(f"x.{topic}", p) == records_of(log, topic, p)


def test_at_full_speed_all_of_it_is_sent_at_once_and_in_order(log: LogReader) -> None:
    notes, counts = Notes(), list[int]()
    assert Pace("max").wait(T0) == END_OF_TIME
    assert produce(Tap(log), notes, Pace("max"), namespace="x", on_sent=counts.append) == log.manifest.records
    assert sum(counts) == log.manifest.records
    assert notes.of("x.tasks", 1) == records_of(log, "tasks", 1)


@pytest.mark.parametrize("there", [0, 1, 77, 150, 155, 10**6])
def test_what_is_there_already_is_left_out_of_its_partition_only(log: LogReader, there: int) -> None:
    notes = Notes()
    produce(Tap(log), notes, Pace("max"), namespace="x", start={("x.tasks", 1): there})
    assert notes.of("x.tasks", 1) == records_of(log, "tasks", 1)[there:]
    assert notes.of("x.tasks", 0) == records_of(log, "tasks", 0)


def test_beside_a_clock_neither_clocks_nor_answers_are_sent_and_what_is_malformed_is(log: LogReader) -> None:
    notes = Notes()
    produce(Tap(log, events_only=True), notes, Pace("max"), namespace="x")
    assert [record.value for record in notes.of("x.tasks", 0)] == [b"{%d" % i for i in range(0, 300, 2)]
    assert [record.value for record in notes.of("x.power", 0)] == [b"\xff"]
    assert notes.of("x.power", 0)[0].headers == (("h", b"\x00"),)


def test_a_failure_ends_it_at_once(log: LogReader) -> None:
    notes = Notes(most=50)
    with pytest.raises(StoreError, match="gone"):
        produce(Tap(log), notes, Steps(0), namespace="x")
    assert notes.acknowledged < 60


@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 2), (1, 3), (2, 4)])
def test_a_slice_of_records_has_their_positions(start: int, end: int) -> None:
    whole = Records(
        3, 20, [4, 7, 8, 15], [1, 2, 3, 4], [None] * 4, [b"a", b"b", b"c", b"d"], [(), (("x", b""),), (), ()]
    )
    part = slice_of(whole, start, end)
    assert part.values == whole.values[start:end]
    assert part.headers == whole.headers[start:end]
    bounds = [3, 5, 8, 9, 20]
    assert (part.base, part.next) == (bounds[start], bounds[end])
