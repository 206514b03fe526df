"""Records to Kafka and back: exactly what they were, in their order, whatever happens in between."""

import threading
import time
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from producers.log import LogReader
from producers.publish import MAX_RECORD_BYTES, BatchPublisher, KafkaPublisher
from producers.read import TopicReader
from producers.topics import TopicSpec, create_topics, specs
from streams.local import Broker
from streams.settings import Settings
from twin.errors import ConfigError, StoreError
from twin.records import Record, Records

T0 = 1_751_299_200_000
Publishers = type[KafkaPublisher] | type[BatchPublisher]
both = pytest.mark.parametrize("kind", [KafkaPublisher, BatchPublisher])

ODD: list[tuple[int, bytes | None, bytes, tuple[tuple[str, bytes], ...]]] = [
    (T0, None, b"{}", ()),
    (0, b"", b"\x00\xff\xfe", (("a", b""), ("a", b"\xff"), ("", b"x"))),
    (32_503_680_000_000, b"\xff\x00", b'{"type":"clock.v1"', ()),
    (T0 - 10**9, b"k", b"", ()),
    (1, "ключ".encode(), b'{"a":\n1}', (("ce_id", b"1"),)),
]


def column(rows: list[tuple[int, bytes | None, bytes, tuple[tuple[str, bytes], ...]]]) -> Records:
    n = len(rows)
    times, keys, values, headers = (list(column) for column in zip(*rows, strict=True))
    return Records(0, n, list(range(n)), times, keys, values, headers if any(headers) else [])


def numbers(first: int, end: int, size: int = 150) -> Records:
    return column([(T0 + i, b"k%d" % (i % 9), b"%d " % i + b"x" * size, ()) for i in range(first, end)])


def stored(settings: Settings, short: str, partition: int = 0) -> list[Record]:
    at = settings.topic(short), partition
    with TopicReader(settings.bootstrap) as reader:
        begin, end = reader.ends([at])[at]
        return [chunk.record(i) for chunk in reader.read(at, begin, end) for i in range(len(chunk))]


def records_of(log: Path, topic: str, partition: int) -> list[Record]:
    return [chunk.record(i) for chunk in LogReader(log).read(topic, partition) for i in range(len(chunk))]


@pytest.fixture
def topics(settings: Settings) -> Settings:
    create_topics(settings.bootstrap, specs(settings.namespace, {"tasks": 3}))
    return settings


# ----------------------------------------------------------------------------------------------------- publishers


@both
def test_records_arrive_as_they_are(kind: Publishers, topics: Settings) -> None:
    with kind(topics.bootstrap) as publisher:
        publisher.send(topics.topic("tasks"), 2, column(ODD))
        publisher.send(topics.topic("tasks"), 2, column(ODD[:1]))
        publisher.flush()
        assert (publisher.acknowledged, publisher.failed) == (6, 0)
    assert [record[1:] for record in stored(topics, "tasks", 2)] == [*ODD, ODD[0]]
    assert stored(topics, "tasks", 0) == []


def test_a_tombstone_is_one(topics: Settings) -> None:
    with KafkaPublisher(topics.bootstrap) as publisher:
        publisher.send_one(topics.topic("carry"), 0, t=T0, key=b"k", value=None)
        publisher.flush()
    assert stored(topics, "carry") == [Record(0, T0, b"k", b"")]  # readers see an empty value


@both
def test_many_batches_of_several_partitions_keep_their_order(kind: Publishers, topics: Settings) -> None:
    each = 3_000 if kind is KafkaPublisher else 40_000
    with kind(topics.bootstrap) as publisher:
        for first in range(0, each, 1000):
            for p in range(3):
                publisher.send(topics.topic("tasks"), p, numbers(first, first + 1000))
        publisher.flush()
        assert publisher.acknowledged == 3 * each
    for p in range(3):
        assert [int(record.value.split()[0]) for record in stored(topics, "tasks", p)] == list(range(each))


@both
def test_nothing_is_acknowledged_before_it_is_written(kind: Publishers, topics: Settings) -> None:
    with kind(topics.bootstrap) as publisher:
        publisher.send(topics.topic("power"), 0, numbers(0, 10))
        publisher.flush()
        before = publisher.acknowledged
        publisher.flush()
        assert before == publisher.acknowledged == len(stored(topics, "power")) == 10


@both
def test_a_record_that_is_too_large_is_named(kind: Publishers, topics: Settings) -> None:
    large = column([(T0, b"small", b"{}", ()), (T0, b"task-7", b"x" * MAX_RECORD_BYTES, ())])
    with (
        kind(topics.bootstrap) as publisher,
        pytest.raises(ConfigError, match=r"tasks-0 with the key 'task-7' is 1,000,006"),
    ):
        publisher.send(topics.topic("tasks"), 0, large)


@both
def test_the_largest_record_is_taken(kind: Publishers, topics: Settings) -> None:
    with kind(topics.bootstrap) as publisher:
        publisher.send(topics.topic("tasks"), 0, column([(T0, None, b"x" * MAX_RECORD_BYTES, ())] * 3))
        publisher.flush()
        assert publisher.acknowledged == 3


@both
def test_records_that_the_broker_refuses_are_counted_and_the_first_error_is_said(
    kind: Publishers, topics: Settings
) -> None:
    small = TopicSpec(topics.topic("small"), 1, {"max.message.bytes": "2000"})
    create_topics(topics.bootstrap, [small])
    with kind(topics.bootstrap) as publisher:
        publisher.send(small.name, 0, numbers(0, 1))
        publisher.flush()
        publisher.send(small.name, 0, numbers(1, 2, size=9_000))
        with pytest.raises(StoreError, match=r"did not take 1 of 2 records; the first error: \w*TooLarge"):
            publisher.flush()
        assert (publisher.acknowledged, publisher.failed) == (1, 1)
        with pytest.raises(StoreError, match="did not take"):  # what came after it would have a hole before it
            publisher.send(small.name, 0, numbers(2, 3))


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # kafka-python: sockets that were refused
@both
def test_a_broker_that_is_killed_and_comes_back_has_everything_in_order(kind: Publishers, tmp_path: Path) -> None:
    with Broker(tmp_path / "kafka") as broker:
        create_topics(broker.bootstrap, specs("x"))
        restart = threading.Thread(target=lambda: (time.sleep(0.5), broker.kill(), broker.start()))
        restart.start()
        sent = 0
        with kind(broker.bootstrap) as publisher:
            while restart.is_alive():
                publisher.send("x.tasks", 1, numbers(sent, sent + 500))
                publisher.flush()
                sent += 500
            restart.join()
            publisher.send("x.tasks", 1, numbers(sent, sent + 500))
            publisher.flush()
            assert (publisher.acknowledged, publisher.failed) == (sent + 500, 0)
        settings = Settings(bootstrap=broker.bootstrap, namespace="x")
        seen = [int(record.value.split()[0]) for record in stored(settings, "tasks", 1)]
    # a batch may stand there twice if its acknowledgement was lost: folds drop repeats
    assert sorted(set(seen)) == list(range(sent + 500))
    runs = [[n for _, n in run] for _, run in groupby(enumerate(seen), key=lambda pair: pair[1] - pair[0])]
    assert all(after[0] <= before[-1] for before, after in pairwise(runs))


@both
def test_a_publisher_without_a_broker_says_so(kind: Publishers) -> None:
    with pytest.raises(ConfigError, match="no broker at"):
        kind("127.0.0.1:1")
