"""What a closed loop folds, window by window: the log without its clocks and answers, and what the plant answers instead.

It folds nothing itself: embedded, its records go straight into the shards; in lockstep they go to Kafka, and the window's
record comes back from the dispatcher. Both get the same records in the same order.

One window, in this order: the decisions of the window before reach the plant → the records of the window → the plant's
answers → a clock in every partition.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from streams.feed import Batch, Feed
from twin import events as ev
from twin.assembler import Partition
from twin.columns import Columns
from twin.decisions import Decision, WindowRecord
from twin.dispatch.policy import Policy
from twin.errors import ConfigError
from twin.plant import Plant
from twin.topics import BY_STRUCT, Role, address
from twin.window import NEVER

QUIET_WINDOWS = 4
"""A closed loop ends when the log is exhausted, nothing runs, and so many windows in a row decided nothing though tasks wait."""

LONGEST_WAIT_MS = 7 * 24 * 3_600_000
"""How long a closed loop goes on after the log while no cluster has work: for tasks whose time has not come, for services,
and for places that clusters never take."""

Route = Callable[[str, int], int]
"""(key, number of partitions) → partition."""


@dataclass(frozen=True, slots=True)
class LoopWindow:
    """What is folded of one window: ``end`` in ms, and the records of each partition with the clock that closes it."""

    end: int
    columns: dict[Partition, Columns]


class ClosedLoop:
    """Makes the windows of a closed loop.

    Args:
        feeds: the partitions of the recorded log.
        policy: put into the log as a control event before the first window.
        route: partitions of the plant's answers.
        window_ms: length of the windows; None: as recorded.
        plant: answers the decisions.
        seconds: the plant's time is added to ``plant``, as ``stage_clock`` measures it.

    Raises:
        ConfigError: the log has no clock.
    """

    def __init__(
        self,
        feeds: dict[Partition, Feed],
        *,
        policy: Policy,
        route: Route,
        window_ms: int | None = None,
        plant: Plant | None = None,
        seconds: dict[str, float] | None = None,
        stage_clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._feeds, self._policy, self._route = feeds, policy, route
        self._plant = plant or Plant()
        self._seconds, self._stage_clock = seconds if seconds is not None else {"plant": 0.0}, stage_clock
        self._partitions: dict[str, int] = {}
        for topic, _ in feeds:
            self._partitions[topic] = self._partitions.get(topic, 0) + 1
        clock = self._first_clock()
        self._window_ms = window_ms or clock.window_ms
        self._clock = msgspec.structs.replace(clock, source="cpn", window_ms=self._window_ms)
        self._end = (clock.t - clock.lateness_ms) // self._window_ms * self._window_ms
        self._furthest: int | None = None
        """Event time beyond which the twin refuses records as too far ahead, ms; None before the first clock."""
        self._quiet, self._idle_since = 0, NEVER

    def opening(self) -> LoopWindow:
        """What lies before the first window: the clock in it closes nothing."""
        return self._window([self._policy_event(self._end)])

    def next(self, decided: Sequence[Decision]) -> LoopWindow:
        """The next window, after ``decided`` was decided at the end of the one before."""
        self._end += self._window_ms
        self._plant.decide([decision for decision in decided if not decision.advice])
        return self._window([])

    def over(self, record: WindowRecord, decided: Sequence[Decision]) -> bool:
        """Whether nothing is left to do after the window of ``record``, which decided ``decided``."""
        effective = any(not decision.advice for decision in decided)
        self._quiet = 0 if effective or self._plant.busy else self._quiet + 1
        if self._plant.busy or not all(feed.exhausted() for feed in self._feeds.values()):
            self._idle_since = NEVER
            return False
        end = record.end
        self._idle_since = end if self._idle_since == NEVER else self._idle_since
        waits = record.counts["waiting"] > 0 and self._quiet < QUIET_WINDOWS
        late = end < self._idle_since + self._clock.lateness_ms  # what was answered last lies behind the window's end
        has_a_date = record.counts["dated"] > 0 or record.counts["services"] > 0  # time alone brings more to do
        return end >= self._idle_since + LONGEST_WAIT_MS or not (effective or waits or late or has_a_date)

    def _first_clock(self) -> ev.Clock:
        for feed in self._feeds.values():
            clock = feed.first_clock()
            if clock is not None:
                return clock
        message = "the log has no clock records; make one with `cpn import`, or record while `cpn clock` runs"
        raise ConfigError(message)

    def _policy_event(self, t: int) -> ev.PolicySet:
        policy = self._policy
        return ev.PolicySet(
            seq=0,
            t=t,
            source="cpn",
            name="dispatch",
            policy=policy.name,
            version=policy.version,
            params=dict(policy.params),
        )

    def _window(self, own: list[ev.Event]) -> LoopWindow:
        clock = msgspec.structs.replace(self._clock, t=self._end + self._clock.lateness_ms)
        batches = {at: feed.before(clock.t) for at, feed in self._feeds.items()}
        by_partition: dict[Partition, list[ev.Event]] = {}
        for event in (*own, *self._answers(batches, clock)):
            topic, key = address(event)
            by_partition.setdefault((topic, self._route(key, self._partitions[topic])), []).append(event)
        columns = {at: feed.window(batches[at], by_partition.get(at, []), clock) for at, feed in self._feeds.items()}
        self._furthest = clock.t + clock.max_ahead_ms
        return LoopWindow(self._end, columns)

    def _answers(self, batches: dict[Partition, Batch], clock: ev.Clock) -> list[ev.Event]:
        """What clusters answer up to ``clock``. What the twin refuses as too far ahead never happens to them either."""
        began = self._stage_clock()
        furthest = clock.t + clock.max_ahead_ms
        if self._furthest is not None:
            furthest = min(furthest, self._furthest)
        seen = [
            event
            for batch in batches.values()
            for event in batch.events
            if event is not None and BY_STRUCT[type(event)].role is Role.EXOGENOUS and event.t <= furthest
        ]
        seen.sort(key=lambda event: event.t)
        self._plant.feed(seen)
        answers = self._plant.advance(clock.t, telemetry=True)
        self._seconds["plant"] += self._stage_clock() - began
        return answers
