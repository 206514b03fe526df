"""What every store promises, in memory and in Redis alike."""

import asyncio
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.store.base import FencedError, TwinStore
from tests.contract.conftest import Opener
from tests.contract.saves import NOTHING, cut, of_tasks, save
from tests.oracle.feeding import feed
from tests.oracle.logs import logs
from tests.oracle.read import content
from tests.oracle.shard import TOPICS
from twin.errors import TwinBug
from twin.mirror import MirrorShard
from twin.shards.saved import StoredTable
from twin.shards.shard import Cut, Shard, empty_tables
from twin.shards.wire import encode_cut

_partitions = count()
"""A shard of its own for each example."""


async def stored_tasks(store: TwinStore, partition: int = 1) -> tuple[int, bytes, StoredTable]:
    """Position, head and table of a shard that must be stored."""
    read = await store.read("tasks", partition)
    assert read is not None
    assert read.stored is not None
    return read.next, read.stored.head, read.stored.tables.get("tasks", StoredTable(b"", {}, {}))


async def test_where_nothing_is_stored_a_claim_starts_at_zero(stores: Opener) -> None:
    store = stores()
    assert await store.read("tasks", 1) is None
    first, second = await store.claim("tasks", 1), await store.claim("tasks", 1)
    assert (first.next, first.stored, second.next, second.stored) == (0, None, 0, None)
    assert first.owner
    assert first.owner != second.owner
    assert await store.read("tasks", 1) is None
    assert await store.last_serial("tasks", 1) == -1
    assert await store.cuts("tasks", 1, -1) == []
    assert await store.bases("tasks", 1) == []
    assert await store.pending("tasks", 1) == 0


async def test_what_was_written_is_claimed_whole(stores: Opener) -> None:
    store, long = stores(), "长" * 30_000
    owner = (await store.claim("tasks", 1)).owner
    first = save(
        "h1",
        [(0, b"aaaa"), (8, b"\xff\0cc")],
        [(0, "a"), (2, long), (1, "x" * 40)],
        tenant=["t", long],
        qos=["q" * 300],
    )
    await store.apply("tasks", 1, owner, 0, 10, first, [])
    position, head, table = await stored_tasks(store)
    assert (position, head) == (10, b"h1")
    texts = ["t", long]
    assert of_tasks(table, "tenant", "qos") == (
        b"aaaa\0\0\0\0\xff\0cc",
        {0: "a", 2: long, 1: "x" * 40},
        texts,
        ["q" * 300],
    )
    await store.apply(
        "tasks", 1, owner, 10, 11, save("h2", [(2, b"AA")], [(2, None), (0, "b"), (9, None)], tenant=[""]), []
    )
    claim = await store.claim("tasks", 1)
    assert claim.stored is not None
    assert (claim.next, claim.stored.head) == (11, b"h2")
    table = claim.stored.tables["tasks"]
    assert of_tasks(table, "tenant") == (b"aaAA\0\0\0\0\xff\0cc", {0: "b", 1: "x" * 40}, [*texts, ""])
    await store.apply("tasks", 1, claim.owner, 11, 20, NOTHING, [])
    position, head, same = await stored_tasks(store)
    assert (position, head, same) == (20, b"nothing", table)


async def test_shards_do_not_touch_each_other(stores: Opener) -> None:
    store = stores()
    mine, other = await store.claim("tasks", 1), await store.claim("tasks", 11)
    await store.claim("control", 1)
    await store.apply("tasks", 1, mine.owner, 0, 5, save("one", [(0, b"1")]), [cut(0, base=True)])
    await store.apply("tasks", 11, other.owner, 0, 6, save("two", [(0, b"2")]), [])
    assert await stored_tasks(store) == (5, b"one", (await stored_tasks(store))[2])
    assert (await stored_tasks(store, 11))[:2] == (6, b"two")
    assert (await stored_tasks(store))[2].rows == b"1"
    assert await store.read("control", 1) is None
    assert (await store.pending("tasks", 1), await store.pending("tasks", 11)) == (1, 0)


async def refused(store: TwinStore, owner: bytes, base: int, upto: int, word: str) -> None:
    """A write must be refused for a reason with ``word`` in it, and leave no trace."""
    before = await store.read("tasks", 1), await store.cuts("tasks", 1, -1)
    with pytest.raises(FencedError, match=rf"tasks-1: the write of \[{base}, {upto}\) is refused: .*{word}"):
        await store.apply(
            "tasks", 1, owner, base, upto, save("bad", [(0, b"bad")], [(0, "bad")], tenant=["bad"]), [cut(7)]
        )
    after = await store.read("tasks", 1), await store.cuts("tasks", 1, -1)
    assert (before[0], list(map(encode_cut, before[1]))) == (after[0], list(map(encode_cut, after[1])))


async def test_only_the_last_claimer_writes(stores: Opener) -> None:
    zombie, living = stores(), stores()
    old = await zombie.claim("tasks", 1)
    await zombie.apply("tasks", 1, old.owner, 0, 10, save("old", [(0, b"old")]), [])
    new = await living.claim("tasks", 1)
    assert new.next == 10
    await refused(zombie, old.owner, 10, 20, "claimed")  # although the position is right
    await refused(zombie, old.owner, 0, 10, "claimed")  # although it wrote this itself, before
    await refused(zombie, b"", 10, 20, "claimed")
    await living.apply("tasks", 1, new.owner, 10, 20, save("new", [(1, b"NEW")]), [])
    position, head, table = await stored_tasks(zombie)
    assert (position, head, table.rows) == (20, b"new", b"oNEW")


async def test_a_shard_that_nobody_claimed_cannot_be_written(stores: Opener) -> None:
    for owner in (b"", b"somebody"):
        await refused(stores(), owner, 0, 10, "claimed")


async def test_a_claimer_can_ask_whether_its_claim_stands(stores: Opener) -> None:
    mine, other = stores(), stores()
    assert not await mine.holds("tasks", 1, b"nobody", 0)
    owner = (await mine.claim("tasks", 1)).owner
    assert await mine.holds("tasks", 1, owner, 0)
    await mine.apply("tasks", 1, owner, 0, 10, save("ten", [(0, b"ten")]), [])
    assert await mine.holds("tasks", 1, owner, 10)
    assert not await mine.holds("tasks", 1, owner, 0)
    await other.claim("tasks", 1)
    assert not await mine.holds("tasks", 1, owner, 10)


async def test_a_shard_that_is_forgotten_starts_at_zero_and_its_owner_is_turned_away(stores: Opener) -> None:
    store = stores()
    for partition in (1, 2):
        owner = (await store.claim("tasks", partition)).owner
        await store.apply("tasks", partition, owner, 0, 10, save("ten", [(0, b"ten")], [(0, "a")]), [cut(0)])
    await store.forget("tasks", 1)
    assert await store.read("tasks", 1) is None
    assert (await store.cuts("tasks", 1, -1), await store.last_serial("tasks", 1)) == ([], -1)
    assert (await store.read("tasks", 2)) is not None
    assert len(await store.cuts("tasks", 2, -1)) == 1
    assert not await store.holds("tasks", 1, owner, 10)
    assert (await store.claim("tasks", 1)).next == 0


async def test_overlaps_and_holes_are_refused(stores: Opener) -> None:
    store = stores()
    owner = (await store.claim("tasks", 1)).owner
    await refused(store, owner, 5, 10, "position is 0")
    await store.apply("tasks", 1, owner, 0, 10, save("ten", [(0, b"ten")]), [])
    for base, upto in [(0, 9), (5, 12), (9, 11), (11, 12), (100, 1000)]:
        await refused(store, owner, base, upto, "position is 10")


async def test_the_same_write_twice_counts_once(stores: Opener) -> None:
    store = stores()
    owner = (await store.claim("tasks", 1)).owner
    once = save("once", [(0, b"once")], [(0, "a")], tenant=["t"])
    for _ in range(3):
        await store.apply("tasks", 1, owner, 0, 10, once, [cut(0, base=True)])
    position, head, table = await stored_tasks(store)
    assert (position, head, *of_tasks(table, "tenant")) == (10, b"once", b"once", {0: "a"}, ["t"])
    assert await store.pending("tasks", 1) == 1


async def test_a_write_that_does_not_move_the_position_is_a_bug(stores: Opener) -> None:
    store = stores()
    owner = (await store.claim("tasks", 1)).owner
    for base, upto in [(0, 0), (5, 4), (-1, 3)]:
        with pytest.raises(TwinBug, match="tasks-1"):
            await store.apply("tasks", 1, owner, base, upto, NOTHING, [])


async def test_of_many_claimers_at_once_one_is_left(stores: Opener) -> None:
    several = [stores() for _ in range(8)]
    claims = await asyncio.gather(*(store.claim("tasks", 1) for store in several))
    assert len({claim.owner for claim in claims}) == 8
    results = await asyncio.gather(
        *(
            store.apply("tasks", 1, claim.owner, 0, 10, save("x", [(0, claim.owner)], tenant=[claim.owner.hex()]), [])
            for store, claim in zip(several, claims, strict=True)
        ),
        return_exceptions=True,
    )
    winners = [claim.owner for claim, result in zip(claims, results, strict=True) if result is None]
    assert sum(isinstance(result, FencedError) for result in results) == 7
    _, _, table = await stored_tasks(several[0])
    assert [table.rows] == winners
    assert table.texts["tenant"] == [winners[0].hex()]


async def test_cuts_are_listed_in_order_read_and_dropped_from_below(stores: Opener) -> None:
    store = stores()
    owner = (await store.claim("tasks", 1)).owner
    made = [cut(serial, base=serial in {0, 3, 11}, fill=serial) for serial in range(12)]
    await store.apply("tasks", 1, owner, 0, 10, NOTHING, made[:2])
    assert await store.last_serial("tasks", 1) == 1
    await store.apply("tasks", 1, owner, 10, 20, NOTHING, made[2:])
    await store.apply("tasks", 1, owner, 20, 30, NOTHING, [])
    assert await store.last_serial("tasks", 1) == 11
    read = await store.cuts("tasks", 1, -1)
    assert list(map(encode_cut, read)) == list(map(encode_cut, made))
    assert [c.serial for c in await store.cuts("tasks", 1, 8)] == [9, 10, 11]
    assert [c.serial for c in await store.cuts("tasks", 1, 1, limit=3)] == [2, 3, 4]
    assert await store.cuts("tasks", 1, 11) == []
    assert await store.bases("tasks", 1) == [0, 3, 11]
    for before, left in [(0, 12), (3, 9), (3, 9), (4, 8), (100, 0), (100, 0)]:
        await store.drop_cuts("tasks", 1, before)
        assert await store.pending("tasks", 1) == left
        assert [c.serial for c in await store.cuts("tasks", 1, -1)] == [*range(12)][12 - left :]
        assert await store.bases("tasks", 1) == [serial for serial in (0, 3, 11) if serial >= 12 - left]
    assert await store.last_serial("tasks", 1) == 11  # dropped, not forgotten


async def test_marks_are_kept_by_name(stores: Opener) -> None:
    store, other = stores(), stores()
    assert await store.get_mark("decided") is None
    await store.set_mark("decided", b"1")
    await store.set_mark("published", b"\0\xff")
    await other.set_mark("decided", b"2")
    assert await store.get_mark("decided") == b"2"
    assert await other.get_mark("published") == b"\0\xff"


async def test_a_first_write_of_100_000_tasks_comes_back(stores: Opener) -> None:
    store, n = stores(), 100_000
    owner = (await store.claim("tasks", 1)).owner
    rows = b"".join(i.to_bytes(4, "little") for i in range(n))
    ids: list[tuple[int, str | None]] = [(i, f"task-{i:08}") for i in range(n)]
    texts = [f"tenant-{i}" for i in range(20_001)]
    await store.apply("tasks", 1, owner, 0, n, save("many", [(0, rows)], ids, tenant=texts), [])
    _, _, table = await stored_tasks(store)
    assert of_tasks(table, "tenant") == (rows, dict(ids), texts)
    # then every second row changes, and every third goes
    runs = [(4 * i, b"\xee\xee\xee\xee") for i in range(0, n, 2)]
    await store.apply("tasks", 1, owner, n, n + 1, save("more", runs, [(i, None) for i in range(0, n, 3)]), [])
    _, _, table = await stored_tasks(store)
    assert table.ids == {i: name for i, name in ids if i % 3}
    assert table.rows == b"".join(b"\xee\xee\xee\xee" if i % 2 == 0 else i.to_bytes(4, "little") for i in range(n))


@pytest.mark.parametrize("topic", sorted(TOPICS))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_worker_that_crashes_anywhere_leaves_what_one_that_never_did_leaves(
    topic: str, opener: Opener, data: st.DataObject
) -> None:
    items = data.draw(logs(topic))
    partition = next(_partitions)
    plain = Shard(topic, partition)
    expected = [made for at, item in enumerate(items) for made in feed(plain, [item], at)[0]]

    steps = [*data.draw(st.lists(st.sampled_from("fffwc"), max_size=30)), *"f" * len(items), "w"]

    async def work(store: TwinStore) -> None:
        owner, written, _ = await store.claim(topic, partition)
        shard, at, cuts = Shard(topic, partition, saved=True), 0, list[Cut]()
        for what in steps:
            if what == "c":
                owner, written, stored = await store.claim(topic, partition)
                shard = Shard.load(topic, partition, stored) if stored else Shard(topic, partition, saved=True)
                at, cuts = written, []
            elif what == "f" and at < len(items):
                end = min(len(items), at + data.draw(st.integers(1, 9)))
                cuts += feed(shard, items[at:end], at)[0]
                at = end
            if what == "w" and at > written:
                await store.apply(topic, partition, owner, written, at, shard.save(), cuts)
                written, cuts = at, []
        await _assert_left(store, plain, len(items), expected)

    async def run() -> None:
        store = opener()
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(run())


async def _assert_left(store: TwinStore, plain: Shard, position: int, expected: list[Cut]) -> None:
    topic, partition = plain.topic, plain.partition
    left = await store.read(topic, partition)
    assert (left is None) == (position == 0)
    if left is not None:
        assert left.next == position
        assert left.stored is not None
        shard = Shard.load(topic, partition, left.stored)
        assert content(shard.tables) == content(plain.tables)
        assert (shard.clock, shard.counts, shard._sums, shard.serial) == (
            plain.clock,
            plain.counts,
            plain._sums,
            plain.serial,
        )
    mirror, other = (MirrorShard(topic, partition, empty_tables(topic)) for _ in range(2))
    written = await store.cuts(topic, partition, -1)
    assert await store.last_serial(topic, partition) == plain.serial
    for mine, known in zip(written, expected, strict=True):
        mirror.apply(mine)
        other.apply(known)
        assert (mirror.sha(), mirror.counts, mine.sums) == (other.sha(), other.counts, known.sums)
