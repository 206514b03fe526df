"""The queue of a pool: first come first served within priority, with a quick word on whether a look is worth it."""

from bisect import bisect_left, insort
from typing import Generic, TypeVar

E = TypeVar("E")
Need = tuple[int, int, int, int]
"""Accelerators, cores, GiB of memory, watts of IT power; all in millionths."""
Key = tuple[int, int, int]
"""(-priority, ready since, number): no two are equal."""
Item = tuple[int, int, int, Need, E]
"""A key, what is needed, and the entry itself; sorted by the key, since no two are equal."""

ENDLESS = 1 << 100
NOTHING: Need = (-ENDLESS, -ENDLESS, -ENDLESS, -ENDLESS)
"""For an entry that brings its room along, so that no bound on what it takes holds."""


class Line(Generic[E]):
    """Entries in order. ``least`` bounds from below what any of them needs."""

    __slots__ = ("_tight", "items", "least")

    def __init__(self) -> None:
        self.items: list[Item[E]] = []
        self.least: Need = (ENDLESS, ENDLESS, ENDLESS, ENDLESS)
        self._tight = True

    def add(self, key: Key, need: Need, entry: E) -> None:
        """Let ``entry`` join in its place."""
        insort(self.items, (*key, need, entry))
        a, b, c, d = self.least
        p, q, r, s = need
        self.least = (min(a, p), min(b, q), min(c, r), min(d, s))

    def remove(self, key: Key) -> None:
        """Let the entry with ``key``, which is in the line, leave it."""
        items = self.items
        # a shorter tuple sorts before the longer one it begins
        del items[bisect_left(items, key)]
        self._tight = False
        if not items:
            self.least = (ENDLESS, ENDLESS, ENDLESS, ENDLESS)

    def tighten(self) -> None:
        """Make ``least`` exact again after removals."""
        if not self._tight and self.items:
            a, b, c, d = zip(*(item[3] for item in self.items), strict=True)
            self.least = (min(a), min(b), min(c), min(d))
        self._tight = True
