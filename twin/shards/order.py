"""Identity and order: which records of an entity count, and which of them is the newest.

An identity has ``high`` (highest sequence number seen, plus one; 0: none) and ``seen`` (bit k: number high - 1 - k was
seen). Entities whose numbers simply rise are handled all at once; only the others go through the scalar rule.
"""

from enum import IntEnum

import numpy as np

from twin.arrays import AnyArray, Bool1, Byte1, Int1

MASK_BITS = 64
_NARROW = 2**16 - 1
_ALL = (1 << MASK_BITS) - 1


class Outcome(IntEnum):
    """What became of a record."""

    NEW = 0
    OLDER = 1
    REPEAT = 2
    TOO_OLD = 3


# plain numbers where a name is looked up for each record
_NEW, _OLDER, _REPEAT, _TOO_OLD = map(int, Outcome)


def admit_one(high: int, seen: int, seq: int) -> tuple[int, int, int]:
    """The rule for one record: its outcome and the identity's new ``high`` and ``seen``."""
    ahead = seq + 1 - high
    if ahead > 0:
        moved = (seen << ahead) & _ALL if ahead < MASK_BITS else 0
        return _NEW, seq + 1, moved | 1
    if ahead <= -MASK_BITS:
        return _TOO_OLD, high, seen
    bit = 1 << -ahead
    if seen & bit:
        return _REPEAT, high, seen
    return _OLDER, high, seen | bit


def admit(rows: Int1, seq: Int1, high: AnyArray, seen: AnyArray) -> Byte1:
    """Fold sequence numbers into ``high`` and ``seen`` (columns over all rows, changed in place).

    ``rows`` and ``seq`` are (n,), in log order. Returns the ``Outcome`` of each record, (n,).
    """
    n = len(rows)
    outcome = np.zeros(n, np.uint8)
    if n == 1:
        _admit_scalar(np.zeros(1, np.int64), rows, seq, outcome, (high, seen))
        return outcome
    order = by_row(rows)
    r, s = rows[order], seq[order]
    first = _first_of_each(r)
    falls = np.zeros(n, bool)
    falls[1:] = s[1:] <= s[:-1]
    falls[first] = s[first] < high[r[first]]
    if falls.any():
        entity = np.cumsum(first) - 1
        odd = np.bincount(entity[falls], minlength=int(entity[-1]) + 1) > 0
        strange = odd[entity]
        _admit_scalar(order[strange], r[strange], s[strange], outcome, (high, seen))
        keep = ~strange
        r, s, first = r[keep], s[keep], first[keep]
    if len(r):
        _admit_rising(r, s, first, high, seen)
    return outcome


def by_row(rows: Int1) -> Int1:
    """The order that sorts ``rows``, equal ones in log order, (n,)."""
    # NumPy sorts 16 bits by counting, ten times as fast as it compares 64
    narrow = len(rows) > 0 and rows.min() >= 0 and rows.max() <= _NARROW
    return np.argsort(rows.astype(np.uint16) if narrow else rows, kind="stable")


def _first_of_each(sorted_rows: Int1) -> Bool1:
    """Where a new row begins, (n,)."""
    first = np.ones(len(sorted_rows), bool)
    np.not_equal(sorted_rows[1:], sorted_rows[:-1], out=first[1:])
    return first


def _admit_scalar(at: Int1, rows: Int1, seq: Int1, outcome: Byte1, identity: tuple[AnyArray, AnyArray]) -> None:
    """The scalar rule for the records ``at``, sorted by row and in log order within each."""
    highs, masks = identity
    entities = rows[_first_of_each(rows)]
    known = {
        row: (high, seen)
        for row, high, seen in zip(entities.tolist(), highs[entities].tolist(), masks[entities].tolist(), strict=True)
    }
    found = []
    for row, number in zip(rows.tolist(), seq.tolist(), strict=True):
        high, seen = known[row]
        one, high, seen = admit_one(high, seen, number)
        known[row] = high, seen
        found.append(one)
    outcome[at] = found
    highs[entities] = [high for high, _ in known.values()]
    masks[entities] = np.array([seen for _, seen in known.values()], np.uint64)


def _admit_rising(r: Int1, s: Int1, first: AnyArray, high: AnyArray, seen: AnyArray) -> None:
    starts = np.flatnonzero(first)
    ends = np.append(starts[1:], len(r)) - 1
    entity = r[starts]
    top = s[ends]
    behind = np.repeat(top, ends - starts + 1) - s
    bits = np.where(
        behind < MASK_BITS, np.uint64(1) << np.minimum(behind, MASK_BITS - 1).astype(np.uint64), np.uint64(0)
    )
    new = np.bitwise_or.reduceat(bits, starts)
    shift = top + 1 - high[entity]
    old = seen[entity] << np.minimum(shift, MASK_BITS - 1).astype(np.uint64)
    seen[entity] = new | np.where(shift < MASK_BITS, old, np.uint64(0))
    high[entity] = top + 1


def newest(rows: Int1, *keys: Int1) -> Int1:
    """Index of the record with the greatest ``keys`` (most significant first) of each row, (distinct rows,), by row.

    Of equal keys the last in log order is taken.
    """
    if len(rows) == 1:
        return np.zeros(1, np.int64)
    if len(keys) == 1:
        return _newest_by_one(rows, keys[0])
    order = np.lexsort((*reversed(keys), rows))
    r = rows[order]
    last = np.ones(len(r), bool)
    np.not_equal(r[1:], r[:-1], out=last[:-1])
    return order[last]


def _newest_by_one(rows: Int1, key: Int1) -> Int1:
    """``newest`` without sorting by the key."""
    if not len(rows):
        return np.zeros(0, np.int64)
    order = by_row(rows)
    r, k = rows[order], key[order]
    starts = np.flatnonzero(_first_of_each(r))
    top = np.maximum.reduceat(k, starts)
    greatest = np.flatnonzero(k == np.repeat(top, np.diff(starts, append=len(r))))
    of = r[greatest]
    last = np.ones(len(of), bool)
    np.not_equal(of[1:], of[:-1], out=last[:-1])
    result: Int1 = order[greatest[last]]
    return result
