"""Following shards of a mirror: which rows to read again, whose they are, and their dictionaries in codes of our own.

Rows that a cut brings are a hint, never a condition: reading a row that has not changed changes nothing.
"""

from collections.abc import Iterable

import numpy as np

from twin.arrays import Bool1, Int1
from twin.ids import Texts
from twin.mirror import MirrorShard


class Translation:
    """Codes of a shard's dictionary → codes of another one, by partition and column; both only grow."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], Int1] = {}

    def of(self, partition: int, column: str, source: Texts, target: Texts) -> Int1:
        """The code in ``target`` of each code of ``source``, (len(source.names),)."""
        known = self._known.get((partition, column))
        have = 0 if known is None else len(known)
        if known is None or have < len(source.names):
            new = target.codes(source.names[have:])
            known = new if known is None else np.concatenate([known, new])
            self._known[partition, column] = known
        return known


class Reader:
    """Which rows of a table have to be read, and which of them hold another entity than before."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._last: dict[int, tuple[int, int]] = {}
        self._names: dict[int, list[str | None]] = {}

    def rows(self, shard: MirrorShard) -> Int1:
        """Rows that may have changed since the last call; all of them where cuts went by unseen."""
        position, serial = self._last.get(shard.partition, (-1, -2))
        self._last[shard.partition] = (shard.next, shard.serial)
        if shard.next == position:
            return np.zeros(0, np.int64)
        if shard.serial == serial + 1:
            return shard.changed[self._table]
        return np.arange(shard.tables[self._table].count, dtype=np.int64)

    def restore(self, shards: Iterable[MirrorShard]) -> None:
        """Go on as if all rows of ``shards`` had been read as they stand."""
        self._last = {shard.partition: (shard.next, shard.serial) for shard in shards}
        self._names = {shard.partition: list(shard.tables[self._table].ids.names) for shard in shards}

    def renamed(self, shard: MirrorShard, rows: Int1) -> Bool1:
        """Where ``rows`` hold another entity than at the last call, none before or none any more, (n,)."""
        now = shard.tables[self._table].ids.names
        names = self._names.setdefault(shard.partition, [])
        names.extend([None] * (len(now) - len(names)))
        other = np.zeros(len(rows), bool)
        for i, row in enumerate(rows.tolist()):
            if names[row] != now[row]:
                other[i] = True
                names[row] = now[row]
        return other
