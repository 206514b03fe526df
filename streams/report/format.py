"""Numbers for readers: thousands grouped, sane digits, a unit beside each, and ``unknown`` where nothing is known."""

from datetime import UTC, datetime, timedelta

UNKNOWN = "unknown"
MINUS = "\N{MINUS SIGN}"


def number(value: float | None, digits: int | None = None) -> str:
    """Return ``value`` grouped by thousands; without ``digits``, two below 100, one below 1,000, else none."""
    if value is None:
        return UNKNOWN
    if digits is None:
        size = abs(value)
        digits = 0 if size >= 1000 or value == int(value) else 1 if size >= 100 else 2
        if 0 < size < 0.1:
            digits = 4
    text = f"{value:,.{digits}f}"
    if text.startswith("-"):
        return MINUS + text[1:] if float(text.replace(",", "")) else text[1:]
    return text


def money(value: float | None) -> str:
    """Return an amount: hundredths below 10,000, four digits where it is a fraction of a hundredth or near it."""
    if value is None:
        return UNKNOWN
    size = abs(value)
    return number(value, 0 if size >= 10_000 else 4 if 0 < size < 0.1 else 2)


def digits(largest: float) -> int:
    """Return the decimals that show ``largest`` with three digits or more, at most four."""
    return next((k for k, limit in enumerate((100, 10, 1, 0.1)) if abs(largest) >= limit), 4)


def count(value: float | None) -> str:
    """Return a whole number."""
    return number(value, 0)


def percent(fraction: float | None, digits: int = 1) -> str:
    """Return a fraction as per cent, never rounded up to a full 100 %."""
    if fraction is None:
        return UNKNOWN
    value = fraction * 100
    if fraction < 1 and round(value, digits) >= 100:
        value = 100 - 10**-digits
    return number(value, digits) + " %"


def duration(seconds: float | None) -> str:
    """Return seconds in the unit that reads best."""
    if seconds is None:
        return UNKNOWN
    for limit, size, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if abs(seconds) < limit:
            return f"{_short(seconds / size)} {unit}"
    return f"{_short(seconds / 86_400)} d"


def scaled(value: float | None, units: tuple[str, ...]) -> str:
    """Return ``value`` in the unit of ``units`` (each 1,000 of the one before) that reads best."""
    if value is None:
        return UNKNOWN
    index = 0
    while abs(value) >= 10_000 and index + 1 < len(units):
        value, index = value / 1_000, index + 1
    return f"{_short(value)} {units[index]}"


def energy(kwh: float | None) -> str:
    """Return energy in kWh, MWh or GWh."""
    return scaled(kwh, ("kWh", "MWh", "GWh"))


def mass(kg: float | None) -> str:
    """Return a mass in kg, t or kt."""
    return scaled(kg, ("kg", "t", "kt"))


def _short(value: float) -> str:
    size = abs(value)
    return number(value, 0 if size >= 100 or value == int(value) else 1)


def zone_name(offset_min: int) -> str:
    """Return an offset as ``UTC+08:00``."""
    sign = "+" if offset_min >= 0 else MINUS
    return f"UTC{sign}{abs(offset_min) // 60:02d}:{abs(offset_min) % 60:02d}"


def moment(t_ms: int, offset_min: int) -> str:
    """Return a time as a local date and minute."""
    local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=t_ms, minutes=offset_min)
    return local.strftime("%Y-%m-%d %H:%M")
