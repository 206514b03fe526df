"""When things happen in a scenario: its time axis and the arrival of work over the day."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from twin.arrays import Bool1, Float1, Int1

HOUR_MS = 3_600_000
INTERVAL_MS = 900_000
"""Prices, service demand and the capacity plan go by quarters of an hour."""
LAST_SUBMISSION_MS = HOUR_MS
"""No work comes in the last hour, so that all of it can be done by the end."""
STOCK_MS = 60_000
ROOM_SHARE, GANG_ROOM_SHARE, ROOM_LOST_S = 0.8, 0.5, 1_500.0
"""How much of the time that is left a task may run; gangs, which may have to wait for a whole set of nodes, less."""


Part = Literal["routes", "power", "tasks", "services", "clusters"]
_PARTS: tuple[Part, ...] = ("routes", "power", "tasks", "services", "clusters")


@dataclass(frozen=True, slots=True)
class Timeline:
    """[t0, end) in epoch ms, and the local time of the place."""

    t0: int
    end: int
    utc_offset_h: float

    @property
    def intervals(self) -> int:
        """Quarters of an hour from ``t0`` to ``end``."""
        return (self.end - self.t0) // INTERVAL_MS

    def room_s(self, submit_ms: Int1, gang: Bool1) -> Float1:
        """The longest a task submitted then may run, s: it has to fit into the day, with some waiting."""
        return (self.end - submit_ms) / 1000 * np.where(gang, GANG_ROOM_SHARE, ROOM_SHARE) - ROOM_LOST_S

    def local_hour(self, t_ms: Int1) -> Float1:
        """Hour of the local day, [0, 24)."""
        return np.asarray((t_ms / HOUR_MS + self.utc_offset_h) % 24)


def rng_of(seed: int, part: Part) -> np.random.Generator:
    """The random numbers of one part of a scenario: a change in one part leaves the others as they are."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, _PARTS.index(part)])))


def draw_submissions(
    n: int, profile: list[float], stock: float, time: Timeline, rng: np.random.Generator
) -> tuple[Int1, Float1]:
    """Draw when ``n`` tasks are submitted (ms, (n,)) and which share of their work is done by then, (n,).

    A share ``stock`` of them already waits when the scenario begins and has part of its work behind it; the others come
    with the hours of ``profile`` and have none.
    """
    hours = np.arange(time.t0, time.end - LAST_SUBMISSION_MS, HOUR_MS)
    weight = np.array(profile)[time.local_hour(hours).astype(np.int64)]
    hour = hours[rng.choice(len(hours), n, p=weight / weight.sum())]
    span = np.minimum(HOUR_MS, time.end - LAST_SUBMISSION_MS - hour)
    submit = hour + (rng.random(n) * span).astype(np.int64)
    waiting = rng.random(n) < stock
    early = time.t0 + (rng.random(n) * STOCK_MS).astype(np.int64)
    done = np.where(waiting, 0.85 * rng.random(n), 0.0)
    return np.where(waiting, early, submit), done


def at_hours(profile: list[float], hour: Float1) -> Float1:
    """``profile`` (24 values, each at the middle of its hour) at any time of day, linear in between."""
    values = np.array(profile)
    at = (hour - 0.5) % 24
    low = at.astype(np.int64) % 24
    part = at - np.floor(at)
    return np.asarray(values[low] * (1 - part) + values[(low + 1) % 24] * part)
