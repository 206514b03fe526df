"""Making room for one item by sending others away: they go to the next best place with room, or are left out.

Only items decided in this window are touched; what runs keeps its place unless it was about to move. Each step is made
on trial and kept if it lowers the cost, so the plan only gets better.
"""

import numpy as np

from twin.arrays import Float1
from twin.dispatch.rounding import Seats

MOST_TRIES = 480
MOST_ITEMS = 64
MOST_POOLS = 6
MOST_OUT = 12
MOST_ASKED = 16  # residents of a pool that are looked at closely


def eject(seats: Seats, passes: int = 2) -> None:
    """Try for the items that have most to gain, at most ``MOST_ITEMS`` in each pass, until nothing gains.

    Ends after ``MOST_TRIES`` trials in all: work is bounded by a count, never by a clock.
    """
    m = seats.m
    best = m.cost.min(axis=1, initial=np.inf)[m.row]
    tries = MOST_TRIES
    for _ in range(passes):
        gain = (_now(seats) - best) * m.occupancy
        item = np.flatnonzero(gain > 1e-9)
        gained = False
        for i in item[np.argsort(-gain[item], kind="stable")][:MOST_ITEMS].tolist():
            better, tried = _better(seats, i)
            gained |= better
            tries -= tried
            if tries <= 0:
                return
        if not gained:
            return


def _now(seats: Seats) -> Float1:
    """Return the cost per hour of each item as it stands, (n,)."""
    m, pool = seats.m, seats.array()
    return np.where(pool >= 0, m.cost[m.row, np.maximum(pool, 0)], m.out) if m.cost.size else m.out


def _better(seats: Seats, i: int) -> tuple[bool, int]:
    """Seat item ``i`` at the first of its cheapest pools where making room for it pays.

    Returns whether one did, and how many were tried.
    """
    now, tried = seats.cost(i), 0
    for p in seats.cheapest(i)[:MOST_POOLS]:
        gain = now - seats.cost_at(i, p)
        if gain <= 1e-9:
            break
        if seats.pool[i] != p:
            tried += 1
            if _take_seat(seats, i, p, gain):
                return True, tried
    return False, tried


def _take_seat(seats: Seats, i: int, p: int, gain: float) -> bool:
    """Seat ``i`` at ``p``, sending away whoever loses least per size, if all of that together pays."""
    before = seats.pool[i]
    seats.put(i, -1)
    sent: list[int] = []
    asked = sorted((_least_loss(seats, j, p), j) for j in seats.at(p) if j != i)[:MOST_ASKED]
    for _, j in sorted((_loss(seats, j, p), j) for _, j in asked):
        if seats.fits(i, p) or len(sent) == MOST_OUT:
            break
        seats.put(j, -1)
        sent.append(j)
    done = seats.fits(i, p)
    if done:
        seats.put(i, p)
        spent = 0.0
        for j in sorted(sent, key=lambda j: (-seats.cost(j), j)):
            at = seats.cost_at(j, p)
            target = next((q for q in seats.cheapest(j) if seats.fits(j, q)), -1)
            seats.put(j, target)
            spent += seats.cost(j) - at
        done = gain - spent > 1e-9
    if not done:
        _undo(seats, i, before, sent, p)
    return done


def _loss(seats: Seats, j: int, p: int) -> float:
    """Return what ``j`` loses per size by leaving ``p`` for its cheapest other place with room."""
    here = seats.cost_at(j, p)
    other = next((seats.cost_at(j, q) for q in seats.cheapest(j) if q != p and seats.fits(j, q)), seats.out(j))
    return (other - here) / seats.rent(j, p)


def _least_loss(seats: Seats, j: int, p: int) -> float:
    """Return what ``j`` loses per size by leaving ``p`` if there were room everywhere."""
    pools = seats.cheapest(j)
    other = next((q for q in pools[:2] if q != p), -1)
    return (seats.cost_at(j, other) - seats.cost_at(j, p)) / seats.rent(j, p)


def _undo(seats: Seats, i: int, before: int, sent: list[int], p: int) -> None:
    for j in [i, *sent]:
        seats.put(j, -1)
    for j in sent:
        seats.put(j, p)
    seats.put(i, before)
