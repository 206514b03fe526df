"""Fixed-point arithmetic of the bill. All amounts are int64, so sums do not depend on their order.

Scales: power in mW, energy in mWh, price in milli-currency per MWh, money in micro-currency, carbon intensity in mgCO2e
per kWh, carbon in mg, time in ms.
"""

import numpy as np

from twin.arrays import Bool1, Float1, Int1

MS_PER_H = 3_600_000
MILLION = 1_000_000
FOREVER = 253_402_300_799_999
"""The last ms of the year 9999: the end of what has no end."""
RATE_LIMIT = 1 << 40
"""Largest power (mW, 1.1 GW) or fee (micro-currency per hour) of one task: the products below stay within int64."""
PRICE_LIMIT = 10**12
"""Largest price, milli-currency per MWh, in absolute value."""


def to_fixed(value: Float1, scale: float, limit: int = RATE_LIMIT) -> tuple[Int1, Bool1]:
    """``value * scale`` rounded half-even, (n,), and where it was cut off at ``limit``."""
    scaled = np.rint(value * scale)
    over = np.abs(scaled) > limit
    return np.clip(scaled, -limit, limit).astype(np.int64), over


def accrued(rate_per_h: Int1, elapsed_ms: Int1) -> Int1:
    """What a rate per hour makes of a time, rounded down: mW → mWh, micro per hour → micro.

    floor(rate · elapsed / 1 h), without overflow up to ``RATE_LIMIT`` and 9,000 years. As a function of the end it
    telescopes: differences at any bounds add up to the whole.
    """
    hours, rest = np.divmod(elapsed_ms, MS_PER_H)
    result: Int1 = rate_per_h * hours + rate_per_h * rest // MS_PER_H
    return result


def per_million(amount: Int1, price: Int1) -> Int1:
    """``amount * price / 10**6`` rounded half-even, exact: mWh × milli/MWh → micro, mWh × mg/kWh → mg.

    mWh · milli-currency / MWh = 10⁻⁹ · 10⁻³ currency = 10⁻⁶ micro-currency; mWh · mg / kWh = 10⁻⁶ mg.
    """
    millions, rest = np.divmod(amount, MILLION)
    below, left = np.divmod(rest * price, MILLION)
    whole = millions * price + below
    half = MILLION // 2
    up = (left > half) | ((left == half) & (whole & 1 == 1))
    result: Int1 = whole + up
    return result
