"""The chunked transport on a real broker: chunks tile the log, claims decide, and what cannot be right ends the process."""

import asyncio
import inspect
import itertools
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from faust.types import TP

from streams import transport
from streams.exits import Exit
from streams.settings import Settings
from streams.transport import Chunk, Claim, FetchOptions

pytestmark = pytest.mark.broker

PATIENCE_S = 30.0
WAKE = FetchOptions(max_wait_ms=20, min_bytes=1)


class Reader:
    """A Faust app on the transport that keeps the chunks it is handed, and is claimed from ``positions`` (0 where absent)."""

    numbers = itertools.count(1)

    def __init__(
        self,
        settings: Settings,
        topics: list[str],
        *,
        group: str = "reader",
        positions: dict[TP, int] | None = None,
        options: FetchOptions = WAKE,
        work: Callable[[Chunk], Awaitable[None]] | None = None,
        **conf: Any,
    ) -> None:
        transport.register()
        self.chunks: list[Chunk] = []
        self.claims: dict[int, tuple[TP, int]] = {}
        self.positions = {} if positions is None else positions
        self.app = faust.App(
            f"{settings.namespace}-{group}",
            broker=f"chunk://{settings.bootstrap}",
            broker_session_timeout=6.0,
            broker_heartbeat_interval=0.5,
            broker_commit_interval=0.2,
            broker_max_poll_records=None,
            stream_buffer_maxsize=conf.pop("stream_buffer_maxsize", 16),
            stream_wait_empty=True,
            topic_allow_declare=False,
            topic_disable_leader=True,
            table_standby_replicas=0,
            TableManager=transport.NoTables,
            datadir="/nonexistent",
            web_enabled=False,
            autodiscover=False,
            **conf,
        )
        self.app.claim_partitions = self.claim
        self.app.fetch_options = options
        raw = self.app.topic(*topics, value_type=bytes, value_serializer="raw")

        async def keep(stream: faust.StreamT[Chunk]) -> None:
            async for chunk in stream:
                if work is not None:
                    await work(chunk)
                self.chunks.append(chunk)

        self.app.agent(raw, name=f"{group}-{next(self.numbers)}")(keep)

    async def claim(self, tps: set[TP]) -> dict[TP, Claim]:
        claims = {tp: Claim(next(self.numbers), self.positions.get(tp, 0)) for tp in tps}
        self.claims |= {claim.number: (tp, claim.offset) for tp, claim in claims.items()}
        return claims

    async def __aenter__(self) -> Self:
        await self.app.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.app.stop()

    async def reached(self, ends: dict[TP, int]) -> None:
        """Wait until the chunks of each partition reach ``ends``."""
        await until(
            lambda: all(
                self.by_partition()[tp][-1:] and self.by_partition()[tp][-1].records.next >= end
                for tp, end in ends.items()
            )
        )

    def by_partition(self) -> dict[TP, list[Chunk]]:
        found = defaultdict[TP, list[Chunk]](list)
        for chunk in self.chunks:
            found[TP(chunk.topic, chunk.partition)].append(chunk)
        return found


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await truth(true()):  # noqa: ASYNC110 - what is waited for happens in a broker
            await asyncio.sleep(0.02)


async def truth(value: Any) -> bool:
    return bool(await value if inspect.isawaitable(value) else value)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


@asynccontextmanager
async def admin_of(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def topics_of(settings: Settings, *shorts: str, partitions: int = 1) -> list[str]:
    names = [settings.topic(short) for short in shorts]
    async with admin_of(settings) as admin:
        await admin.create_topics(
            [NewTopic(name, partitions, 1, topic_configs={"retention.ms": "-1"}) for name in names]
        )

        async def led() -> bool:
            found = await admin.describe_topics(names)
            return [[p["leader"] >= 0 for p in topic["partitions"]] for topic in found] == [[True] * partitions] * len(
                names
            )

        await until(led)
    return names


@asynccontextmanager
async def producer_of(settings: Settings, **more: Any) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, acks="all", max_request_size=1 << 21, **more)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send(settings: Settings, topic: str, values: list[bytes | None], partition: int = 0, **more: Any) -> int:
    """Send ``values`` with keys ``k0`` …, in order; the end of the log."""
    async with producer_of(settings, **more) as producer:
        sent = [
            await producer.send(topic, value, b"k%d" % i, partition, timestamp_ms=1_000 + i)
            for i, value in enumerate(values)
        ]
        return int((await asyncio.gather(*sent))[-1].offset) + 1


async def committed(settings: Settings, group: str, tps: list[TP]) -> dict[TP, int]:
    async with admin_of(settings) as admin:
        found = await admin.list_consumer_group_offsets(f"{settings.namespace}-{group}")
        return {tp: found[tp].offset if tp in found else -1 for tp in tps}


async def has_committed(settings: Settings, group: str, ends: dict[TP, int]) -> None:
    async def done() -> bool:
        return await committed(settings, group, list(ends)) == ends

    await until(done)


async def stock(settings: Settings, topic: str, isolation: str) -> tuple[list[Any], int]:
    """What aiokafka's own consumer reads from the start of partition 0, and the log end it sees."""
    tp = TopicPartition(topic, 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap, isolation_level=isolation, enable_auto_commit=False
    )
    await consumer.start()
    try:
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        consumer.seek(tp, 0)
        rows: list[Any] = []
        while await consumer.position(tp) < end:
            rows += (await consumer.getmany(tp, timeout_ms=500)).get(tp, [])
        return rows, end
    finally:
        await consumer.stop()


def assert_tiles(chunks: list[Chunk], base: int, end: int) -> None:
    """The chunks cover [base, end) without a hole or an overlap, and each record lies within its own."""
    for chunk in chunks:
        assert chunk.records.base == base < chunk.records.next
        assert all(base <= offset < chunk.records.next for offset in chunk.records.offsets)
        base = chunk.records.next
    assert base == end


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


def test_the_claim_decides_where_to_read_from_and_the_groups_offset_follows_it(settings: Settings) -> None:
    async def main() -> None:
        topics = await topics_of(settings, "tasks", "power")
        for topic in topics:
            await send(settings, topic, [b"x"] * 100)
        one, two = (TP(topic, 0) for topic in topics)
        async with Reader(settings, topics) as first:
            await first.reached({one: 100, two: 100})
        assert await committed(settings, "reader", [one, two]) == {one: 100, two: 100}

        async with Reader(settings, topics, positions={one: 20, two: 100}) as second:
            await second.reached({one: 100})
        assert_tiles(second.by_partition()[one], 20, 100)
        assert two not in second.by_partition()
        # a group that has no offset is taken to the claim even where there is nothing to read
        async with Reader(settings, topics, group="other", positions={one: 100, two: 100}) as third:
            await has_committed(settings, "other", {one: 100, two: 100})
        assert not third.chunks

    run(main())


class Fold:
    """Positions that only the newest claim may move: what Redis does for the workers."""

    def __init__(self) -> None:
        self.owner: dict[TP, int] = {}
        self.next: dict[TP, int] = {}
        self.folded = defaultdict[TP, list[bytes]](list)
        self.dropped = 0

    def reader(self, settings: Settings, topics: list[str], pause_s: float) -> Reader:
        async def work(chunk: Chunk) -> None:
            tp = TP(chunk.topic, chunk.partition)
            await asyncio.sleep(pause_s)
            if self.owner[tp] != chunk.claim:
                self.dropped += 1
                return
            assert chunk.records.base == self.next.get(tp, 0)
            self.next[tp] = chunk.records.next
            self.folded[tp] += chunk.records.values

        reader = Reader(settings, topics, positions=self.next, work=work, consumer_max_fetch_size=2_048)
        claim = reader.claim

        async def owned(tps: set[TP]) -> dict[TP, Claim]:
            claims = await claim(tps)
            self.owner |= {tp: c.number for tp, c in claims.items()}
            return claims

        reader.app.claim_partitions = owned
        return reader


def test_workers_that_join_and_leave_lose_and_double_nothing(settings: Settings) -> None:
    """A chunk that an earlier claim left in a buffer is never taken for one of the new claim."""

    async def main() -> None:
        [topic] = await topics_of(settings, "tasks", partitions=4)
        values = [b"%06d" % i for i in range(3_000)]
        tps = [TP(topic, partition) for partition in range(4)]
        for tp in tps:
            await send(settings, topic, list(values), tp.partition, max_batch_size=1_024)
        fold = Fold()
        one, two = fold.reader(settings, [topic], 0.05), fold.reader(settings, [topic], 0.03)
        async with one:
            await until(lambda: len(fold.next) == 4)
            async with two:
                await until(lambda: two.chunks)
                await until(lambda: len(one.claims) > 4)
                assert min(fold.next.values()) < 3_000  # still under way when the second one leaves
            await until(lambda: set(fold.next.values()) == {3_000})
        assert len(one.claims) > 4 + 2
        assert two.claims
        assert all(fold.folded[tp] == values for tp in tps)
        for reader in (one, two):
            for number, (tp, offset) in reader.claims.items():
                mine = [chunk for chunk in reader.chunks if chunk.claim == number]
                assert all((c.topic, c.partition) == tp for c in mine)
                assert_tiles(mine, offset, mine[-1].records.next if mine else offset)

    run(main())


def test_what_an_earlier_claim_left_in_the_buffer_keeps_its_number(settings: Settings) -> None:
    """Faust drops what an earlier generation left; here the generation stays, so that the number alone tells."""

    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        end = await send(settings, topic, [b"x" * 100] * 200, max_batch_size=1_000)
        tp, go_on = TP(topic, 0), asyncio.Event()

        async def work(_: Chunk) -> None:
            await go_on.wait()

        async with Reader(settings, [topic], work=work, consumer_max_fetch_size=1_000) as reader:
            consumer = reader.app.consumer
            await until(lambda: consumer._read_offset[tp])
            await asyncio.sleep(0.2)  # the buffer fills
            consumer.stop_flow()
            reader.positions[tp] = 50
            await consumer.perform_seek()
            consumer.resume_flow()
            go_on.set()
            await reader.reached({tp: end})
        first, second = sorted(reader.claims)
        before, after = ([c for c in reader.chunks if c.claim == number] for number in (first, second))
        assert reader.chunks == before + after
        assert len(before) > 2
        assert_tiles(before, 0, before[-1].records.next)
        assert_tiles(after, 50, end)

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


def test_full_buffers_are_looked_at_again_at_once(settings: Settings) -> None:
    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        end = await send(settings, topic, [b"x" * 1_000] * 1_000, max_batch_size=2_000)

        async def slow(_: Chunk) -> None:
            await asyncio.sleep(0.005)

        reader = Reader(settings, [topic], work=slow, consumer_max_fetch_size=4_000, stream_buffer_maxsize=2)
        async with reader:
            await until(lambda: reader.chunks)
            begun = time.monotonic()
            await reader.reached({TP(topic, 0): end})
            took = time.monotonic() - begun
        assert len(reader.chunks) > 200
        assert took < 0.1 * len(reader.chunks)

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


WORKER = """
import asyncio, logging, sys
import faust
from streams import transport
from streams.transport import Claim
from twin.errors import ConfigError

logging.basicConfig(level="WARNING")
bootstrap, group, topic, offset = sys.argv[1:]
transport.register()
app = faust.App(group, broker=f"chunk://{bootstrap}", TableManager=transport.NoTables, topic_allow_declare=False,
                topic_disable_leader=True, table_standby_replicas=0, web_enabled=False, autodiscover=False,
                broker_session_timeout=6.0, broker_request_timeout=10.0, datadir="/nonexistent")

async def claim(tps):
    if offset == "refused":
        raise ConfigError("the state is of another version")
    if offset == "broken":
        raise OSError("no Redis")
    if offset == "late":
        await asyncio.sleep(60)
    return {tp: Claim(1, int(offset)) for tp in tps}

app.claim_partitions = claim

@app.agent(app.topic(topic, value_type=bytes, value_serializer="raw"))
async def read(stream):
    async for chunk in stream:
        print("a chunk at", chunk.records.base, flush=True)

async def main():
    await app.start()
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("offset", "code", "says"),
    [
        ("11", Exit.CLAIM, "its state ends at 11, but the log at 10. The topic was emptied or created anew"),
        ("3", Exit.CLAIM, "its state ends at 3, but the log begins at 4. Retention deleted records"),
        ("broken", Exit.CLAIM, "OSError: no Redis"),
        ("late", Exit.CLAIM, "could not claim and seek the assigned partitions: TimeoutError()"),
        ("refused", Exit.CONFIG, "the state is of another version"),
    ],
)
def test_a_claim_that_cannot_be_read_on_from_ends_the_process(
    settings: Settings, tmp_path: Path, offset: str, code: Exit, says: str
) -> None:
    async def trimmed() -> str:
        [topic] = await topics_of(settings, "tasks")
        await send(settings, topic, [b"x"] * 10)
        async with admin_of(settings) as admin:
            await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(4)})
        return topic

    script = tmp_path / "worker.py"
    script.write_text(WORKER, "utf-8")
    topic = asyncio.run(trimmed())
    ended = subprocess.run(
        [sys.executable, str(script), settings.bootstrap, f"{settings.namespace}-w", topic, offset],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert says in ended.stdout + ended.stderr
    assert "a chunk at" not in ended.stdout
