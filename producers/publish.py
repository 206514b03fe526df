"""Writing records to Kafka: exactly the bytes, partition and timestamp they have, in their order, and counted.

Both publishers are idempotent producers that wait for all replicas (``acks=all``). ``KafkaPublisher`` sends each record as
soon as it is handed over; ``BatchPublisher`` packs batches of a megabyte and is many times faster. A failure is final: the records
after it must not be written as if nothing was missing, so the next call raises.
"""

import asyncio
import time
from collections.abc import Iterable
from functools import partial
from threading import Lock
from types import TracebackType
from typing import Any, Protocol, Self

from producers.broker import PATIENCE_S, check_broker, client_library, connecting, describe, talking
from twin.errors import ConfigError, StoreError
from twin.records import Headers, Records

MAX_RECORD_BYTES = 1_000_000
"""Largest record, key and headers included: a little below what a broker takes by default (``max.message.bytes``)."""
_BATCH_BYTES = 1_000_000
_LINGER_MS = 5
_REQUEST_BYTES = _BATCH_BYTES + (1 << 16)
_DELIVERY_TIMEOUT_S = 30
_MOST_BYTES_WAITING = 32 << 20
_NONE: Headers = ()


class Publisher(Protocol):
    """Writes records to topics by their Kafka names. ``acknowledged`` and ``failed`` count records since it was opened."""

    acknowledged: int
    failed: int

    def send(self, topic: str, partition: int, records: Records) -> None:
        """Hand over records of one partition, in their order; ``records.offsets`` are not used.

        Raises:
            ConfigError: a record is too large.
            StoreError: an earlier record failed.
        """

    def flush(self) -> None:
        """Return when every record handed over is acknowledged.

        Raises:
            StoreError: some failed; says how many, and the first error.
        """

    def close(self) -> None:
        """Flush without looking at failures, and let go of the broker."""


class _Counted:
    """What both publishers share: their counts, and how they fail."""

    def __init__(self, bootstrap: str) -> None:
        check_broker(bootstrap)
        self.bootstrap = bootstrap
        self.acknowledged = 0
        self.failed = 0
        self._handed = 0
        self._first: BaseException | None = None

    def close(self) -> None:
        """Flush without looking at failures, and let go of the broker."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fail(self, count: int, error: BaseException) -> None:
        self.failed += count
        self._first = self._first or error

    def _raise_failure(self) -> None:
        if self._first is not None:
            raise StoreError(
                f"broker {self.bootstrap} did not take {self.failed:,} of {self._handed:,} records; the first error: "
                f"{describe(self._first)}"
            ) from self._first


class KafkaPublisher(_Counted):
    """Sends every record within milliseconds, by kafka-python. Safe to be used by one thread at a time.

    Raises:
        ConfigError: no broker at ``bootstrap``.
    """

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap)
        self._lock = Lock()
        self._handed_bytes = 0
        self._done_bytes = 0
        with connecting(bootstrap):
            self._producer: Any = client_library().KafkaProducer(
                bootstrap_servers=bootstrap.split(","),
                bootstrap_timeout_ms=round(PATIENCE_S * 1000),
                acks="all",
                enable_idempotence=True,
                compression_type=None,
                linger_ms=_LINGER_MS,
                batch_size=_BATCH_BYTES >> 2,
                max_request_size=_REQUEST_BYTES,
                max_block_ms=_DELIVERY_TIMEOUT_S * 1000,
                delivery_timeout_ms=_DELIVERY_TIMEOUT_S * 1000,
                request_timeout_ms=_DELIVERY_TIMEOUT_S * 500,
                reconnect_backoff_max_ms=1000,  # a broker that restarts is back within the time a delivery may take
                allow_auto_create_topics=False,
            )

    def send(self, topic: str, partition: int, records: Records) -> None:
        """Hand over records of one partition, in their order. Waits while too much is on its way."""
        for i, value in enumerate(records.values):
            self.send_one(
                topic,
                partition,
                t=records.times[i],
                key=records.keys[i],
                value=value,
                headers=records.headers[i] if records.headers else _NONE,
            )

    def send_one(
        self,
        topic: str,
        partition: int,
        *,
        t: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = _NONE,
    ) -> None:
        """Hand over one record; ``value`` None is a tombstone."""
        size = check_size(topic, partition, key, value, headers)
        while self._handed_bytes - self._done_bytes > _MOST_BYTES_WAITING and self._first is None:
            time.sleep(0.002)
        self._raise_failure()
        with talking(self.bootstrap):
            future = self._producer.send(
                topic, value=value, key=key, headers=list(headers), partition=partition, timestamp_ms=t
            )
        self._handed += 1
        self._handed_bytes += size
        future.add_callback(self._acknowledge, size)
        future.add_errback(self._refuse, size)

    def flush(self) -> None:
        """Return when every record handed over is acknowledged."""
        with talking(self.bootstrap):
            self._producer.flush(timeout=2 * _DELIVERY_TIMEOUT_S)
        # a flush waits for the answers, not for what is called back with them
        end = time.monotonic() + PATIENCE_S
        while self.acknowledged + self.failed < self._handed and time.monotonic() < end:
            time.sleep(0.001)
        self._raise_failure()

    def close(self) -> None:
        """Flush without looking at failures, and let go of the broker."""
        with talking(self.bootstrap):
            self._producer.close(timeout=_DELIVERY_TIMEOUT_S)

    # the client's thread calls these, and the caller's where a record is refused at once

    def _acknowledge(self, size: int, _result: object) -> None:
        with self._lock:
            self.acknowledged += 1
            self._done_bytes += size

    def _refuse(self, size: int, error: BaseException) -> None:
        with self._lock:
            self._fail(1, error)
            self._done_bytes += size


class BatchPublisher(_Counted):
    """Sends batches of up to a megabyte, one on its way and one waiting a partition, by aiokafka. Nothing is sent before a batch is full or flushed.

    It runs an event loop of its own while it is called, so it cannot be used from a coroutine.

    Raises:
        ConfigError: no broker at ``bootstrap``.
    """

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap)
        self._open: dict[tuple[str, int], Any] = {}
        self._pending: set[asyncio.Future[Any]] = set()
        self._runner = asyncio.Runner()
        try:
            with connecting(bootstrap):
                self._producer = self._runner.run(self._start())
        except BaseException:
            self._runner.close()
            raise

    def send(self, topic: str, partition: int, records: Records) -> None:
        """Hand over records of one partition, in their order. Waits while the partition has a batch waiting."""
        self._raise_failure()
        with talking(self.bootstrap):
            self._runner.run(self._send(topic, partition, records))

    def flush(self) -> None:
        """Return when every record handed over is acknowledged."""
        with talking(self.bootstrap):
            self._runner.run(self._flush())
        self._raise_failure()

    def close(self) -> None:
        """Flush without looking at failures, and let go of the broker."""
        try:
            with talking(self.bootstrap):
                self._runner.run(self._producer.stop())
        finally:
            self._runner.close()

    async def _start(self) -> Any:  # noqa: ANN401 - aiokafka ships no types
        producer = client_library("aiokafka").AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_REQUEST_BYTES,
            request_timeout_ms=_DELIVERY_TIMEOUT_S * 1000,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _send(self, topic: str, partition: int, records: Records) -> None:
        at = topic, partition
        values, keys = records.values, records.keys
        headers: list[list[tuple[str, bytes]]] = [list(pairs) for pairs in records.headers] or [[]] * len(values)
        if records.headers or max(map(len, values), default=0) > MAX_RECORD_BYTES // 4:
            for key, value, head in zip(keys, values, headers, strict=True):
                check_size(topic, partition, key, value, head)
        batch = self._open.pop(at, None) or self._producer.create_batch()
        for t, key, value, head in zip(records.times, keys, values, headers, strict=True):
            if batch.append(timestamp=t, key=key, value=value, headers=head) is None:
                await self._submit(at, batch)
                batch = self._producer.create_batch()
                batch.append(timestamp=t, key=key, value=value, headers=head)
        self._open[at] = batch

    async def _submit(self, at: tuple[str, int], batch: Any) -> None:  # noqa: ANN401 - aiokafka ships no types
        count = batch.record_count()
        self._handed += count
        future = await self._producer.send_batch(batch, at[0], partition=at[1])
        self._pending.add(future)
        future.add_done_callback(partial(self._done, count))

    def _done(self, count: int, future: "asyncio.Future[Any]") -> None:
        self._pending.discard(future)
        error = ConnectionAbortedError("closed") if future.cancelled() else future.exception()
        if error is None:
            self.acknowledged += count
        else:
            self._fail(count, error)

    async def _flush(self) -> None:
        for at in list(self._open):
            batch = self._open.pop(at)
            if batch.record_count():
                await self._submit(at, batch)
        while self._pending:
            await asyncio.wait(self._pending)


def check_size(
    topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes]]
) -> int:
    """Return the size of a record in bytes.

    Raises:
        ConfigError: it is larger than ``MAX_RECORD_BYTES``; names the record.
    """
    size = len(key or b"") + len(value or b"") + sum(len(name) + len(text) for name, text in headers)
    if size > MAX_RECORD_BYTES:
        shown = "without a key" if key is None else f"with the key {key[:80].decode(errors='replace')!r}"
        raise ConfigError(
            f"a record of {topic}-{partition} {shown} is {size:,} bytes; at most {MAX_RECORD_BYTES:,} can be written. "
            "Split it or leave it out"
        )
    return size
