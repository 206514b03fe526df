"""Clocks as they stand in topics and logs: which records are clocks, where they have come to, and how to follow them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from producers.read import Partition, TopicReader
from twin.events import Clock
from twin.records import Record

_MARK = b'"clock.v1"'
_POLL_S = 0.5
_decode = msgspec.json.Decoder(Clock).decode


class Placed(NamedTuple):
    """A clock and its offset."""

    offset: int
    clock: Clock


def clock_in(value: bytes) -> Clock | None:
    """Return the clock that a body is, None for any other body."""
    if _MARK not in value:
        return None
    try:
        return _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def placed_clock(record: Record) -> Placed | None:
    """Return the clock that a record is, None for any other record."""
    clock = clock_in(record.value)
    return None if clock is None else Placed(record.offset, clock)


def last_clocks(reader: TopicReader, partitions: Sequence[Partition]) -> dict[Partition, Placed]:
    """Return the last clock of each partition; those without one are left out.

    A partition that somebody writes data into without clocks is read back to its beginning.
    """
    ends = reader.ends(partitions)
    found = {at: reader.last(at, placed_clock, ends[at]) for at in partitions}
    return {at: placed for at, placed in found.items() if placed is not None}


class ClockFollower:
    """Event time as somebody else's clock tells it, by partition 0 of the topic ``control``.

    It runs ahead of that clock by one step, the distance of the last two clocks (a window, while there is but one): what happens before the next clock has to be
    in the topics when that is written. ``on_wait`` is called twice a second while it waits.

    As long as there is no clock, event time has come to just before ``begins`` (ms): what a twin has to know at its first
    window is there before time begins.
    """

    def __init__(
        self,
        reader: TopicReader,
        namespace: str,
        *,
        begins: int | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        at = f"{namespace}.control", 0
        self._reader, self._begins, self._on_wait = reader, begins, on_wait
        last = reader.last(at, placed_clock)
        self._t = None if last is None else last.clock.t
        self._step = 0 if last is None else last.clock.window_ms
        reader.seek({at: reader.ends([at])[at][0] if last is None else last.offset + 1})

    def wait(self, t: int) -> int:
        """Return when event time ``t`` (ms) is before the next clock: how far event time has come, ``t`` or later.

        What happens at the very time of a clock stands behind it, as in a log.
        """
        if self._t is None and self._begins is not None and t < self._begins:
            return self._begins - 1
        while self._t is None or self._t + max(self._step - 1, 0) < t:
            self._on_wait()
            for records in self._reader.poll(_POLL_S).values():
                for clock in filter(None, map(clock_in, records.values)):
                    self._tick(clock)
        return self._t + max(self._step - 1, 0)

    def _tick(self, clock: Clock) -> None:
        if self._t is None:
            self._t, self._step = clock.t, clock.window_ms
        elif clock.t > self._t:
            self._t, self._step = clock.t, clock.t - self._t
