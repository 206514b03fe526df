"""Our policy on the published fortnight, free to move: every hour at the cheapest place within the RTT limit."""

from pathlib import Path

import pytest

from tests.golden import bills
from tests.golden.bills import HORIZON

pytestmark = pytest.mark.published


def test_moving_freely_within_thirty_ms_costs_what_the_cheapest_zones_do(data_dir: Path, tmp_path: Path) -> None:
    reference = bills.reference_folder(data_dir)
    config = bills.with_limit(reference, 30, tmp_path / "limit.toml")
    log = bills.imported(reference, tmp_path / "log", config=config)
    _, result, recorder = bills.run(log, "price")
    score = result.score
    assert score is not None
    assert score.cost.energy == pytest.approx(1063.64, rel=1e-3)  # a window late: 1069.01
    assert score.cost.total == pytest.approx(score.cost.energy + score.cost.penalty)
    assert recorder.violations == []
    plain = bills.plain_bill(bills.Tables.read(reference), bills.intervals(recorder.answers, HORIZON))
    assert recorder.booked == plain
    assert bills.kinds(recorder.answers)["task.released.v1"] > 100
    assert len({zone for zone, _ in plain}) > 2
