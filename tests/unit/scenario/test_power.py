"""Prices, tariffs and carbon: shapes, bounds, publication."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.scenario import Scenario, tables
from producers.scenario.power import bump, published_at
from twin import events as ev

HOUR_MS = 3_600_000
QUARTER_MS = 900_000


def prices(scenario: Scenario, market: str) -> dict[str, list[ev.PowerPrice]]:
    out = defaultdict(list)
    for event in scenario.events:
        if isinstance(event, ev.PowerPrice) and event.market == market:
            out[event.zone_id].append(event)
    return {zone: sorted(rows, key=lambda e: e.start) for zone, rows in out.items()}


def day(scenario: Scenario, zone: str, market: str = "day_ahead") -> np.ndarray:
    return np.array([e.price_per_mwh for e in prices(scenario, market)[zone][:96]])


def test_each_zone_has_every_quarter_of_an_hour_and_a_day_beyond_the_end(scenario: Scenario) -> None:
    for market, end in (("day_ahead", scenario.end + 24 * HOUR_MS), ("real_time", scenario.end)):
        for rows in prices(scenario, market).values():
            assert [e.start for e in rows] == list(range(scenario.t0, end, QUARTER_MS))
            assert all(e.end == e.start + QUARTER_MS for e in rows)


def test_day_ahead_prices_are_known_at_noon_before_and_real_time_at_the_start(scenario: Scenario) -> None:
    for rows in prices(scenario, "day_ahead").values():
        for e in rows:
            midnight = scenario.t0 + (e.start - scenario.t0) // (24 * HOUR_MS) * 24 * HOUR_MS
            assert e.t == e.published_at == max(scenario.t0 - 1, midnight - 12 * HOUR_MS)
    for rows in prices(scenario, "real_time").values():
        assert all(e.t == e.published_at == e.start for e in rows)


def test_prices_stay_within_floor_and_cap(scenario: Scenario) -> None:
    for event in scenario.events:
        if isinstance(event, ev.PowerPrice):
            assert event.floor is not None
            assert event.cap is not None
            assert event.floor <= event.price_per_mwh <= event.cap


@pytest.mark.parametrize("market", ["day_ahead", "real_time"])
def test_noons_are_negative_in_some_provinces_down_to_the_floor_of_shandong(edwc: Scenario, market: str) -> None:
    negative = {zone for zone in prices(edwc, market) if (day(edwc, zone, market) < 0).any()}
    assert 3 <= len(negative) <= 10
    assert {"CN-SD", "CN-ZJ"} <= negative
    assert day(edwc, "CN-SD", market).min() == -80
    below = np.flatnonzero(day(edwc, "CN-SD", market) < 0)
    assert 9 * 4 <= below.min() <= below.max() < 16 * 4


def test_evenings_cost_more_than_noons_everywhere_and_about_1000_in_inner_mongolia(edwc: Scenario) -> None:
    for zone in prices(edwc, "day_ahead"):
        curve = day(edwc, zone)
        assert curve[18 * 4 : 21 * 4].mean() > curve[11 * 4 : 14 * 4].mean()
    assert 900 < day(edwc, "CN-NM").max() < 1300


def test_hydro_is_cheap_all_day_and_the_coast_dearer_than_the_north_west(edwc: Scenario) -> None:
    mean = {zone: day(edwc, zone).mean() for zone in prices(edwc, "day_ahead")}
    assert day(edwc, "CN-SC").max() < 200
    west = ["CN-GS", "CN-NX", "CN-XJ", "CN-QH"]
    coast = ["CN-GD", "CN-SH", "CN-ZJ", "CN-JS", "CN-BJ"]
    assert max(mean[z] for z in west) < min(mean[z] for z in coast)


def test_the_sun_is_later_in_the_west(edwc: Scenario) -> None:
    assert day(edwc, "CN-XJ").argmin() > day(edwc, "CN-SD").argmin() + 4


def test_real_time_differs_from_day_ahead_but_follows_it(edwc: Scenario) -> None:
    for zone in ("CN-GD", "CN-SX"):
        ahead, real = day(edwc, zone), day(edwc, zone, "real_time")
        assert (ahead != real).mean() > 0.8
        assert np.corrcoef(ahead, real)[0, 1] > 0.7


def test_carbon_of_a_day_is_the_factor_on_average_and_less_in_the_sun(scenario: Scenario) -> None:
    zones = {zone.id: zone for zone in tables.power().zones}
    carbon = defaultdict(list)
    for event in scenario.events:
        if isinstance(event, ev.PowerCarbon):
            carbon[event.zone_id].append(event)
    assert carbon
    for zone, rows in carbon.items():
        first = np.array([e.gco2e_per_kwh for e in sorted(rows, key=lambda e: e.start)[:24]])
        assert first.mean() == pytest.approx(1000 * zones[zone].carbon_kg_per_kwh, abs=0.1)
        assert first[12:14].mean() < first[0]
        assert {e.origin for e in rows} == {"forecast" if zones[zone].published else "estimated"}


@pytest.mark.published
def test_carbon_factors_marked_as_published_are_those_of_the_notice(data_dir: Path) -> None:
    names = {p.name_zh: p.id for p in tables.places().provinces}
    with (data_dir / "reference" / "carbon_cn_province_annual.csv").open(encoding="utf-8") as file:
        notice = {names[row["province"]]: float(row["kgco2_per_kwh_2022"]) for row in csv.DictReader(file)}
    marked = {zone.id: zone.carbon_kg_per_kwh for zone in tables.power().zones if zone.published}
    assert marked == notice


@pytest.mark.published
def test_the_tariff_of_sichuan_is_the_published_one(data_dir: Path) -> None:
    (tariff,) = tables.power().tariffs
    with (data_dir / "reference" / "tou_sichuan_tariff.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if (r["year"], r["month"], r["voltage_kV"]) == ("2025", "6", "110")]
    (row,) = rows
    for letter, column in (("s", "sharp_peak"), ("p", "peak"), ("f", "flat"), ("v", "valley")):
        assert tariff.price_per_mwh[letter] == pytest.approx(1000 * float(row[column]))
    assert tariff.capacity_charge_per_kw_month == float(row["demand_charge_yuan_per_kW_month"])
    with (data_dir / "reference" / "tou_sichuan_periods.csv").open(encoding="utf-8") as file:
        (periods,) = [r for r in csv.DictReader(file) if (r["year"], r["month"]) == ("2025", "7")]
    assert tariff.hours == "".join("vfps"[int(periods[f"h{hour:02d}"])] for hour in range(24))


@given(st.floats(0, 24, exclude_max=True), st.floats(0, 24, exclude_max=True), st.floats(0.5, 11))
def test_a_hump_is_one_at_its_centre_even_across_midnight_and_zero_beyond(
    hour: float, centre: float, half: float
) -> None:
    away = min(abs(hour - centre), 24 - abs(hour - centre))
    value = float(bump(np.array([hour]), centre, half)[0])
    expected = (1 - (away / half) ** 2) ** 2 if away < half else 0.0
    assert value == pytest.approx(expected, abs=1e-9)
    assert float(bump(np.array([centre]), centre, half)[0]) == 1.0


def test_publication_never_lies_before_the_scenario() -> None:
    assert published_at(0, 0, "day_ahead") == -1
    assert published_at(25 * HOUR_MS, 0, "day_ahead") == 12 * HOUR_MS
    assert published_at(25 * HOUR_MS, 0, "real_time") == 25 * HOUR_MS
