"""Figures about a run that its plots make visible: what zones cost, which are worth a look, and where load went."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.report.data import RunSeries, ZoneSeries

Float1 = NDArray[np.float64]
Float2 = NDArray[np.float64]
FIFTHS = 5
MOST_BANDS = 24


class ZoneFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A zone over the whole run: prices per MWh, ``paid`` the load-weighted mean, hours at a negative price."""

    zone: str
    name: str
    low: float | None
    mean: float | None
    high: float | None
    paid: float | None
    negative_h: float | None
    energy_kwh: float
    carbon: float | None


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """A band of prices, ``low`` <= price < ``high``: the share of our energy and of all zone-windows in it."""

    low: float
    high: float
    energy: float
    offered: float


class Follows(msgspec.Struct, frozen=True, kw_only=True):
    """How load followed price.

    ``fifths`` is the share of energy run in the cheapest, ..., dearest fifth of the zones of each moment; ``paid`` the
    load-weighted and ``offered`` the plain mean price per MWh; ``negative_share`` the energy run at a negative price;
    ``bands`` are equal steps of price in rising order, the outermost taking in what lies beyond them.
    """

    fifths: tuple[float, ...]
    paid: float
    offered: float
    negative_share: float
    bands: tuple[Band, ...]


def stack(series: Sequence[Sequence[float | None]], width: int) -> Float2:
    """Return lists as (zones, W) floats, unknown and not finite as NaN."""
    values = np.array(series, dtype=np.float64).reshape(len(series), width)
    values[~np.isfinite(values)] = np.nan
    return values


def zone_figures(run: RunSeries, window_ms: int) -> tuple[ZoneFigures, ...]:
    """Return every zone's figures in the order of ``run.zones``."""
    return tuple(_figures(zone, window_ms / 3.6e6) for zone in run.zones)


def _figures(zone: ZoneSeries, hours: float) -> ZoneFigures:
    price, load = stack([zone.price, zone.load_kw], len(zone.price))
    carbon = stack([zone.carbon], len(zone.carbon))[0]
    known = ~np.isnan(price)
    prices, weights = price[known], np.nan_to_num(load[known])
    return ZoneFigures(
        zone=zone.zone,
        name=zone.name,
        low=float(prices.min()) if prices.size else None,
        mean=float(prices.mean()) if prices.size else None,
        high=float(prices.max()) if prices.size else None,
        paid=_weighted(prices, weights),
        negative_h=float((prices < 0).sum() * hours) if prices.size else None,
        energy_kwh=float(np.nansum(load) * hours),
        carbon=float(np.nanmean(carbon)) if (~np.isnan(carbon)).any() else None,
    )


def _weighted(values: Float1, weights: Float1) -> float | None:
    total = float(weights.sum())
    return float((values * weights).sum()) / total if total > 0 else None


def interesting(figures: Sequence[ZoneFigures], most: int = 4) -> tuple[int, ...]:
    """Return the zones to look at first: most negative, dearest, most loaded, then the next ones by load.

    Ties go to the lowest index; a zone without a known price has no line and is left out.
    """
    priced = [i for i, zone in enumerate(figures) if zone.low is not None]
    if not priced:
        return ()
    by_load = sorted(priced, key=lambda i: -figures[i].energy_kwh)
    first = [min(priced, key=lambda i: figures[i].low or 0.0), max(priced, key=lambda i: figures[i].high or 0.0)]
    return tuple(dict.fromkeys([*first, *by_load]))[:most]


def load_follows_price(run: RunSeries) -> Follows | None:
    """Return how load followed price, or None where no load met a known price.

    In each window the zones with a known price are ranked (ties by order) and cut into fifths by rank; windows with
    fewer than two such zones say nothing about following and count for ``paid`` and ``offered`` only.
    """
    width = len(run.t_ms)
    if not run.zones or not width:
        return None
    price = stack([zone.price for zone in run.zones], width)
    load = np.nan_to_num(stack([zone.load_kw for zone in run.zones], width))
    known = ~np.isnan(price)
    used = np.where(known, load, 0.0)
    total = float(used.sum())
    if total <= 0:
        return None
    return Follows(
        fifths=_fifths(price, used),
        paid=float((np.where(known, price, 0.0) * used).sum()) / total,
        offered=float(price[known].mean()),
        negative_share=float(used[np.where(known, price, 0.0) < 0].sum()) / total,
        bands=price_bands(price[known], used[known]),
    )


def price_bands(price: Float1, load: Float1) -> tuple[Band, ...]:
    """Return how energy and offers spread over prices; ``price`` and ``load`` are (n,), all known, n > 0.

    Steps are 1, 2 or 5 times a power of ten, from the 1st to the 99th percentile, so that a spike gets no empty axis.
    """
    ordered = np.sort(price, kind="stable")
    low, high = float(ordered[len(ordered) // 100]), float(ordered[-1 - len(ordered) // 100])
    step = _round_step((high - low) / MOST_BANDS)
    first = np.floor(low / step)
    count = int(np.floor(high / step) - first) + 1
    index = np.clip(np.floor(price / step) - first, 0, count - 1).astype(np.int64)
    energy, offered = np.bincount(index, weights=load, minlength=count), np.bincount(index, minlength=count)
    return tuple(
        Band(
            low=float((first + k) * step),
            high=float((first + k + 1) * step),
            energy=float(energy[k] / load.sum()),
            offered=float(offered[k] / price.size),
        )
        for k in range(count)
    )


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least ``least`` (and at least 0.001)."""
    for power in range(-3, 9):
        for factor in (1, 2, 5):
            if factor * 10.0**power >= least:
                return factor * 10.0**power
    return least


def _fifths(price: Float2, used: Float2) -> tuple[float, ...]:
    """Return the share of ``used`` by fifth of the price rank within each window; shapes (zones, W)."""
    zones = price.shape[0]
    order = np.argsort(price, axis=0, kind="stable")  # NaN sorts last
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(zones)[:, None] * np.ones_like(order), axis=0)
    count = (~np.isnan(price)).sum(axis=0)
    counted = (rank < count) & (count > 1)
    fifth = np.minimum(rank * FIFTHS // np.maximum(count, 1), FIFTHS - 1)
    sums = [float(used[counted & (fifth == k)].sum()) for k in range(FIFTHS)]
    total = sum(sums)
    return tuple(part / total for part in sums) if total > 0 else ()
