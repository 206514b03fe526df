"""The bill of two weeks of real jobs at real prices, folded from their events, against a plain loop."""

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.unit.energy.worlds import HOUR, MINUTE, World
from twin import events as ev
from twin.energy.ledger import Ledger

pytestmark = pytest.mark.published
START = 1_664_143_200_000  # 2022-09-25T22:00:00Z
WINDOW, CLOCK = 5 * MINUTE, 12 * HOUR
WATTS_PER_CORE = 21.875


def rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def jobs(data: Path) -> list[tuple[str, int, int, int, float]]:
    """(id, submitted, started, ended, watts): a job starts at the end of the window it was submitted in."""
    found = []
    for row in rows(data / "tasks_surf.csv.gz"):
        submitted = START + round(float(row["submit_s"]) * 1000)
        started = submitted // WINDOW * WINDOW + WINDOW
        ended = started + round(float(row["duration_s"]) * 1000)
        found.append((row["task_id"], submitted, started, ended, WATTS_PER_CORE * float(row["cpu_cores"])))
    return found


def plain_bill(work: list[tuple[str, int, int, int, float]], price: dict[int, int]) -> dict[int, tuple[int, int]]:
    """(energy in mWh, micro-currency) by hour where there is a price, and energy under hour -1 where there is none."""
    energy: Counter[int] = Counter()
    money: Counter[int] = Counter()
    for _, _, started, ended, watts in work:
        power_mw = round(watts * 1000)
        for hour in range(started // HOUR * HOUR, ended, HOUR):
            low, high = max(started, hour), min(ended, hour + HOUR)
            mwh = power_mw * (high - started) // HOUR - power_mw * (low - started) // HOUR
            energy[hour if hour in price else -1] += mwh
            money[hour] += round(Fraction(mwh * price.get(hour, 0), 10**6))
    return {hour: (energy[hour], money[hour]) for hour in energy}


def test_two_weeks_in_the_netherlands_cost_what_a_plain_loop_says(data_dir: Path) -> None:
    data = data_dir / "reference"
    work = jobs(data)
    prices = [row for row in rows(data / "prices.csv.gz") if row["zone"] == "NL"]
    price = {ms(row["start_utc"]): round(float(row["price"]) * 1000) for row in prices}
    assert {row["minutes"] for row in prices} == {"60"}
    world = World(task_partitions=2, window_ms=CLOCK)
    world.clock(START - CLOCK)
    world.cluster("NL", "NL", pue=ev.PueCurve(a=1.0))
    for row in prices:
        world.price("NL", ms(row["start_utc"]), float(row["price"]))
    told = [(submitted, 0, job) for job in work for submitted in job[1:2]]
    told += [(job[k + 1], k, job) for job in work for k in (1, 2)]
    told.sort(key=lambda event: event[:2])
    ledger = Ledger(world.mirror, "EUR", "day_ahead", START)
    bill: dict[int, list[int]] = {}
    t, i = START - 2 * HOUR, 0
    while i < len(told):
        t += CLOCK
        while i < len(told) and told[i][0] < t:
            at, what, (name, _, _, _, watts) = told[i]
            i += 1
            if what == 0:
                world.task(name, t=at, power_w=watts)
            elif what == 1:
                world.started(name, at, "NL")
            else:
                world.ended(name, at, "NL")
        world.clock(t)
        booked = ledger.book(world.mirror, t)
        hours = np.where(booked.priced, booked.t0 // HOUR * HOUR, -1)
        for hour in np.unique(hours).tolist():
            sums = bill.setdefault(hour, [0, 0])
            sums[0] += int(booked.energy_mwh[hours == hour].sum())
            sums[1] += int(booked.cost_micro[hours == hour].sum())
    assert not world.dead
    assert {hour: tuple(sums) for hour, sums in bill.items()} == plain_bill(work, price)
    sums = ledger.totals.of()
    assert (sums["energy_mwh"] - sums["unpriced_mwh"]) / 1e6 == pytest.approx(9221.43, rel=1e-4)
    assert sums["cost_micro"] / 1e6 == pytest.approx(1947.41, rel=1e-4)
