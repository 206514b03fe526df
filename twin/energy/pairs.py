"""Values by (source, destination) node, searched for many pairs at once."""

import numpy as np

from twin.arrays import Bool1, Int1

_PAIR = 1 << 31


class Pairs:
    """Distinct pairs of node codes, in ascending order; ``order`` sorts columns given beside them."""

    def __init__(self, src: Int1, dst: Int1) -> None:
        key = src * _PAIR + dst
        self.order = np.argsort(key, kind="stable")
        self._key = key[self.order]

    def find(self, src: Int1, dst: Int1) -> tuple[Int1, Bool1]:
        """Index of each pair among the sorted ones and whether it is there, (n,)."""
        if not len(self._key):
            return np.zeros(len(src), np.int64), np.zeros(len(src), bool)
        key = src * _PAIR + dst
        at = np.minimum(np.searchsorted(self._key, key), len(self._key) - 1)
        return at, self._key[at] == key
