"""Curves against a plain search for the row that holds."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.energy.worlds import HOUR, MINUTE, T0, World
from twin import events as ev
from twin.energy.curves import Curves, curve, pieces
from twin.errors import ConfigError

Row = tuple[int, int, int, int, int]  # zone, start, end, stage, value

rows_of_a_zone = st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(-1, 5), st.integers(0, 3))


def plain_at(rows: list[Row], zone: int, t: int) -> int | None:
    """The value of the most final row over t, of those the one that starts last, then the one that ends last."""
    over = [(stage, start, end, value) for z, start, end, stage, value in rows if z == zone and start <= t < end]
    return max(over)[3] if over else None


@given(st.lists(rows_of_a_zone, max_size=7, unique_by=lambda row: (row[0], row[1], row[3])))
def test_at_any_instant_the_most_final_row_that_starts_last_holds(drawn: list[tuple[int, int, int, int]]) -> None:
    rows = [(zone, start, start + length, stage, 100 + i) for i, (zone, start, length, stage) in enumerate(drawn)]
    columns = (
        [np.array(column, np.int64) for column in zip(*rows, strict=True)] if rows else [np.zeros(0, np.int64)] * 5
    )
    result = curve(*columns)
    assert (result.start < result.end).all()
    assert (np.diff(result.key) > 0).all()
    same_zone = result.zone[1:] == result.zone[:-1]
    assert (result.start[1:][same_zone] >= result.end[:-1][same_zone]).all()
    for zone in (0, 1):
        for t in range(15):
            at, _, known = result.find(np.array([zone]), np.array([t]))
            assert (int(result.value[at[0]]) if known[0] else None) == plain_at(rows, zone, t)


@given(st.lists(rows_of_a_zone, max_size=6, unique_by=lambda row: (row[0], row[1], row[3])))
def test_pieces_hold_both_curves_and_cover_all_time(drawn: list[tuple[int, int, int, int]]) -> None:
    rows = [(zone, start, start + length, stage, 100 + i) for i, (zone, start, length, stage) in enumerate(drawn)]
    halves = rows[::2], rows[1::2]
    price, carbon = (
        curve(*(np.array([row[k] for row in half], np.int64) for k in range(5))) for half in halves
    )  # fmt: skip
    cut = pieces(2, price, carbon)
    for zone in (0, 1):
        mine = cut.key >> 48 == zone
        assert cut.start[mine][0] == 0
        assert cut.end[mine][:-1].tolist() == cut.start[mine][1:].tolist()
        for t in range(15):
            i = np.flatnonzero(mine & (cut.start <= t) & (t < cut.end))
            assert len(i) == 1
            wanted = plain_at(halves[0], zone, t), plain_at(halves[1], zone, t)
            found = (cut.price[i[0]], cut.priced[i[0]]), (cut.carbon[i[0]], cut.carbon_known[i[0]])
            assert [int(value) if known else None for value, known in found] == list(wanted)


def test_a_final_price_supersedes_a_forecast_and_a_correction_the_final_one(world: World) -> None:
    curves = Curves("EUR", "day_ahead")
    for stage, value, revision in (("forecast", 50.0, 0), ("final", 60.0, 0), ("final", 61.5, 1), ("ex_ante", 55.0, 0)):
        world.price("NL", T0, value, stage=stage, revision=revision)
    world.clock(T0 + 15 * MINUTE)
    assert curves.update(world.mirror)
    assert not curves.update(world.mirror)
    assert curves.prices_at(["NL"], T0 + MINUTE).price_per_mwh.tolist() == [61.5]


def test_only_the_asked_market_counts(world: World) -> None:
    world.price("NL", T0, 50.0)
    world.price("NL", T0, 70.0, market="real_time")
    world.clock(T0 + 15 * MINUTE)
    curves = Curves("EUR", "day_ahead")
    curves.update(world.mirror)
    assert curves.prices_at(["NL"], T0).price_per_mwh.tolist() == [50.0]
    assert curves.prices_at(["NL"], T0, "real_time").price_per_mwh.tolist() == [70.0]
    assert np.isnan(curves.prices_at(["NL"], T0, "intraday").price_per_mwh).all()


def test_an_unpublished_price_is_the_latest_known_one_and_says_so(world: World) -> None:
    world.price("NL", T0, 50.0)
    world.price("FR", T0 + 5 * HOUR, 90.0)
    world.clock(T0 + 15 * MINUTE)
    curves = Curves("EUR", "day_ahead")
    curves.update(world.mirror)
    price, known = curves.prices_at(["NL", "FR", "XX"], T0 + 2 * HOUR)
    assert price[0] == 50.0
    assert np.isnan(price[1:]).all()
    assert known.tolist() == [False, False, False]
    assert curves.prices_at(["FR"], T0 + 5 * HOUR).known.tolist() == [True]


def test_carbon_is_the_location_based_average_and_never_filled_in(world: World) -> None:
    world.carbon("NL", T0, 300.5)
    world.carbon("NL", T0, 800.0, basis="marginal")
    world.carbon("NL", T0, 500.0, scope="residual")
    world.clock(T0 + 15 * MINUTE)
    curves = Curves("EUR", "day_ahead")
    curves.update(world.mirror)
    assert curves.carbon_at(["NL"], T0).tolist() == [300.5]
    assert np.isnan(curves.carbon_at(["NL", "FR"], T0 + HOUR)).all()


def test_another_currency_is_refused_with_what_to_do(world: World) -> None:
    world.price("SH", T0, 400.0, currency="CNY")
    world.clock(T0 + 15 * MINUTE)
    with pytest.raises(ConfigError, match=r"zone SH is in CNY.*accounts in EUR.*fx\.rate\.v1"):
        Curves("EUR", "day_ahead").update(world.mirror)


@pytest.mark.parametrize(("name", "to", "rate"), [("CNY", "EUR", 0.125), ("EUR", "CNY", 8.0)])
def test_an_exchange_rate_converts_prices_either_way(world: World, name: str, to: str, rate: float) -> None:
    world.price("SH", T0, 400.0, currency="CNY")
    world.send(ev.FxRate, name=name, to=to, rate=rate)
    world.clock(T0 + 15 * MINUTE)
    curves = Curves("EUR", "day_ahead")
    curves.update(world.mirror)
    assert curves.prices_at(["SH"], T0).price_per_mwh.tolist() == [50.0]


def test_a_price_that_an_exchange_rate_drives_out_of_bounds_is_refused(world: World) -> None:
    world.price("SH", T0, 400_000.0, currency="CNY")
    world.send(ev.FxRate, name="CNY", to="EUR", rate=1e9)
    world.clock(T0 + 15 * MINUTE)
    with pytest.raises(ConfigError, match="check the exchange rates"):
        Curves("EUR", "day_ahead").update(world.mirror)


def test_an_unknown_market_is_refused_with_the_ones_there_are() -> None:
    with pytest.raises(ConfigError, match="day_ahead"):
        Curves("EUR", "spot")


def test_curves_are_the_same_from_bases_and_from_deltas(new_world: Callable[..., World]) -> None:
    found = []
    for every_cut_a_base in (False, True):
        world = new_world(every_cut_a_base=every_cut_a_base)
        curves = Curves("EUR", "day_ahead")
        for hour in range(30):
            for zone in ("NL", "FR"):
                world.price(zone, T0 + (hour + 12) * HOUR, hour * 1.25 - 3, t=T0 + hour * HOUR)
            world.clock(T0 + (hour + 1) * HOUR)
            curves.update(world.mirror)
        found.append(
            [getattr(curves.pieces, name).tolist() for name in ("key", "end", "price", "priced", "price_from")]
        )
    assert found[0] == found[1]
