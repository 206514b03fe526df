"""A closed loop through Kafka in lockstep: each window waits for the decisions of the one before, so that it is bit-exact.

The runtime is the conductor: it writes records, the plant's answers and clocks, and nobody else may.
"""

from collections.abc import Awaitable, Callable

from streams.closed_loop import ClosedLoop, LoopWindow
from streams.windows import DecidedWindow, WindowReader
from twin.assembler import Partition
from twin.decisions import Decision
from twin.errors import TwinBug
from twin.records import Records

Send = Callable[[dict[Partition, Records]], Awaitable[None]]
"""Writes records to partitions of in-topics, and returns when the broker has them."""


async def lockstep(
    loop: ClosedLoop,
    windows: WindowReader,
    send: Send,
    *,
    until: int | None = None,
    on_window: Callable[[DecidedWindow], None] = lambda _window: None,
) -> None:
    """Run ``loop`` to its end, or to the first window that ends at ``until`` (ms) or later.

    Raises:
        TwinBug: the dispatcher decided another window than was written.
    """
    await send(_records(loop.opening()))
    decided: list[Decision] = []
    while True:
        window = loop.next(decided)
        await send(_records(window))
        done = await windows.next()
        if done.record.window != window.end:
            raise TwinBug(
                f"window {window.end} was written and {done.record.window} decided: does somebody else write clocks?"
            )
        on_window(done)
        decided = done.decisions
        if loop.over(done.record, decided) or (until is not None and window.end >= until):
            return


def _records(window: LoopWindow) -> dict[Partition, Records]:
    return {at: columns.records for at, columns in window.columns.items()}
