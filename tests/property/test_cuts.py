"""Cuts: a mirror that follows them holds what the shards hold, and its hash says so."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.feeding import feed, feed_in_chunks
from tests.oracle.logs import START, WINDOW, clock, event, logs
from tests.oracle.read import content
from tests.oracle.shard import TOPICS, Item
from twin.errors import TwinBug
from twin.mirror import PAGE, Mirror, MirrorShard
from twin.shards.shard import BASE_EVERY, SCHEMA, Cut, Shard, empty_tables
from twin.shards.table import TableDelta

topics = pytest.mark.parametrize("topic", sorted(TOPICS))
some_examples = settings(max_examples=60)


def cut_now(shard: Shard, *, whole: bool) -> Cut:
    """The cut that a clock at this position would make, delta or base."""
    tables = {name: table.delta(whole=whole) for name, table in shard.tables.items()}
    return Cut(shard.topic, shard.partition, 0, (), shard._serial, 0, shard.clock.time, 0, 0, whole, tables, {})


def mirrored(topic: str, cuts: list[Cut]) -> MirrorShard:
    mirror = MirrorShard(topic, 0, empty_tables(topic))
    for cut in cuts:
        mirror.apply(cut)
    return mirror


def slow_sha(shard: Shard, position: int) -> bytes:
    """The hash of a shard, from its definition."""
    sha = hashlib.sha256(f"{SCHEMA}|{shard.topic}|{shard.partition}|{position}".encode())
    for name, table in sorted(shard.tables.items()):
        sha.update(name.encode() + table.ids.sha)
        for column, texts in sorted(table.texts.items()):
            sha.update(column.encode() + texts.sha)
        raw = table.rows[: table.count].tobytes()
        pages = [raw[at : at + PAGE].ljust(PAGE, b"\0") for at in range(0, len(raw), PAGE)]
        sha.update(hashlib.sha256(b"".join(hashlib.sha256(page).digest() for page in pages)).digest())
    return sha.digest()


@topics
@some_examples
@given(data=st.data())
def test_a_chain_of_deltas_a_base_and_the_shard_itself_are_the_same(topic: str, data: st.DataObject) -> None:
    items = data.draw(logs(topic))
    shard = Shard(topic, 0)
    chain, _ = feed_in_chunks(shard, items, data.draw(st.lists(st.integers(0, 100), max_size=3)))
    if not chain:
        chain = [cut_now(shard, whole=True)]
        shard._serial += 1
    following = mirrored(topic, [*chain, cut_now(shard, whole=False)])
    from_base = mirrored(topic, [cut_now(shard, whole=True)])
    assert content(following.tables) == content(shard.tables)
    assert content(from_base.tables) == content(shard.tables)
    assert following.sha() == from_base.sha() == slow_sha(shard, 0)


@topics
@some_examples
@given(data=st.data())
def test_a_mirror_has_the_hash_of_the_shard_at_every_cut(topic: str, data: st.DataObject) -> None:
    items = data.draw(logs(topic))
    shard = Shard(topic, 0, base_every=data.draw(st.sampled_from([None, 1, 3])))
    mirror = MirrorShard(topic, 0, empty_tables(topic))
    for offset, item in enumerate(items):
        cuts, _ = feed(shard, [item], offset)
        for cut in cuts:
            before = {name: table.ids.names[:] for name, table in mirror.tables.items()}
            version = mirror.version
            mirror.apply(cut)
            assert mirror.sha() == slow_sha(shard, offset + 1)
            assert mirror.next == cut.next == offset + 1
            _assert_told_what_changed(mirror, before, cut, version)


def _assert_told_what_changed(mirror: MirrorShard, before: dict[str, list[str | None]], cut: Cut, version: int) -> None:
    for name, table in mirror.tables.items():
        padded = before[name] + [None] * (table.count - len(before[name]))
        gone = {row for row, was in enumerate(padded) if was is not None and was != table.ids.names[row]}
        assert gone <= set(mirror.released[name])
        assert np.array_equal(mirror.changed[name], cut.tables[name].index)
        assert np.array_equal(np.unique(mirror.changed[name]), mirror.changed[name])
        renamed = {row for row, was in enumerate(padded) if was != table.ids.names[row]}
        assert renamed <= set(mirror.changed[name].tolist())
    changed_rows = any(len(delta.index) for delta in cut.tables.values())
    assert mirror.version >= version + changed_rows


def some_shard(topic: str) -> Shard:
    """A shard with a few hundred rows, over several pages."""
    shard = Shard(topic, 0)
    items = [clock(START)]
    items += [_renamed(event(topic, 3 + i % 12, i % 3, i, t=START, variation=i), i) for i in range(200)]
    feed(shard, items)
    return shard


def _renamed(made: Item, i: int) -> Item:
    """The same event of another entity."""
    assert made.body is not None
    ids = ("cluster_id", "task_id", "zone_id", "src", "id", "service", "name")
    body = {
        key: f"{value}{i}" if key in ids and made.body["type"] != "fx.rate.v1" else value
        for key, value in made.body.items()
    }
    return Item(json.dumps(body).encode(), body)


@topics
@settings(max_examples=25)
@given(data=st.data())
def test_the_hash_changes_with_any_byte_of_state(topic: str, data: st.DataObject) -> None:
    shard = some_shard(topic)
    base = cut_now(shard, whole=True)
    name = data.draw(st.sampled_from(sorted(shard.tables)))
    delta = base.tables[name]
    if not len(delta.rows):
        return
    raw = bytearray(delta.rows.tobytes())
    at, bit = data.draw(st.integers(0, len(raw) - 1)), data.draw(st.integers(0, 7))
    raw[at] ^= 1 << bit
    flipped = np.frombuffer(bytes(raw), delta.rows.dtype)
    other = _with_table(base, name, _replaced(delta, rows=flipped))
    assert mirrored(topic, [base]).sha() != mirrored(topic, [other]).sha()
    # and so it does when the byte changes by a delta on top of a base
    row = at // delta.rows.itemsize
    patch = _replaced(delta, index=np.array([row]), rows=flipped[row : row + 1], ids=[], texts={})
    nothing = {other: _nothing(base.tables[other]) for other in base.tables}
    step = Cut(topic, 0, 0, (), base.serial + 1, base.next, base.time, 0, 0, False, nothing | {name: patch}, {})
    assert mirrored(topic, [base, step]).sha() == mirrored(topic, [other]).sha()


def _replaced(delta: TableDelta, **changes: object) -> TableDelta:
    fields = {name: getattr(delta, name) for name in TableDelta.__slots__}
    return TableDelta(**(fields | changes))  # type: ignore[arg-type]


def _nothing(delta: TableDelta) -> TableDelta:
    return _replaced(delta, index=np.zeros(0, np.int64), rows=delta.rows[:0], ids=[], texts={})


def _with_table(cut: Cut, name: str, delta: TableDelta) -> Cut:
    fields = {key: getattr(cut, key) for key in Cut.__slots__}
    return Cut(**(fields | {"tables": cut.tables | {name: delta}}))  # type: ignore[arg-type]


@topics
def test_the_hash_changes_with_position_ids_and_texts(topic: str) -> None:
    shard = some_shard(topic)
    base = cut_now(shard, whole=True)
    sha = mirrored(topic, [base]).sha()
    assert mirrored(topic, [_moved(base, next=1)]).sha() != sha
    for name, delta in base.tables.items():
        assert mirrored(topic, [_with_table(base, name, _replaced(delta, ids_sha=b"x" * 32))]).sha() != sha
        for column in delta.texts_sha:
            shas = delta.texts_sha | {column: b"x" * 32}
            assert mirrored(topic, [_with_table(base, name, _replaced(delta, texts_sha=shas))]).sha() != sha


def _moved(cut: Cut, **changes: object) -> Cut:
    fields = {key: getattr(cut, key) for key in Cut.__slots__}
    return Cut(**(fields | changes))  # type: ignore[arg-type]


def test_the_first_cut_is_a_base_and_then_each_one_that_a_store_wants() -> None:
    shard = Shard("telemetry", 0, base_every=BASE_EVERY)
    items = [clock(START + i * WINDOW) for i in range(2 * BASE_EVERY + 3)]
    cuts, _ = feed(shard, items)
    assert [cut.serial for cut in cuts if cut.base] == [0, BASE_EVERY, 2 * BASE_EVERY]
    assert [cut.serial for cut in cuts] == list(range(len(cuts)))
    cuts, _ = feed(Shard("telemetry", 0), items)
    assert [cut.serial for cut in cuts if cut.base] == [0]


def test_a_delta_that_does_not_follow_is_refused() -> None:
    shard = Shard("telemetry", 0)
    cuts, _ = feed(shard, [clock(START + i * WINDOW) for i in range(5)])
    mirror = mirrored("telemetry", cuts[:2])
    with pytest.raises(TwinBug, match="cut 3 does not follow 1"):
        mirror.apply(cuts[3])
    with pytest.raises(TwinBug, match="cut 1 does not follow 1"):
        mirror.apply(cuts[1])
    mirror.apply(cuts[0])  # a base may come at any time
    assert mirror.serial == 0


def test_the_state_hash_is_over_all_shards_and_names_its_positions() -> None:
    mirror = Mirror({"telemetry": 2, "control": 1})
    empty = mirror.state_sha256()
    shards = [Shard("telemetry", p) for p in range(2)]
    for shard in shards:
        cuts, _ = feed(
            shard,
            [clock(START), event("telemetry", 3, shard.partition, 1, t=START, variation=0), clock(START + WINDOW)],
        )
        mirror.apply(cuts[0])
    assert mirror.positions() == {"control-0": 0, "telemetry-0": 3, "telemetry-1": 3}
    expected = hashlib.sha256(b"".join(mirror.shards[key].sha() for key in sorted(mirror.shards))).hexdigest()
    assert mirror.state_sha256() == expected != empty
    assert [shard.partition for shard in mirror.of("telemetry")] == [0, 1]
    assert mirror.of("telemetry")[1].counts == {"folded": 1, "clocks": 2}
