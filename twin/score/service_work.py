"""What was demanded of services and what was served, in tokens and in accelerator-hours.

Served counts per service, origin and interval of demand, never more than was demanded in it. A token is worth the
accelerator time it takes at the best compatible pool that is registered: the accelerator-hours nobody can do without.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from twin.arrays import Float1, Int1
from twin.energy.fleet import Fleet
from twin.score.history import History
from twin.score.work import S_PER_H

_KEY = 1 << 48
_speeds = msgspec.json.Decoder(dict[str, float]).decode
_models = msgspec.json.Decoder(list[str]).decode


@dataclass(frozen=True, slots=True)
class ServiceWork:
    """Sums over a run. ``no_speed_tokens``: demand that no registered pool has a known speed for, without hours."""

    demanded_tokens: float
    served_tokens: float
    no_speed_tokens: float
    demanded_h: float
    served_h: float


def service_work(history: History, until: int) -> ServiceWork:
    """Demand and service up to ``until`` (ms)."""
    demand = history.services.demand
    start, end = demand["start"], np.maximum(np.minimum(demand["end"], until), demand["start"])
    some = np.flatnonzero((start < end) & (demand["tokens_per_s"] > 0))
    start, end, key = start[some], end[some], demand["key"][some]
    wanted = demand["tokens_per_s"][some] * (end - start) / 1000.0
    served = np.minimum(
        np.maximum(_served(history, key, end, until) - _served(history, key, start, until), 0.0), wanted
    )
    pairs = list(zip(demand["model"][some].tolist(), demand["compatible"][some].tolist(), strict=True))
    best = {pair: _best_speed(history, *pair) for pair in sorted(set(pairs))}
    speed = np.array([best[pair] for pair in pairs], np.float64)
    known = speed > 0
    per_h = np.where(known, speed, 1.0) * S_PER_H
    return ServiceWork(
        demanded_tokens=float(wanted.sum()),
        served_tokens=float(served.sum()),
        no_speed_tokens=float(wanted[~known].sum()),
        demanded_h=float((wanted / per_h)[known].sum()),
        served_h=float((served / per_h)[known].sum()),
    )


def _served(history: History, key: Int1, t: Int1, until: int) -> Float1:
    """Tokens served for each (service@origin, t), (n,), since an instant of its own per key; t at most ``until``."""
    serving = history.services.serving
    n = len(serving)
    if not n:
        return np.zeros(len(key))
    at = np.minimum(np.concatenate([serving["start"], serving["end"]]), until)
    of = np.concatenate([serving["key"], serving["key"]])
    change = np.concatenate([serving["tokens_per_s"], -serving["tokens_per_s"]])
    order = np.lexsort((at, of))
    place, change, of, at = (of * _KEY + at)[order], change[order], of[order], at[order]
    rate = np.cumsum(change)  # at the end of a key all its servings have ended, so this starts each key from about 0
    opens = np.append(True, of[1:] != of[:-1])
    first = np.flatnonzero(opens)
    rest = np.repeat(np.where(first > 0, rate[first - 1], 0.0), np.diff(np.append(first, 2 * n)))
    rate = np.maximum(rate - rest, 0.0)
    passed = np.zeros(2 * n)
    passed[1:] = np.where(opens[1:], 0.0, rate[:-1] * (at[1:] - at[:-1]) / 1000.0)
    total = np.cumsum(passed)
    i = np.searchsorted(place, key * _KEY + t, "right") - 1
    known = (i >= 0) & (of[np.maximum(i, 0)] == key)
    i = np.maximum(i, 0)
    return np.where(known, total[i] + rate[i] * (t - at[i]) / 1000.0, _before(total, place, key))


def _before(total: Float1, place: Int1, key: Int1) -> Float1:
    """Total at the first change of each key: what counts as nothing served yet, (n,)."""
    first = np.minimum(np.searchsorted(place, key * _KEY, "left"), len(total) - 1)
    result: Float1 = total[first]
    return result


def _best_speed(history: History, model: int, compatible: int) -> float:
    """Greatest tokens per second of one accelerator over the registered pools that may serve, 0 where there is none."""
    fleet: Fleet = history.fleet
    name = history.services.models.names[model]
    text = history.services.compatible.names[compatible]
    allowed = set(_models(text)) if text else None
    best = 0.0
    for speeds, accelerator in zip(fleet.tokens_per_s, fleet.models, strict=True):
        if speeds and (allowed is None or accelerator in allowed):
            best = max(best, _speeds(speeds).get(name, 0.0))
    return best
