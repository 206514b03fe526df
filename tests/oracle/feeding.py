"""Logs into shards of the twin, in whatever chunks."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from tests.oracle.shard import Item
from twin.columns import DeadLetter, Decoder
from twin.records import Records
from twin.shards.shard import Cut, Shard
from twin.shards.table import Table

WAYS = [0, 3, Table.FEW, 1000]
"""How many events are few: from all in columns to all one by one."""


@contextmanager
def few(n: int) -> Iterator[None]:
    """Up to ``n`` events are few."""
    before, Table.FEW = Table.FEW, n
    try:
        yield
    finally:
        Table.FEW = before


def records(items: list[Item], base: int = 0) -> Records:
    """Items as records at consecutive offsets."""
    n = len(items)
    keys: list[bytes | None] = [f"k{base + i}".encode() for i in range(n)]
    return Records(base, base + n, list(range(base, base + n)), [0] * n, keys, [item.value for item in items])


def feed(shard: Shard, items: list[Item], base: int = 0) -> tuple[list[Cut], list[DeadLetter]]:
    """Decode ``items`` as one chunk and fold all of it; the cuts and the dead letters."""
    columns = Decoder(shard.topic).decode(records(items, base))
    cuts, dead, position = [], [], 0
    while position < len(columns):
        fed = shard.feed(columns, position)
        assert fed.position > position
        position = fed.position
        dead.extend(fed.dead)
        if fed.cut is not None:
            cuts.append(fed.cut)
    return cuts, dead


def feed_in_chunks(shard: Shard, items: list[Item], splits: list[int]) -> tuple[list[Cut], list[DeadLetter]]:
    """Feed ``items`` split at ``splits``."""
    bounds = [0, *sorted({at % (len(items) + 1) for at in splits}), len(items)]
    cuts, dead = [], []
    for start, end in pairwise(bounds):
        more_cuts, more_dead = feed(shard, items[start:end], start)
        cuts.extend(more_cuts)
        dead.extend(more_dead)
    return cuts, dead
