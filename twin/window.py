"""Time of a partition and the windows it closes. Only clock records move it."""

from dataclasses import dataclass

from twin import events as ev

NEVER = -1


@dataclass(slots=True)
class WindowClock:
    """Running maximum of a partition's clock records. A window is named by its end, a multiple of its length.

    ``time`` and ``closed`` are ms, ``NEVER`` before the first clock. A changed length or lateness holds from the next
    window on.
    """

    time: int = NEVER
    closed: int = NEVER
    window_ms: int = 0
    lateness_ms: int = 0
    max_ahead_ms: int = 0

    def advance(self, clock: ev.Clock) -> list[int]:
        """Move to ``clock``; returns the ends of the windows that this closes, ascending.

        The first clock of a partition closes what lies before it and returns nothing.
        """
        first = self.time == NEVER
        self.time = max(self.time, clock.t)
        self.window_ms, self.lateness_ms, self.max_ahead_ms = clock.window_ms, clock.lateness_ms, clock.max_ahead_ms
        last = (self.time - self.lateness_ms) // self.window_ms * self.window_ms
        if first or self.closed == NEVER:
            self.closed = max(last, 0)
            return []
        start = self.closed // self.window_ms * self.window_ms + self.window_ms
        ends = list(range(start, last + 1, self.window_ms))
        if ends:
            self.closed = ends[-1]
        return ends
