"""The dispatcher's copy of all shards, kept current by their cuts, and the hash of the twin's state.

A snapshot is named by its vector of log positions. Its hash is over the hashes of the shards; a shard's is over its
position, the running hashes of its ids and dictionaries, and the hash of each 4 KiB page of each table, of which only
pages that changed are hashed again.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from twin.arrays import Int1
from twin.errors import TwinBug
from twin.shards.fold import Tables
from twin.shards.shard import SCHEMA, Cut, empty_tables
from twin.shards.table import Table, TableDelta

PAGE = 4096


class Pages:
    """Hashes of the pages of one table's rows. Rows are noted as they change; pages are hashed when a hash is asked for."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []
        self._count = 0
        self._changed: list[Int1] = []

    def note(self, changed: Int1, *, whole: bool) -> None:
        """Rows ``changed`` have changed, or all of them."""
        if whole:
            self._digests, self._count, self._changed = [], 0, []
        self._changed.append(changed)

    def digest(self, table: Table) -> bytes:
        """Hash over the page hashes, up to date with the rows of ``table``."""
        size, used = table.width, table.count * table.width
        pages = -(-used // PAGE)
        dirty = set(range(self._count * size // PAGE, pages))  # what the table has grown by
        for rows in self._changed:  # a row is no wider than a page, so it lies on two at most
            dirty.update((rows * size // PAGE).tolist(), ((rows * size + size - 1) // PAGE).tolist())
        self._changed, self._count = [], table.count
        self._digests.extend([b""] * (pages - len(self._digests)))
        for page in dirty:
            block = table.memory[page * PAGE : min(used, (page + 1) * PAGE)].tobytes()
            self._digests[page] = hashlib.sha256(block.ljust(PAGE, b"\0")).digest()
        return hashlib.sha256(b"".join(self._digests)).digest()


@dataclass(slots=True)
class MirrorShard:
    """One shard as of its last cut. ``changed`` and ``released`` are the rows that cuts changed or freed, by table.

    ``window_ms`` and ``lateness_ms`` are those of the window that is open now.
    """

    topic: str
    partition: int
    tables: Tables
    next: int = 0
    time: int = 0
    window_ms: int = 0
    lateness_ms: int = 0
    serial: int = -1
    changed: dict[str, Int1] = field(default_factory=dict)
    released: dict[str, list[int]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    version: int = 0
    """Counts the cuts that changed anything; readers cache by it."""
    _pages: dict[str, Pages] = field(default_factory=dict)
    _hashed: bytes = b""
    _hashed_version: int = -1

    def apply(self, cut: Cut) -> None:
        """Follow the shard by its next cut.

        Raises:
            TwinBug: the cut is a delta and does not follow the one applied last.
        """
        if not cut.base and cut.serial != self.serial + 1:
            message = f"{cut.topic}-{cut.partition}: cut {cut.serial} does not follow {self.serial}"
            raise TwinBug(message)
        self.next, self.time, self.serial = cut.next, cut.time, cut.serial
        self.window_ms, self.lateness_ms = cut.window_ms, cut.lateness_ms
        for name, n in cut.sums.items():
            self.counts[name] = self.counts.get(name, 0) + n
        moved = False
        for name, delta in cut.tables.items():
            self.changed[name] = delta.index
            if delta.empty and not cut.base:
                self.released[name] = []
                continue
            self._apply_table(name, delta, whole=cut.base)
            moved = True
        self.version += moved

    def _apply_table(self, name: str, delta: TableDelta, *, whole: bool) -> None:
        table = self.tables[name]
        self.released[name] = [row for row, entity in delta.ids if entity is None]
        if whole:
            now = dict(delta.ids)
            known = enumerate(table.ids.names)
            self.released[name] = [row for row, entity in known if entity is not None and now.get(row) != entity]
        table.apply(delta, whole=whole)
        self._pages.setdefault(name, Pages()).note(delta.index, whole=whole)

    def sha(self) -> bytes:
        """Hash of the shard (semantics: schema, topic, partition, position, ids and dictionaries, pages)."""
        if self._hashed_version != self.version:
            self._hashed, self._hashed_version = b"".join(self._table_hashes()), self.version
        head = f"{SCHEMA}|{self.topic}|{self.partition}|{self.next}".encode()
        return hashlib.sha256(head + self._hashed).digest()

    def _table_hashes(self) -> Iterator[bytes]:
        for name in sorted(self.tables):
            table = self.tables[name]
            yield name.encode() + table.ids.sha
            for column, texts in sorted(table.texts.items()):
                yield column.encode() + texts.sha
            yield self._pages.setdefault(name, Pages()).digest(table)


class Mirror:
    """All shards of a run, (topic, partition) → shard."""

    def __init__(self, partitions: dict[str, int]) -> None:
        self.shards = {
            (topic, partition): MirrorShard(topic, partition, empty_tables(topic))
            for topic, n in sorted(partitions.items())
            for partition in range(n)
        }
        self._unread: set[tuple[str, int]] = set()

    def apply(self, cut: Cut) -> None:
        """Follow one shard by its cut. What cuts change and free adds up until the mirror is read."""
        at = (cut.topic, cut.partition)
        shard = self.shards[at]
        if at in self._unread:
            changed, released = dict(shard.changed), dict(shard.released)
            shard.apply(cut)
            for name, rows in changed.items():
                shard.changed[name] = np.union1d(rows, shard.changed[name])
                shard.released[name] = released[name] + shard.released[name]
        else:
            shard.apply(cut)
            self._unread.add(at)

    def read(self) -> None:
        """Note that all changes have been looked at: the next cut of a shard begins anew."""
        self._unread.clear()

    def of(self, topic: str) -> list[MirrorShard]:
        """The shards of a topic in the order of their partitions."""
        return [shard for (name, _), shard in self.shards.items() if name == topic]

    def positions(self) -> dict[str, int]:
        """The vector of log positions that names the snapshot."""
        return {f"{topic}-{partition}": shard.next for (topic, partition), shard in self.shards.items()}

    def state_sha256(self) -> str:
        """Hash of the whole state, over the shard hashes sorted by (topic, partition)."""
        return hashlib.sha256(b"".join(self.shards[key].sha() for key in sorted(self.shards))).hexdigest()
