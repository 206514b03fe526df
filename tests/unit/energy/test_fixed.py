"""Fixed-point arithmetic against exact fractions."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twin.energy.fixed import MS_PER_H, PRICE_LIMIT, RATE_LIMIT, accrued, per_million, to_fixed


def one(value: int) -> np.ndarray:
    return np.array([value], np.int64)


@given(st.integers(-RATE_LIMIT, RATE_LIMIT), st.integers(-(10**12), 10**12))
def test_accrued_is_the_floor_of_the_exact_product(rate: int, ms: int) -> None:
    assert accrued(one(rate), one(ms))[0] == (rate * ms) // MS_PER_H


@given(st.integers(0, RATE_LIMIT), st.lists(st.integers(0, 10**10), min_size=2, max_size=6))
def test_parts_of_an_interval_add_up_to_the_whole(rate: int, bounds: list[int]) -> None:
    at = np.array(sorted(bounds), np.int64)
    parts = np.diff(accrued(np.full(len(at), rate), at))
    assert parts.sum() == accrued(one(rate), at[-1:])[0] - accrued(one(rate), at[:1])[0]


@given(st.integers(-(10**12), 10**12), st.integers(-(10**6), 10**6))
def test_per_million_rounds_the_exact_quotient_half_to_even(amount: int, price: int) -> None:
    assert per_million(one(amount), one(price))[0] == round(Fraction(amount * price, 10**6))


@given(st.integers(-50, 50), st.integers(1, 9))
def test_halves_go_to_the_even_neighbour(whole: int, odd: int) -> None:
    amount = (2 * whole + 1) * 500_000
    assert per_million(one(amount), one(odd))[0] == round(Fraction(amount * odd, 10**6))


def test_the_largest_powers_and_prices_stay_within_64_bits() -> None:
    century_ms = 100 * 8766 * MS_PER_H
    energy = accrued(one(RATE_LIMIT), one(century_ms))[0]
    assert energy == RATE_LIMIT * century_ms // MS_PER_H
    assert per_million(one(10**12), one(PRICE_LIMIT))[0] == 10**18


def test_values_beyond_the_limit_are_cut_off_and_said_so() -> None:
    value, over = to_fixed(np.array([1.0005, -3e9, 3e9]), 1000.0, 10**9)
    assert value.tolist() == [1000, -(10**9), 10**9]
    assert over.tolist() == [False, True, True]
