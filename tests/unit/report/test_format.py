"""Numbers for readers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.report import format as fmt


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"), (0, "0"), (0.0, "0"), (12.345, "12.35"), (123.45, "123.5"), (1234567.8, "1,234,568"),
        (-1234.5, "−1,234"), (0.0021, "0.0021"), (-0.00001, "0.0000"), (7, "7"),
    ],
)  # fmt: skip
def test_numbers_are_grouped_and_unknown_is_a_word(value: float | None, text: str) -> None:
    assert fmt.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "unknown"),
        (1947.41, "1,947.41"),
        (462388.17, "462,388"),
        (0, "0.00"),
        (0.0217, "0.0217"),
        (-5.5, "−5.50"),
    ],
)
def test_small_amounts_keep_their_hundredths(value: float | None, text: str) -> None:
    assert fmt.money(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0, "0 s"),
        (42.25, "42.2 s"),
        (900, "15 min"),
        (9000, "2.5 h"),
        (86400, "24 h"),
        (1209600, "14 d"),
    ],
)
def test_durations_take_the_unit_that_reads_best(seconds: float | None, text: str) -> None:
    assert fmt.duration(seconds) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(None, "unknown"), (0.0, "0.0 %"), (1.0, "100.0 %"), (0.99999, "99.9 %"), (0.1234, "12.3 %")],
)
def test_less_than_all_never_reads_as_all(fraction: float | None, text: str) -> None:
    assert fmt.percent(fraction) == text


def test_energy_and_mass_change_their_unit_with_size() -> None:
    assert fmt.energy(9_221.43) == "9,221 kWh"
    assert fmt.energy(2_031_000) == "2,031 MWh"
    assert fmt.energy(None) == "unknown"
    assert fmt.mass(38.2) == "38.2 kg"
    assert fmt.mass(727_000) == "727 t"


def test_times_are_local_to_the_run_and_say_so() -> None:
    assert fmt.moment(1_767_196_800_000, 480) == "2026-01-01 00:00"
    assert fmt.moment(1_767_196_800_000, 0) == "2025-12-31 16:00"
    assert fmt.moment(-1, 0) == "1969-12-31 23:59"
    assert fmt.zone_name(480) == "UTC+08:00"
    assert fmt.zone_name(-210) == "UTC−03:30"


@given(st.floats(-1e12, 1e12))
def test_a_printed_number_is_near_the_number(value: float) -> None:
    back = float(fmt.number(value).replace(",", "").replace("−", "-"))
    assert abs(back - value) <= max(0.005 * abs(value), 5e-5)
    assert fmt.number(value).count("-") == 0


@given(st.floats(1e-3, 1e9))
def test_a_column_shows_three_digits_of_its_largest(largest: float) -> None:
    shown = fmt.number(largest, fmt.digits(largest)).replace(",", "").replace(".", "").lstrip("0")
    assert len(shown) >= 3 or largest < 0.01
