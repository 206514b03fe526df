"""Which policy the report is about, which baseline it is held against, and whether a saving may be claimed."""

from collections.abc import Sequence

import msgspec

from streams.report.summary import Row

EQUAL_SHARE = 0.001
"""Delivered shares further apart than this are different work: no saving is claimed."""


class Headline(msgspec.Struct, frozen=True, kw_only=True):
    """The main policy beside the best baseline.

    ``saving`` (money, negative where the main policy costs more) and ``fraction`` (of the baseline's cost, None where either
    was paid for its work) are set only where both delivered the same work; ``cheaper`` names baselines that cost less but delivered another share.
    """

    main: Row
    baseline: Row | None
    saving: float | None
    fraction: float | None
    cheaper: tuple[Row, ...]


def same_work(one: Row, other: Row) -> bool:
    """Tell whether two policies delivered equal work in one currency; an unknown share equals nothing."""
    a, b = one.summary.delivered.share, other.summary.delivered.share
    # A hair above the bound, so that shares printed exactly 0.1 % apart are equal whatever their last bit
    alike = a is not None and b is not None and abs(a - b) <= EQUAL_SHARE + 1e-12
    return alike and one.summary.currency == other.summary.currency


def headline(rows: Sequence[Row]) -> Headline | None:
    """Return the comparison the report opens with, or None where no policy was run. The first row is the main policy.

    The best baseline is the cheapest that delivered the same work; where none did, the cheapest at all, and then
    nothing is claimed.
    """
    if not rows:
        return None
    main = rows[0]
    known = [row for row in rows if row is not main and row.summary.cost.total is not None]
    equal = [row for row in known if same_work(main, row)]
    baseline = min(equal or known, key=_total, default=None)
    if main.summary.cost.total is None or baseline is None or not equal:
        return Headline(main=main, baseline=baseline, saving=None, fraction=None, cheaper=_cheaper(main, known))
    saving = _total(baseline) - main.summary.cost.total
    # A share says something only between amounts that were both paid
    fraction = saving / _total(baseline) if _total(baseline) > 0 and main.summary.cost.total >= 0 else None
    return Headline(main=main, baseline=baseline, saving=saving, fraction=fraction, cheaper=_cheaper(main, known))


def _total(row: Row) -> float:
    return row.summary.cost.total if row.summary.cost.total is not None else float("inf")


def _cheaper(main: Row, known: Sequence[Row]) -> tuple[Row, ...]:
    same_currency = (row for row in known if row.summary.currency == main.summary.currency)
    return tuple(row for row in same_currency if _total(row) < _total(main) and not same_work(main, row))
