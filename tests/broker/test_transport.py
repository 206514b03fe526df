"""The chunked transport on a real broker: chunks tile the log, are as large as asked for, and go at the pace asked for."""

import asyncio
import itertools
import os
import time
from typing import Any

import pytest
from faust.types import TP

from streams.settings import Settings
from streams.transport import Chunk, FetchOptions
from tests.broker.reader import (
    Reader,
    assert_tiles,
    has_committed,
    producer_of,
    run,
    send,
    stock,
    topics_of,
    until,
)


def test_every_record_is_delivered_once_and_in_order(settings: Settings) -> None:
    async def main() -> None:
        topics = await topics_of(settings, "tasks", "power", partitions=3)
        sent: dict[TP, list[bytes | None]] = {}
        for topic, partition in itertools.product(topics, range(3)):
            tp = TP(topic, partition)
            sent[tp] = [None if i % 97 == 0 else b"%s/%d/%d" % (topic.encode(), partition, i) for i in range(2_000)]
            assert await send(settings, topic, sent[tp], partition) == 2_000
        async with Reader(settings, topics, consumer_max_fetch_size=16_384) as reader:
            await reader.reached(dict.fromkeys(sent, 2_000))
            await send(settings, topics[0], [b"late"], 1)
            await reader.reached({TP(topics[0], 1): 2_001})
        sent[TP(topics[0], 1)].append(b"late")
        for tp, chunks in reader.by_partition().items():
            rows = [chunk.records.record(i) for chunk in chunks for i in range(len(chunk.records))]
            n = len(sent[tp])
            assert len(chunks) > 3
            assert_tiles(chunks, 0, n)
            assert [row.value for row in rows] == [value or b"" for value in sent[tp]]
            assert [row.offset for row in rows] == list(range(n))
            assert [(row.t, row.key) for row in rows[:2_000]] == [(1_000 + i, b"k%d" % i) for i in range(2_000)]

    run(main())


async def with_transactions(settings: Settings, topic: str) -> int:
    """A log of plain, committed and aborted records with markers between and at its end; its end."""
    async with producer_of(settings, transactional_id=f"{topic}-a") as one, producer_of(settings) as plain:
        for i in range(12):
            await plain.send_and_wait(topic, b"plain %d" % i, partition=0)
            await one.begin_transaction()
            for j in range(i % 4 + 1):
                await one.send(topic, b"in transaction %d %d" % (i, j), partition=0)
            await plain.send_and_wait(topic, b"between %d" % i, partition=0)
            await (one.abort_transaction() if i % 3 == 2 else one.commit_transaction())
    end = 12 * 2 + sum(i % 4 + 1 for i in range(12)) + 12

    async def marked() -> bool:  # the coordinator writes markers after it has answered
        return (await stock(settings, topic, "read_committed"))[1] == end

    await until(marked)
    return end


@pytest.mark.parametrize("isolation", ["read_committed", "read_uncommitted"])
@pytest.mark.parametrize("fetch", [300, 1 << 20])
def test_chunks_tile_the_log_over_markers_and_aborted_transactions(
    settings: Settings, isolation: Any, fetch: int
) -> None:
    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        end = await with_transactions(settings, topic)
        tp = TP(topic, 0)
        async with Reader(
            settings,
            [topic],
            options=FetchOptions(max_wait_ms=20, min_bytes=1, isolation=isolation),
            consumer_max_fetch_size=fetch,
        ) as reader:
            await reader.reached({tp: end})
            expected, _ = await stock(settings, topic, isolation)
            await has_committed(settings, "reader", {tp: end})  # the last position of the log is a marker
        assert_tiles(reader.chunks, 0, end)
        assert len(reader.chunks) > 3 or fetch > 300
        rows = [chunk.records.record(i) for chunk in reader.chunks for i in range(len(chunk.records))]
        assert [(row.offset, row.value) for row in rows] == [(row.offset, row.value) for row in expected]
        assert any(b"in transaction 2" in row.value for row in rows) == (isolation == "read_uncommitted")

    run(main())


def test_a_fetch_brings_up_to_the_size_asked_for(settings: Settings) -> None:
    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        end = await send(settings, topic, [os.urandom(8_192)] * 1_500, max_batch_size=1 << 17)
        async with Reader(settings, [topic], consumer_max_fetch_size=4 << 20) as reader:
            await reader.reached({TP(topic, 0): end})
        sizes = [sum(map(len, chunk.records.values)) for chunk in reader.chunks]
        assert sum(sizes) == 1_500 * 8_192
        assert 3 << 20 < max(sizes) <= 4 << 20

    run(main())


def test_small_fetches_are_paced(settings: Settings) -> None:
    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        options = FetchOptions(max_wait_ms=20, min_bytes=1, pace_ms=100)
        async with Reader(settings, [topic], options=options) as reader, producer_of(settings, linger_ms=0) as producer:
            await until(lambda: reader.claims)
            begun = time.monotonic()
            for i in range(150):
                await producer.send_and_wait(topic, b"%d" % i, partition=0)
                await asyncio.sleep(0.005)
            await reader.reached({TP(topic, 0): 150})
            took = time.monotonic() - begun
        assert len(reader.chunks) <= took / 0.1 + 2

    run(main())


def test_full_buffers_are_looked_at_again_at_once(settings: Settings) -> None:
    async def main() -> None:
        [topic] = await topics_of(settings, "tasks", partitions=2)  # the other one is idle
        end = await send(settings, topic, [b"x" * 1_000] * 300, max_batch_size=2_000)

        async def slow(_: Chunk) -> None:
            await asyncio.sleep(0.02)

        unpaced = FetchOptions(max_wait_ms=20, min_bytes=1, pace_ms=0)
        conf = {"consumer_max_fetch_size": 2_000, "stream_buffer_maxsize": 2}
        async with Reader(settings, [topic], work=slow, options=unpaced, **conf) as reader:
            await until(lambda: reader.chunks)
            full = reader.app.monitor.topic_buffer_full
            begun = time.monotonic()
            await reader.reached({TP(topic, 0): end})
            took = time.monotonic() - begun
        assert sum(full.values()) > 20
        assert took < 0.1 * len(reader.chunks)

    run(main())


def test_pausing_a_partition_drops_nothing_that_was_fetched(settings: Settings) -> None:
    async def main() -> None:
        [topic] = await topics_of(settings, "tasks", partitions=2)
        tps = [TP(topic, 0), TP(topic, 1)]
        for tp in tps:
            await send(settings, topic, [b"x" * 100] * 500, tp.partition, max_batch_size=1_000)

        async def work(chunk: Chunk) -> None:
            other = {TP(topic, 1 - chunk.partition)}
            reader.app.consumer.pause_partitions(other)
            await asyncio.sleep(0.01)
            reader.app.consumer.resume_partitions(other)

        async with Reader(
            settings, [topic], work=work, consumer_max_fetch_size=1_000, stream_buffer_maxsize=2
        ) as reader:
            await reader.reached(dict.fromkeys(tps, 500))
        for tp in tps:
            assert_tiles(reader.by_partition()[tp], 0, 500)

    run(main())


def test_an_ordinary_consumer_in_the_process_is_left_as_it_is(settings: Settings) -> None:
    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        await send(settings, topic, [b"x", b"y"])
        async with Reader(settings, [topic]) as reader:
            await reader.reached({TP(topic, 0): 2})
            rows, _ = await stock(settings, topic, "read_committed")
            assert [(type(row).__name__, row.offset, row.key, row.value) for row in rows] == [
                ("ConsumerRecord", 0, b"k0", b"x"),
                ("ConsumerRecord", 1, b"k1", b"y"),
            ]

    run(main())
