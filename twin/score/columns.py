"""Columns that grow: what a run leaves behind, one number per task, run or interval."""

import numpy as np

from twin.arrays import AnyArray, Int1

_FIRST = 256


class Columns:
    """Named columns of one length; rows are only ever added."""

    def __init__(self, dtypes: dict[str, str]) -> None:
        self._columns = {name: np.zeros(_FIRST, dtype) for name, dtype in dtypes.items()}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, name: str) -> AnyArray:
        """A view of the rows in use; it goes stale when rows are added."""
        return self._columns[name][: self._count]

    def add(self, n: int) -> Int1:
        """``n`` new rows of zeros: their numbers, (n,)."""
        first, self._count = self._count, self._count + n
        size = len(next(iter(self._columns.values())))
        if self._count > size:
            for name, old in self._columns.items():
                self._columns[name] = np.zeros(max(self._count, 2 * size), old.dtype)
                self._columns[name][:size] = old
        return np.arange(first, self._count)


def fitted(numbers: Int1, rows: int, width: int = 1) -> Int1:
    """``numbers``, (rows before · width,), lengthened to ``rows`` · ``width`` with -1."""
    missing = rows * width - len(numbers)
    if missing <= 0:
        return numbers
    return np.concatenate([numbers, np.full(max(missing, len(numbers)), -1, np.int64)])
