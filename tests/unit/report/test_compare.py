"""What may be claimed."""

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from streams.report.compare import Headline, headline, same_work
from streams.report.data import PolicyResult
from streams.report.summary import Row, read_row

Build = Callable[..., dict[str, Any]]


def rows(build: Build, *results: tuple[str, float | None, float | None]) -> list[Row]:
    return [read_row(PolicyResult(name=name, summary=build(total, share))) for name, total, share in results]


def opened(found: list[Row]) -> Headline:
    head = headline(found)
    assert head is not None
    return head


def test_a_saving_is_against_the_cheapest_baseline_that_delivered_the_same_work(summary_of: Build) -> None:
    head = opened(rows(summary_of, ("price", 80, 0.99), ("stay", 120, 0.99), ("cost-greedy", 100, 0.9905)))
    assert head.baseline is not None
    assert head.baseline.name == "cost-greedy"
    assert head.saving == 20
    assert head.fraction == 0.2


def test_no_saving_is_claimed_where_delivered_shares_differ_by_more_than_a_thousandth(summary_of: Build) -> None:
    head = opened(rows(summary_of, ("price", 80, 0.99), ("stay", 120, 0.98)))
    assert head.baseline is not None
    assert head.saving is None
    assert head.fraction is None


def test_a_difference_of_exactly_a_thousandth_is_still_equal_work(summary_of: Build) -> None:
    one, other, far = rows(summary_of, ("a", 1, 0.991), ("b", 1, 0.99), ("c", 1, 0.98999))
    assert same_work(one, other)
    assert not same_work(one, far)


def test_an_unknown_share_or_another_currency_is_never_equal(summary_of: Build) -> None:
    known, unknown = rows(summary_of, ("a", 1, 0.99), ("b", 1, None))
    euro = read_row(PolicyResult(name="c", summary=summary_of(1, 0.99, currency="EUR")))
    assert not same_work(known, unknown)
    assert not same_work(unknown, unknown)
    assert not same_work(known, euro)


def test_a_cheaper_baseline_with_other_work_is_named_beside_the_claim(summary_of: Build) -> None:
    head = opened(rows(summary_of, ("price", 80, 0.99), ("lazy", 10, 0.5), ("stay", 120, 0.99)))
    assert head.saving == 40
    assert [row.name for row in head.cheaper] == ["lazy"]


def test_a_baseline_that_was_paid_gives_a_difference_and_no_percentage(summary_of: Build) -> None:
    head = opened(rows(summary_of, ("price", -40, 0.99), ("stay", -10, 0.99)))
    assert head.saving == 30
    assert head.fraction is None


def test_an_unknown_total_claims_nothing(summary_of: Build) -> None:
    assert opened(rows(summary_of, ("price", None, 0.99), ("stay", 10, 0.99))).saving is None
    assert opened(rows(summary_of, ("price", 10, 0.99), ("stay", None, 0.99))).baseline is None
    assert headline([]) is None


@given(st.lists(st.tuples(st.integers(-5, 5), st.sampled_from([0.9, 0.95, 0.9505])), min_size=1, max_size=6))
def test_a_claim_holds_against_every_baseline_of_equal_work(results: list[tuple[int, float]]) -> None:
    found = [
        read_row(PolicyResult(name=f"p{k}", summary={"cost": {"total": total}, "delivered": {"share": share}}))
        for k, (total, share) in enumerate(results)
    ]
    head = opened(found)
    equal = [total for total, share in results[1:] if abs(share - results[0][1]) <= 0.001]
    if equal:
        assert head.saving == min(equal) - results[0][0]
    else:
        assert head.saving is None
