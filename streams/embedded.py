"""The whole loop in one process: the event log is the broker, memory is the store, time comes from the log.

*Open loop*: the log holds clocks and answers; decisions are computed, nobody acts on them.
*Closed loop*: recorded clocks and answers are left out; the runtime writes clocks of its own and the plant answers the
decisions. What was folded goes to a run log, whose open-loop replay gives the same bytes.

One window, in this order: the decisions of the window before reach the plant → the records of the window → the plant's
answers → a clock in every partition → cuts → decisions.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from streams.feed import Batch, EventLog, Feed
from twin import events as ev
from twin.columns import DeadLetter
from twin.decisions import Decision
from twin.dispatch.policy import Policy
from twin.dispatcher import DEFAULT_POLICY, Dispatcher, Window
from twin.errors import ConfigError, TwinError
from twin.plant import Plant
from twin.records import Records
from twin.score import History, Score, score
from twin.shards.shard import Cut
from twin.topics import BY_STRUCT, IN_TOPICS, Role, address
from twin.view import State, View
from twin.window import NEVER

QUIET_WINDOWS = 4
"""A closed loop ends when the log is exhausted, nothing runs, and so many windows in a row decided nothing though tasks wait."""

GC_THRESHOLD = 200_000
"""Objects that may be made and not freed before cycles are looked for."""

LONGEST_WAIT_MS = 7 * 24 * 3_600_000
"""How long a closed loop goes on after the log while no cluster has work: for tasks whose time has not come, for services,
and for places that clusters never take."""

STAGES = ("read", "decode", "fold", "plant", "cut", "dispatch")

Partition = tuple[str, int]


class RunSink(Protocol):
    """Where a run's output goes."""

    def records(self, topic: str, partition: int, records: Records) -> None:
        """Records that a closed loop folded, in log order, numbered from 0."""
        ...

    def dead(self, letters: list[DeadLetter]) -> None:
        """Records that were refused."""
        ...

    def window(self, window: Window) -> None:
        """A window that was decided."""
        ...


@dataclass(frozen=True, slots=True)
class Options:
    """How to run.

    Attributes:
        policy: dispatch policy of a closed loop.
        closed: leave recorded answers out and let the plant answer.
        window_ms: length of the windows of a closed loop; None: as recorded.
        until: stop at the first window that ends here or later, ms.
        seed: handed to dispatch.
        route: (topic, key, partitions) → partition, for the plant's answers.
    """

    route: Callable[[str, int], int]
    policy: Policy = field(default_factory=lambda: Policy.parse(DEFAULT_POLICY))
    closed: bool = True
    window_ms: int | None = None
    until: int | None = None
    seed: int = 0


@dataclass(slots=True)
class Result:
    """What a run was. ``seconds`` by stage and ``wall_s`` are measurements of the machine, not results."""

    events: int = 0
    windows: int = 0
    decisions: int = 0
    degraded: int = 0
    violations: list[str] = field(default_factory=list)
    state_sha256: str = ""
    decisions_sha256: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    last_window: int = 0
    wall_s: float = 0.0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))
    score: Score | None = None


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let the cycle collector wait for more objects: a chunk makes tens of thousands, in no cycle, and frees them all."""
    before = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class UndecidableError(TwinError):
    """Two windows in a row could not be decided; the message has the second one's error."""


class Run:
    """One run of a log through the twin.

    Args:
        log: where the recorded events come from.
        options: how to run.
        plant: answers in a closed loop.
        sink: where the output goes.
        stage_clock: measures the stages: wall clock, or CPU time in a benchmark.

    Raises:
        ConfigError: a topic has no partition in the log.
    """

    def __init__(
        self,
        log: EventLog,
        options: Options,
        *,
        plant: Plant | None = None,
        sink: RunSink | None = None,
        stage_clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._options = options
        self._sink = sink
        self._clock = stage_clock
        self._plant = plant or Plant()
        self.result = Result()
        recorded = Counter(topic for topic, _ in log.partitions())
        if missing := [topic for topic in IN_TOPICS if not recorded[topic]]:
            raise ConfigError(f"the log has no partition of {', '.join(missing)}; a run needs {', '.join(IN_TOPICS)}")
        self.partitions = {topic: recorded[topic] for topic in IN_TOPICS}
        self._feeds: dict[Partition, Feed] = {
            (topic, p): Feed(log, topic, p, self.result.seconds, self._dead, stage_clock=stage_clock)
            for topic, n in self.partitions.items()
            for p in range(n)
        }
        self.dispatcher = Dispatcher(self.partitions, seed=options.seed)
        self.history = History()
        self._degraded_before = False

    def run(self, on_window: Callable[[Window], None] = lambda _window: None) -> Result:
        """Run to the end; ``on_window`` is called after each window (progress, pace, reports)."""
        began = time.perf_counter()
        with _rare_collections():
            if self._options.closed:
                self._closed(on_window)
            else:
                self._open(on_window)
        result = self.result
        result.events = sum(feed.events for feed in self._feeds.values())
        for feed in self._feeds.values():
            result.counts.update(feed.shard.counts)
        result.wall_s = time.perf_counter() - began
        result.score = self.score()
        return result

    def score(self) -> Score:
        """What the run cost and delivered so far."""
        accounting = self.dispatcher.accounting()
        return score(
            self.history,
            self.dispatcher.ledger,
            until=self._options.until or self.result.last_window,
            currency=accounting.currency,
            rates=accounting.rates,
        )

    def _dead(self, letters: list[DeadLetter]) -> None:
        self.result.dead.update(letter.reason for letter in letters)
        if self._sink:
            self._sink.dead(letters)

    # ------------------------------------------------------------------------------------------------- open loop

    def _open(self, on_window: Callable[[Window], None]) -> None:
        pending: dict[Partition, Cut] = {}
        while True:
            for key, feed in self._feeds.items():
                if key not in pending:
                    cut = feed.next_cut()
                    if cut is None:
                        self._end_of_log(key)
                        return
                    pending[key] = cut
            # a partition whose clock skipped windows is ahead: the others come up to it, cut by cut
            window = max(cut.window for cut in pending.values())
            behind = [key for key, cut in pending.items() if cut.window < window]
            skipped = {end for cut in pending.values() for end in cut.skipped}
            for key in behind or list(pending):
                self._apply(pending.pop(key))
            if not behind and self._decide(window, tuple(sorted(skipped)), on_window) is None:
                return

    def _end_of_log(self, at: Partition) -> None:
        """Fold what stands behind the last clock of each partition, so that its dead letters are told.

        Raises:
            ConfigError: no window was closed; partition ``at`` has too few clocks.
        """
        if not self.result.windows:
            message = f"the log closes no window: {at[0]}-{at[1]} has fewer than two clock records"
            raise ConfigError(f"{message}; make a log with `cpn import`, or record while `cpn clock` runs")
        for feed in self._feeds.values():
            while feed.next_cut() is not None:
                pass

    # ----------------------------------------------------------------------------------------------- closed loop

    def _closed(self, on_window: Callable[[Window], None]) -> None:
        clock = self._first_clock()
        window_ms = self._options.window_ms or clock.window_ms
        clock = msgspec.structs.replace(clock, source="cpn", window_ms=window_ms)
        end = (clock.t - clock.lateness_ms) // window_ms * window_ms
        self._fold_window(msgspec.structs.replace(clock, t=end + clock.lateness_ms), [self._policy_event(end)])
        decided: list[Decision] = []
        quiet, idle_since = 0, NEVER
        while True:
            end += window_ms
            self._plant.decide(decided)
            self._fold_window(msgspec.structs.replace(clock, t=end + clock.lateness_ms), [])
            window = self._decide(end, (), on_window)
            if window is None:
                return
            decided = [decision for decision in window.decisions if not decision.advice]
            quiet = 0 if decided or self._plant.busy else quiet + 1
            if self._plant.busy or not all(feed.exhausted() for feed in self._feeds.values()):
                idle_since = NEVER
                continue
            idle_since = end if idle_since == NEVER else idle_since
            waits = window.record.counts["waiting"] > 0 and quiet < QUIET_WINDOWS
            late = end < idle_since + clock.lateness_ms  # what was answered last lies behind the window's end
            if end >= idle_since + LONGEST_WAIT_MS or not (decided or waits or late or _has_a_date(window.view)):
                return

    def _first_clock(self) -> ev.Clock:
        for feed in self._feeds.values():
            clock = feed.first_clock()
            if clock is not None:
                return clock
        message = "the log has no clock records; make one with `cpn import`, or record while `cpn clock` runs"
        raise ConfigError(message)

    def _policy_event(self, t: int) -> ev.PolicySet:
        policy = self._options.policy
        return ev.PolicySet(
            seq=0,
            t=t,
            source="cpn",
            name="dispatch",
            policy=policy.name,
            version=policy.version,
            params=dict(policy.params),
        )

    def _fold_window(self, clock: ev.Clock, own: list[ev.Event]) -> None:
        """Fold a window into every partition: its records, the runtime's ``own`` events and the plant's answers."""
        batches = {key: feed.before(clock.t) for key, feed in self._feeds.items()}
        by_partition: dict[Partition, list[ev.Event]] = {}
        for event in (*own, *self._ask_plant(batches, clock)):
            topic, key = address(event)
            by_partition.setdefault((topic, self._options.route(key, self.partitions[topic])), []).append(event)
        for at, feed in self._feeds.items():
            records, cut = feed.fold_window(batches[at], by_partition.get(at, []), clock)
            if self._sink:
                self._sink.records(at[0], at[1], records)
            if cut is not None:
                self._apply(cut)

    def _ask_plant(self, batches: dict[Partition, Batch], clock: ev.Clock) -> list[ev.Event]:
        """What clusters answer up to ``clock``. What the twin refuses as too far ahead never happens to them either."""
        began = self._clock()
        furthest = clock.t + clock.max_ahead_ms
        seen = [
            event
            for key, batch in batches.items()
            for event in batch.events
            if event is not None
            and BY_STRUCT[type(event)].role is Role.EXOGENOUS
            and event.t <= min(furthest, self._feeds[key].furthest())
        ]
        seen.sort(key=lambda event: event.t)
        self._plant.feed(seen)
        answers = self._plant.advance(clock.t, telemetry=True)
        self.result.seconds["plant"] += self._clock() - began
        return answers

    # ---------------------------------------------------------------------------------------------------- window

    def _apply(self, cut: Cut) -> None:
        began = self._clock()
        self.dispatcher.mirror.apply(cut)
        self.result.seconds["cut"] += self._clock() - began

    def _decide(self, end: int, skipped: tuple[int, ...], on_window: Callable[[Window], None]) -> Window | None:
        """Decide a window; None when the run ends with it.

        Raises:
            UndecidableError: the second degraded window in a row.
        """
        began = self._clock()
        clock = self._feeds["tasks", 0].shard.clock
        window = self.dispatcher.decide(
            end, skipped, window_ms=clock.window_ms, lateness_ms=clock.lateness_ms, solve_clock=time.perf_counter
        )
        self.history.observe(self.dispatcher.mirror)
        record, result = window.record, self.result
        result.windows += 1
        result.decisions += len(window.decisions)
        result.degraded += record.degraded
        result.violations.extend(record.violations)
        result.state_sha256, result.decisions_sha256 = record.state_sha256, record.decisions_sha256
        result.last_window = end
        result.seconds["dispatch"] += self._clock() - began
        if self._sink:
            self._sink.window(window)
        on_window(window)
        if record.degraded and self._degraded_before:
            message = f"window {end} could not be decided, nor could the one before: {record.error}"
            raise UndecidableError(message)
        self._degraded_before = record.degraded
        return None if self._options.until is not None and end >= self._options.until else window


def _has_a_date(view: View) -> bool:
    """Whether a task waits for its earliest start, or a service is demanded: time alone brings more to do."""
    tasks = view.tasks
    early = (tasks.state == State.WAITING) & (tasks.earliest_start > view.effective_at)
    return bool(early.any()) or len(view.services.keys) > 0
