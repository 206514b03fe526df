"""The other places, windows and limits of the published fortnight: ``make test-slow``."""

from pathlib import Path

import pytest

from tests.golden import bills
from tests.golden.bills import HORIZON, MINUTE, Tables

pytestmark = [pytest.mark.published, pytest.mark.slow]
EVERYTHING = 9221.43, 9218.40
"""kWh within the price horizon, for windows of 5 and 15 minutes."""


@pytest.mark.parametrize(
    ("zone", "minutes", "eur"),
    [
        ("DE-LU", 5, 1910.28),
        ("BE", 5, 1959.42),
        ("FR", 5, 2568.89),
        ("ES", 5, 1284.17),
        ("CH", 5, 2617.60),
        ("NL", 15, 1946.24),
    ],
)
def test_one_place_costs_what_was_published(log: Path, tables: Tables, zone: str, minutes: int, eur: float) -> None:
    _, result, recorder = bills.run(log, f"pinned:{zone}", window_ms=minutes * MINUTE)
    score = result.score
    assert score is not None
    assert score.energy_kwh - score.unpriced_kwh == pytest.approx(EVERYTHING[minutes == 15], rel=1e-4)
    assert score.cost.energy == pytest.approx(eur, rel=1e-4)
    assert recorder.booked == bills.plain_bill(tables, bills.intervals(recorder.answers, HORIZON))
    assert recorder.violations == []


@pytest.mark.parametrize(("limit_ms", "eur"), [(10, 1729.06), (15, 1714.12)])
def test_moving_freely_within_a_limit_costs_what_the_cheapest_zones_do(
    fortnight: Path, tables: Tables, tmp_path: Path, limit_ms: int, eur: float
) -> None:
    config = bills.with_limit(fortnight, limit_ms, tmp_path / "limit.toml")
    _, result, recorder = bills.run(bills.imported(fortnight, tmp_path / "log", config=config), "price")
    assert result.score is not None
    assert result.score.cost.energy == pytest.approx(eur, rel=1e-3)
    assert recorder.booked == bills.plain_bill(tables, bills.intervals(recorder.answers, HORIZON))
    assert recorder.violations == []
