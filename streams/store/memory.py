"""The store in memory: for one process that runs everything, and for tests of what runs on a store."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from streams.store.base import CUTS_AT_ONCE, Claim, check_order, fenced
from twin.shards.saved import ShardSave, StoredShard, StoredTable, TableSave
from twin.shards.shard import Cut


@dataclass(slots=True)
class _Table:
    rows: bytearray = field(default_factory=bytearray)
    ids: dict[int, str] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)

    def write(self, save: TableSave) -> None:
        for at, run in save.runs:
            self.rows.extend(bytes(max(0, at - len(self.rows))))
            self.rows[at : at + len(run)] = run
        for row, name in save.ids:
            if name is None:
                self.ids.pop(row, None)
            else:
                self.ids[row] = name
        for column, new in save.texts.items():
            self.texts.setdefault(column, []).extend(new)

    def copy(self) -> StoredTable:
        texts = {column: list(texts) for column, texts in self.texts.items()}
        return StoredTable(bytes(self.rows), dict(self.ids), texts)


@dataclass(slots=True)
class _Shard:
    owner: bytes = b""
    next: int = 0
    head: bytes = b""
    last_serial: int = -1
    tables: dict[str, _Table] = field(default_factory=dict)
    cuts: dict[int, Cut] = field(default_factory=dict)

    def read(self) -> Claim:
        if not self.head:
            return Claim(self.owner, 0, None)
        stored = StoredShard(self.head, {name: table.copy() for name, table in self.tables.items()})
        return Claim(self.owner, self.next, stored)


class MemoryStore:
    """A ``TwinStore`` that lives as long as its process."""

    def __init__(self) -> None:
        self._shards: dict[tuple[str, int], _Shard] = {}
        self._marks: dict[str, bytes] = {}

    def _shard(self, topic: str, partition: int) -> _Shard:
        return self._shards.get((topic, partition), _Shard())

    async def claim(self, topic: str, partition: int) -> Claim:
        """See ``TwinStore``."""
        shard = self._shards.setdefault((topic, partition), _Shard())
        shard.owner = secrets.token_bytes(8)
        return shard.read()

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
        shard = self._shard(topic, partition)
        if not owner or owner != shard.owner:
            raise fenced(topic, partition, base, next, "another process has claimed the shard")
        if shard.next == next:
            return
        if shard.next != base:
            raise fenced(topic, partition, base, next, f"the stored position is {shard.next}")
        for name, table in save.tables.items():
            shard.tables.setdefault(name, _Table()).write(table)
        shard.next, shard.head = next, save.head
        for cut in cuts:
            shard.cuts[cut.serial] = cut
            shard.last_serial = cut.serial

    async def holds(self, topic: str, partition: int, owner: bytes, position: int) -> bool:
        """See ``TwinStore``."""
        shard = self._shard(topic, partition)
        return shard.owner == owner and shard.next == position

    async def read(self, topic: str, partition: int) -> Claim | None:
        """See ``TwinStore``."""
        claim = self._shard(topic, partition).read()
        return claim if claim.stored else None

    async def forget(self, topic: str, partition: int) -> None:
        """See ``TwinStore``."""
        self._shards.pop((topic, partition), None)

    async def last_serial(self, topic: str, partition: int) -> int:
        """See ``TwinStore``."""
        return self._shard(topic, partition).last_serial

    async def cuts(self, topic: str, partition: int, after: int, limit: int = CUTS_AT_ONCE) -> list[Cut]:
        """See ``TwinStore``."""
        cuts = self._shard(topic, partition).cuts
        return [cuts[serial] for serial in sorted(serial for serial in cuts if serial > after)[:limit]]

    async def bases(self, topic: str, partition: int) -> list[int]:
        """See ``TwinStore``."""
        return sorted(serial for serial, cut in self._shard(topic, partition).cuts.items() if cut.base)

    async def drop_cuts(self, topic: str, partition: int, before: int) -> None:
        """See ``TwinStore``."""
        cuts = self._shard(topic, partition).cuts
        for serial in [serial for serial in cuts if serial < before]:
            del cuts[serial]

    async def pending(self, topic: str, partition: int) -> int:
        """See ``TwinStore``."""
        return len(self._shard(topic, partition).cuts)

    async def set_mark(self, name: str, value: bytes) -> None:
        """See ``TwinStore``."""
        self._marks[name] = value

    async def get_mark(self, name: str) -> bytes | None:
        """See ``TwinStore``."""
        return self._marks.get(name)

    async def close(self) -> None:
        """See ``TwinStore``."""
