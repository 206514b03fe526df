"""Faust transport that delivers one message per (partition, fetch), and reads each partition from where its claim says.

Faust spends 50 to 90 µs on each message, whatever is in it. Here a message is all that one fetch of one partition brought:
its value is a `Chunk`, keys and values as columns, taken where aiokafka unpacks a fetch (no object per record is kept).
A chunk covers the log positions [base, next) of the fetcher, so that chunks tile the log: transaction markers, aborted
transactions and compacted records are holes inside a chunk, which may hold no record at all, and no case of their own.
Where a partition is read from is decided by its *claim*, never by the group's offset, which is kept for lag tools only:
Faust calls `Consumer.perform_seek` after each rebalance, before it lets records flow, and there `app.claim_partitions`
says (claim number, offset) of each partition. Each chunk carries the number of the claim it was fetched under, so that
its handler can drop what an earlier claim left in a buffer.
An app sets `claim_partitions` (and `fetch_options`), ``stream_buffer_maxsize=16`` (it counts chunks, of up to
`consumer_max_fetch_size` bytes) and ``stream_wait_empty=True``, and reads with one in-order agent: plain ``async for``.

Each override says what it replaces and why; written for faust-streaming 0.15.3, mode-streaming 0.7.1, aiokafka 0.14.0.
tests/unit/streams/test_transport_hooks.py fails when one of the places named here has moved.
"""
# ruff: noqa: ANN401, ARG002, ASYNC109, SLF001 - aiokafka has no types; what is overridden is private and has its own signatures

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from aiokafka.consumer.fetcher import READ_COMMITTED, FetchResult, PartitionRecords
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException, IllegalStateError
from faust.tables.manager import TableManager
from faust.tables.recovery import RebalanceAgain
from faust.transport import drivers
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.exits import Exit, die
from twin.errors import ConfigError, TwinBug
from twin.records import Records


class Chunk(NamedTuple):
    """What one fetch of one partition brought: the value of one Faust message."""

    topic: str
    """Kafka name."""
    partition: int
    claim: int
    """Number of the claim that it was fetched under."""
    records: Records
    """Without headers; a record without a value has the value ``b""``. With no record it only moves the position."""


class Claim(NamedTuple):
    """The right to fold a partition, and where its state ends."""

    number: int
    """Rises with each claim of this process."""
    offset: int
    """Log position to read from."""


Claimer = Callable[[set[TP]], Awaitable[dict[TP, Claim]]]
"""What an app sets as ``app.claim_partitions``: claims all of the given partitions, or raises."""


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How to fetch, if set as ``app.fetch_options``. A chunk costs about 1 ms whatever is in it: at low load few are better."""

    max_wait_ms: int = 50
    """A fetch is answered after this at the latest (and a seek waits for the fetch under way) …"""
    min_bytes: int = 16_384
    """… or as soon as this much is there, over all partitions of a broker."""
    pace_ms: int = 10
    """Least time from one fetch to the next where the last one was small."""
    small: int = 2_000
    """Records up to which a fetch is small."""
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed"
    """``read_committed`` leaves out the records of open and aborted transactions."""


class ChunkRecords(PartitionRecords):  # type: ignore[misc]
    """What a fetch brought of one partition, unpacked as one `Records` where aiokafka makes an object per record."""

    next_fetch_offset: int

    def __init__(self, fetched: PartitionRecords) -> None:
        """Take over ``fetched``, of which nothing has been read yet."""
        self.__dict__.update(fetched.__dict__)
        fetched._records_iterator = None  # a cycle, that held the bytes of the fetch until the collector came by
        self._records_iterator = self._unpack_records()

    def _unpack_records(self) -> Iterator[Records]:
        """All records as columns. Replaces aiokafka/consumer/fetcher.py PartitionRecords._unpack_records; same checks.

        A broken batch fails the whole fetch and, by that, the process: nothing of it has been delivered then.
        """
        base = position = self.next_fetch_offset
        out = Records(base, base)
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            rows = [] if self._is_left_out(batch) else list(batch)
            if rows and rows[0].offset < position:  # a fetch may begin within a batch
                rows = [row for row in rows if row.offset >= position]
            if rows:
                first, last = rows[0].offset, rows[-1].offset
                whole = last - first + 1 == len(rows)
                out.offsets += range(first, last + 1) if whole else [row.offset for row in rows]
                out.times += [row.timestamp for row in rows]
                out.keys += [row.key for row in rows]
                out.values += [row.value or b"" for row in rows]
            position = batch.next_offset
        out.next = self.next_fetch_offset = position
        if position > base:
            yield out

    def _is_left_out(self, batch: Any) -> bool:
        """Whether ``batch`` is a transaction marker, or aborted and not to be read."""
        if self._isolation_level == READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return bool(batch.is_control_batch)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread with aiokafka's consumer. All of this runs on its loop, so that a seek never falls into a fetch."""

    consumer: "Consumer"
    _assignment: Any = None
    _claims: Mapping[TP, Claim] = {}

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:
        """Set what Faust hard-codes (1500 ms, 1 byte) or has no setting for. Read by AIOKafkaConsumer.start."""
        consumer, options = super()._create_worker_consumer(transport), self.consumer.options
        consumer._fetch_max_wait_ms, consumer._fetch_min_bytes = options.max_wait_ms, options.min_bytes
        consumer._isolation_level = options.isolation
        consumer._auto_offset_reset = "none"  # a position outside of the log is an error, never a jump
        return consumer

    async def seek_claimed(self, claims: Mapping[TP, Claim]) -> None:
        """Read on from where ``claims`` say. Consumer.seek is not used: it calls aiokafka from Faust's thread."""
        await self.call_thread(self._seek_claimed, claims)

    async def _seek_claimed(self, claims: Mapping[TP, Claim]) -> None:
        consumer = self._ensure_consumer()
        for tp, claim in claims.items():
            consumer.seek(driver.ensure_aiokafka_TP(tp), claim.offset)  # IllegalStateError: no longer assigned
        self._assignment, self._claims = consumer._subscription.subscription.assignment, claims

    async def _fetch_records(
        self, consumer: Any, active_partitions: set[TP], timeout: float | None = None, max_records: int | None = None
    ) -> Any:
        """Chunks that are there, else those that come within ``timeout`` s. Replaces AIOKafkaConsumerThread._fetch_records.

        That one waits within Fetcher.fetched_records, where a rebalance may come between the waiting and the taking.
        ``max_records`` has no meaning: a chunk is bounded by the bytes of a fetch.
        """
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        with fetcher._subscriptions.fetch_context():
            chunks = await self._take(fetcher, active_partitions)
            if chunks or not self.consumer.flow_active:
                return chunks
            waiter = fetcher._create_fetch_waiter()
            done, _ = await asyncio.wait([waiter], timeout=timeout)
            if not done:
                waiter.cancel()
                return {}
            waiter.result()  # raises the coordinator's errors
            return await self._take(fetcher, active_partitions)

    async def _take(self, fetcher: Any, active: set[TP]) -> dict[TP, list[Chunk]]:
        """Chunks that are there; never waits, so that claim, position and records belong together.

        Takes nothing under an assignment that has not been claimed: aiokafka may fetch from the group's offsets already.
        aiokafka names `PartitionRecords` as a global of its module; here it is exchanged in what this consumer has fetched
        and not begun to read, so that other consumers in the process stay as they are.
        """
        wanted = active & self._claims.keys()  # aiokafka takes an empty set for all
        claimed = wanted and self._assignment.active and not fetcher._subscriptions.reassignment_in_progress
        if not claimed or not self.consumer.flow_active or fetcher._closed:
            return {}
        for tp in wanted:
            result = fetcher._records.get(tp)
            if type(result) is FetchResult and type(result._partition_records) is PartitionRecords:
                result._partition_records = ChunkRecords(result._partition_records)
        taken = await fetcher.fetched_records(wanted, timeout=0)
        return {TP(*tp): [Chunk(tp.topic, tp.partition, self._claims[tp].number, rows)] for tp, [rows] in taken.items()}


class Consumer(driver.Consumer):
    """Faust's side of the consumer: claims, hands out chunks, keeps the group's offsets."""

    _thread: ConsumerThread
    _fetched_at = 0.0
    _small = False

    def _new_consumer_thread(self) -> ConsumerThread:
        self.options: FetchOptions = getattr(self.app, "fetch_options", FetchOptions())
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Stop the flow first. App._on_partitions_revoked does, but only in a worker that held a partition."""
        self.stop_flow()
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Claim every assigned partition and seek to where its state ends. Replaces Consumer.perform_seek.

        Recovery._resume_streams calls it when the rebalance is over and the flow is still stopped. Recovery starts over on
        `RebalanceAgain` and `IllegalStateError`; its own time-out would leave the worker hanging for good, so that this one
        comes earlier; and any failure ends the process.
        """
        try:
            async with asyncio.timeout(0.8 * self.app.conf.broker_request_timeout):
                await self._claim_and_seek()
        except (RebalanceAgain, IllegalStateError):
            raise
        except ConfigError as error:
            die(Exit.of(error), str(error))
        except Exception as error:  # noqa: BLE001 - Faust would go on with what is not claimed
            die(Exit.CLAIM, f"could not claim and seek the assigned partitions: {error!r}")

    async def _claim_and_seek(self) -> None:
        generation = self.app.consumer_generation_id
        tps = {TP(*tp) for tp in self.assignment()}
        claims: dict[TP, Claim] = await self.app.claim_partitions(tps)  # type: ignore[attr-defined]
        if claims.keys() != tps:
            raise TwinBug(f"claimed {sorted(claims)} of {sorted(tps)}")
        # after the claim: until then another worker may move the state on, past a log end read before
        first, end = await asyncio.gather(self.earliest_offsets(*tps), self.highwaters(*tps))
        outside = [_outside(tp, claim.offset, first[tp], end[tp]) for tp, claim in sorted(claims.items())]
        if any(outside):
            die(Exit.CLAIM, "\n".join(filter(None, outside)))
        if generation != self.app.consumer_generation_id:
            raise RebalanceAgain
        await self._thread.seek_claimed(claims)
        for tp, claim in claims.items():
            self._read_offset[tp] = claim.offset or None
            # as if just acknowledged: the next commit takes the group to the claim, backwards too
            self._acked[tp], self._acked_index[tp] = [claim.offset - 1] if claim.offset else [], set()
            self._committed_offset[tp] = None

    async def _wait_next_records(self, timeout: float) -> Any:
        """Pace small fetches; wait 10 ms where Consumer._wait_next_records sleeps 1 s: when every buffer is full.

        No records without flow: Consumer.getmany would take that for a reason to seek, in the middle of a rebalance.
        And all that was taken is delivered: it would drop, from the middle of the log, what has been paused since.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]
        if self._small:
            await asyncio.sleep(self._fetched_at + self.options.pace_ms / 1000 - time.monotonic())
        if not self._get_active_partitions():
            await asyncio.sleep(0.01)
            return None, None
        if (
            self._buffered_partitions or self._paused_partitions
        ):  # what was fetched of them wakes nobody when they go on
            timeout = 0.02
        self._fetched_at = time.monotonic()
        chunks, _ = await super()._wait_next_records(timeout)
        self._small = sum(len(chunk.records) for [chunk] in (chunks or {}).values()) <= self.options.small
        return chunks if self.flow_active else None, None

    def _to_message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        """One message per chunk. Its offset is the last position that the chunk covers: a commit then covers holes too."""
        times, offset, generation = chunk.records.times, chunk.records.next - 1, self.app.consumer_generation_id
        t = times[-1] / 1000 if times else 0.0
        value: Any = chunk
        return ConsumerMessage(*tp, offset, t, 0, None, None, value, None, tp=tp, generation_id=generation)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Nothing. Consumer._add_gap notes the positions between two messages; here the second one covers them."""

    def _new_offset(self, tp: TP) -> int | None:
        """Position after the newest acknowledged chunk, which one in-order agent acknowledges last.

        Consumer._new_offset looks for consecutive offsets: it would stop at the first chunk.
        """
        newest = max(self._acked[tp], default=None)
        self._acked[tp].clear()
        self._acked_index[tp].clear()
        return None if newest is None else newest + 1


class Transport(driver.Transport):
    """aiokafka's transport with this consumer; the producer is Faust's own."""

    Consumer = Consumer


class NoTables(TableManager):
    """Table manager (setting ``TableManager``) of an app without tables: starts at once."""

    async def on_start(self) -> None:
        """Replaces TableManager.on_start, which sleeps a second in case tables are still being defined."""
        await self._update_channels()
        await self.recovery.start()


def register(scheme: str = "chunk") -> None:
    """Make the transport known to Faust: ``faust.App(broker="chunk://host:port")``."""
    drivers.TRANSPORTS.aliases[scheme] = f"{__name__}:Transport"


def _outside(tp: TP, offset: int, first: int, end: int) -> str | None:
    """What to do about state that ends outside of the log [first, end]; None where it does not."""
    where = f"{tp.topic} partition {tp.partition}: its state ends at {offset}, but the log"
    if offset > end:
        return (
            f"{where} at {end}. The topic was emptied or created anew, and the state belongs to the old log: start a new"
            " namespace (CPN_NAMESPACE), or empty Redis to fold the log from its start."
        )
    if offset < first:
        return (
            f"{where} begins at {first}. Retention deleted records that were never folded: set retention.ms=-1 on the topic,"
            " and start a new namespace (CPN_NAMESPACE) with a complete log."
        )
    return None
