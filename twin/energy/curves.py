"""Prices and carbon intensity as curves: what holds in a zone at any instant, out of rows of mixed stage and length.

Of the rows that cover an instant the most final stage holds (final, preliminary, ex-ante, forecast), of those the one
that starts last. Where no row is, the value is unknown; nothing is filled in.

Zones and times are searched together: a key is zone · 2⁴⁸ + ms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from twin.arrays import Bool1, Float1, Int1
from twin.energy.currency import rate_to
from twin.energy.fixed import FOREVER, PRICE_LIMIT, to_fixed
from twin.errors import ConfigError
from twin.mirror import Mirror
from twin.shards.power import BASES, MARKETS, SCOPES
from twin.shards.table import Table

ZONE = 1 << 48
_NONE = np.zeros(0, np.int64)
_AVERAGE, _LOCATION = BASES.index("average"), SCOPES.index("location")


@dataclass(frozen=True, slots=True)
class Curve:
    """Segments that do not overlap, by (zone, start): ``[start, end)`` in ms and a fixed-point ``value``; all (m,)."""

    zone: Int1
    start: Int1
    end: Int1
    value: Int1

    @property
    def key(self) -> Int1:
        """Key of each segment's start, ascending, (m,)."""
        return self.zone * ZONE + self.start

    def find(self, zone: Int1, t: Int1) -> tuple[Int1, Bool1, Bool1]:
        """Per (zone, t), (n,): the last segment that starts at or before t, whether there is one, whether it covers t."""
        at = np.searchsorted(self.key, zone * ZONE + t, "right") - 1
        if not len(self.zone):
            nothing = np.zeros(len(at), bool)
            return np.zeros(len(at), np.int64), nothing, nothing
        at = np.maximum(at, 0)
        some = (self.zone[at] == zone) & (self.start[at] <= t)
        return at, some, some & (t < self.end[at])


@dataclass(frozen=True, slots=True)
class Pieces:
    """All zones' time, from 0 to for ever, cut wherever a price or an intensity changes; all (m,), by (zone, start).

    ``price`` in milli-currency per MWh and ``carbon`` in mgCO2e per kWh are 0 where they are not known;
    ``price_from`` and ``carbon_from`` are where the price's and the intensity's own interval starts.
    """

    key: Int1
    start: Int1
    end: Int1
    price: Int1
    priced: Bool1
    price_from: Int1
    carbon: Int1
    carbon_known: Bool1
    carbon_from: Int1


class PricesAt(NamedTuple):
    """Prices at one time, (n,): the published one; else the latest known before (``known`` False), NaN if there is none."""

    price_per_mwh: Float1
    known: Bool1


def curve(zone: Int1, start: Int1, end: Int1, stage: Int1, value: Int1) -> Curve:
    """The curve of n rows, all (n,). Rows that end before they start count for nothing."""
    some = end > start
    if not some.all():
        zone, start, end, stage, value = (column[some] for column in (zone, start, end, stage, value))
    order = np.argsort(zone * ZONE + start, kind="stable")
    z, s, e = zone[order], start[order], end[order]
    if not ((z[1:] == z[:-1]) & (s[1:] < e[:-1])).any():
        return Curve(z, s, e, value[order])
    return _painted(zone, start, end, stage, value)


def _painted(zone: Int1, start: Int1, end: Int1, stage: Int1, value: Int1) -> Curve:
    """Cut at all bounds; each cell belongs to the strongest row over it; cells of one row next to each other are one."""
    order = np.lexsort((end, start, stage))  # weakest first
    first, behind = (zone * ZONE + start)[order], (zone * ZONE + end)[order]
    bounds = _distinct([first, behind])
    i, j = np.searchsorted(bounds, first), np.searchsorted(bounds, behind)
    strength = np.full(len(bounds), -1, np.int64)
    np.maximum.at(strength, spread(i, j - i), np.repeat(np.arange(len(order)), j - i))
    new = np.ones(len(bounds), bool)
    np.not_equal(strength[1:], strength[:-1], out=new[1:])
    begins = np.flatnonzero(new)
    ends = np.append(begins[1:], len(bounds) - 1)  # the last bound starts no cell
    held = strength[begins] >= 0
    row = order[strength[begins[held]]]
    return Curve(zone[row], bounds[begins[held]] % ZONE, bounds[ends[held]] % ZONE, value[row])


def _distinct(parts: list[Int1]) -> Int1:
    """Distinct values, ascending; the parts are almost sorted, which this sort makes use of."""
    values = np.concatenate(parts)
    values.sort(kind="stable")
    new = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=new[1:])
    return values[new]


def spread(first: Int1, count: Int1) -> Int1:
    """first[0], first[0] + 1, … count[0] of them, then those of first[1] and so on, (sum of count,)."""
    before = np.cumsum(count) - count
    result: Int1 = np.repeat(first - before, count) + np.arange(int(count.sum()))
    return result


def pieces(zones: int, price: Curve, carbon: Curve) -> Pieces:
    """Both curves on common intervals, for zones 0 … ``zones`` − 1."""
    parts = [np.arange(zones, dtype=np.int64) * ZONE]
    for one in (price, carbon):
        parts += [one.key, one.zone * ZONE + one.end]
    key = _distinct(parts)
    zone, start = np.divmod(key, ZONE)
    end = np.append(np.where(zone[1:] == zone[:-1], start[1:], FOREVER), FOREVER) if len(key) else _NONE
    return Pieces(key, start, end, *_on(price, zone, start), *_on(carbon, zone, start))


def _on(one: Curve, zone: Int1, start: Int1) -> tuple[Int1, Bool1, Int1]:
    """Value, whether it is known, and where its interval starts, at each (zone, start)."""
    at, _, known = one.find(zone, start)
    if not len(one.value):
        return np.zeros(len(zone), np.int64), known, start
    return np.where(known, one.value[at], 0), known, np.where(known, one.start[at], start)


class Curves:
    """Settlement prices and carbon of all zones, as far as published; rebuilt when their shards have changed.

    ``market`` bills the energy; all amounts are in ``currency``. Zone 0 stands for zones nothing is known of.
    """

    def __init__(self, currency: str, market: str) -> None:
        if market not in MARKETS:
            raise ConfigError(f"no market {market!r}: one of {', '.join(MARKETS)}")
        self.currency = currency
        self.market = market
        self._zone_of: dict[str, int] = {"": 0}
        self._versions: tuple[int, ...] = ()
        self._rows = dict.fromkeys(("market", "zone", "start", "end", "stage", "value"), _NONE)
        self._prices: dict[str, Curve] = {}
        self.carbon = Curve(_NONE, _NONE, _NONE, _NONE)
        self.pieces = pieces(1, self.carbon, self.carbon)

    def update(self, mirror: Mirror) -> bool:
        """Follow the mirror; says whether anything changed.

        Raises:
            ConfigError: a price is in another currency and there is no exchange rate, or a price is out of bounds.
        """
        shards = mirror.of("power")
        versions = tuple(shard.version for shard in (*shards, *mirror.of("control")))
        if versions == self._versions:
            return False
        prices = [self._price_rows(mirror, shard.tables["prices"]) for shard in shards]
        carbon = [self._carbon_rows(shard.tables["carbon"]) for shard in shards]
        self._rows = {name: np.concatenate([_NONE, *(rows[name] for rows in prices)]) for name in self._rows}
        self.carbon = curve(*(np.concatenate([_NONE, *column]) for column in zip(*carbon, strict=True)))
        self._prices = {}
        self.pieces = pieces(len(self._zone_of), self.price(self.market), self.carbon)
        self._versions = versions
        return True

    def zones(self, names: Sequence[str]) -> Int1:
        """Index of each zone, 0 for one nothing is known of, (len(names),). Holds until the next ``update``."""
        return np.array([self._zone_of.get(name, 0) for name in names], np.int64)

    def price(self, market: str) -> Curve:
        """The price curve of a market, milli-currency per MWh."""
        found = self._prices.get(market)
        if found is None:
            rows = self._rows
            mine = rows["market"] == MARKETS.index(market)
            columns = (rows[name][mine] for name in ("zone", "start", "end", "stage", "value"))
            found = self._prices[market] = curve(*columns)
        return found

    def prices_at(self, zones: Sequence[str], t: int, market: str | None = None) -> PricesAt:
        """Prices of ``zones`` (n of them) at ``t`` as far as published, in currency per MWh; settlement by default."""
        price = self.price(market or self.market)
        index = self.zones(zones)
        at, some, known = price.find(index, np.full(len(index), t, np.int64))
        if not len(price.value):
            return PricesAt(np.full(len(index), np.nan), known)
        return PricesAt(np.where(some, price.value[at] / 1000.0, np.nan), known)

    def carbon_at(self, zones: Sequence[str], t: int) -> Float1:
        """Location-based average intensity of ``zones`` at ``t``, gCO2e per kWh, NaN where unknown, (n,)."""
        index = self.zones(zones)
        at, _, known = self.carbon.find(index, np.full(len(index), t, np.int64))
        if not len(self.carbon.value):
            return np.full(len(index), np.nan)
        return np.where(known, self.carbon.value[at] / 1000.0, np.nan)

    # ------------------------------------------------------------------------------------------------ reading rows

    def _learn(self, table: Table) -> Int1:
        """Index of each text of a table's zone dictionary; new zones get the next ones."""
        names = table.texts["zone_id"].names
        return np.array([self._zone_of.setdefault(name, len(self._zone_of)) for name in names], np.int64)

    def _price_rows(self, mirror: Mirror, table: Table) -> dict[str, Int1]:
        live = table.live()
        at = np.flatnonzero(live["applied"] > 0)
        rows = {name: live[name][at].astype(np.int64) for name in ("zone_id", "market", "stage", "start", "end")}
        code = live["currency"][at]
        factor = np.ones(len(table.texts["currency"].names))
        for used in np.flatnonzero(np.bincount(code)).tolist():
            name = table.texts["currency"].names[used]
            zone = table.texts["zone_id"].names[int(rows["zone_id"][np.argmax(code == used)])]
            factor[used] = rate_to(mirror, name, self.currency, f"the price of zone {zone}")
        value, over = to_fixed(live["price_per_mwh"][at] * factor[code], 1000.0, PRICE_LIMIT)
        if over.any():
            raise ConfigError(f"a price beyond {PRICE_LIMIT // 1000} {self.currency} per MWh: check the exchange rates")
        zone_of = self._learn(table)
        return rows | {"zone": zone_of[rows["zone_id"]], "value": value}

    def _carbon_rows(self, table: Table) -> tuple[Int1, ...]:
        rows = table.live()
        at = np.flatnonzero((rows["applied"] > 0) & (rows["basis"] == _AVERAGE) & (rows["scope"] == _LOCATION))
        value, _ = to_fixed(rows["gco2e_per_kwh"][at], 1000.0)
        zone = self._learn(table)[rows["zone_id"][at]]
        return zone, rows["start"][at], rows["end"][at], np.zeros(len(at), np.int64), value
