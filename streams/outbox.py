"""What the dispatcher publishes: the decisions of a window, its record, and now and then its carry, all or nothing.

One Kafka transaction holds a window's decisions and its record. So the newest record on ``cpn.windows`` says exactly what
is published, and a process that was paused and comes back is turned away by the broker: whoever took over has begun
a newer epoch of the same transactional id. Read the topics with ``read_committed``.

Headers are CloudEvents 1.0 in binary mode.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from streams.settings import Settings
from streams.store.base import FencedError
from twin.decisions import Decision, WindowRecord
from twin.errors import AwayError, ConfigError, StoreError

PART_BYTES = 900_000
"""A carry is cut into records of so many bytes: brokers take 1 MB."""
TRANSACTION_TIMEOUT_MS = 60_000
READ_TIMEOUT_MS = 1000
ONE = 0
"""Decisions, windows and carry have one partition each: their order is total."""

_encode = msgspec.json.Encoder(order="deterministic").encode
_record = msgspec.json.Decoder(WindowRecord).decode


class Manifest(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="dispatch.carry.v1"):
    """The last record of a published carry: its parts have the keys ``0`` … and together this size and hash.

    ``windows`` is a position on ``cpn.windows`` before which no later window's record is.
    """

    window: int
    parts: int
    size: int
    sha256: str
    windows: int


_manifest = msgspec.json.Decoder(Manifest).decode


@dataclass(frozen=True, slots=True)
class Decided:
    """What one window gives to publish."""

    record: WindowRecord
    decisions: Sequence[Decision]
    carry: bytes | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What is on the topics: the newest whole carry, and the records of all windows after it, by window."""

    carry: bytes | None
    records: dict[int, WindowRecord]


class Outbox:
    """The dispatcher's side of ``decisions``, ``windows`` and ``carry``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = {short: settings.topic(short) for short in ("decisions", "windows", "carry")}
        self._producer: AIOKafkaProducer | None = None
        self._windows_at = 0

    async def take_over(self) -> Published:
        """Turn away whoever published before, then read what is published.

        Raises:
            AwayError: the broker is not there.
        ConfigError: what is published is not whole.
        """
        await self.close()
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._settings.bootstrap,
            transactional_id=f"{self._settings.namespace}-dispatcher",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            acks="all",
            linger_ms=1,
        )
        try:
            await self._producer.start()
        except KafkaError as error:
            raise AwayError(
                f"no broker at {self._settings.bootstrap} ({error}): start it, or set CPN_BOOTSTRAP"
            ) from error
        manifest, carry = await self._read_carry()
        records = await self._read_windows(manifest.windows if manifest else 0)
        return Published(carry, records)

    async def publish(self, decided: Sequence[Decided]) -> None:
        """Publish windows, oldest first, in one transaction.

        Raises:
            FencedError: another dispatcher has taken over.
            StoreError: the broker did not take it.
        """
        producer = self._producer
        if producer is None:
            raise StoreError("nothing can be published before the dispatcher has taken over")
        try:
            async with producer.transaction():
                for one in decided:
                    await self._send(producer, one)
        except ProducerFenced as error:
            raise FencedError("another dispatcher has taken over; this one published nothing more") from error
        except KafkaError as error:
            raise StoreError(f"the broker at {self._settings.bootstrap} did not take a window: {error!r}") from error

    async def _send(self, producer: AIOKafkaProducer, one: Decided) -> None:
        sent = [
            await producer.send(
                self._topics["decisions"],
                _encode(decision),
                decision.task_id.encode(),
                ONE,
                decision.t,
                _headers(decision.decision_id, "dispatch.decision.v1"),
            )
            for decision in one.decisions
        ]
        record = one.record
        last = await producer.send(
            self._topics["windows"],
            _encode(record),
            b"window",
            ONE,
            record.end,
            _headers(str(record.window), "dispatch.window.v1"),
        )
        if one.carry is not None:
            sent += await self._send_carry(producer, record, one.carry)
        await asyncio.gather(*sent)
        self._windows_at = (await last).offset

    async def _send_carry(
        self, producer: AIOKafkaProducer, record: WindowRecord, carry: bytes
    ) -> list[asyncio.Future[object]]:
        topic, t = self._topics["carry"], record.end
        parts = [carry[at : at + PART_BYTES] for at in range(0, len(carry), PART_BYTES)]
        sent = [await producer.send(topic, part, str(n).encode(), ONE, t) for n, part in enumerate(parts)]
        manifest = Manifest(
            window=record.window,
            parts=len(parts),
            size=len(carry),
            sha256=hashlib.sha256(carry).hexdigest(),
            windows=self._windows_at,
        )
        sent.append(await producer.send(topic, _encode(manifest), b"carry", ONE, t))
        return sent

    async def close(self) -> None:
        """Give up the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    # ------------------------------------------------------------------------------------------- what is published

    async def _read_carry(self) -> tuple[Manifest | None, bytes | None]:
        latest: dict[bytes, bytes] = {}
        manifest: Manifest | None = None
        carry: bytes | None = None
        for key, value, _ in await self._read("carry", 0):
            latest[key or b""] = value or b""
            if key == b"carry":
                manifest = _manifest(value or b"")
                carry = b"".join(latest.get(str(n).encode(), b"") for n in range(manifest.parts))
        if manifest is None or carry is None:
            return None, None
        if len(carry) != manifest.size or hashlib.sha256(carry).hexdigest() != manifest.sha256:
            raise ConfigError(
                f"{self._topics['carry']} holds half a carry: delete its records and empty Redis; "
                "all windows are then computed from the log again and compared"
            )
        return manifest, carry

    async def _read_windows(self, start: int) -> dict[int, WindowRecord]:
        records = {}
        first, end = await self._ends("windows")
        if not first <= start <= end:
            raise ConfigError(
                f"{self._topics['windows']} has the positions {first} to {end}, and its carry was made at {start}: records of "
                "windows were deleted, so what is published can no longer be told. Use a new CPN_NAMESPACE; or make "
                "decisions, windows and carry anew, and empty Redis, to decide the log from its start"
            )
        for _, value, offset in await self._read("windows", start):
            record = _record(value or b"")
            records[record.window] = record
            self._windows_at = offset
        return records

    async def _ends(self, short: str) -> tuple[int, int]:
        """First position of a topic, and the one behind its last committed record."""
        at = TopicPartition(self._topics[short], ONE)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap, isolation_level="read_committed", enable_auto_commit=False
        )
        await consumer.start()
        try:
            first, end = await consumer.beginning_offsets([at]), await consumer.end_offsets([at])
            return first[at], end[at]
        finally:
            await consumer.stop()

    async def _read(self, short: str, start: int) -> list[tuple[bytes | None, bytes | None, int]]:
        """Committed records of a topic from position ``start`` to its end: key, value, offset."""
        at = TopicPartition(self._topics[short], ONE)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            consumer.assign([at])
            first = (await consumer.beginning_offsets([at]))[at]
            end = (await consumer.end_offsets([at]))[at]
            consumer.seek(at, max(start, first))
            records = []
            while await consumer.position(at) < end:
                for found in (await consumer.getmany(at, timeout_ms=READ_TIMEOUT_MS)).values():
                    records += [(record.key, record.value, record.offset) for record in found]
            return records
        finally:
            await consumer.stop()


def _headers(event_id: str, event_type: str) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", b"cpn-twin/dispatcher"),
        ("ce_type", event_type.encode()),
        ("content-type", b"application/json"),
    ]
