"""From clocks to steps of a plant: what happened up to which instant, and which windows the dispatcher decides there.

A plant that runs beside the twin sees the world as the twin does: by the logs. Records of a partition between two clocks
are one batch. A step goes to the latest of the clocks that stand first in the partitions; those that are behind come up to
it, clock by clock. So steps are a function of the logs, whenever their records arrive.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from twin import events as ev
from twin.assembler import Partition
from twin.columns import Columns
from twin.plant.plant import RANK
from twin.window import NEVER, WindowClock


@dataclass(frozen=True, slots=True)
class Step:
    """Feed ``events`` (by time; ties by partition, then as in the log), then advance to ``t`` (ms).

    ``windows`` are decided then: their records are to be waited for, in this order, before anything later happens.
    """

    t: int
    events: list[ev.Event]
    windows: list[int]
    first: bool = False


@dataclass(frozen=True, slots=True)
class _Mark:
    """A clock that moved its partition's time to ``t``, the events before it, and the window that it cut, if any."""

    t: int
    events: list[ev.Event]
    window: int | None


class _Lane:
    """One partition: what has been read of it and is not used up."""

    def __init__(self) -> None:
        self.clock = WindowClock()
        self.marks: deque[_Mark] = deque()
        self.reached = NEVER
        self.events: list[ev.Event] = []
        """Of the step that is being collected."""
        self.cuts: deque[int] = deque()
        """Windows that were cut here and not yet in every partition."""
        self._open: list[ev.Event] = []

    def take(self, events: Iterable[ev.Event | None]) -> None:
        for event in events:
            if isinstance(event, ev.Clock):
                self._tick(event)
            elif event is not None and type(event) in RANK and not self._too_far_ahead(event):
                self._open.append(event)

    def _too_far_ahead(self, event: ev.Event) -> bool:
        """Whether the twin refuses it where it stands."""
        clock = self.clock
        return clock.time != NEVER and event.t > clock.time + clock.max_ahead_ms

    def _tick(self, clock: ev.Clock) -> None:
        before = self.clock.time
        ends = self.clock.advance(clock)
        if clock.t <= before:
            return
        furthest = clock.t + clock.max_ahead_ms
        events = [event for event in self._open if event.t <= furthest]
        self.marks.append(_Mark(clock.t, events, ends[-1] if ends else None))
        self._open = []

    def come_up_to(self, t: int) -> None:
        """Use up batches until the partition's time is ``t`` or later, as far as they have been read."""
        while self.reached < t and self.marks:
            mark = self.marks.popleft()
            self.reached = mark.t
            self.events += mark.events
            if mark.window is not None:
                self.cuts.append(mark.window)


class Steps:
    """Collects batches of all partitions into steps. ``partitions`` in the order in which ties in time are resolved."""

    def __init__(self, partitions: Iterable[Partition]) -> None:
        self._lanes = {at: _Lane() for at in partitions}
        self._to: int | None = None
        self._first = True

    def take(self, at: Partition, columns: Columns) -> None:
        """Take the next records of a partition. What the twin would refuse, or a plant does not care for, is dropped."""
        self._lanes[at].take(columns.events)

    def missing(self) -> list[Partition]:
        """Partitions without which there is no next step: they are to be read on, the others can wait."""
        return [at for at, lane in self._lanes.items() if not lane.marks]

    def next(self) -> Step | None:
        """The next step; None until every partition has shown its clock or a later one."""
        lanes = self._lanes.values()
        if self._to is None:
            if not all(lane.marks for lane in lanes):
                return None
            self._to = max(lane.marks[0].t for lane in lanes)
        to = self._to
        for lane in lanes:
            lane.come_up_to(to)
        if any(lane.reached < to for lane in lanes):
            return None
        events = [event for lane in lanes for event in lane.events]
        events.sort(key=attrgetter("t"))
        for lane in lanes:
            lane.events = []
        step = Step(to, events, self._complete(), self._first)
        self._to, self._first = None, False
        return step

    def _complete(self) -> list[int]:
        """Windows that are now cut in every partition and not skipped in any, as ``twin.assembler`` finds them."""
        queues, windows = [lane.cuts for lane in self._lanes.values()], []
        while all(queues):
            window = max(queue[0] for queue in queues)
            behind = [queue for queue in queues if queue[0] < window]
            for queue in behind or queues:
                queue.popleft()
            if not behind:
                windows.append(window)
        return windows
