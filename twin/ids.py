"""Id ↔ row and text ↔ code: both assigned in log order, both with a running hash, so that state can be compared by hash."""

import hashlib
import heapq
from collections.abc import Iterable, Sequence

import numpy as np

from twin.arrays import Int1

ZERO_SHA = bytes(32)


def _chain(sha: bytes, change: str) -> bytes:
    return hashlib.sha256(sha + change.encode()).digest()


class Ids:
    """Rows of one table by entity id. A freed row is used again, the lowest first.

    ``sha`` is a running hash over every assignment and release in log order; ``changes`` holds those since the last
    ``take_changes`` as (row, id), id None for a release; ``unsaved`` the newest one of each row since the last
    ``take_unsaved``, if somebody saves (else None).
    """

    def __init__(self) -> None:
        self.row_of: dict[str, int] = {}
        self.names: list[str | None] = []
        self.sha = ZERO_SHA
        self.changes: list[tuple[int, str | None]] = []
        self.unsaved: dict[int, str | None] | None = None
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.row_of)

    def rows(self, names: Sequence[str]) -> list[int]:
        """The row of each name, new rows for names not seen before, in the order of ``names``."""
        found = list(map(self.row_of.get, names))
        if None in found:
            return [self._assign(name) if row is None else row for name, row in zip(names, found, strict=True)]
        return found  # type: ignore[return-value]  # no None left

    def _assign(self, name: str) -> int:
        row = self.row_of.get(name)  # the same new name may stand twice in one call
        if row is not None:
            return row
        if self._free:
            row = heapq.heappop(self._free)
            self.names[row] = name
        else:
            row = len(self.names)
            self.names.append(name)
        self.row_of[name] = row
        self._note(row, name)
        return row

    def release(self, rows: Iterable[int]) -> None:
        """Free ``rows``, in the order given."""
        for row in rows:
            name = self.names[row]
            if name is None:
                continue
            del self.row_of[name]
            self.names[row] = None
            heapq.heappush(self._free, row)
            self._note(row, None)

    def _note(self, row: int, name: str | None) -> None:
        self.sha = _chain(self.sha, f"{row}-" if name is None else f"{row}+{name}")
        self.changes.append((row, name))
        if self.unsaved is not None:
            self.unsaved[row] = name

    def take_changes(self) -> list[tuple[int, str | None]]:
        """What changed since the last call."""
        changes, self.changes = self.changes, []
        return changes

    def take_unsaved(self) -> list[tuple[int, str | None]]:
        """The newest change of each row that changed since the last call."""
        unsaved, self.unsaved = self.unsaved, {}
        return list(unsaved.items()) if unsaved else []

    def restore(self, name_of: dict[int, str], count: int, sha: bytes) -> None:
        """Go on from ``count`` rows of which those in ``name_of`` are in use, the others free."""
        self.names = [name_of.get(row) for row in range(count)]
        self.row_of = {name: row for row, name in enumerate(self.names) if name is not None}
        self._free = [row for row, name in enumerate(self.names) if name is None]  # ascending, so it is a heap
        self.sha = sha

    def assignments(self) -> list[tuple[int, str | None]]:
        """All rows in use, as changes from nothing, in ascending row."""
        return [(row, name) for row, name in enumerate(self.names) if name is not None]

    def apply(self, changes: Iterable[tuple[int, str | None]], sha: bytes) -> None:
        """Follow another ``Ids`` by its changes; ``sha`` is the other's running hash after them."""
        for row, name in changes:
            while len(self.names) <= row:
                self.names.append(None)
            old = self.names[row]
            if old is not None:
                self.row_of.pop(old, None)
            self.names[row] = name
            if name is not None:
                self.row_of[name] = row
        self.sha = sha


class Texts:
    """A dictionary of texts; code 0 is the empty text, which also stands for "absent"."""

    def __init__(self) -> None:
        self.code_of: dict[str, int] = {"": 0}
        self.names: list[str] = [""]
        self.sha = ZERO_SHA
        self._taken = 1
        self._saved = 1

    def codes(self, texts: Sequence[str]) -> Int1:
        """The code of each text, new codes in the order of ``texts``. Shape (len(texts),)."""
        return np.array(self.code_list(texts), np.int64)

    def code_list(self, texts: Sequence[str]) -> list[int]:
        """``codes`` as a list."""
        found = list(map(self.code_of.get, texts))
        if None in found:
            return [self._assign(text) if code is None else code for text, code in zip(texts, found, strict=True)]
        return found  # type: ignore[return-value]  # no None left

    def _assign(self, text: str) -> int:
        code = self.code_of.get(text)
        if code is None:
            code = self.code_of[text] = len(self.names)
            self.names.append(text)
            self.sha = _chain(self.sha, text)
        return code

    @property
    def has_new(self) -> bool:
        """Whether texts were added since the last ``take_new``."""
        return len(self.names) > self._taken

    def take_new(self) -> list[str]:
        """Texts added since the last call, in the order of their codes."""
        new, self._taken = self.names[self._taken :], len(self.names)
        return new

    @property
    def has_unsaved(self) -> bool:
        """Whether texts were added since the last ``take_unsaved``."""
        return len(self.names) > self._saved

    def take_unsaved(self) -> list[str]:
        """Texts added since the last call, in the order of their codes; on its own count beside ``take_new``."""
        new, self._saved = self.names[self._saved :], len(self.names)
        return new

    def restore(self, texts: Iterable[str], sha: bytes) -> None:
        """Go on from ``texts``, all in the order of their codes, as taken and saved."""
        self.apply(texts, sha)
        self._taken = self._saved = len(self.names)

    def apply(self, new: Iterable[str], sha: bytes) -> None:
        """Follow another dictionary by its new texts."""
        for text in new:
            self.code_of[text] = len(self.names)
            self.names.append(text)
        self.sha = sha
