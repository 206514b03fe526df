"""Reads the in-topics for a plant: the ends of partitions for its last answers, then everything from the beginning."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from streams.plant.answers import Answer, last_answer
from streams.settings import Settings
from twin.assembler import Partition
from twin.columns import Columns, Decoder
from twin.errors import ConfigError, StoreError
from twin.records import Records
from twin.topics import TYPES, Role

POLL_MS = 200
FETCH_WAIT_MS = 50
"""A fetch that waits for one partition holds up the others for at most so long."""
CHUNK = 4096
"""Records that are read at once."""
LOOK_BACK = 20_000
"""Records at the end of a partition that are searched first for its last answer."""
READ_S = 30.0
"""How long the broker may take to bring records that it has."""
ANSWERED = frozenset(info.topic for info in TYPES.values() if info.role is Role.ANSWER)


class InLogs:
    """The partitions of the in-topics, read by chunks. Use as ``async with InLogs(settings, partitions) as logs``.

    ``ends`` are the log positions behind the last record of each partition when it was opened.

    Raises:
        ConfigError: no broker, or the first records of a partition are gone.
    """

    def __init__(self, settings: Settings, partitions: Iterable[Partition]) -> None:
        self.ends: dict[Partition, int] = {}
        self._settings = settings
        self._tps = {at: TopicPartition(settings.topic(at[0]), at[1]) for at in partitions}
        self._names = {tp: at for at, tp in self._tps.items()}
        self._decoders = {topic: Decoder(topic) for topic, _ in self._tps}
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.bootstrap,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=settings.fetch_bytes,
        )

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def _open(self) -> None:
        try:
            await self._consumer.start()
            tps = list(self._names)
            self._consumer.assign(tps)
            starts = await self._consumer.beginning_offsets(tps)
            self.ends = {self._names[tp]: end for tp, end in (await self._consumer.end_offsets(tps)).items()}
        except KafkaError as error:
            raise ConfigError(
                f"no broker at {self._settings.bootstrap} ({error}): start it, or set CPN_BOOTSTRAP"
            ) from error
        if gone := [f"{tp.topic}-{tp.partition}" for tp, start in starts.items() if start]:
            raise ConfigError(
                f"the first records of {', '.join(sorted(gone))} have been deleted, and a plant starts from them: keep topics "
                "with retention.ms=-1, or use a new CPN_NAMESPACE with topics of its own"
            )

    async def last_answers(self) -> dict[Partition, Answer | None]:
        """The last answer of a plant in each partition, up to ``ends``; None where there is none. Then rewinds.

        Raises:
            StoreError: the broker does not bring its records.
        """
        found = {at: await self._last_answer(at) if at[0] in ANSWERED else None for at in self._tps}
        for tp in self._names:
            self._consumer.seek(tp, 0)
        return found

    async def _last_answer(self, at: Partition) -> Answer | None:
        span, to = LOOK_BACK, self.ends[at]
        while to > 0:
            start = max(0, to - span)
            last = await self._last_between(at, start, to)
            if last is not None:
                return last
            span, to = span * 4, start
        return None

    async def _last_between(self, at: Partition, start: int, to: int) -> Answer | None:
        tp, last = self._tps[at], None
        self._consumer.seek(tp, start)
        heard = time.monotonic()
        while await self._consumer.position(tp) < to:
            records = (await self._fetch([at])).get(at, [])
            last = last_answer(self._columns(at, [record for record in records if record.offset < to])) or last
            if records:
                heard = time.monotonic()
            elif time.monotonic() > heard + READ_S:
                raise StoreError(f"the broker at {self._settings.bootstrap} does not bring {tp.topic}-{tp.partition}")
        return last

    async def read(self, partitions: Iterable[Partition]) -> dict[Partition, Columns]:
        """What comes next in any of ``partitions``; may be nothing yet. The others are not read on."""
        return {at: self._columns(at, records) for at, records in (await self._fetch(partitions)).items()}

    async def _fetch(self, partitions: Iterable[Partition]) -> Mapping[Partition, list[ConsumerRecord]]:
        tps = [self._tps[at] for at in partitions]
        fetched = await self._consumer.getmany(*tps, timeout_ms=POLL_MS, max_records=CHUNK)
        if fetched:
            await asyncio.sleep(0)  # it may bring what it has without ever giving way
        return {self._names[tp]: records for tp, records in fetched.items()}

    def _columns(self, at: Partition, records: list[ConsumerRecord]) -> Columns:
        offsets = [record.offset for record in records]
        chunk = Records(
            offsets[0] if offsets else 0,
            offsets[-1] + 1 if offsets else 0,
            offsets,
            [record.timestamp for record in records],
            [record.key for record in records],
            [record.value or b"" for record in records],
        )
        return self._decoders[at[0]].decode(chunk)
