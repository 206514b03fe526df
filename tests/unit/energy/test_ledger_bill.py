"""The bill against a plain loop over starts and ends, and mutations that must not pass unseen."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import pytest

from tests.unit.energy.worlds import HOUR, MINUTE, T0, World
from twin import events as ev
from twin.energy.ledger import Bookings, Kind, Ledger

ZONES = ("NL", "FR", "ES")
PUE = {"NL": 1.25, "FR": 1.0, "ES": 1.4}
HOURS = 8
WINDOW = 15 * MINUTE
Bill = dict[tuple[str, int], list[int]]


@dataclass(frozen=True)
class Run:
    task: str
    cluster: str
    start: int
    end: int
    power_w: float


def plain_bill(runs: list[Run], price: dict[tuple[str, int], float], grams: dict[tuple[str, int], float]) -> Bill:
    """Energy (mWh), money (micro) and carbon (mg) per zone and hour: one run and one hour after the other."""
    bill: Bill = {}
    for run in runs:
        power_mw = round(Fraction(run.power_w) * Fraction(PUE[run.cluster]) * 1000)
        for hour in range(T0, T0 + 2 * HOURS * HOUR, HOUR):
            low, high = max(run.start, hour), min(run.end, hour + HOUR)
            if low >= high:
                continue
            energy = power_mw * (high - run.start) // HOUR - power_mw * (low - run.start) // HOUR
            sums = bill.setdefault((run.cluster, hour), [0, 0, 0])
            sums[0] += energy
            if (run.cluster, hour) in price:
                sums[1] += round(Fraction(energy * round(price[run.cluster, hour] * 1000), 10**6))
            if (run.cluster, hour) in grams:
                sums[2] += round(Fraction(energy * round(grams[run.cluster, hour] * 1000), 10**6))
    return bill


@dataclass(frozen=True)
class Story:
    """What is told to the twin: tasks, their reported runs (None: no end is reported), prices and intensities."""

    runs: tuple[Run, ...]
    reports: tuple[tuple[str, str, int, int | None], ...]
    price: dict[tuple[str, int], float]
    grams: dict[tuple[str, int], float]

    def bill(self) -> Bill:
        """The ledger's bill of the story, window by window."""
        world = World()
        for zone in ZONES:
            world.cluster(zone, zone, pue=ev.PueCurve(a=PUE[zone]))
        for (zone, hour), value in self.price.items():
            world.price(zone, hour, value)
        for (zone, hour), value in self.grams.items():
            world.carbon(zone, hour, value)
        power = {run.task: run.power_w for run in self.runs}
        told = [(T0, 0, name, name, "") for name, *_ in self.reports]
        told += [(start, 1, name, name, cluster) for name, cluster, start, _ in self.reports]
        told += [(end, 2, name, name, cluster) for name, cluster, _, end in self.reports if end is not None]
        ledger = Ledger(world.mirror, "EUR", "day_ahead", T0)
        bill: Bill = {}
        submitted: set[str] = set()
        for window in range(T0 + WINDOW, T0 + 2 * HOURS * HOUR + 1, WINDOW):
            for t, what, name, _, cluster in sorted(told):
                if not window - WINDOW <= t < window:
                    continue
                if what == 0 and name not in submitted:
                    submitted.add(name)
                    world.task(name, power_w=power[name.removesuffix("-again")], t=t)
                elif what == 1:
                    world.started(name, t, cluster)
                elif what == 2:
                    world.ended(name, t, cluster)
            world.clock(window)
            add(bill, ledger.book(world.mirror, window), ledger)
        assert not world.dead
        return bill


def add(bill: Bill, bookings: Bookings, ledger: Ledger) -> None:
    names = ledger.fleet.cluster_names.names
    for i in np.flatnonzero(bookings.kind == Kind.TASK).tolist():
        hour = int(bookings.t0[i]) // HOUR * HOUR
        assert bookings.t1[i] <= hour + HOUR
        sums = bill.setdefault((names[int(bookings.cluster[i])], hour), [0, 0, 0])
        for k, column in enumerate((bookings.energy_mwh, bookings.cost_micro, bookings.carbon_mg)):
            sums[k] += int(column[i])


def story(seed: int) -> Story:
    """40 tasks that start at windows, in three zones; the last two hours of ES have no price, those of FR no intensity."""
    rng = np.random.default_rng(seed)
    hours = range(T0, T0 + 2 * HOURS * HOUR, HOUR)
    price = {
        (z, h): round(float(rng.normal(80, 90)), 2) for z in ZONES for h in hours if z != "ES" or h < T0 + 6 * HOUR
    }
    grams = {
        (z, h): round(float(rng.uniform(20, 600)), 3) for z in ZONES for h in hours if z != "FR" or h < T0 + 6 * HOUR
    }
    runs = []
    for i in range(40):
        start = T0 + WINDOW * int(rng.integers(1, HOURS * 4))
        end = start + int(rng.integers(1, 3 * HOUR))
        runs.append(Run(f"t{i}", str(rng.choice(ZONES)), start, end, float(rng.integers(1, 900_000)) / 7))
    return Story(tuple(runs), tuple((r.task, r.cluster, r.start, r.end) for r in runs), price, grams)


@pytest.mark.parametrize("seed", range(3))
def test_the_bill_per_zone_and_hour_is_that_of_a_plain_loop_to_the_last_unit(seed: int) -> None:
    told = story(seed)
    bill = told.bill()
    assert bill == plain_bill(list(told.runs), told.price, told.grams)
    assert any(sums[1] < 0 for sums in bill.values()), "negative prices are part of it"


def drop_a_finish(told: Story) -> Story:
    name, cluster, start, _ = told.reports[7]
    return replace(told, reports=(*told.reports[:7], (name, cluster, start, None), *told.reports[8:]))


def shift_prices_by_an_hour(told: Story) -> Story:
    return replace(told, price={(zone, hour + HOUR): value for (zone, hour), value in told.price.items()})


def count_a_job_twice(told: Story) -> Story:
    name, *rest = told.reports[3]
    return replace(told, reports=(*told.reports, (f"{name}-again", *rest)))


def start_a_window_late(told: Story) -> Story:
    late = tuple((n, c, start + WINDOW, None if end is None else end + WINDOW) for n, c, start, end in told.reports)
    return replace(told, reports=late)


def run_in_another_zone(told: Story) -> Story:
    name, cluster, *rest = told.reports[0]
    other = ZONES[(ZONES.index(cluster) + 1) % len(ZONES)]
    return replace(told, reports=((name, other, *rest), *told.reports[1:]))


@pytest.mark.parametrize(
    "mutate", [drop_a_finish, shift_prices_by_an_hour, count_a_job_twice, start_a_window_late, run_in_another_zone]
)
def test_a_wrong_story_makes_another_bill(mutate: Callable[[Story], Story]) -> None:
    told = story(0)
    right = plain_bill(list(told.runs), told.price, told.grams)
    wrong = mutate(told).bill()
    changed = {key for key in right.keys() | wrong.keys() if right.get(key) != wrong.get(key)}
    assert changed
    off: Counter[tuple[str, int]] = Counter()
    for bill, sign in ((right, 1), (wrong, -1)):
        for (zone, _), sums in bill.items():
            for k in (0, 1):
                off[zone, k] += sign * sums[k]
    assert any(abs(units) > 1000 for units in off.values()), "more than rounding, in energy or in money"
