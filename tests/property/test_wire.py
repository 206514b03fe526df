"""Cuts as bytes: what comes back is what was written, and whoever follows them cannot tell."""

import zlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.feeding import feed
from tests.oracle.logs import START, WINDOW, clock, event, logs
from tests.oracle.read import content
from tests.oracle.shard import TOPICS
from twin.errors import StoreError
from twin.mirror import MirrorShard
from twin.shards.shard import Cut, Shard, empty_tables
from twin.shards.table import TableDelta
from twin.shards.wire import decode_cut, encode_cut

topics = pytest.mark.parametrize("topic", sorted(TOPICS))


def assert_same_cut(cut: Cut, other: Cut) -> None:
    for name in Cut.__slots__:
        if name != "tables":
            assert getattr(cut, name) == getattr(other, name), name
            assert type(getattr(cut, name)) is type(getattr(other, name))
    assert list(cut.tables) == list(other.tables)
    for name, delta in cut.tables.items():
        _assert_same_delta(delta, other.tables[name])


def _assert_same_delta(delta: TableDelta, other: TableDelta) -> None:
    for name in TableDelta.__slots__:
        mine, its = getattr(delta, name), getattr(other, name)
        if isinstance(mine, np.ndarray):
            assert (mine.dtype, mine.shape, mine.tobytes()) == (its.dtype, its.shape, its.tobytes()), name
        else:
            assert mine == its, name
            assert type(mine) is type(its)


@topics
@settings(max_examples=60)
@given(data=st.data())
def test_a_cut_comes_back_as_it_was_and_a_mirror_cannot_tell(topic: str, data: st.DataObject) -> None:
    items = data.draw(logs(topic))
    shard = Shard(topic, 5, base_every=data.draw(st.sampled_from([None, 1, 3])))
    mirror, other = (MirrorShard(topic, 5, empty_tables(topic)) for _ in range(2))
    for cut in feed(shard, items)[0]:
        written = encode_cut(cut)
        back = decode_cut(written)
        assert_same_cut(cut, back)
        assert encode_cut(back) == written
        mirror.apply(cut)
        other.apply(back)
        assert (content(mirror.tables), mirror.sha()) == (content(other.tables), other.sha())
        assert (mirror.released, mirror.version, mirror.counts) == (other.released, other.version, other.counts)


def some_cuts() -> list[Cut]:
    shard = Shard("tasks", 0)
    items = [clock(START), *[event("tasks", 3, i % 3, i, t=START, variation=i) for i in range(60)]]
    return feed(shard, [*items, clock(START + WINDOW), clock(START + 2 * WINDOW)])[0]


def test_a_cut_in_which_nothing_changed_is_tiny() -> None:
    base, nothing = some_cuts()
    assert all(delta.empty for delta in nothing.tables.values())
    assert len(encode_cut(nothing)) < 700
    table = base.tables["tasks"]
    assert len(encode_cut(base)) < 1000 + table.rows.nbytes
    assert (
        len(encode_cut(replace(base, base=False))) == len(encode_cut(base)) + table.index.nbytes
    )  # of a base it is known


def test_rows_are_not_copied_on_the_way_in() -> None:
    data = encode_cut(some_cuts()[0])
    rows = decode_cut(data).tables["tasks"].rows
    assert np.shares_memory(rows.view(np.uint8), np.frombuffer(data, np.uint8))
    assert not rows.flags.writeable


@given(at=st.integers(0), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(at: int, bit: int) -> None:
    data = bytearray(encode_cut(some_cuts()[0]))
    data[at % len(data)] ^= 1 << bit
    with pytest.raises(StoreError, match="a stored cut"):
        decode_cut(bytes(data))


@given(cut=st.integers(0))
def test_a_torn_cut_is_refused(cut: int) -> None:
    data = encode_cut(some_cuts()[1])
    with pytest.raises(StoreError, match="a stored cut"):
        decode_cut(data[: cut % len(data)])


def test_a_newer_version_is_named() -> None:
    with pytest.raises(StoreError, match="version 2, this version reads 1"):
        decode_cut(b"\2" + encode_cut(some_cuts()[0])[1:])


def _sealed(body: bytes) -> bytes:
    return b"\1" + zlib.crc32(body).to_bytes(4, "little") + body


def test_a_cut_that_contradicts_itself_is_refused() -> None:
    data = encode_cut(some_cuts()[0])
    fields = msgspec.msgpack.decode(data[5:])
    assert _sealed(msgspec.msgpack.encode(fields)) == data
    delta = fields[10]["tasks"]
    wrong = {
        "half a row": [*delta[:1], delta[1][:-1], *delta[2:]],
        "a row less": [*delta[:6], delta[6] + 1],
        "a hash less": [*delta[:5], delta[5][32:], delta[6]],
    }
    bodies = [msgspec.msgpack.encode([*fields[:10], {"tasks": table}, fields[11]]) for table in wrong.values()]
    bodies.append(msgspec.msgpack.encode([*fields[:10], {"jobs": delta}, fields[11]]))
    bodies.append(msgspec.msgpack.encode(["meals", *fields[1:]]))
    bodies.append(msgspec.msgpack.encode(fields[:5]))
    for body in bodies:
        with pytest.raises(StoreError, match="cannot be read"):
            decode_cut(_sealed(body))
