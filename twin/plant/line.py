"""The queue of a pool: who comes next of those that need the same, and a quick word on whether a look is worth it."""

from bisect import bisect_left, insort
from typing import Generic, TypeVar

E = TypeVar("E")
Need = tuple[int, int, int, int]
"""Accelerators, cores, GiB of memory, watts of IT power; all in millionths."""
Kind = tuple[int, ...]
"""What makes entries equals: their need; for one that brings room along, which its task gives up by starting, also its
number, so that it has no equals and no bound."""
Key = tuple[int, int, int]
"""(-priority, ready since, number): no two are equal."""
Item = tuple[int, int, int, E]
"""A key and its entry; sorted by the key alone, since no two are equal."""

ENDLESS = 1 << 100
NEVER: Need = (ENDLESS, ENDLESS, ENDLESS, ENDLESS)
ALWAYS: Need = (-ENDLESS, -ENDLESS, -ENDLESS, -ENDLESS)


class Line(Generic[E]):
    """Entries in order, in one list for each kind: what has no room for one has none for its equals.

    ``least`` bounds from below what any of them needs.
    """

    __slots__ = ("_tight", "equals", "least")

    def __init__(self) -> None:
        self.equals: dict[Kind, list[Item[E]]] = {}
        self.least: Kind = NEVER
        self._tight = True

    def add(self, key: Key, kind: Kind, entry: E) -> None:
        """Let ``entry`` join in its place."""
        insort(self.equals.setdefault(kind, []), (*key, entry))
        a, b, c, d = self.least
        p, q, r, s = _bound(kind)
        self.least = (min(a, p), min(b, q), min(c, r), min(d, s))

    def remove(self, key: Key, kind: Kind) -> None:
        """Let the entry with ``key``, which is in the line, leave it."""
        items = self.equals[kind]
        del items[bisect_left(items, key)]  # a shorter tuple sorts before the longer one that it begins
        if items:
            return
        del self.equals[kind]
        self._tight = False
        if not self.equals:
            self.least = NEVER

    def tighten(self) -> None:
        """Make ``least`` exact again after removals."""
        if not self._tight and self.equals:
            a, b, c, d = zip(*map(_bound, self.equals), strict=True)
            self.least = (min(a), min(b), min(c), min(d))
        self._tight = True


def _bound(kind: Kind) -> Kind:
    return kind if len(kind) == len(ALWAYS) else ALWAYS
