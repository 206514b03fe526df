"""A fetch unpacked as columns holds what aiokafka's own record by record unpacking of it gives."""

import struct

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, READ_UNCOMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.transport import ChunkRecords
from twin.records import Records

TP = TopicPartition("tasks", 0)
CONTROL, ABORT, COMMIT = 0x20, b"\0\0\0\0", b"\0\0\0\1"
Body = tuple[int, bytes | None, bytes | None]


def batch(
    base: int, rows: list[Body], size: int, *, producer: int = -1, control: bytes | None = None, codec: int = 0
) -> bytes:
    """A record batch of ``size`` positions from ``base`` on; ``rows`` are (offset in the batch, key, value)."""
    built = DefaultRecordBatchBuilder(2, codec, producer >= 0, producer, 0, 0, 1 << 20)
    for delta, key, value in rows:
        built.append(delta, 1_000 + base + delta, control or key, value, [])
    data = bytearray(built.build())
    struct.pack_into(">q", data, 0, base)
    if control:
        data[22] |= CONTROL
    struct.pack_into(">i", data, 23, size - 1)
    struct.pack_into(">I", data, 17, calc_crc32c(data[21:]))
    return bytes(data)


def fetched(data: bytes, aborted: list[tuple[int, int]], offset: int, isolation: int) -> PartitionRecords:
    return PartitionRecords(TP, MemoryRecords(data), aborted, offset, None, None, True, isolation)


bodies = st.tuples(st.none() | st.binary(max_size=3), st.none() | st.binary(max_size=3))


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, int]], int]:
    """(log, aborted transactions, log end): plain and transactional batches, markers, holes of compaction."""
    log, aborted, end, begun = b"", [], draw(st.integers(0, 5)), dict[int, int]()
    for _ in range(draw(st.integers(1, 8))):
        producer = draw(st.sampled_from([-1, -1, 7, 8]))
        if producer in begun and draw(st.booleans()):
            marker, first = draw(st.sampled_from([ABORT, COMMIT])), begun.pop(producer)
            aborted += [(producer, first)] if marker == ABORT else []
            log, end = log + batch(end, [(0, None, b"")], 1, producer=producer, control=marker), end + 1
            continue
        size = draw(st.integers(1, 6))
        kept = draw(st.lists(st.integers(0, size - 1), unique=True, min_size=1).map(sorted))
        rows = [(delta, *draw(bodies)) for delta in kept]
        if producer >= 0:
            begun.setdefault(producer, end)
        log, end = log + batch(end, rows, size, producer=producer, codec=draw(st.sampled_from([0, 1]))), end + size
    aborted += [(producer, first) for producer, first in begun.items() if draw(st.booleans())]
    return log, aborted, end


@settings(max_examples=300, deadline=None)
@given(logs(), st.integers(0, 12), st.sampled_from([READ_COMMITTED, READ_UNCOMMITTED]))
def test_a_chunk_holds_the_records_and_covers_the_positions_that_aiokafka_finds(
    log: tuple[bytes, list[tuple[int, int]], int], offset: int, isolation: int
) -> None:
    data, aborted, end = log
    offset = min(offset, end - 1)
    stock = fetched(data, aborted, offset, isolation)
    expected = list(stock)
    ours = ChunkRecords(fetched(data, aborted, offset, isolation))
    [chunk] = list(ours)
    assert (chunk.base, chunk.next) == (offset, end) == (offset, stock.next_fetch_offset)
    assert ours.next_fetch_offset == end
    assert [chunk.record(i)[:4] for i in range(len(chunk))] == [
        (r.offset, r.timestamp, r.key, r.value or b"") for r in expected
    ]
    assert len(chunk.offsets) == len(chunk.times) == len(chunk.keys) == len(chunk)
    assert not chunk.headers


def test_a_fetch_of_markers_alone_is_a_chunk_that_moves_the_position() -> None:
    data = batch(10, [(0, None, b"")], 1, producer=7, control=COMMIT)
    assert list(ChunkRecords(fetched(data, [], 10, READ_COMMITTED))) == [Records(10, 11)]


def test_a_broken_batch_fails_the_whole_fetch() -> None:
    good, bad = batch(0, [(0, b"k", b"v")], 1), bytearray(batch(1, [(0, b"k", b"v")], 1))
    bad[-1] ^= 1
    broken = ChunkRecords(fetched(good + bytes(bad), [], 0, READ_COMMITTED))
    with pytest.raises(CorruptRecordException, match="Invalid CRC"):
        list(broken)
    assert broken.next_fetch_offset == 0
