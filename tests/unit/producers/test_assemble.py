"""Where records and clocks stand in an assembled log."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.assemble import assemble, clock_times, number
from producers.log import DEFAULT_PARTITIONS, LogReader, LogWriter
from producers.partition import partition_of
from twin import events as ev
from twin.records import Record
from twin.topics import IN_TOPICS

WINDOW = 300_000
T0 = 1_664_143_200_000


def task(name: str, t: int, seq: int = 0) -> ev.TaskSubmitted:
    return ev.TaskSubmitted(seq=seq, t=t, task_id=name, origin="NL", request=ev.Request(), est_duration_s=60)


def price(start: int, t: int) -> ev.PowerPrice:
    return ev.PowerPrice(
        seq=0, t=t, zone_id="NL", start=start, end=start + 1, market="day_ahead", price_per_mwh=1, currency="EUR"
    )


def assembled(folder: Path, events: list[ev.Event], end: int, t0: int = T0, lateness_ms: int = 0) -> LogReader:
    with LogWriter(folder, DEFAULT_PARTITIONS) as log:
        assemble(events, log, t0=t0, end=end, window_ms=WINDOW, lateness_ms=lateness_ms, max_ahead_ms=3_600_000)
    return LogReader(folder)


def records(log: LogReader, topic: str, partition: int = 0) -> list[Record]:
    return [chunk.record(i) for chunk in log.read(topic, partition) for i in range(len(chunk))]


def story(log: LogReader, topic: str, partition: int = 0) -> list[str]:
    """Ids and clock times (in seconds after T0) in log order."""
    bodies = [msgspec.json.decode(record.value) for record in records(log, topic, partition)]
    return [b.get("task_id") or f"clock {(b['t'] - T0) // 1000}" for b in bodies]


def test_every_partition_of_every_topic_gets_every_clock(tmp_path: Path) -> None:
    log = assembled(tmp_path, [], T0 + 3 * WINDOW)
    assert [topic for topic, _ in log.partitions()] == ["inventory", "telemetry", *["tasks"] * 4, *IN_TOPICS[3:]]
    for topic, p in log.partitions():
        clocks = [msgspec.json.decode(record.value, type=ev.Clock) for record in records(log, topic, p)]
        assert [(c.t, c.seq, c.partition) for c in clocks] == [(T0 + i * WINDOW, i, p) for i in range(4)]
        assert {(c.window_ms, c.lateness_ms, c.max_ahead_ms) for c in clocks} == {(WINDOW, 0, 3_600_000)}
        assert [(r.key, r.t) for r in records(log, topic, p)] == [(str(p).encode(), c.t) for c in clocks]


def test_a_clock_stands_after_the_last_record_before_its_time(tmp_path: Path) -> None:
    times = {"static": -1, "at0": 0, "late": 299_999, "at1": WINDOW, "after": 3 * WINDOW + 5}
    events = [task(name, T0 + t) for name, t in times.items()]
    log = assembled(tmp_path, events, T0 + 2 * WINDOW)
    told = {tuple(story(log, "tasks", p)) for p in range(4)}
    for name, t in times.items():
        (mine,) = [line for line in told if name in line]
        before = [word for word in mine[: mine.index(name)] if word.startswith("clock")]
        assert before == [f"clock {c // 1000}" for c in (0, WINDOW, 2 * WINDOW) if c <= t]


def test_lateness_moves_a_clock_behind_the_records_of_its_grace(tmp_path: Path) -> None:
    log = assembled(
        tmp_path, [task("a", T0 + WINDOW + 59_999), task("b", T0 + WINDOW + 60_000)], T0 + WINDOW, lateness_ms=60_000
    )
    a, b = (story(log, "tasks", partition_of(name, 4)) for name in (b"a", b"b"))
    assert a.index("a") < a.index("clock 360")
    assert b.index("b") > b.index("clock 360")


def test_windows_end_at_multiples_of_their_length_even_if_the_log_starts_between_them() -> None:
    assert clock_times(T0 + 7, T0 + WINDOW + 1, WINDOW, 5) == [T0 + 7, T0 + WINDOW + 5, T0 + 2 * WINDOW + 5]
    assert clock_times(T0, T0, WINDOW, 0) == [T0]


def test_records_are_keyed_partitioned_and_stamped_with_their_event_time(tmp_path: Path) -> None:
    log = assembled(tmp_path, [task(f"t{i}", T0 + i) for i in range(40)], T0 + WINDOW)
    seen = set()
    for p in range(4):
        for record in records(log, "tasks", p):
            body = msgspec.json.decode(record.value)
            if "task_id" in body:
                assert record.key == body["task_id"].encode()
                assert partition_of(record.key, 4) == p
                assert record.t == body["t"]
                seen.add(record.key)
    assert len(seen) == 40


def test_ties_keep_the_order_in_which_they_were_given(tmp_path: Path) -> None:
    log = assembled(tmp_path, [price(T0 + i, T0 + 50 - i % 2) for i in range(6)], T0 + WINDOW)
    starts = [body["start"] - T0 for r in records(log, "power") if "start" in (body := msgspec.json.decode(r.value))]
    assert starts == [1, 3, 5, 0, 2, 4]


def test_the_manifest_says_from_when_to_when_and_in_which_windows(tmp_path: Path) -> None:
    log = assembled(tmp_path, [], T0 + WINDOW, lateness_ms=9)
    assert log.meta == {
        "t0": T0,
        "end": T0 + WINDOW,
        "window_ms": WINDOW,
        "lateness_ms": 9,
        "max_ahead_ms": 3_600_000,
    }


def test_numbers_count_per_entity_and_role_in_order_of_time() -> None:
    carbon = ev.PowerCarbon(seq=0, t=T0 + 5, zone_id="NL", start=T0, end=T0 + 1, gco2e_per_kwh=1)
    events = [price(T0 + 2, T0 + 9), carbon, price(T0 + 1, T0 + 3), task("a", T0, seq=4)]
    numbered = number(events)
    assert [(type(e).__name__, e.t - T0, e.seq) for e in numbered] == [
        ("TaskSubmitted", 0, 0),
        ("PowerPrice", 3, 0),
        ("PowerCarbon", 5, 0),
        ("PowerPrice", 9, 1),
    ]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("assembled")


@given(times=st.lists(st.integers(-5, 40), max_size=30), end=st.integers(0, 40), lateness=st.integers(0, 7))
def test_a_log_is_in_order_and_no_clock_leaves_an_earlier_record_behind_it(
    scratch: Path, times: list[int], end: int, lateness: int
) -> None:
    folder = scratch / f"{abs(hash((tuple(times), end, lateness)))}"
    with LogWriter(folder, dict.fromkeys(IN_TOPICS, 2), overwrite=True) as log:
        events = [task(f"t{i}", 100 + t) for i, t in enumerate(times)]
        assemble(events, log, t0=103, end=103 + end, window_ms=10, lateness_ms=lateness, max_ahead_ms=0)
    reader = LogReader(folder)
    found = []
    for p in range(2):
        rows = [msgspec.json.decode(record.value) for record in records(reader, "tasks", p)]
        stamps = [row["t"] for row in rows]
        assert stamps == sorted(stamps)
        clocks = [i for i, row in enumerate(rows) if row["type"] == "clock.v1"]
        assert all(rows[j]["t"] >= rows[i]["t"] for i in clocks for j in range(i, len(rows)))
        found += [row["task_id"] for row in rows if "task_id" in row]
    assert sorted(found) == sorted(f"t{i}" for i in range(len(times)))
