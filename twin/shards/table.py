"""A named table of a shard: packed rows, the ids of the rows, the dictionaries of its text columns, and what changed."""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np

from twin.arrays import Byte1, Int1, Rows
from twin.ids import Ids, Texts

_FIRST_ROWS = 64
_STRUCT_CODES = {"<i8": "q", "<u8": "Q", "<i4": "i", "<f8": "d"}
NEVER_DUE = 2**63 - 1
NAN = float("nan")
_CUT, _SAVE = 1, 2
_BOTH = _CUT | _SAVE


@dataclass(frozen=True, slots=True)
class TableDelta:
    """The rows of a table that changed since the cut before, or all of them.

    ``index`` is (n,) ascending, ``rows`` (n,) the packed rows as opaque bytes; ``ids`` the assignments and releases in log order;
    ``texts`` the new texts of each dictionary; the hashes are the running ones after the change.
    """

    index: Int1
    rows: Rows
    ids: list[tuple[int, str | None]]
    ids_sha: bytes
    texts: dict[str, list[str]]
    texts_sha: dict[str, bytes]
    count: int

    @property
    def empty(self) -> bool:
        """Whether nothing changed."""
        return not len(self.index) and not self.ids and not self.texts


class Table:
    """Rows of one dtype, one per entity. An untouched or freed row is all zero bytes.

    ``due`` is a time before which no row can end: whoever frees rows need not look earlier.
    """

    FEW = 32
    """So many events are folded one by one, more in columns: NumPy costs by the call, Python by the event."""

    def __init__(self, name: str, dtype: np.dtype[np.void], texts: tuple[str, ...] = ()) -> None:
        self.name = name
        self.ids = Ids()
        self.texts = {column: Texts() for column in texts}
        self.due = NEVER_DUE
        self._offsets = {column: field[1] for column, field in (dtype.fields or {}).items()}
        self._any_dirty = 0
        self._nothing: TableDelta | None = None
        self._hold(np.zeros(_FIRST_ROWS, dtype), np.zeros(_FIRST_ROWS, np.uint8))

    def _hold(self, rows: Rows, dirty: Byte1) -> None:
        """``dirty``: a bit for changed since the last cut and one for changed since the last save, so one write notes both."""
        self.rows, self._dirty = rows, dirty
        self.width = rows.dtype.itemsize
        # NumPy moves opaque rows by memcpy, structured ones column by column, at up to a hundred times the cost
        self._packed: Rows = rows.view(f"V{self.width}")
        self.memory = rows.view(np.uint8).data
        self._marks = dirty.data

    @property
    def count(self) -> int:
        """Rows in use or freed: all rows from here on were never used."""
        return len(self.ids.names)

    def offset_of(self, column: str) -> int:
        """The byte of a row where ``column`` begins."""
        return self._offsets[column]

    def assign(self, names: list[str]) -> list[int]:
        """The row of each name; makes room for new ones."""
        rows = self.ids.rows(names)
        if len(self.ids.names) > len(self.rows):
            self._grow(len(self.ids.names))
        return rows

    def touch(self, rows: Int1) -> None:
        """Note that ``rows`` changed."""
        self._dirty[rows] = _BOTH
        self._any_dirty = _BOTH

    def touch_one(self, row: int) -> None:
        """Note that ``row`` changed."""
        self._marks[row] = _BOTH
        self._any_dirty = _BOTH

    def release(self, rows: Int1) -> None:
        """Zero and free ``rows``."""
        if len(rows):
            self._packed[rows] = np.void(self.width)
            self.touch(rows)
            self.ids.release(rows.tolist())

    def live(self) -> Rows:
        """A view of all rows below ``count``."""
        return self.rows[: self.count]

    def _grow(self, need: int) -> None:
        size = len(self.rows)
        bigger = max(need, 2 * size)
        rows, dirty = np.zeros(bigger, self.rows.dtype), np.zeros(bigger, np.uint8)
        dirty[:size] = self._dirty
        old = self._packed
        self._hold(rows, dirty)
        self._packed[:size] = old

    def delta(self, *, whole: bool) -> TableDelta:
        """What changed since the last call (everything if ``whole``)."""
        # texts come with rows, so without changed rows there are no new ones
        if not whole and not self._any_dirty & _CUT and not self.ids.changes and self._nothing is not None:
            return self._nothing
        changes, count = self.ids.take_changes(), self.count
        index = self._take(_CUT)
        texts = {column: texts.take_new() for column, texts in self.texts.items() if texts.has_new}
        if whole:
            index = np.arange(count, dtype=np.int64)
            changes = self.ids.assignments()
            texts = {column: texts.names[1:] for column, texts in self.texts.items() if len(texts.names) > 1}
        shas = {column: texts.sha for column, texts in self.texts.items()}
        self._nothing = TableDelta(index[:0], self._packed[:0], [], self.ids.sha, {}, shas, count)
        return TableDelta(index, self._packed[index], changes, self.ids.sha, texts, shas, count)

    def _take(self, bit: int) -> Int1:
        """The rows that are noted under ``bit``, (n,) ascending; clears it."""
        dirty = self._dirty[: self.count]
        index = (dirty & bit).astype(bool).nonzero()[0]
        dirty &= _BOTH - bit
        self._any_dirty &= ~bit
        return index

    def take_unsaved(self) -> Int1:
        """The rows that changed since the last call, (n,) ascending."""
        return self._take(_SAVE) if self._any_dirty & _SAVE else np.zeros(0, np.int64)

    def restore(self, packed: bytes, name_of: dict[int, str], count: int, ids_sha: bytes) -> None:
        """Go on from ``count`` packed rows and their ids, nothing of it new to the next cut or save.

        Raises:
            ValueError: ``packed`` is not ``count`` rows.
        """
        rows = np.frombuffer(packed, f"V{self.width}")
        if len(rows) != count:
            raise ValueError(f"{len(rows)} rows instead of {count}")
        self.ids.restore(name_of, count, ids_sha)
        if count > len(self.rows):
            self._grow(count)
        self._packed[:count] = rows
        self.due = 0

    def apply(self, delta: TableDelta, *, whole: bool) -> None:
        """Follow another table by its delta."""
        if whole:
            self._hold(np.zeros(_FIRST_ROWS, self.rows.dtype), np.zeros(_FIRST_ROWS, np.uint8))
            self.ids = Ids()
            self.texts = {column: Texts() for column in self.texts}
        self.due = 0
        self.ids.apply(delta.ids, delta.ids_sha)
        while len(self.ids.names) < delta.count:
            self.ids.names.append(None)
        if delta.count > len(self.rows):
            self._grow(delta.count)
        self._packed[delta.index] = delta.rows
        for column, sha in delta.texts_sha.items():
            self.texts[column].apply(delta.texts.get(column, ()), sha)


class Fields:
    """Neighbouring columns of a row, read and written as one tuple: one call where NumPy needs one for each column."""

    def __init__(self, dtype: np.dtype[np.void], *names: str) -> None:
        fields: Any = dtype.fields
        self.names = names
        self._offset = at = fields[names[0]][1]
        codes = "<"
        for name in names:
            column, offset = fields[name][:2]
            if offset != at:
                raise ValueError(f"column {name!r} does not follow its neighbour")
            codes += _STRUCT_CODES[column.str]
            at += column.itemsize
        self._struct = Struct(codes)
        self._dtype = np.dtype([(name, fields[name][0]) for name in names])
        self._packed = np.dtype(f"V{self._dtype.itemsize}")
        self._part_of_row = np.dtype(
            {"names": ["part"], "formats": [self._packed], "offsets": [self._offset], "itemsize": dtype.itemsize}
        )

    def get(self, table: Table, row: int, inside: int = 0) -> tuple[Any, ...]:
        """The columns of ``row``; ``inside`` is the byte of the row where the dtype begins, if it is nested in it."""
        return self._struct.unpack_from(table.memory, row * table.width + self._offset + inside)

    def put(self, table: Table, row: int, *values: float, inside: int = 0) -> None:
        """Write the columns of ``row``."""
        self._struct.pack_into(table.memory, row * table.width + self._offset + inside, *values)

    def write(self, table: Table, rows: list[int], values: Iterable[tuple[float | None, ...]]) -> None:
        """Write to each of ``rows`` its tuple of ``values``, (n,) both; a float None becomes NaN."""
        if len(rows) > table.FEW:
            # NumPy takes one tuple after the other: none is kept, so nothing wakes the garbage collector
            part = np.fromiter(values, self._dtype, len(rows)).view(self._packed)
            table.rows.view(self._part_of_row)["part"][rows] = part
            return
        for row, given in zip(rows, values, strict=True):
            known = [NAN if value is None else value for value in given] if None in given else given
            self._struct.pack_into(table.memory, row * table.width + self._offset, *known)
