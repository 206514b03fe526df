"""Prices and carbon intensity of zones."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import get_args

from producers.importers.config import Config
from producers.importers.tables import Findings, Row, Table
from twin import events as ev
from twin.errors import ConfigError

MARKETS: tuple[ev.Market, ...] = get_args(ev.Market)
STAGES: tuple[ev.Stage, ...] = get_args(ev.Stage)
_UNIT = re.compile(r"([A-Z]{3})/MWh")
_MINUTE_MS = 60_000
_LONGEST_MIN = 366 * 1440
_DAY_AHEAD_MS = 12 * 3_600_000


def _interval(row: Row) -> tuple[int, int]:
    """[start, end) of a row in ms."""
    start = row.need("start_utc", row.time("start_utc"), "a UTC time")
    minutes = row.need("minutes", row.number("minutes", 0, _LONGEST_MIN), "minutes")
    end = start + round(minutes * _MINUTE_MS)
    if end <= start:
        raise row.wrong("minutes", "more than 0 minutes")
    return start, end


class _Prices:
    """Reads price rows; remembers which intervals stood already."""

    def __init__(self, config: Config, earliest: int) -> None:
        self.config, self.earliest = config, earliest
        self.stage_column = "status"
        self.file = ""
        self._seen: dict[tuple[str, str, int, str, int], int] = {}

    def _market(self, row: Row) -> ev.Market:
        name = row.need("market", row.name("market"), "a market")
        known = self.config.markets.get(name) or next((market for market in MARKETS if market == name), None)
        return row.need("market", known, "one of " + ", ".join((*self.config.markets, *MARKETS)))

    def _stage(self, row: Row) -> ev.Stage:
        text = row.choice(self.stage_column, STAGES) or "final"
        return next(stage for stage in STAGES if stage == text)

    def _check_unit(self, row: Row) -> None:
        unit = _UNIT.fullmatch(row.cell("unit") or "")
        currency = self.config.currency
        if unit is None:
            raise row.wrong("unit", f"{currency}/MWh")
        if unit[1] != currency:
            raise ConfigError(
                f"{self.file}: line {row.line}, column unit: the price is in {unit[1]}, the dataset's currency is {currency}, "
                "and there is no exchange rate: convert the prices"
            )

    def read(self, row: Row) -> ev.PowerPrice:
        zone = row.need("zone", row.name("zone"), "a zone")
        start, end = _interval(row)
        self._check_unit(row)
        market, stage, revision = self._market(row), self._stage(row), row.integer("revision") or 0
        price = row.need("price", row.number("price", -1e6, 1e6), "a price")
        published = row.time("published_utc")
        t = (start - _DAY_AHEAD_MS if market == "day_ahead" else start) if published is None else published
        before = self._seen.setdefault((zone, market, start, stage, revision), row.line)
        if before != row.line:
            raise row.wrong(
                "start_utc", f"a new interval; this zone, market, stage and revision had it in line {before}"
            )
        return ev.PowerPrice(
            seq=0,
            t=max(t, self.earliest),
            source=self.config.name,
            zone_id=zone,
            start=start,
            end=end,
            market=market,
            stage=stage,
            price_per_mwh=price,
            currency=self.config.currency,
            revision=revision,
            published_at=published,
        )


def read_prices(tables: Iterable[Table], config: Config, earliest: int) -> list[ev.PowerPrice]:
    """Return the rows of the price tables.

    Columns: zone, start_utc, minutes, price, unit, market [, status or stage, revision, published_utc].
    A price's event time is its publication; where the table has none, a day-ahead price is known 12 h before its interval and
    any other at its start; never before ``earliest`` (ms).

    Raises:
        ConfigError: a price in another currency than the dataset's.
    """
    reader = _Prices(config, earliest)
    prices: list[ev.PowerPrice] = []
    for table in tables:
        table.need("zone", "start_utc", "minutes", "price", "unit", "market")
        reader.stage_column = "stage" if table.has("stage") else "status"
        reader.file = table.file
        prices += table.each(reader.read)
    return prices


def settlement_market(prices: list[ev.PowerPrice], config: Config) -> ev.Market | None:
    """Return the market that bills the energy: the one named in ``[settlement]``, else the only one there is.

    Raises:
        ConfigError: none is named and there are several, or there are no prices of the one named.
    """
    found = sorted({price.market for price in prices})
    named = config.settlement.market
    wanted = None if named is None else config.markets.get(named, named)
    if wanted is None and len(found) > 1:
        raise ConfigError(
            f"dataset {config.name}: settlement.market: prices of {', '.join(found)}: name the one that bills"
        )
    if wanted is not None and prices and wanted not in found:
        raise ConfigError(
            f"dataset {config.name}: settlement.market = {named!r}: there are only prices of {', '.join(found)}"
        )
    if wanted is None:
        return found[0] if found else None
    market = next((market for market in MARKETS if market == wanted), None)
    if market is None:
        raise ConfigError(f"dataset {config.name}: settlement.market = {named!r}: expected one of {', '.join(MARKETS)}")
    return market


def _share(row: Row, column: str) -> float | None:
    percent = row.number(column, 0, 100)
    return None if percent is None else percent / 100


def read_carbon(tables: Iterable[Table], config: Config, earliest: int, findings: Findings) -> list[ev.PowerCarbon]:
    """Return the rows of the carbon tables: zone, start_utc, minutes, gco2_per_kwh, or zone, year, gco2_per_kwh.

    A value is known from the start of its interval, never before ``earliest`` (ms). Yearly values (one interval per calendar
    year, UTC) are left out for zones that have finer ones.
    """
    fine: list[ev.PowerCarbon] = []
    yearly: list[ev.PowerCarbon] = []
    seen: dict[tuple[str, int, int], str] = {}

    def read(row: Row) -> ev.PowerCarbon:
        zone = row.need("zone", row.name("zone"), "a zone")
        year = row.integer("year", 1970, 9998)
        if year is None:
            start, end = _interval(row)
        else:
            start, end = (round(datetime(y, 1, 1, tzinfo=UTC).timestamp() * 1000) for y in (year, year + 1))
        grams = row.need("gco2_per_kwh", row.number("gco2_per_kwh", 0, 100_000), "grams per kWh")
        made = ev.PowerCarbon(
            seq=0,
            t=max(start, earliest),
            source=config.name,
            zone_id=zone,
            start=start,
            end=end,
            gco2e_per_kwh=grams,
            renewable_share=_share(row, "renewable_pct"),
            carbon_free_share=_share(row, "carbon_free_pct"),
            origin="measured" if year is None else "estimated",
        )
        column = "start_utc" if year is None else "year"
        before = seen.setdefault((zone, start, end), f"line {row.line}")
        if before != f"line {row.line}":
            raise row.wrong(column, f"a new interval; this zone had it in {before}")
        return made

    for table in tables:
        table.need("zone", "gco2_per_kwh", "start_utc|year", *([] if table.has("year") else ["minutes"]))
        (yearly if table.has("year") else fine).extend(table.each(read))
    zones = {carbon.zone_id for carbon in fine}
    covered = sorted({carbon.zone_id for carbon in yearly} & zones)
    if covered:
        findings.warn(f"carbon of {', '.join(covered)}: yearly values left out, there are finer ones")
    return fine + [carbon for carbon in yearly if carbon.zone_id not in zones]
