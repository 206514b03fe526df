"""A log to Kafka and back is the same log, whoever is stopped or killed in between."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from producers.clocks import ClockFollower
from producers.log import LogReader, LogWriter
from producers.log_check import validate
from producers.pace import Pace
from producers.produce import Tap, already_there, check_counts, produce
from producers.publish import BatchPublisher, KafkaPublisher
from producers.read import TopicReader
from producers.record import Recorder, open_log
from producers.topics import create_topics, specs
from streams.settings import Settings
from twin.errors import ConfigError
from twin.events import Clock
from twin.records import Record
from twin.topics import IN_TOPICS

T0 = 1_751_299_200_000
COUNTS = dict.fromkeys(IN_TOPICS, 1) | {"tasks": 2}
MINUTE = 60_000


def clock(t: int, partition: int = 0) -> bytes:
    return msgspec.json.encode(
        Clock(seq=t // MINUTE, t=t, partition=partition, window_ms=MINUTE, lateness_ms=7, max_ahead_ms=99)
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three minutes with everything that a topic can hold: malformed, repeated, disordered, far-future, binary."""
    odd = [b"", b"{", b'{"a":\n1}', b"\xff\xfe", b"[" * 500, b'{"type":"nobody.v9"}', b'"clock.v1"', b"{}"]
    with LogWriter(tmp_path / "log", COUNTS, meta={"name": "trip"}) as writer:
        for minute in range(4):
            t = T0 + minute * MINUTE
            for topic, count in COUNTS.items():
                for p in range(count):
                    writer.append(topic, p, t=t, key=str(p).encode(), value=clock(t, p))
            for i in range(40):
                key = [None, b"", b"\xff", b"task-%d" % i][i % 4]
                headers = (("h", b"\x00%d" % i), ("h", b"")) if i % 5 == 0 else ()
                late = t - 10**8 if i % 11 == 0 else t + 1000 * i
                writer.append("tasks", i % 2, t=late, key=key, value=odd[i % 8], headers=headers)
                writer.append("tasks", i % 2, t=late, key=key, value=odd[i % 8], headers=headers)
        writer.append("power", 0, t=32_503_680_000_000, key=b"z", value=b"{}")
        started = b'{"type":"task.started.v1","seq":0,"t":%d}' % T0
        writer.append("tasks", 0, t=T0, key=b"a", value=started)
    return tmp_path / "log"


@pytest.fixture
def topics(settings: Settings) -> Settings:
    create_topics(settings.bootstrap, specs(settings.namespace, COUNTS))
    return settings


def held(log: Path) -> dict[tuple[str, int], list[Record]]:
    reader = LogReader(log)
    return {
        at: [chunk.record(i) for chunk in reader.read(*at) for i in range(len(chunk))] for at in reader.partitions()
    }


def write(topics: Settings, log: Path, speed: str = "max") -> int:
    with (BatchPublisher if speed == "max" else KafkaPublisher)(topics.bootstrap) as publisher:
        return produce(Tap(LogReader(log)), publisher, Pace(speed), namespace=topics.namespace)


def record(topics: Settings, out: Path, *, until: int | None = None, idle_s: float = 1.0, resume: bool = False) -> None:
    with (
        TopicReader(topics.bootstrap) as reader,
        open_log(out, topics.bootstrap, topics.namespace, resume=resume) as writer,
    ):
        recorder = Recorder(reader, writer, topics.namespace, until=until)
        recorder.run(idle_s=idle_s)
        recorder.finish()


def there(topics: Settings, log: Path, *, events_only: bool = False) -> dict[tuple[str, int], int]:
    with TopicReader(topics.bootstrap) as reader:
        return already_there(Tap(LogReader(log), events_only), reader, topics.namespace)


@pytest.mark.parametrize("speed", ["max", "600x"])
def test_a_log_comes_back_from_kafka_as_it_was(topics: Settings, log: Path, tmp_path: Path, speed: str) -> None:
    assert write(topics, log, speed) == LogReader(log).manifest.records
    record(topics, tmp_path / "back")
    assert held(tmp_path / "back") == held(log)
    assert validate(LogReader(tmp_path / "back")).problems == validate(LogReader(log)).problems == []
    meta = LogReader(tmp_path / "back").meta
    assert (meta["t0"], meta["window_ms"], meta["lateness_ms"], meta["max_ahead_ms"]) == (T0, MINUTE, 7, 99)
    assert meta["run"] == {"answers": True, "policy": "price", "seed": 0}  # it holds an answer


def test_a_paced_log_takes_its_time(topics: Settings, log: Path) -> None:
    begun = time.monotonic()
    write(topics, log, "120x")
    assert 1.5 <= time.monotonic() - begun < 10  # three minutes; what is stamped with the year 3000 holds nothing up


@pytest.mark.parametrize("stopped", [1, 60, 200, 330])
def test_what_was_stopped_in_the_middle_is_gone_on_with(
    topics: Settings, log: Path, tmp_path: Path, stopped: int
) -> None:
    sent = 0

    def stop(count: int) -> None:
        nonlocal sent
        sent += count
        if sent >= stopped:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), KafkaPublisher(topics.bootstrap) as publisher:
        produce(Tap(LogReader(log)), publisher, Pace("100000x"), namespace=topics.namespace, on_sent=stop)
    start = there(topics, log)
    assert 0 < sum(start.values()) == sent < LogReader(log).manifest.records
    with BatchPublisher(topics.bootstrap) as publisher:
        produce(Tap(LogReader(log)), publisher, Pace("max"), namespace=topics.namespace, start=start)
    record(topics, tmp_path / "back")
    assert held(tmp_path / "back") == held(log)
    assert there(topics, log) == {
        (topics.topic(topic), p): len(records) for (topic, p), records in held(log).items() if records
    }


def test_topics_that_hold_something_else_are_not_gone_on_with(topics: Settings, log: Path) -> None:
    with KafkaPublisher(topics.bootstrap) as publisher:
        publisher.send_one(topics.topic("power"), 0, t=T0, key=b"0", value=b"other")
        publisher.flush()
        with pytest.raises(ConfigError, match=r"power-0 holds at offset 0 another record than the log"):
            there(topics, log)
        for _ in range(5):
            publisher.send_one(topics.topic("power"), 0, t=T0, key=b"0", value=b"other")
        publisher.flush()
    with pytest.raises(ConfigError, match=r"power-0 holds 6 records, more than the log"):
        there(topics, log)


def test_topics_with_other_partitions_are_refused(topics: Settings, log: Path, tmp_path: Path) -> None:
    with LogWriter(tmp_path / "three", {"tasks": 3}):
        pass
    with pytest.raises(ConfigError, match=r"tasks has 2 partitions and the log 3: .*cpn topics create --log"):
        check_counts(LogReader(tmp_path / "three"), topics.bootstrap, topics.namespace)
    with pytest.raises(ConfigError, match=r"no topic nowhere\.inventory .*cpn topics create --log"):
        check_counts(LogReader(log), topics.bootstrap, "nowhere")
    check_counts(LogReader(log), topics.bootstrap, topics.namespace)


def test_beside_a_clock_events_go_out_ahead_of_it_and_are_gone_on_with(topics: Settings, log: Path) -> None:
    events = [record for record in held(log)["tasks", 0] if b'"clock.v1","' not in record.value][:-1]
    at = topics.topic("tasks"), 0

    def tick(publisher: KafkaPublisher, t: int) -> None:
        for topic, count in COUNTS.items():
            for p in range(count):
                publisher.send_one(topics.topic(topic), p, t=t, key=b"0", value=clock(t, p))
        publisher.flush()

    def stored() -> list[Record]:
        with TopicReader(topics.bootstrap) as reader:
            end = reader.ends([at])[at][1]
            return [chunk.record(i) for chunk in reader.read(at, 0, end) for i in range(len(chunk))]

    def go_on(until: int) -> None:
        """Produce until the clock is waited for at ``until``."""
        start = there(topics, log, events_only=True)
        with TopicReader(topics.bootstrap) as reader, KafkaPublisher(topics.bootstrap) as publisher:
            waits = 0

            def waiting() -> None:
                nonlocal waits
                waits += 1
                if waits > 3:
                    raise KeyboardInterrupt

            follower = ClockFollower(reader, topics.namespace, on_wait=waiting)
            tap = Tap(LogReader(log), events_only=True)
            with pytest.raises(KeyboardInterrupt):
                produce(tap, publisher, follower, namespace=topics.namespace, start=start)
            publisher.flush()

    with KafkaPublisher(topics.bootstrap) as clocks:
        tick(clocks, T0)
        go_on(T0 + MINUTE)
        first = [r for r in stored() if b'"clock.v1","' not in r.value]
        assert [r[1:] for r in first] == [r[1:] for r in events[: len(first)]]
        assert max(r.t for r in first) < T0 + MINUTE
        assert len(first) == 40  # all of the minute before the next clock, and nothing behind it
        for minute in range(1, 4):
            tick(clocks, T0 + minute * MINUTE)
        start = there(topics, log, events_only=True)
        assert start[at] == 40
        with TopicReader(topics.bootstrap) as reader, KafkaPublisher(topics.bootstrap) as publisher:
            tap = Tap(LogReader(log), events_only=True)
            follower = ClockFollower(reader, topics.namespace)
            produce(tap, publisher, follower, namespace=topics.namespace, start=start)
    assert [r[1:] for r in stored() if b'"clock.v1","' not in r.value] == [r[1:] for r in events]
    assert sum(b'"clock.v1","' in r.value for r in stored()) == 4  # none of the log's own


# ---------------------------------------------------------------------------------------------------------- recording


async def test_what_a_transaction_leaves_out_is_a_hole_in_the_log(topics: Settings, tmp_path: Path) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=topics.bootstrap, transactional_id=topics.namespace)
    await producer.start()
    for kept in (True, False, True):
        await producer.begin_transaction()
        for i in range(3):
            await producer.send(topics.topic("power"), b"%d" % i, partition=0, timestamp_ms=T0)
        await (producer.commit_transaction() if kept else producer.abort_transaction())
    await producer.stop()

    def trip() -> None:
        record(topics, tmp_path / "back")
        assert [r.offset for r in held(tmp_path / "back")["power", 0]] == [0, 1, 2, 8, 9, 10]
        record(topics, tmp_path / "back", resume=True)
        assert [r.offset for r in held(tmp_path / "back")["power", 0]] == [0, 1, 2, 8, 9, 10]

    await asyncio.to_thread(trip)


def test_a_recording_ends_with_the_first_clock_at_its_end_in_each_partition(
    topics: Settings, log: Path, tmp_path: Path
) -> None:
    write(topics, log)
    record(topics, tmp_path / "back", until=T0 + MINUTE + 1, idle_s=30)
    for at, records in held(tmp_path / "back").items():
        assert records == held(log)[at][: len(records)]
        assert records[-1].t == T0 + 2 * MINUTE
    record(topics, tmp_path / "back", until=T0 + MINUTE + 1, resume=True)
    assert max(r.t for rs in held(tmp_path / "back").values() for r in rs) == T0 + 2 * MINUTE
    record(topics, tmp_path / "back", resume=True)
    assert held(tmp_path / "back") == held(log)


def cpn(*words: str, **more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli", *words], stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_recorder_that_is_killed_goes_on_and_the_log_is_the_topics(
    topics: Settings, log: Path, tmp_path: Path
) -> None:
    """Twice: before its first save, and after one."""
    out = tmp_path / "back"
    words = ("record", "--out", str(out), "--bootstrap", topics.bootstrap, "--namespace", topics.namespace)
    produced = cpn("produce", str(log), "--speed", "12x", *words[3:])
    for _ in range(2):
        recorder = cpn(*words, "--resume")
        wait_for(lambda: out.exists() and any(p.stat().st_size for p in out.glob("*.gz")))
        time.sleep(1)
        os.kill(recorder.pid, signal.SIGKILL)
        ended(recorder)
    assert not (out / "manifest.json").exists()
    assert ended(produced)[0] == 0
    code, said = ended(cpn(*words))
    assert code == 2
    assert "unfinished event log here already" in said
    assert ended(cpn(*words, "--resume", "--idle", "5s"))[0] == 0
    assert held(out) == held(log)


def test_a_producer_that_is_interrupted_says_how_to_go_on(topics: Settings, log: Path, tmp_path: Path) -> None:
    words = ("produce", str(log), "--bootstrap", topics.bootstrap, "--namespace", topics.namespace)
    producer = cpn(*words, "--speed", "6x")
    with TopicReader(topics.bootstrap) as reader:
        wait_for(lambda: reader.ends([(topics.topic("tasks"), 0)])[topics.topic("tasks"), 0][1] > 5)
    producer.send_signal(signal.SIGINT)
    code, said = ended(producer)
    assert code == 130
    assert "--resume goes on from there" in said
    code, said = ended(cpn(*words))
    assert code == 2
    assert "records already: go on with --resume" in said
    assert ended(cpn(*words, "--resume"))[0] == 0
    record(topics, tmp_path / "back")
    assert held(tmp_path / "back") == held(log)


def test_topics_that_were_made_anew_are_not_recorded_into_the_same_log(topics: Settings, tmp_path: Path) -> None:
    with LogWriter(tmp_path / "back", COUNTS, meta={"recorded": {"topics": {"tasks": "another"}}}):
        pass
    with pytest.raises(ConfigError, match="or they were made anew since"):
        open_log(tmp_path / "back", topics.bootstrap, topics.namespace, resume=True)
    with pytest.raises(ConfigError, match=r"no topic nowhere\.control"):
        open_log(tmp_path / "other", topics.bootstrap, "nowhere")
