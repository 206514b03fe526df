"""Prices, tariffs and carbon of each zone: a day-ahead curve, what real time made of it, the grid's intensity by the hour."""

from dataclasses import dataclass

import numpy as np

from producers.scenario.draw import HOUR_MS, INTERVAL_MS, Timeline
from producers.scenario.tables import Power, Province, Zone
from twin.arrays import Float1, Float2, Int1
from twin.events import Market, PowerCarbon, PowerPrice, PowerTariff, TouPeriod

DAY_MS = 24 * HOUR_MS
TAIL_MS = DAY_MS
"""Day-ahead prices and carbon are known for a day beyond the end, for what still runs then."""
DAY_AHEAD_MS = 12 * HOUR_MS
"""Day-ahead prices of a day are published whole, at noon of the day before."""
REFERENCE_LON = 120.0
"""Beijing time is the solar time of this meridian; the sun of Urumqi is two hours later."""
MEAN_PER_MWH = 350.0
"""The level prices are spread around."""
REAL_TIME_NOISE, DAY_AHEAD_NOISE = 0.16, 0.05
CARBON_SWING = 0.5


_PERIODS = {"v": "valley", "f": "flat", "p": "peak", "s": "sharp"}


@dataclass(frozen=True, slots=True)
class Curves:
    """Per zone and interval.

    Attributes:
        start: ms, (Q,).
        day_ahead, real_time: currency per MWh, (Z, Q).
        carbon_g: gCO2e per kWh of each hour, (Z, Q / 4).
    """

    start: Int1
    day_ahead: Float2
    real_time: Float2
    carbon_g: Float2


def bump(hour: Float2 | Float1, centre: Float2 | float, half_width_h: float) -> Float2:
    """A smooth hump over the day: 1 at ``centre``, 0 beyond ``half_width_h``: (1 - x^2)^2."""
    away = np.abs((hour - centre + 12) % 24 - 12) / half_width_h
    return np.where(away < 1, (1 - away * away) ** 2, 0.0)


def solar_shape(hour: Float1, provinces: tuple[Province, ...]) -> Float2:
    """Sunshine by zone and time of day, (Z, Q), 1 at solar noon."""
    noon = np.array([12 + (REFERENCE_LON - p.lon) / 15 for p in provinces])
    return bump(hour[None, :], noon[:, None], 6.0)


def make_curves(
    provinces: tuple[Province, ...], power: Power, time: Timeline, spread: float, rng: np.random.Generator
) -> Curves:
    """Draw the curves of ``provinces`` from ``time.t0`` to a day beyond ``time.end``; ``spread`` 1 is as in the table."""
    by_id = {zone.id: zone for zone in power.zones}
    zones = [by_id[p.id] for p in provinces]
    intervals = time.intervals + TAIL_MS // INTERVAL_MS
    start = time.t0 + INTERVAL_MS * np.arange(intervals)
    hour = time.local_hour(start)
    solar = solar_shape(hour, provinces)
    plan = _shape(zones, hour, solar, spread)
    # one sky and one demand for a whole day: a cloudy day has a shallower dip everywhere in the zone
    day = np.arange(intervals) // 96
    sky = 0.88 + 0.24 * rng.random((len(zones), int(day[-1]) + 1))[:, day]
    plan["dip"] = plan["dip"] * sky
    level = plan["load"] - plan["dip"]
    scale = np.abs(plan["load"])
    ahead = level + scale * _walk(len(zones), intervals, DAY_AHEAD_NOISE, rng)
    real = ahead + scale * _walk(len(zones), intervals, REAL_TIME_NOISE, rng)
    return Curves(start, _clipped(ahead, zones), _clipped(real, zones), _carbon(zones, solar))


def _clipped(price: Float2, zones: list[Zone]) -> Float2:
    """Prices within the floor and cap of their zone, to the cent."""
    floor = np.array([zone.floor for zone in zones])[:, None]
    cap = np.array([zone.cap for zone in zones])[:, None]
    return np.asarray(np.round(np.clip(price, floor, cap), 2))


def _shape(zones: list[Zone], hour: Float1, solar: Float2, spread: float) -> dict[str, Float2]:
    """Price of the load and what the sun takes off it, (Z, Q) each."""
    base = np.array([zone.base_per_mwh for zone in zones])
    base = np.maximum(MEAN_PER_MWH + spread * (base - MEAN_PER_MWH), 40.0)[:, None]
    rise = spread * np.array([zone.evening_rise for zone in zones])[:, None]
    dip = spread * np.array([zone.solar_dip_per_mwh for zone in zones])[:, None]
    evening = bump(hour, 19.5, 4.0)[None, :]
    morning = bump(hour, 8.0, 2.5)[None, :]
    night = bump(hour, 3.0, 4.5)[None, :]
    return {"load": base * (1 + rise * evening + 0.25 * rise * morning - 0.12 * night), "dip": dip * solar}


def _walk(zones: int, intervals: int, sigma: float, rng: np.random.Generator) -> Float2:
    """Stationary AR(1) noise, (Z, Q), with a memory of about an hour and a half."""
    keep = 0.85
    kicks = rng.standard_normal((intervals, zones)) * sigma
    out = np.empty((intervals, zones))
    out[0] = kicks[0]
    for q in range(1, intervals):
        out[q] = keep * out[q - 1] + np.sqrt(1 - keep * keep) * kicks[q]
    return out.T


def _carbon(zones: list[Zone], solar: Float2) -> Float2:
    """gCO2e per kWh by hour, (Z, Q / 4): less when the sun shines; the mean of a day is the zone's factor."""
    hourly = solar.reshape(len(zones), -1, 4).mean(axis=2)
    dip = np.array([z.solar_dip_per_mwh / max(z.base_per_mwh, 1.0) for z in zones])
    shape = 1 - CARBON_SWING * np.minimum(dip, 1.0)[:, None] * hourly
    factor = 1000 * np.array([z.carbon_kg_per_kwh for z in zones])[:, None]
    return np.asarray(np.round(factor * shape / shape[:, :24].mean(axis=1, keepdims=True), 1))


def published_at(start: int, t0: int, market: Market) -> int:
    """When a price becomes known, ms: the whole day at noon of the day before, real time at its start."""
    if market == "day_ahead":
        return max(t0 - 1, t0 + (start - t0) // DAY_MS * DAY_MS - DAY_AHEAD_MS)
    return start


def price_events(provinces: tuple[Province, ...], power: Power, curves: Curves, time: Timeline) -> list[PowerPrice]:
    """Day-ahead prices of all intervals and real-time prices up to the end; ``seq`` counts in order of publication."""
    by_id = {zone.id: zone for zone in power.zones}
    starts = [int(s) for s in curves.start]
    events = []
    for z, province in enumerate(provinces):
        zone = by_id[province.id]
        rows: list[tuple[int, Market, int, float]] = []
        for q, start in enumerate(starts):
            rows.append((published_at(start, time.t0, "day_ahead"), "day_ahead", start, float(curves.day_ahead[z, q])))
            if start < time.end:
                rows.append((start, "real_time", start, float(curves.real_time[z, q])))
        rows.sort()
        events += [
            PowerPrice(
                seq=seq,
                t=t,
                source="scenario",
                zone_id=zone.id,
                start=start,
                end=start + INTERVAL_MS,
                market=market,
                price_per_mwh=price,
                currency=power.currency,
                floor=zone.floor,
                cap=zone.cap,
                published_at=t,
            )
            for seq, (t, market, start, price) in enumerate(rows)
        ]
    return events


def carbon_events(provinces: tuple[Province, ...], power: Power, curves: Curves, time: Timeline) -> list[PowerCarbon]:
    """Carbon intensity by hour, known with the day-ahead prices; estimated where no factor was read from a publication."""
    by_id = {zone.id: zone for zone in power.zones}
    starts = [int(s) for s in curves.start[::4]]
    return [
        PowerCarbon(
            seq=h,
            t=published_at(start, time.t0, "day_ahead"),
            source="scenario",
            zone_id=province.id,
            start=start,
            end=start + HOUR_MS,
            gco2e_per_kwh=float(curves.carbon_g[z, h]),
            origin="forecast" if by_id[province.id].published else "estimated",
        )
        for z, province in enumerate(provinces)
        for h, start in enumerate(starts)
    ]


def tariff_events(provinces: tuple[Province, ...], power: Power, time: Timeline) -> list[PowerTariff]:
    """The published tariffs of the scenario's zones."""
    known = {p.id for p in provinces}
    return [
        PowerTariff(
            seq=0,
            t=time.t0 - 1,
            source="scenario",
            zone_id=tariff.zone,
            voltage=tariff.voltage,
            capacity_charge_per_kw_month=tariff.capacity_charge_per_kw_month,
            basis=tariff.basis,
            tou=[
                TouPeriod(
                    name=_PERIODS[letter],
                    start_min=60 * hour,
                    end_min=60 * (hour + 1),
                    price_per_mwh=tariff.price_per_mwh[letter],
                )
                for hour, letter in enumerate(tariff.hours)
            ],
        )
        for tariff in power.tariffs
        if tariff.zone in known
    ]
