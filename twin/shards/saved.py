"""A shard as it is stored: what changed since it was saved last, and how it goes on from what is stored.

A save is small: the changed rows as runs of bytes, ids and texts that came or went, and a head with everything that is
not in a table. Applied in order to what is stored they give the whole shard at the position of the last one, so a
process that claims the shard goes on exactly where the log was folded to. Pure: who stores it is no matter here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from twin.arrays import Int1
from twin.errors import ConfigError, StoreError
from twin.ids import ZERO_SHA
from twin.shards.table import Table
from twin.window import WindowClock

GAP = 256
"""Unchanged bytes between two changed rows that are written along with them: a run of its own costs about as much."""

_SHA = len(ZERO_SHA)


@dataclass(frozen=True, slots=True)
class TableSave:
    """What changed in a table since the last save.

    ``runs`` are (byte offset in the packed rows, bytes), ascending; ``ids`` the newest word on each row, None for a freed
    one; ``texts`` the new texts of each text column, in the order of their codes.
    """

    runs: list[tuple[int, bytes]]
    ids: list[tuple[int, str | None]]
    texts: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class ShardSave:
    """What changed in a shard since the last save: the head replaces the one before, tables without changes are left out."""

    head: bytes
    tables: dict[str, TableSave]


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table as stored: packed rows, row → id of those in use, all texts of each column but the empty one."""

    rows: bytes
    ids: dict[int, str]
    texts: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class StoredShard:
    """A shard as stored. A table that nothing was saved of may be left out."""

    head: bytes
    tables: dict[str, StoredTable]


class TableHead(msgspec.Struct, frozen=True):
    """What the head says of a table: numbers of rows and of texts, and the running hashes, those of texts one after another."""

    count: int
    ids_sha: bytes
    texts: list[int]
    texts_sha: bytes


class Head(msgspec.Struct, frozen=True):
    """Everything of a shard that is not in a table. ``sums`` are those since the last cut, ``serial`` is the next cut's."""

    schema: int
    clock: WindowClock
    counts: dict[str, int]
    sums: dict[str, int]
    serial: int
    tables: dict[str, TableHead]


class _Schema(msgspec.Struct):
    schema: int


encode_head = msgspec.msgpack.Encoder().encode
_decode_schema = msgspec.msgpack.Decoder(_Schema).decode
_decode_head = msgspec.msgpack.Decoder(Head).decode


def save_tables(tables: dict[str, Table]) -> dict[str, TableSave]:
    """What changed in each table since the last call; tables without changes are left out."""
    saves = {name: _save_table(table) for name, table in tables.items()}
    return {name: save for name, save in saves.items() if save.runs or save.ids or save.texts}


def _save_table(table: Table) -> TableSave:
    texts = {column: texts.take_unsaved() for column, texts in table.texts.items() if texts.has_unsaved}
    return TableSave(list(_runs(table, table.take_unsaved())), table.ids.take_unsaved(), texts)


def _runs(table: Table, index: Int1) -> Iterator[tuple[int, bytes]]:
    """The rows ``index`` (ascending) as runs of bytes, gaps of up to ``GAP`` bytes written along."""
    if not len(index):
        return
    width = table.width
    breaks = (np.diff(index) - 1) * width > GAP
    starts = index[np.concatenate(([True], breaks))] * width
    ends = (index[np.concatenate((breaks, [True]))] + 1) * width
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield start, bytes(table.memory[start:end])


def table_heads(tables: dict[str, Table]) -> dict[str, TableHead]:
    """What the head of a shard says of its tables."""
    return {
        name: TableHead(
            table.count,
            table.ids.sha,
            [len(texts.names) - 1 for texts in table.texts.values()],
            b"".join([texts.sha for texts in table.texts.values()]),
        )
        for name, table in tables.items()
    }


def decode_head(head: bytes, schema: int, shard: str) -> Head:
    """The head of ``shard`` (its name is for errors), which must be of ``schema``.

    Raises:
        ConfigError: it is of another schema.
        StoreError: it is damaged.
    """
    try:
        stored = _decode_schema(head).schema
        if stored == schema:
            return _decode_head(head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StoreError(f"{shard}: the stored head cannot be read: {error}") from error
    raise other_schema(shard, stored, schema)


def other_schema(shard: str, stored: int, schema: int) -> ConfigError:
    """The error for state of another schema than this version reads."""
    return ConfigError(
        f"{shard}: the stored state is of schema {stored}, this version reads {schema}. Run the version that wrote it, or"
        " give this one another CPN_NAMESPACE or an empty store: it then folds the state anew from the start of the log"
    )


def load_tables(tables: dict[str, Table], stored: StoredShard, head: Head, shard: str) -> None:
    """Fill empty ``tables`` with what is stored of ``shard``.

    Raises:
        StoreError: what is stored is not what the head says.
    """
    if set(head.tables) != set(tables) or not set(stored.tables) <= set(tables):
        names = sorted(set(head.tables) ^ set(tables) | set(stored.tables) - set(tables))
        raise StoreError(f"{shard}: stored tables are not those of the topic: {', '.join(names)}")
    for name, table in tables.items():
        try:
            _load_table(table, stored.tables.get(name, StoredTable(b"", {}, {})), head.tables[name])
        except ValueError as error:
            raise StoreError(
                f"{shard}: the stored table {name} is not whole ({error}); was part of it deleted or evicted?"
            ) from error


def _load_table(table: Table, stored: StoredTable, head: TableHead) -> None:
    if any(not 0 <= row < head.count for row in stored.ids) or len(set(stored.ids.values())) < len(stored.ids):
        raise ValueError("ids of rows that are not there, or one id twice")
    table.restore(stored.rows, stored.ids, head.count, head.ids_sha)
    counts = [len(stored.texts.get(column, ())) for column in table.texts]
    if counts != head.texts or len(head.texts_sha) != _SHA * len(counts):
        raise ValueError(f"{counts} texts instead of {head.texts}")
    for k, (column, texts) in enumerate(table.texts.items()):
        texts.restore(stored.texts.get(column, ()), head.texts_sha[k * _SHA : (k + 1) * _SHA])
