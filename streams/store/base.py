"""What a store of shards promises. ``memory`` and ``redis`` keep it and pass the same tests.

For any crash of any process at any moment:

1. What is stored of a shard is the fold of its log up to ``next``: rows, ids, texts, cuts and position change together.
2. ``apply`` succeeds only from exactly the stored position: neither an overlap nor a hole can be written.
3. ``apply`` succeeds only for the last claimer. ``owner`` is a fresh random token and no number to compare: a store that has
   lost its tail would give the same number twice.
4. A cut is written with the position that made it, so it is a function of the log.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from twin.errors import StoreError, TwinBug
from twin.shards.saved import ShardSave, StoredShard
from twin.shards.shard import Cut

CUTS_AT_ONCE = 64
"""So many cuts are read in one call: as many as stand between two bases."""


class FencedError(StoreError):
    """Another process has claimed the partition, or the store has rolled back: this process's memory is worth nothing now."""


class DamagedError(StoreError):
    """What is stored of a shard is not whole: it has to be forgotten and folded from the log again."""


class Claim(NamedTuple):
    """A shard as stored. ``next`` is the log position to go on from; nothing stored yet: 0 and None."""

    owner: bytes
    next: int
    stored: StoredShard | None


class TwinStore(Protocol):
    """Shards, their cuts, and the marks of the dispatcher. A topic is its short name (``tasks``).

    All calls raise ``StoreError`` when the store does not answer in time or what it holds is damaged.
    """

    async def claim(self, topic: str, partition: int) -> Claim:
        """Become the owner of a shard; waits, with an end, for a store that is away.

        Raises:
            ConfigError: the shard is stored in another schema.
            DamagedError: a write to it was left half done.
        """
        ...

    async def apply(  # noqa: PLR0917 - a position is from, to; then what lies between
        self,
        topic: str,
        partition: int,
        owner: bytes,
        base: int,
        next: int,  # noqa: A002 - its name everywhere
        save: ShardSave,
        cuts: Sequence[Cut],
    ) -> None:
        """Write what the log positions [base, next) changed, all or nothing; the same call twice counts once.

        Raises:
            FencedError: ``owner`` is not the last claimer, or ``base`` is not the stored position.
        """
        ...

    async def holds(self, topic: str, partition: int, owner: bytes, position: int) -> bool:
        """Whether ``owner`` is still the last claimer and ``position`` still the stored one; writes nothing.

        A worker that has nothing to write would else never learn that the store has forgotten.
        """
        ...

    async def read(self, topic: str, partition: int) -> Claim | None:
        """A shard as ``claim`` gives it, of one moment and without claiming it; None if there is nothing."""
        ...

    async def forget(self, topic: str, partition: int) -> None:
        """Delete all that is stored of a shard, its cuts and its claim too: the next claim starts at zero."""
        ...

    async def last_serial(self, topic: str, partition: int) -> int:
        """Serial of the cut written last, dropped or not; -1: none."""
        ...

    async def cuts(self, topic: str, partition: int, after: int, limit: int = CUTS_AT_ONCE) -> list[Cut]:
        """The first ``limit`` stored cuts with a serial above ``after``, ascending."""
        ...

    async def bases(self, topic: str, partition: int) -> list[int]:
        """Serials of the stored cuts that are bases, ascending."""
        ...

    async def drop_cuts(self, topic: str, partition: int, before: int) -> None:
        """Delete the cuts with a serial below ``before``."""
        ...

    async def pending(self, topic: str, partition: int) -> int:
        """How many cuts are stored."""
        ...

    async def set_mark(self, name: str, value: bytes) -> None:
        """Keep a small value by name."""
        ...

    async def get_mark(self, name: str) -> bytes | None:
        """The value kept by name, None if there is none."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


def check_order(topic: str, partition: int, base: int, upto: int) -> None:
    """A write has to move the position: by that a store knows one that comes twice.

    Raises:
        TwinBug: it does not.
    """
    if not 0 <= base < upto:
        raise TwinBug(f"{topic}-{partition}: a write of the log positions [{base}, {upto})")


def fenced(topic: str, partition: int, base: int, upto: int, why: str) -> FencedError:
    """The refusal of a write."""
    return FencedError(f"{topic}-{partition}: the write of [{base}, {upto}) is refused: {why}")
