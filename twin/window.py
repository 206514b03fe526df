"""Time of a partition and the windows it closes. Only clock records move it."""

from dataclasses import dataclass

from twin import events as ev

NEVER = -1
MOST_LISTED = 10_000
"""A clock that closes more windows names the latest only: one far off must not fill the memory, nor outgrow a record."""


@dataclass(slots=True)
class WindowClock:
    """Running maximum of a partition's clock records. A window is named by its end, a multiple of its length.

    ``time`` and ``closed`` are ms, ``NEVER`` before the first clock. ``window_ms`` and ``lateness_ms`` are those of the
    open window: it keeps them, and what a clock says of them holds from the next window on. ``max_ahead_ms`` holds at
    once. A clock older than ``time`` (a repeat, disorder) changes nothing.
    """

    time: int = NEVER
    closed: int = NEVER
    window_ms: int = 0
    lateness_ms: int = 0
    max_ahead_ms: int = 0
    next_window_ms: int = 0
    next_lateness_ms: int = 0

    def advance(self, clock: ev.Clock) -> list[int]:
        """Move to ``clock``; returns the ends of the windows that this closes, ascending.

        The first clock of a partition closes what lies before it and returns nothing.
        """
        first = self.time == NEVER
        if clock.t < self.time:
            return []
        self.time, self.max_ahead_ms = clock.t, clock.max_ahead_ms
        self.next_window_ms, self.next_lateness_ms = clock.window_ms, clock.lateness_ms
        if first:
            self._open_next()
            self.closed = max(0, (self.time - self.lateness_ms) // self.window_ms * self.window_ms)
            return []
        end = (self.closed // self.window_ms + 1) * self.window_ms
        if self.time < end + self.lateness_ms:
            return []
        self._open_next()
        following = (end // self.window_ms + 1) * self.window_ms
        later = range(following, self.time - self.lateness_ms + 1, self.window_ms)
        ends = [end, *later[-MOST_LISTED:]]
        self.closed = ends[-1]
        return ends

    def _open_next(self) -> None:
        self.window_ms, self.lateness_ms = self.next_window_ms, self.next_lateness_ms
