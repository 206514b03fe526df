"""What is metered, one row per thing: since when, where, with what power, and up to when it has been booked."""

from collections.abc import Sequence

import msgspec
import numpy as np

from twin.arrays import Bool1, Int1
from twin.energy.settle import Jobs, Kind, Whose
from twin.packed import Packed, Sparse, pack, pack_used, unpack, unpack_used

COLUMNS = (
    "stated",  # sequence number of the event that started it, plus one; 0: not metered
    "attempt",
    "cluster",
    "pool",
    "accelerated",
    "power_mw",
    "rate",  # micro-currency per hour, for network traffic
    "start",
    "anchor",  # energy is counted from here; after the start where the power has changed since
    "booked",
    "end",
    "paid_in",  # micro-currency, for the data it began with
    "moved",  # 1: it came from another cluster
    "paid_move",
)
Rows = dict[str, Int1]
"""Columns of meters, all of one length. Contiguous columns are gathered much faster than records."""


class MetersCarry(msgspec.Struct, array_like=True, frozen=True):
    """Meters of tasks or of services, how often something was assumed for them, and rows held by partition."""

    meters: Sparse
    assumed: list[tuple[str, int]]
    held: list[tuple[int, Packed]]


def pack_held(held: dict[int, Int1]) -> list[tuple[int, Packed]]:
    """Rows by partition, without partitions that have none."""
    return [(partition, pack(rows)) for partition, rows in sorted(held.items()) if len(rows)]


def unpack_held(held: list[tuple[int, Packed]]) -> dict[int, Int1]:
    """Rows by partition.

    Raises:
        ConfigError: the carry is of another version.
    """
    return {partition: unpack(rows, np.int64) for partition, rows in held}


class Meters:
    """Meters of all partitions in one set of columns, by (partition, row, slot), so that they are booked at once and in order.

    ``active`` marks those that are not booked up to their end; ``partition`` and ``row`` say whose a cell is.
    """

    def __init__(self, partitions: int, slots: int) -> None:
        self.slots = slots
        self.rows: Rows = {name: np.zeros(0, np.int64) for name in COLUMNS}
        self.active = np.zeros(0, bool)
        self.partition = self.row = np.zeros(0, np.int64)
        self._room = [0] * partitions
        self._first = [0] * partitions

    def fit(self, partition: int, count: int) -> None:
        """Make room for ``count`` rows of a partition."""
        if count <= self._room[partition]:
            return
        old_first, old_room = list(self._first), list(self._room)
        self._room[partition] = max(count, 2 * self._room[partition])
        sizes = [room * self.slots for room in self._room]
        self._first = [sum(sizes[:p]) for p in range(len(sizes))]
        kept = [np.arange(room * self.slots) for room in old_room]
        to = np.concatenate([first + at for first, at in zip(self._first, kept, strict=True)])
        of = np.concatenate([first + at for first, at in zip(old_first, kept, strict=True)])
        active, self.active = self.active, np.zeros(sum(sizes), bool)
        self.active[to] = active[of]
        for name, old in self.rows.items():
            self.rows[name] = np.zeros(sum(sizes), np.int64)
            self.rows[name][to] = old[of]
        self.partition = np.repeat(np.arange(len(sizes)), sizes)
        self.row = np.concatenate([np.arange(size) for size in sizes]) // self.slots

    def carry(self) -> Sparse:
        """The meters that are not all zero, by (partition, row, slot)."""
        some: Bool1 = np.zeros(len(self.active), bool)
        for column in self.rows.values():
            some |= column != 0
        edges = np.cumsum([room * self.slots for room in self._room])[:-1]
        at = np.flatnonzero(some)
        return pack_used(np.split(some, edges), self.take(at))

    def restore(self, carry: Sparse, counts: Sequence[int]) -> None:
        """Go on from a carry, with so many rows in each partition.

        Raises:
            ConfigError: the carry is of another version.
        """
        for partition, count in enumerate(counts):
            self.fit(partition, count)
        sizes = [count * self.slots for count in counts]
        used, columns = unpack_used(carry, sizes, dict.fromkeys(COLUMNS, np.dtype(np.int64)))
        cells = np.concatenate([first + at for first, at in zip(self._first, used, strict=True)])
        for name, column in columns.items():
            self.rows[name][cells] = column
        self._activate(cells)

    def cells(self, partition: int, rows: Int1) -> Int1:
        """Index of the first slot of each row, (n,)."""
        result: Int1 = self._first[partition] + rows * self.slots
        return result

    def take(self, cells: Int1) -> Rows:
        """Copies of the columns at ``cells``."""
        return {name: column[cells] for name, column in self.rows.items()}

    def active_of(self, partition: int) -> Int1:
        """Active cells of one partition, ascending."""
        first, n = self._first[partition], self._room[partition] * self.slots
        return np.flatnonzero(self.active[first : first + n]) + first

    def clear(self, cells: Int1) -> None:
        """Forget what is metered at ``cells``."""
        for column in self.rows.values():
            column[cells] = 0
        self.active[cells] = False

    def end(self, cells: Int1, end: Int1) -> None:
        """Let ``cells`` end at ``end``, (n,), not before they start."""
        self.rows["end"][cells] = np.maximum(end, self.rows["start"][cells])
        self._activate(cells)

    def _activate(self, cells: Int1) -> None:
        self.active[cells] = (self.rows["stated"][cells] > 0) & (self.rows["end"][cells] != self.rows["booked"][cells])

    def rate(self, cells: Int1, power_mw: Int1, rate: Int1) -> None:
        """Let ``cells`` draw ``power_mw`` and pay ``rate`` from where they are booked to.

        A later correction that reaches back beyond this is reckoned at the new values: the old ones are not kept.
        """
        rows = self.rows
        differ = (rows["power_mw"][cells] != power_mw) | (rows["rate"][cells] != rate)
        if differ.any():
            cells, power_mw, rate = cells[differ], power_mw[differ], rate[differ]
            rows["anchor"][cells] = rows["booked"][cells]
            rows["power_mw"][cells] = power_mw
            rows["rate"][cells] = rate

    def due(self, kind: Kind, upto: int) -> Jobs:
        """What is to be booked up to ``upto``, and note it as booked."""
        cells = np.flatnonzero(self.active)
        start, end = self.rows["start"][cells], self.rows["end"][cells]
        target = np.maximum(np.minimum(end, upto), start)
        jobs = self.jobs(kind, cells, target)
        self.rows["booked"][cells] = target
        self.active[cells] = end != target
        return jobs

    def jobs(self, kind: Kind, cells: Int1, target: Int1) -> Jobs:
        """Jobs that bring ``cells`` as they stand from where they are booked to ``target``."""
        names = ("power_mw", "rate", "anchor", "booked")
        power_mw, rate, anchor, booked = (self.rows[name][cells] for name in names)
        kinds = np.full(len(cells), kind, np.uint8)
        return Jobs(kinds, *self.whose(cells), power_mw, rate, anchor, booked, target)

    def whose(self, cells: Int1) -> Whose:
        """Cluster, partition, row, attempt and kind of device of ``cells``."""
        rows = self.rows
        return Whose(
            rows["cluster"][cells],
            self.partition[cells],
            self.row[cells],
            rows["attempt"][cells],
            rows["accelerated"][cells],
        )
