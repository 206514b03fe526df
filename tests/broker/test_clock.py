"""The clock of a twin on a real broker: every partition, every step, never back, and one at a time."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from producers.clock import ClockWriter, Ticks, default_step_ms
from producers.clocks import clock_in, last_clocks
from producers.pace import Pace
from producers.publish import KafkaPublisher
from producers.read import TopicReader
from producers.topics import create_topics, specs
from streams.settings import Settings
from twin.errors import ConfigError
from twin.events import Clock
from twin.topics import IN_TOPICS

T0 = 1_751_299_200_000
TICKS = Ticks(window_ms=5_000, lateness_ms=1_000, max_ahead_ms=60_000, step_ms=1_000)
FAST = "1000x"


@pytest.fixture
def topics(settings: Settings) -> Settings:
    create_topics(settings.bootstrap, specs(settings.namespace, {"tasks": 2}))
    return settings


def partitions(topics: Settings) -> list[tuple[str, int]]:
    return [(topics.topic(short), p) for short in IN_TOPICS for p in range(2 if short == "tasks" else 1)]


def run(topics: Settings, start: int, until: int, ticks: Ticks = TICKS) -> None:
    with ClockWriter(topics.bootstrap, topics.namespace, ticks, start=start, watch_s=0.3) as writer:
        writer.run(Pace(FAST), until=until)


def clocks(topics: Settings) -> dict[tuple[str, int], list[Clock]]:
    found: dict[tuple[str, int], list[Clock]] = {}
    with TopicReader(topics.bootstrap) as reader:
        for at, (begin, end) in reader.ends(partitions(topics)).items():
            rows = [chunk.record(i) for chunk in reader.read(at, begin, end) for i in range(len(chunk))]
            found[at] = [clock for clock in map(clock_in, (row.value for row in rows)) if clock is not None]
            assert [row.t for row in rows if clock_in(row.value)] == [clock.t for clock in found[at]]
            assert all(row.key == b"%d" % at[1] for row in rows if clock_in(row.value))
    return found


def test_every_partition_of_every_in_topic_gets_every_clock(topics: Settings) -> None:
    run(topics, T0 + 999, T0 + 6_500)
    for at, found in clocks(topics).items():
        assert [clock.t for clock in found] == [T0 + 1000 * i for i in range(8)], at
        assert {(c.window_ms, c.lateness_ms, c.max_ahead_ms, c.partition) for c in found} == {
            (5000, 1000, 60_000, at[1])
        }
        assert [clock.seq for clock in found] == list(range(8))


def test_started_again_it_goes_on_behind_the_last_clock_and_first_completes_it(topics: Settings) -> None:
    run(topics, T0, T0 + 3_000)
    with KafkaPublisher(topics.bootstrap) as publisher:  # the last one was ended while it wrote this one
        at = topics.topic("power"), 0
        clock = b'{"type":"clock.v1","seq":4,"t":%d,"window_ms":5000,"source":"cpn-clock/0"}' % (T0 + 4_000)
        publisher.send_one(*at, t=T0 + 4_000, key=b"0", value=clock)
        publisher.send_one(*at, t=T0 + 4_500, key=b"z", value=b"an event")
        publisher.flush()
    run(topics, T0, T0 + 6_000)
    for found in clocks(topics).values():
        assert [clock.t for clock in found] == [T0 + 1000 * i for i in range(7)]
        assert [clock.seq for clock in found] == sorted({clock.seq for clock in found})


def test_after_a_pause_it_may_begin_later_but_never_earlier(topics: Settings) -> None:
    run(topics, T0, T0)
    run(topics, T0 + 60_000, T0 + 60_000)
    run(topics, T0 - 60_000, T0)
    assert [clock.t for clock in clocks(topics)[topics.topic("control"), 0]] == [T0, T0 + 60_000, T0 + 61_000]


def test_a_last_clock_that_is_far_back_is_found(topics: Settings) -> None:
    run(topics, T0, T0)
    at = topics.topic("tasks"), 1
    with KafkaPublisher(topics.bootstrap) as publisher:
        for i in range(1500):
            publisher.send_one(*at, t=T0 + i, key=b"k", value=b"{}")
        publisher.flush()
    with TopicReader(topics.bootstrap) as reader:
        found = last_clocks(reader, [at, (topics.topic("deadletter"), 0)])
    assert {key: (placed.offset, placed.clock.t) for key, placed in found.items()} == {at: (0, T0)}


@pytest.fixture
def running(topics: Settings) -> Iterator[list[BaseException]]:
    """A clock that runs beside the test, and what ended it."""
    errors: list[BaseException] = []
    stop = threading.Event()

    def tick(_t: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    def main() -> None:
        try:
            with ClockWriter(topics.bootstrap, topics.namespace, TICKS, start=T0, watch_s=0.1) as writer:
                writer.run(Pace("10x"), on_tick=tick)
        except (ConfigError, KeyboardInterrupt) as error:
            errors.append(error)

    thread = threading.Thread(target=main)
    thread.start()
    with TopicReader(topics.bootstrap) as reader:
        at = topics.topic("control"), 0
        end = time.monotonic() + 30
        while not reader.ends([at])[at][1]:
            assert time.monotonic() < end
    yield errors
    stop.set()
    thread.join()


def test_a_second_clock_does_not_begin_beside_a_running_one(topics: Settings, running: list[BaseException]) -> None:
    with pytest.raises(ConfigError, match=r"another clock \(cpn-clock/.*\) writes to .*\.control: a twin has one"):
        ClockWriter(topics.bootstrap, topics.namespace, TICKS, start=T0)
    assert running == []


@pytest.mark.parametrize(("source", "ends"), [("cpn-clock/0", True), ("assemble", True), ("cpn-clock/9", False)])
def test_of_two_that_run_the_one_that_was_started_later_ends(
    topics: Settings, running: list[BaseException], source: str, ends: bool
) -> None:
    clock = b'{"type":"clock.v1","seq":0,"t":%d,"window_ms":5000,"source":"%b"}' % (T0, source.encode())
    with KafkaPublisher(topics.bootstrap) as publisher:
        publisher.send_one(topics.topic("control"), 0, t=T0, key=b"0", value=clock)
        publisher.flush()
    end = time.monotonic() + (30 if ends else 3)
    while time.monotonic() < end and not running:
        time.sleep(0.05)
    assert [str(error)[:30] for error in running] == ([f"another clock ({source}) writes to"[:30]] if ends else [])


def test_a_clock_without_topics_says_how_to_make_them(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="cpn topics create"):
        ClockWriter(settings.bootstrap, settings.namespace, TICKS, start=T0)


def test_the_command_ends_where_it_is_told_to(topics: Settings) -> None:
    words = ("clock", "--from", "2025-07-01T00:00:00+08:00", "--window", "15m", "--speed", "6000x")
    words = (*words, "--until", str(T0 + 3_600_000), "--json")
    env = os.environ | {"CPN_BOOTSTRAP": topics.bootstrap, "CPN_NAMESPACE": topics.namespace}
    said = subprocess.run(
        [sys.executable, "-m", "streams.cli", *words], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert [clock.t for clock in clocks(topics)[topics.topic("tasks"), 1]] == [T0 + 900_000 * i for i in range(5)]


@pytest.mark.parametrize("step_ms", [3_000, 10_000])
def test_a_step_that_misses_the_ends_of_windows_is_refused(step_ms: int) -> None:
    with pytest.raises(ConfigError, match="give --tick a part of --window"):
        Ticks(window_ms=5_000, lateness_ms=0, max_ahead_ms=0, step_ms=step_ms)


@pytest.mark.parametrize(
    ("window_ms", "factor", "step_ms"),
    [
        (5_000, 1, 1_000),
        (900_000, 60, 60_000),
        (5_000, 60, 5_000),
        (900_000, 1000, 900_000),
        (7_000, 3, 1_750),
        (1_001, 1, 143),
    ],
)
def test_a_clock_ticks_about_once_a_second_and_meets_every_window(window_ms: int, factor: float, step_ms: int) -> None:
    assert default_step_ms(window_ms, factor) == step_ms
    assert window_ms % step_ms == 0
