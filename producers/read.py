"""Reading topics without a consumer group: from a position of the caller's, exactly the bytes, holes in the offsets and all."""

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from producers.broker import check_broker, client_library, connecting, talking
from twin.errors import ConfigError, StoreError
from twin.records import Headers, Record, Records

Partition = tuple[str, int]
"""Kafka name of a topic, and the partition."""
_FETCH_BYTES = 4 << 20
_WAIT_MS = 50  # after a seek the fetch of before it is waited for
_SILENCE_S = 20.0
_BACK = 64
T = TypeVar("T")


class TopicReader:
    """Reads partitions of topics; what a transaction has not committed is left out. A context manager.

    It runs an event loop of its own while it is called, so it cannot be used from a coroutine. A null value reads as an
    empty one, as it does for the workers: no event of the twin is either.

    Raises:
        ConfigError: no broker at ``bootstrap``.
    """

    def __init__(self, bootstrap: str) -> None:
        check_broker(bootstrap)
        self.bootstrap = bootstrap
        self._runner = asyncio.Runner()
        self._next: dict[Partition, int] = {}
        aiokafka = client_library("aiokafka")
        self._tp = aiokafka.TopicPartition
        try:
            with connecting(bootstrap):
                self._consumer = self._runner.run(self._start(aiokafka))
        except BaseException:
            self._runner.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the broker."""
        try:
            self._runner.run(self._consumer.stop())
        finally:
            self._runner.close()

    def ends(self, partitions: Sequence[Partition]) -> dict[Partition, tuple[int, int]]:
        """Return the first offset and the one after the last of each partition.

        Raises:
            StoreError: the broker does not say: no such partition, for one.
        """
        tps = [self._tp(*at) for at in partitions]
        with talking(self.bootstrap):
            first = self._runner.run(self._consumer.beginning_offsets(tps))
            end = self._runner.run(self._consumer.end_offsets(tps))
        return {(tp.topic, tp.partition): (first[tp], end[tp]) for tp in tps}

    def seek(self, positions: Mapping[Partition, int]) -> None:
        """Read these partitions from now on, and no others, each from its position."""
        self._next = dict(positions)
        self._runner.run(self._assign({self._tp(*at): offset for at, offset in positions.items()}))

    def poll(self, timeout_s: float) -> dict[Partition, Records]:
        """Return what has come of each partition, in its order; empty if nothing does within ``timeout_s``.

        Raises:
            ConfigError: a position is outside of its partition: the topic was made anew, or records were deleted.
            StoreError: the broker fails.
        """
        try:
            with talking(self.bootstrap):
                found = self._runner.run(self._consumer.getmany(timeout_ms=round(timeout_s * 1000)))
        except StoreError as error:
            if type(error.__cause__).__name__ == "OffsetOutOfRangeError":
                raise ConfigError(
                    f"broker {self.bootstrap}: a position is not in its topic any more ({error.__cause__}): the topic was "
                    "made anew, or its records were deleted; start again without what was read before"
                ) from error
            raise
        chunks = {}
        for tp, rows in found.items():
            at = tp.topic, tp.partition
            chunks[at] = _columns(self._next[at], rows)
            self._next[at] = chunks[at].next
        return chunks

    def read(self, at: Partition, start: int, end: int) -> Iterator[Records]:
        """Yield the records of one partition in [start, end), holes left out.

        Raises:
            StoreError: the broker fails, or is silent for long.
        """
        self.seek({at: start})
        silent = 0.0
        while self.position(at) < end:
            chunk = self.poll(1.0).get(at)
            if chunk is None:
                silent += 1.0
                if silent > _SILENCE_S:
                    raise StoreError(f"broker {self.bootstrap}: no records of {at[0]}-{at[1]} for {silent:g} s")
                continue
            silent = 0.0
            yield slice_of(chunk, 0, bisect_left(chunk.offsets, end))

    def position(self, at: Partition) -> int:
        """Return where the reader is in a partition: behind the last record it gave, and behind markers after it."""
        with talking(self.bootstrap):
            return int(self._runner.run(self._consumer.position(self._tp(*at))))

    def last(
        self, at: Partition, wanted: Callable[[Record], T | None], ends: tuple[int, int] | None = None
    ) -> T | None:
        """Return what ``wanted`` makes of the last record of a partition of which it makes anything; looks back ever further.

        ``ends``: those of the partition, where they are known: asking takes longer than reading a few records.
        """
        begin, end = self.ends([at])[at] if ends is None else ends
        back = _BACK
        while end > begin:
            start = max(begin, end - back)
            records = [chunk.record(i) for chunk in self.read(at, start, end) for i in range(len(chunk))]
            found = next((got for got in map(wanted, reversed(records)) if got is not None), None)
            if found is not None:
                return found
            end, back = start, back * 8
        return None

    async def _assign(self, positions: Mapping[Any, int]) -> None:
        self._consumer.assign(list(positions))
        for tp, offset in positions.items():
            self._consumer.seek(tp, offset)

    async def _start(self, aiokafka: Any) -> Any:  # noqa: ANN401 - aiokafka ships no types
        consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=_WAIT_MS,
        )
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        return consumer


def _columns(base: int, rows: Sequence[Any]) -> Records:
    headers: list[Headers] = []
    if any(row.headers for row in rows):
        headers = [tuple((name, value or b"") for name, value in row.headers) for row in rows]
    return Records(
        base,
        rows[-1].offset + 1,
        [row.offset for row in rows],
        [row.timestamp for row in rows],
        [row.key for row in rows],
        [row.value or b"" for row in rows],
        headers,
    )


def slice_of(records: Records, start: int, end: int) -> Records:
    """Return the records with indices [start, end); positions go with them."""
    n = len(records)
    return Records(
        records.base if start == 0 else records.offsets[start - 1] + 1,
        records.next if end >= n else records.offsets[end - 1] + 1 if end else records.base,
        records.offsets[start:end],
        records.times[start:end],
        records.keys[start:end],
        records.values[start:end],
        records.headers[start:end],
    )
