"""The store in Redis (6.2 and later) or Valkey: packed rows, one script for each claim and each write.

Keys of the shard tasks-3, all in one hash slot::

    cpn:v1:{tasks:3}:meta          hash    owner, schema, next, head, serial (of the last cut)
    cpn:v1:{tasks:3}:rows:tasks    string  the packed rows of a table
    cpn:v1:{tasks:3}:ids:tasks     hash    row → id, of the rows in use
    cpn:v1:{tasks:3}:texts:tasks:tenant  list  the texts of a column in the order of their codes
    cpn:v1:{tasks:3}:cut:17        string  a cut
    cpn:v1:{tasks:3}:cuts, bases   sorted sets of serials
    cpn:v1:mark:NAME               string  a mark
"""

import os
import secrets
import socket
from collections.abc import Awaitable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
import stamina
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streams.store.base import CUTS_AT_ONCE, Claim, DamagedError, check_order, fenced
from twin.errors import AwayError, ConfigError, StoreError
from twin.shards.saved import ShardSave, StoredShard, StoredTable, TableSave, other_schema
from twin.shards.shard import SCHEMA, Cut, empty_tables
from twin.shards.wire import decode_cut, encode_cut

LAYOUT = "v1"
"""Of the keys."""
MOST_BYTES = 512 * 2**20
"""A string of Redis holds no more; a script that runs into it would stop half way."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_pack = msgspec.msgpack.encode
_unpack_texts = msgspec.msgpack.Decoder(list[str]).decode


_Change = tuple[Any, ...]


class _Layout(NamedTuple):
    """The keys of a topic's tables behind those all shards have, and the letters by which ``claim.lua`` reads them."""

    keys: list[tuple[str, ...]]
    kinds: str


@cache
def _layout(topic: str) -> _Layout:
    keys: list[tuple[str, ...]] = []
    for name, table in empty_tables(topic).items():
        keys += [("rows", name), ("ids", name), *(("texts", name, column) for column in table.texts)]
    return _Layout(keys, "".join(key[0][0] for key in keys))


class RedisStore:
    """A ``TwinStore`` in Redis.

    A command that is not answered in ``timeout_s`` fails; claims wait ``patience_s`` for a server that is away. Redis
    must neither evict keys nor lose what it acknowledged for good: see ``check``.
    """

    def __init__(self, url: str, namespace: str, *, timeout_s: float = 10.0, patience_s: float = 30.0) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=min(2.0, timeout_s),
            # a write may go out twice: apply knows its own, everything else is the same when done again
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), 3),
        )
        self._prefix, self._patience_s = f"{namespace}:{LAYOUT}", patience_s
        known = self._redis.connection_pool.connection_kwargs
        self._where = known.get("path") or f"{known.get('host', 'localhost')}:{known.get('port', 6379)}"
        self._process = f"{socket.gethostname()}.{os.getpid()}"
        self._claim, self._apply = self._script("claim"), self._script("apply")

    def _script(self, name: str) -> AsyncScript:
        """A script that is sent by its hash, and whole where Redis does not know it (any more)."""
        text = (files("streams.store") / "lua" / f"{name}.lua").read_text("utf-8")
        return self._redis.register_script(text)

    def _key(self, topic: str, partition: int, *rest: str | int) -> str:
        return ":".join([f"{self._prefix}:{{{topic}:{partition}}}", *map(str, rest)])

    async def _ask(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except RedisError as error:
            raise StoreError(f"Redis at {self._where}: {_said(error)}") from error

    # ------------------------------------------------------------------------------------------------- start, end

    async def check(self) -> None:
        """Look at the server before anything is trusted to it; warns where it may forget.

        Raises:
            AwayError: it does not answer.
            ConfigError: it refuses, or it evicts keys when it is full.
        """
        try:
            memory = await self._redis.info("memory")
            persistence = await self._redis.info("persistence")
        except RedisError as error:
            wrong = AwayError if _is_away(error) else ConfigError
            raise wrong(
                f"Redis at {self._where} cannot be used ({_said(error)}): start one there, or say where it"
                " is, and its password if it has one, with CPN_REDIS_URL=redis://:PASSWORD@HOST:6379/0"
            ) from error
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy.startswith("allkeys"):  # the volatile ones take keys with a time to live: the twin has none
            raise ConfigError(
                f"Redis at {self._where} has maxmemory-policy {policy}: it would drop parts of the twin when it is full."
                " Set `maxmemory-policy noeviction` in its configuration (at once: redis-cli config set maxmemory-policy"
                " noeviction)"
            )
        if not persistence.get("aof_enabled"):
            _log.warning(
                "store.no_aof",
                redis=self._where,
                detail="a crash of Redis loses all since its last dump, to be folded again; set `appendonly yes`",
            )

    async def close(self) -> None:
        """See ``TwinStore``."""
        await self._redis.aclose()

    # ------------------------------------------------------------------------------------------------- shards

    async def claim(self, topic: str, partition: int) -> Claim:
        """See ``TwinStore``."""
        # one token for all attempts: a claim that arrives twice is one claim
        token = f"{self._process}.{secrets.token_hex(8)}"
        return await self._ask(self._claim_patiently(topic, partition, token))

    async def _claim_patiently(self, topic: str, partition: int, token: str) -> Claim:
        patience = stamina.retry_context(
            _is_away, attempts=None, timeout=self._patience_s, wait_initial=0.1, wait_max=1.0, wait_jitter=0.1
        )
        async for attempt in patience:
            with attempt:
                return await self._read(topic, partition, token)
        raise AssertionError("unreachable: the last attempt raises")

    async def read(self, topic: str, partition: int) -> Claim | None:
        """See ``TwinStore``."""
        claim = await self._ask(self._read(topic, partition, ""))
        return claim if claim.stored else None

    async def _read(self, topic: str, partition: int, token: str) -> Claim:
        layout = _layout(topic)
        keys = [self._key(topic, partition, "meta"), *(self._key(topic, partition, *key) for key in layout.keys)]
        verdict, owner, *stored = await self._claim(keys=keys, args=[token, SCHEMA, layout.kinds])
        if verdict == b"schema":
            raise other_schema(f"{topic}-{partition} in Redis at {self._where}", int(owner), SCHEMA)
        if verdict == b"torn":
            raise DamagedError(
                f"{topic}-{partition} in Redis at {self._where}: the write up to {owner[5:].decode()} is half done"
            )
        if verdict == b"none":
            return Claim(owner, 0, None)
        next_, head, *parts = stored
        try:
            tables = _tables(layout, parts)
        except (msgspec.DecodeError, ValueError) as error:
            raise StoreError(f"{topic}-{partition} in Redis at {self._where} cannot be read: {error}") from error
        return Claim(owner, int(next_), StoredShard(head, tables))

    async def apply(  # noqa: PLR0917 - as the protocol has it
        self,
        topic: str,
        partition: int,
        owner: bytes,
        base: int,
        next: int,  # noqa: A002 - as the protocol has it
        save: ShardSave,
        cuts: Sequence[Cut],
    ) -> None:
        """See ``TwinStore``."""
        check_order(topic, partition, base, next)
        changes, blobs = _changes(save.tables)
        keys = [self._key(topic, partition, *key) for key in [("meta",), ("cuts",), ("bases",), *changes]]
        args: list[bytes | int] = [owner, base, next, SCHEMA, save.head, _pack(list(changes.values())), *blobs]
        for cut in cuts:
            keys.append(self._key(topic, partition, "cut", cut.serial))
            args += [cut.serial, int(cut.base), encode_cut(cut)]
        verdict, stored = await self._ask(self._apply(keys=keys, args=args))
        if verdict == b"fenced":
            why = "another process has claimed the shard, or Redis has lost the claim"
            raise fenced(topic, partition, base, next, why)
        if verdict == b"moved":
            raise fenced(topic, partition, base, next, f"the stored position is {int(stored)}; Redis has rolled back?")

    async def holds(self, topic: str, partition: int, owner: bytes, position: int) -> bool:
        """See ``TwinStore``."""
        stored = await self._ask(self._redis.hmget(self._key(topic, partition, "meta"), ["owner", "next"]))
        holder, at = cast("list[bytes | None]", stored)
        return holder == owner and int(at or 0) == position

    async def forget(self, topic: str, partition: int) -> None:
        """See ``TwinStore``."""
        cuts = [("cut", serial) for serial in await self._serials(topic, partition, "cuts")]
        names = [("meta",), ("cuts",), ("bases",), *_layout(topic).keys, *cuts]
        await self._ask(self._redis.unlink(*[self._key(topic, partition, *name) for name in names]))

    # ------------------------------------------------------------------------------------------------- cuts

    async def last_serial(self, topic: str, partition: int) -> int:
        """See ``TwinStore``."""
        serial = await self._ask(self._redis.hget(self._key(topic, partition, "meta"), "serial"))
        return -1 if serial is None else int(serial)

    async def cuts(self, topic: str, partition: int, after: int, limit: int = CUTS_AT_ONCE) -> list[Cut]:
        """See ``TwinStore``."""
        serials = await self._serials(topic, partition, "cuts", least=f"({after}", limit=limit)
        if not serials:
            return []
        keys = [self._key(topic, partition, "cut", serial) for serial in serials]
        stored = cast("list[bytes | None]", await self._ask(self._redis.mget(keys)))
        # cuts are dropped from below: those before the first one that is there went between the two questions
        while stored and stored[0] is None:
            stored, serials = stored[1:], serials[1:]
        if None in stored:
            lost = serials[stored.index(None)]
            raise StoreError(f"Redis at {self._where} has lost cut {lost} of {topic}-{partition}; was it evicted?")
        return [decode_cut(data) for data in stored if data is not None]

    async def bases(self, topic: str, partition: int) -> list[int]:
        """See ``TwinStore``."""
        return await self._serials(topic, partition, "bases")

    async def _serials(
        self, topic: str, partition: int, name: str, *, least: str = "-inf", most: str = "+inf", limit: int = -1
    ) -> list[int]:
        key = self._key(topic, partition, name)
        found = await self._ask(self._redis.zrangebyscore(key, least, most, start=0, num=limit))
        return [int(serial) for serial in cast("list[bytes]", found)]

    async def drop_cuts(self, topic: str, partition: int, before: int) -> None:
        """See ``TwinStore``."""
        serials = await self._serials(topic, partition, "cuts", most=f"({before}")
        if not serials:
            return
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.unlink(*[self._key(topic, partition, "cut", serial) for serial in serials])
            for name in ("cuts", "bases"):
                pipe.zremrangebyscore(self._key(topic, partition, name), "-inf", f"({before}")
            await self._ask(pipe.execute())

    async def pending(self, topic: str, partition: int) -> int:
        """See ``TwinStore``."""
        return int(await self._ask(self._redis.zcard(self._key(topic, partition, "cuts"))))

    # ------------------------------------------------------------------------------------------------- marks

    async def set_mark(self, name: str, value: bytes) -> None:
        """See ``TwinStore``."""
        await self._ask(self._redis.set(f"{self._prefix}:mark:{name}", value))

    async def get_mark(self, name: str) -> bytes | None:
        """See ``TwinStore``."""
        return cast("bytes | None", await self._ask(self._redis.get(f"{self._prefix}:mark:{name}")))


def _said(error: RedisError) -> str:
    """What went wrong; some errors say nothing but their name."""
    return str(error) or type(error).__name__


def _is_away(error: Exception) -> bool:
    """Whether the server may be back soon; a refused password will not be."""
    away = isinstance(error, RedisConnectionError | RedisTimeoutError)
    return away and not isinstance(error, AuthenticationError)


def _changes(tables: dict[str, TableSave]) -> tuple[dict[tuple[str, ...], _Change], list[bytes]]:
    """What ``apply.lua`` is to do with each key, and the bytes of changed rows: its arguments from the seventh on.

    Raises:
        ConfigError: a table outgrows a string of Redis.
    """
    changes: dict[tuple[str, ...], _Change] = {}
    blobs: list[bytes] = []
    for name, table in tables.items():
        if table.runs:
            offsets, runs = zip(*table.runs, strict=True)
            if offsets[-1] + len(runs[-1]) > MOST_BYTES:
                raise ConfigError(
                    f"table {name} has outgrown the {MOST_BYTES >> 20} MiB of a value in Redis: the topic needs more partitions"
                )
            changes["rows", name] = ("r", offsets, [len(run) for run in runs], 7 + len(blobs))
            blobs.append(b"".join(runs))
        if table.ids:
            new = [part for row, entity in table.ids if entity is not None for part in (row, entity)]
            changes["ids", name] = ("i", new, [row for row, entity in table.ids if entity is None])
        for column, texts in table.texts.items():
            changes["texts", name, column] = ("t", texts)
    return changes, blobs


def _tables(layout: _Layout, parts: list[bytes]) -> dict[str, StoredTable]:
    """The tables out of what ``claim.lua`` returned for each key."""
    tables: dict[str, StoredTable] = {}
    for (kind, name, *column), part in zip(layout.keys, parts, strict=True):
        if kind == "rows":
            tables[name] = StoredTable(part, {}, {})
        elif kind == "ids":
            flat = _unpack_texts(part)
            tables[name].ids.update(zip(map(int, flat[::2]), flat[1::2], strict=True))
        else:
            tables[name].texts[column[0]] = _unpack_texts(part)
    return tables
