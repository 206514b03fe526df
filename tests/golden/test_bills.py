"""The bill of the published fortnight, everything sent to one place, against a plain loop given the same start times."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.golden import bills
from tests.golden.bills import HORIZON, HOUR, MINUTE, Recorder, Tables
from twin.score import Score

pytestmark = pytest.mark.published


@pytest.fixture(scope="module")
def netherlands(log: Path) -> tuple[Score, Recorder]:
    _, result, recorder = bills.run(log, "pinned:NL")
    assert result.score is not None
    return result.score, recorder


@pytest.fixture(scope="module")
def plain(tables: Tables, netherlands: tuple[Score, Recorder]) -> bills.Bill:
    return bills.plain_bill(tables, bills.intervals(netherlands[1].answers, HORIZON))


def test_everything_in_the_netherlands_costs_what_was_published(netherlands: tuple[Score, Recorder]) -> None:
    score, recorder = netherlands
    assert score.energy_kwh - score.unpriced_kwh == pytest.approx(9221.43, rel=1e-4)
    assert score.cost.energy == pytest.approx(1947.41, rel=1e-4)
    assert score.cost.network == score.cost.moves == 0
    assert (score.tasks.submitted, score.tasks.unplaced) == (30_470, 0)
    assert recorder.violations == []
    assert recorder.dead == []
    assert recorder.windows == 336 * 12


def test_quarter_hours_in_france_cost_what_was_published(log: Path) -> None:
    _, result, recorder = bills.run(log, "pinned:FR", window_ms=15 * MINUTE)
    assert result.score is not None
    assert result.score.energy_kwh - result.score.unpriced_kwh == pytest.approx(9218.40, rel=1e-4)
    assert result.score.cost.energy == pytest.approx(2565.92, rel=1e-4)
    assert recorder.windows == 336 * 4


def test_the_ledger_agrees_with_a_plain_loop_in_every_zone_and_hour(
    netherlands: tuple[Score, Recorder], plain: bills.Bill
) -> None:
    score, recorder = netherlands
    assert recorder.booked == plain
    assert all(hour >= 0 for _, hour in plain)  # it ends with the prices
    assert score.cost.energy == pytest.approx(bills.total_eur(plain), abs=1e-6)


def test_every_job_starts_at_the_end_of_the_window_it_came_in(
    netherlands: tuple[Score, Recorder], tables: Tables
) -> None:
    started = bills.first_starts(netherlands[1].answers)
    by_rule = {task: t for task, t in bills.starts_by_rule(tables, 5 * MINUTE).items() if t < HORIZON}
    assert started == by_rule
    late = {task: t + 5 * MINUTE for task, t in by_rule.items()}
    assert started != late


# ----------------------------------------------------------------- a comparison is worth what it can tell apart


def test_a_finish_that_is_dropped_shows(netherlands: tuple[Score, Recorder], tables: Tables, plain: bills.Bill) -> None:
    answers = netherlands[1].answers
    gone = next(a for a in answers if a["type"] == "task.finished.v1")
    rest = [answer for answer in answers if answer is not gone]
    assert bills.plain_bill(tables, bills.intervals(rest, HORIZON)) != plain
    assert bills.differences(bills.plain_bill(tables, bills.intervals(rest, HORIZON)), plain)["NL"]


def test_a_price_that_is_off_by_an_hour_shows(
    netherlands: tuple[Score, Recorder], tables: Tables, plain: bills.Bill
) -> None:
    moved = replace(tables, price={(zone, hour + HOUR): price for (zone, hour), price in tables.price.items()})
    shifted = bills.plain_bill(moved, bills.intervals(netherlands[1].answers, HORIZON))
    assert shifted != netherlands[1].booked
    assert bills.total_eur(shifted) != pytest.approx(1947.41, rel=1e-4)


def test_a_job_that_is_counted_twice_shows(
    netherlands: tuple[Score, Recorder], tables: Tables, plain: bills.Bill
) -> None:
    ran = bills.intervals(netherlands[1].answers, HORIZON)
    shortest = min(ran, key=lambda each: each[3] - each[2])
    assert bills.plain_bill(tables, [*ran, shortest]) != plain


def test_starts_that_are_a_window_late_show(netherlands: tuple[Score, Recorder], tables: Tables) -> None:
    ran = bills.intervals(netherlands[1].answers, HORIZON)
    late = [(task, zone, start + 5 * MINUTE, min(end + 5 * MINUTE, HORIZON)) for task, zone, start, end in ran]
    bill = bills.plain_bill(tables, late)
    assert bill != netherlands[1].booked
    assert bills.priced_kwh(bill) != pytest.approx(9221.43, rel=1e-4)
