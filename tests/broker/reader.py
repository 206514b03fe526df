"""A Faust app that keeps the chunks it is handed, and what tests do with topics beside it."""

import asyncio
import inspect
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import faust
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faust.types import TP

from streams import transport
from streams.settings import Settings
from streams.transport import Chunk, Claim, FetchOptions

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
        self.flowing: list[bool] = []
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
        self.flowing.append(self.app.consumer.flow_active)
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
        while not await truth(true()):
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
