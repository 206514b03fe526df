"""Packing a pool anew where work was left out: what stands there and what could, by worth per different measures of size.

Which size counts depends on what runs out, and whole items do not fill a pool to the brim: so several orders are tried
and the best is kept. Only items decided in this window are touched, and the plan only gets better.
"""

from collections.abc import Callable

import numpy as np

from twin.dispatch.rounding import Seats

MOST_LEFT = 64
PASSES = 3


def repack(seats: Seats) -> bool:
    """Pack the pools anew, one after the other, as long as that gains (``PASSES`` at most); return whether it did."""
    gained = False
    for _ in range(PASSES):
        left = _left(seats)
        packed = [_pack(seats, p, left) for p in range(len(seats.room.acc))] if left else []
        if not any(packed):
            return gained
        gained = True
    return gained


def _left(seats: Seats) -> list[int]:
    """Return the items without a place whose being left out costs most."""
    m = seats.m
    item = np.flatnonzero((seats.array() < 0) & ~m.mover)
    weight = m.out[item] * m.occupancy[item]
    dearest: list[int] = item[np.argsort(-weight, kind="stable")][:MOST_LEFT].tolist()
    return dearest


def _pack(seats: Seats, p: int, left: list[int]) -> bool:
    """Pack pool ``p`` by the best of several orders; return whether that gained."""
    there = seats.at(p)
    waiting = [i for i in left if seats.pool[i] < 0 and seats.cost_at(i, p) < seats.out(i)]
    if not there or not waiting:
        return False
    items = there + waiting
    best = {i: seats.pool[i] for i in items}
    before = least = sum(seats.cost(i) for i in items)
    for size in _sizes(seats, p):
        _fill(seats, p, sorted(items, key=lambda i: ((seats.cost_at(i, p) - seats.out(i)) / size(i), i)))
        cost = sum(seats.cost(i) for i in items)
        if cost < least - 1e-9:
            best, least = {i: seats.pool[i] for i in items}, cost
    for i in items:
        seats.put(i, -1)
    for i, q in best.items():
        seats.put(i, q)
    return least < before


def _sizes(seats: Seats, p: int) -> tuple[Callable[[int], float], ...]:
    """Return measures of size at pool ``p``: what the room is worth, accelerators, cores, and all alike."""
    return (
        lambda i: seats.rent(i, p),
        lambda i: seats.use(i)[0] + 1e-9,
        lambda i: seats.use(i)[1] + 1e-9,
        lambda _: 1.0,
    )


def _fill(seats: Seats, p: int, order: list[int]) -> None:
    """Seat items at ``p`` in ``order``, then the rest wherever there is room."""
    for i in order:
        seats.put(i, -1)
    for i in order:
        if seats.fits(i, p):
            seats.put(i, p)
    for i in order:
        if seats.pool[i] < 0:
            seats.put(i, next((q for q in seats.cheapest(i) if seats.fits(i, q)), -1))
