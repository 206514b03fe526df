"""Small saves and cuts by hand, to write and to find again."""

import numpy as np

from twin.shards.saved import ShardSave, StoredTable, TableSave
from twin.shards.shard import Cut, empty_tables
from twin.shards.table import TableDelta

WIDTH = empty_tables("tasks")["tasks"].width
NOTHING = ShardSave(b"nothing", {})


def save(
    head: str,
    runs: list[tuple[int, bytes]] | None = None,
    ids: list[tuple[int, str | None]] | None = None,
    **texts: list[str],
) -> ShardSave:
    """A save of a shard of tasks; the stores look at nothing of it."""
    return ShardSave(head.encode(), {"tasks": TableSave(runs or [], ids or [], texts)})


def of_tasks(table: StoredTable, *columns: str) -> tuple[object, ...]:
    """Rows, ids and the texts of some columns."""
    return (table.rows, table.ids, *(table.texts.get(column, []) for column in columns))


def cut(serial: int, *, base: bool = False, fill: int = 0) -> Cut:
    """A cut of tasks-1 with one row of bytes ``fill``."""
    shas = dict.fromkeys(empty_tables("tasks")["tasks"].texts, b"t" * 32)
    rows = np.frombuffer(bytes([fill]) * WIDTH, f"V{WIDTH}")
    delta = TableDelta(np.arange(1), rows, [(0, "a")], b"i" * 32, {"tenant": ["ü"]}, shas, 1)
    return Cut(
        "tasks", 1, serial * 5, (), serial, serial * 10, serial * 5 + 1, 5, 1, base, {"tasks": delta}, {"n": serial}
    )
