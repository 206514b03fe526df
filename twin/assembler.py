"""Brings the cuts of all shards to one window, so that a snapshot is complete and a function of the log alone."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from twin.shards.shard import Cut
from twin.window import MOST_LISTED

Partition = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """Cuts to apply; then, if ``window`` is given, all shards stand at it and it is to be decided.

    ``skipped`` are the windows before it that a clock closed together with it, the latest ``MOST_LISTED`` of them.
    """

    cuts: list[Cut]
    window: int | None = None
    skipped: tuple[int, ...] = ()


class Assembler:
    """Queues the cuts of each shard, in the order of their serials, until every shard has one."""

    def __init__(self, partitions: Iterable[Partition]) -> None:
        self.passed = -1
        """No window that ends at or before this is to be decided any more, ms; -1 before the first step."""
        self._queues: dict[Partition, deque[Cut]] = {at: deque() for at in partitions}

    def offer(self, cut: Cut) -> None:
        """Take the next cut of a shard."""
        self._queues[cut.topic, cut.partition].append(cut)

    def missing(self) -> list[Partition]:
        """Shards whose next cut is needed before anything can be done."""
        return [at for at, queue in self._queues.items() if not queue]

    def step(self) -> Step | None:
        """What to do next; None while a shard has no cut.

        A partition whose clock skipped windows is ahead: the others come up to it, cut by cut.
        """
        if self.missing():
            return None
        window = max(queue[0].window for queue in self._queues.values())
        self.passed = window - 1
        behind = [queue for queue in self._queues.values() if queue[0].window < window]
        cuts = [queue.popleft() for queue in behind or self._queues.values()]
        if behind:
            return Step(cuts)
        return Step(cuts, window, tuple(sorted({end for cut in cuts for end in cut.skipped})[-MOST_LISTED:]))
