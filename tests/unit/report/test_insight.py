"""Figures behind the plots, each against a plain loop."""

from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.report.data import RunSeries, ZoneSeries
from streams.report.insight import interesting, load_follows_price, price_bands, zone_figures

PRICES = st.one_of(st.none(), st.integers(-3, 5).map(float))


@st.composite
def runs(draw: st.DrawFn) -> RunSeries:
    width, count = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    zones = [
        ZoneSeries(
            zone=f"z{k}",
            name=f"Zone {k}",
            price=draw(st.lists(PRICES, min_size=width, max_size=width)),
            load_kw=draw(st.lists(st.integers(0, 4).map(float), min_size=width, max_size=width)),
            carbon=draw(st.lists(PRICES, min_size=width, max_size=width)),
        )
        for k in range(count)
    ]
    return empty_run(width, zones)


def empty_run(width: int, zones: list[ZoneSeries]) -> RunSeries:
    none = [0] * width
    return RunSeries(
        t_ms=[3_600_000 * (w + 1) for w in range(width)], zones=zones, running=none, waiting=none, moving=none,
        placed=none, moves=none, unplaced=none, cost_energy=[0.0] * width, cost_network=[0.0] * width,
        cost_moves=[0.0] * width, gap=[None] * width,
    )  # fmt: skip


@given(runs())
def test_figures_of_a_zone_equal_a_plain_loop(run: RunSeries) -> None:
    for zone, found in zip(run.zones, zone_figures(run, 900_000), strict=True):
        known = [(p, load) for p, load in zip(zone.price, zone.load_kw, strict=True) if p is not None]
        carbon = [value for value in zone.carbon if value is not None]
        assert found.energy_kwh == pytest.approx(sum(zone.load_kw) / 4)
        assert (found.low, found.high) == ((min(known)[0], max(known)[0]) if known else (None, None))
        assert found.mean == (pytest.approx(sum(p for p, _ in known) / len(known)) if known else None)
        assert found.negative_h == (pytest.approx(sum(p < 0 for p, _ in known) / 4) if known else None)
        weight = sum(load for _, load in known)
        assert found.paid == (pytest.approx(sum(p * load for p, load in known) / weight) if weight else None)
        assert found.carbon == (pytest.approx(sum(carbon) / len(carbon)) if carbon else None)


@given(runs())
def test_shares_by_rank_of_price_equal_a_plain_loop(run: RunSeries) -> None:
    sums, paid, weight = [0.0] * 5, 0.0, 0.0
    for w in range(len(run.t_ms)):
        known = [(p, k) for k, zone in enumerate(run.zones) if (p := zone.price[w]) is not None]
        for rank, (price, k) in enumerate(sorted(known)):
            load = run.zones[k].load_kw[w]
            paid, weight = paid + price * load, weight + load
            if len(known) > 1:
                sums[min(rank * 5 // len(known), 4)] += load
    found = load_follows_price(run)
    if weight == 0:
        assert found is None
        return
    assert found is not None
    assert found.paid == pytest.approx(paid / weight)
    total = sum(sums)
    assert found.fifths == (pytest.approx(tuple(part / total for part in sums)) if total else ())
    assert sum(band.energy for band in found.bands) == pytest.approx(1)
    assert sum(band.offered for band in found.bands) == pytest.approx(1)


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 9)), min_size=1, max_size=60))
def test_bands_of_price_equal_a_plain_loop(pairs: list[tuple[int, int]]) -> None:
    price, load = np.array([float(p) for p, _ in pairs]), np.array([1.0 + w for _, w in pairs])
    bands = price_bands(price, load)
    assert 1 <= len(bands) <= 26
    for k, band in enumerate(bands):
        inside = [
            j for j, (p, _) in enumerate(pairs) if (p >= band.low or k == 0) and (p < band.high or k == len(bands) - 1)
        ]
        assert band.energy == pytest.approx(sum(load[j] for j in inside) / load.sum())
        assert band.offered == pytest.approx(len(inside) / len(pairs))


def test_the_zones_shown_first_are_the_most_negative_the_dearest_and_the_most_loaded(made_up: ModuleType) -> None:
    def zone(name: str, price: list[float | None], load: float) -> ZoneSeries:
        return ZoneSeries(zone=name, name=name, price=price, load_kw=[load, load], carbon=[None, None])

    zones = [
        zone("plain", [3.0, 3.0], 5.0),
        zone("loaded", [2.0, 2.0], 90.0),
        zone("dear", [9.0, 1.0], 1.0),
        zone("negative", [-4.0, 1.0], 0.0),
        zone("blind", [None, None], 99.0),
    ]
    figures = zone_figures(empty_run(2, zones), 3_600_000)
    assert interesting(figures, most=3) == (3, 2, 1)
    assert interesting(figures) == (3, 2, 1, 0)
    assert interesting(()) == ()
    assert interesting(figures[4:]) == ()


def test_infinite_and_not_a_number_are_unknown(made_up: ModuleType) -> None:
    price: list[float | None] = [float("inf"), float("nan"), 4.0]
    zone = ZoneSeries(zone="z", name="z", price=price, load_kw=[1.0, 1.0, 1.0], carbon=[None] * 3)
    (found,) = zone_figures(empty_run(3, [zone]), 3_600_000)
    assert (found.low, found.mean, found.high) == (4.0, 4.0, 4.0)
