"""How the dispatcher follows the shards: it gets their stored cuts in the order of their serials, none twice, none left out."""

import asyncio
from collections.abc import Iterable

from streams.store.base import TwinStore
from twin.assembler import Partition
from twin.errors import ConfigError
from twin.shards.shard import Cut

MOST_AT_ONCE = 64


class Follower:
    """Where the dispatcher is in each shard: ``serials`` are of the cuts taken last, -1 where none is."""

    def __init__(self, store: TwinStore, partitions: Iterable[Partition]) -> None:
        self._store = store
        self.serials: dict[Partition, int] = dict.fromkeys(partitions, -1)

    async def new_cuts(self) -> list[Cut]:
        """The cuts stored since the last call, at most ``MOST_AT_ONCE`` of a shard, each shard's in order.

        Raises:
            ConfigError: cuts that are needed are no longer stored.
        """
        found = await asyncio.gather(*map(self._new_cuts_of, self.serials))
        return [cut for cuts in found for cut in cuts]

    async def _new_cuts_of(self, at: Partition) -> list[Cut]:
        have = self.serials[at]
        cuts = await self._store.cuts(*at, after=have, limit=MOST_AT_ONCE)
        if cuts and cuts[0].serial != have + 1:
            raise _gone(at, have + 1)
        if cuts:
            self.serials[at] = cuts[-1].serial
        return cuts

    async def base_and_deltas(self, at: Partition, serial: int) -> list[Cut] | None:
        """The cuts that build shard ``at`` as of its cut ``serial``; None while that is not stored (it is being folded again).

        Raises:
            ConfigError: it was stored and the cuts before it are gone.
        """
        if await self._store.last_serial(*at) < serial:
            return None
        base = max((b for b in await self._store.bases(*at) if b <= serial), default=None)
        if base is None:
            raise _gone(at, serial)
        cuts: list[Cut] = []
        while not cuts or cuts[-1].serial < serial:
            after = cuts[-1].serial if cuts else base - 1
            more = await self._store.cuts(*at, after=after, limit=min(MOST_AT_ONCE, serial - after))
            if not more or more[0].serial != after + 1:
                raise _gone(at, after + 1)
            cuts += more
        self.serials[at] = serial
        return cuts

    async def drop(self, serials: dict[Partition, int]) -> None:
        """Delete the cuts that nobody needs who starts from ``serials``: those before each shard's last base up to it."""
        await asyncio.gather(*(self._drop(at, serial) for at, serial in serials.items()))

    async def _drop(self, at: Partition, serial: int) -> None:
        base = max((b for b in await self._store.bases(*at) if b <= serial), default=None)
        if base is not None:
            await self._store.drop_cuts(*at, before=base)


def _gone(at: Partition, serial: int) -> ConfigError:
    return ConfigError(
        f"cut {serial} of {at[0]}-{at[1]} is not stored any more: empty Redis (FLUSHDB); workers then fold the log again, "
        "and windows that are published already are compared, not published again"
    )
