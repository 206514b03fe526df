"""A named table of a shard: packed rows, the ids of the rows, the dictionaries of its text columns, and what changed."""

from dataclasses import dataclass

import numpy as np

from twin.arrays import AnyArray, Bool1, Int1, Rows
from twin.ids import Ids, Texts

_FIRST_ROWS = 64


@dataclass(frozen=True, slots=True)
class TableDelta:
    """The rows of a table that changed since the cut before, or all of them.

    ``index`` is (n,) ascending, ``rows`` (n,) of the table's dtype; ``ids`` the assignments and releases in log order;
    ``texts`` the new texts of each dictionary; the hashes are the running ones after the change.
    """

    index: Int1
    rows: Rows
    ids: list[tuple[int, str | None]]
    ids_sha: bytes
    texts: dict[str, list[str]]
    texts_sha: dict[str, bytes]
    count: int


class Table:
    """Rows of one dtype, one per entity. An untouched or freed row is all zero bytes."""

    def __init__(self, name: str, dtype: np.dtype[np.void], texts: tuple[str, ...] = ()) -> None:
        self.name = name
        self.rows: Rows = np.zeros(_FIRST_ROWS, dtype)
        self.ids = Ids()
        self.texts = {column: Texts() for column in texts}
        self._dirty: Bool1 = np.zeros(_FIRST_ROWS, bool)
        self._any_dirty = False

    @property
    def count(self) -> int:
        """Rows in use or freed: all rows from here on were never used."""
        return len(self.ids.names)

    def assign(self, names: list[str]) -> Int1:
        """The row of each name; makes room for new ones. Shape (len(names),)."""
        rows = self.ids.rows(names)
        self._grow(self.count)
        return rows

    def touch(self, rows: AnyArray | int) -> None:
        """Note that ``rows`` changed since the last cut."""
        self._dirty[rows] = True
        self._any_dirty = True

    def release(self, rows: Int1) -> None:
        """Zero and free ``rows``."""
        if len(rows):
            self.rows[rows] = np.zeros((), self.rows.dtype)
            self.touch(rows)
            self.ids.release(rows.tolist())

    def live(self) -> Rows:
        """A view of all rows below ``count``."""
        return self.rows[: self.count]

    def _grow(self, need: int) -> None:
        size = len(self.rows)
        if need <= size:
            return
        bigger = max(need, 2 * size)
        rows = np.zeros(bigger, self.rows.dtype)
        rows[:size] = self.rows
        dirty = np.zeros(bigger, bool)
        dirty[:size] = self._dirty
        self.rows, self._dirty = rows, dirty

    def delta(self, *, whole: bool) -> TableDelta:
        """What changed since the last call (everything if ``whole``)."""
        if whole:
            index = np.arange(self.count, dtype=np.int64)
            self.ids.take_changes()
            ids = self.ids.assignments()
        else:
            index = np.flatnonzero(self._dirty[: self.count]) if self._any_dirty else np.zeros(0, np.int64)
            ids = self.ids.take_changes()
        new_texts = {column: texts.take_new() for column, texts in self.texts.items()}
        if whole:
            new_texts = {column: texts.names[1:] for column, texts in self.texts.items()}
        if self._any_dirty:
            self._dirty[: self.count] = False
            self._any_dirty = False
        return TableDelta(
            index=index,
            rows=self.rows[index],
            ids=ids,
            ids_sha=self.ids.sha,
            texts={column: new for column, new in new_texts.items() if new},
            texts_sha={column: texts.sha for column, texts in self.texts.items()},
            count=self.count,
        )

    def apply(self, delta: TableDelta, *, whole: bool) -> None:
        """Follow another table by its delta."""
        if whole:
            self.rows = np.zeros(_FIRST_ROWS, self.rows.dtype)
            self._dirty = np.zeros(_FIRST_ROWS, bool)
            self.ids = Ids()
            self.texts = {column: Texts() for column in self.texts}
        self.ids.apply(delta.ids, delta.ids_sha)
        while len(self.ids.names) < delta.count:
            self.ids.names.append(None)
        self._grow(delta.count)
        self.rows[delta.index] = delta.rows
        for column, texts in self.texts.items():
            texts.apply(delta.texts.get(column, ()), delta.texts_sha[column])
