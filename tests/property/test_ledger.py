"""Properties of the ledger: how often it books, and how prices are cut, does not change the bill."""

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.energy.worlds import HOUR, MINUTE, T0, World
from twin import events as ev
from twin.energy.ledger import Kind, Ledger

WINDOW = 15 * MINUTE
ZONES = ("NL", "FR")


@dataclass(frozen=True)
class Told:
    """A task's runs: (cluster, start, length) in minutes, one after the other, the last one maybe without an end."""

    runs: tuple[tuple[int, int, int], ...]
    power_w: float
    delay: int
    """Windows by which its events are late."""
    ends: bool


runs = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40), st.integers(1, 100)), min_size=1, max_size=2)
told = st.builds(Told, runs.map(tuple), st.floats(0, 20_000, allow_subnormal=False), st.integers(0, 3), st.booleans())
prices = st.lists(st.integers(-20_000, 90_000), min_size=4, max_size=4)


def world(
    tasks: list[Told], prices: dict[str, list[int]], *, parts: int, until: int
) -> tuple[World, list[list[tuple[int, str, str, dict]]]]:
    """A world with prices of ``parts`` equal parts an hour, and the events of each window."""
    made = World(task_partitions=2)
    made.send(ev.NetworkFee, src="NL", dst="FR", per_gb=0.013, currency="EUR")
    for zone in ZONES:
        made.cluster(zone, zone, pue=ev.PueCurve(a=1.17), idle_kw=0.321)
        for hour, value in enumerate(prices[zone]):
            for part in range(parts):
                made.price(zone, T0 + hour * HOUR + part * HOUR // parts, value / 1000, hours=1 / parts)
        for quarter in range(10):
            made.carbon(zone, T0 + quarter * WINDOW, 100.0 + quarter, hours=0.25)
    windows: list[list[tuple[int, str, str, dict]]] = [[] for _ in range(until)]
    for i, task in enumerate(tasks):
        name, t = f"t{i}", T0
        made.task(name, power_w=task.power_w, data_rate_gbph=0.7, state_gb=2.0, data_in_gb=0.3)
        for attempt, (cluster, gap, length) in enumerate(task.runs, 1):
            start = t + gap * MINUTE
            t = start + length * MINUTE
            last = attempt == len(task.runs)
            how = "finished" if last else "released"
            for at, what in ((start, "started"), (t, how)):
                if what == "finished" and not task.ends:
                    continue
                window = min((at - T0) // WINDOW + task.delay, until - 1)
                windows[window].append((at, what, name, {"cluster": ZONES[cluster], "attempt": attempt}))
    return made, windows


def book(tasks: list[Told], prices: dict[str, list[int]], *, parts: int = 1, every: int = 1, until: int = 24) -> Ledger:
    made, windows = world(tasks, prices, parts=parts, until=until)
    ledger = Ledger(made.mirror, "EUR", "day_ahead", T0)
    for n, events in enumerate(windows, 1):
        for at, what, name, where in events:
            if what == "started":
                made.started(name, at, where["cluster"], attempt=where["attempt"])
            else:
                how = {"finished": ev.TaskFinished, "released": ev.TaskReleased}[what]
                made.ended(name, at, where["cluster"], how=how, attempt=where["attempt"])
        made.clock(T0 + n * WINDOW)
        if n % every == 0 or n == until:
            ledger.book(made.mirror, T0 + n * WINDOW)
    assert not made.dead
    return ledger


def sums(ledger: Ledger) -> dict[str, list]:
    return {name: getattr(ledger.totals, name).tolist() for name in ledger.totals.__dataclass_fields__}


@settings(max_examples=40)
@given(st.lists(told, min_size=1, max_size=4), prices, prices, st.sampled_from([2, 5, 24]))
def test_booking_window_by_window_equals_booking_at_once(
    tasks: list[Told], nl: list[int], fr: list[int], every: int
) -> None:
    each, seldom = (book(tasks, {"NL": nl, "FR": fr}, every=n) for n in (1, every))
    assert sums(each) == sums(seldom)
    assert each.assumed == seldom.assumed


@settings(max_examples=25)
@given(st.lists(told, min_size=1, max_size=4), prices, prices)
def test_cutting_prices_in_equal_parts_changes_nothing_but_rounding(
    tasks: list[Told], nl: list[int], fr: list[int]
) -> None:
    whole, halves = (book(tasks, {"NL": nl, "FR": fr}, parts=n) for n in (1, 2))
    a, b = sums(whole), sums(halves)
    for name in a:
        if name != "cost_micro":
            assert a[name] == b[name]
    pieces = 4 * 2 * (2 * len(tasks) + 2)  # hours × halves × meters
    assert np.abs(np.array(a["cost_micro"]) - np.array(b["cost_micro"])).max() <= pieces


@settings(max_examples=25)
@given(st.lists(told, min_size=1, max_size=4), prices, prices)
def test_events_that_come_late_end_in_the_same_bill(tasks: list[Told], nl: list[int], fr: list[int]) -> None:
    on_time = [Told(task.runs, task.power_w, 0, task.ends) for task in tasks]
    late, prompt = (book(some, {"NL": nl, "FR": fr}, until=32) for some in (tasks, on_time))
    assert sums(late) == sums(prompt)


@settings(max_examples=25)
@given(st.lists(told, min_size=1, max_size=4), prices)
def test_the_bill_is_priced_and_unpriced_energy_of_all_run_time(tasks: list[Told], nl: list[int]) -> None:
    ledger = book(tasks, {"NL": nl, "FR": nl}, until=24)
    wanted = 0
    for task in tasks:
        power_mw, t = round(task.power_w * 1.17 * 1000), T0
        for attempt, (_, gap, length) in enumerate(task.runs, 1):
            start = t + gap * MINUTE
            t = start + length * MINUTE
            open_end = attempt == len(task.runs) and not task.ends
            end = min(T0 + 24 * WINDOW, T0 + 24 * WINDOW if open_end else t)
            wanted += max(0, power_mw * (end - start) // HOUR)
    assert ledger.totals.of(Kind.TASK)["energy_mwh"] == wanted
