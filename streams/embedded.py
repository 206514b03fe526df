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

from streams.closed_loop import ClosedLoop, LoopWindow, Route
from streams.collector import GC_THRESHOLD
from streams.feed import EventLog, Feed
from twin.assembler import Assembler, Partition
from twin.columns import Columns, DeadLetter
from twin.decisions import Decision
from twin.dispatch.policy import Policy
from twin.dispatcher import DEFAULT_POLICY, Dispatcher, Window
from twin.errors import ConfigError, TwinError
from twin.plant import Plant
from twin.records import Records
from twin.score import History, Score, score
from twin.shards.shard import Cut, Shard
from twin.topics import IN_TOPICS

STAGES = ("read", "decode", "fold", "plant", "cut", "dispatch")


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
        route: partitions of the plant's answers.
    """

    route: Route
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
        self._plant = plant
        self.result = Result()
        recorded = Counter(topic for topic, _ in log.partitions())
        if missing := [topic for topic in IN_TOPICS if not recorded[topic]]:
            raise ConfigError(f"the log has no partition of {', '.join(missing)}; a run needs {', '.join(IN_TOPICS)}")
        self.partitions = {topic: recorded[topic] for topic in IN_TOPICS}
        self._feeds: dict[Partition, Feed] = {
            (topic, p): Feed(log, topic, p, self.result.seconds, stage_clock=stage_clock)
            for topic, n in self.partitions.items()
            for p in range(n)
        }
        self._shards = {at: Shard(*at) for at in self._feeds}
        self.dispatcher = Dispatcher(self.partitions, seed=options.seed, patient=not options.closed)
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
        for shard in self._shards.values():
            result.counts.update(shard.counts)
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

    def _fold(self, at: Partition, columns: Columns, position: int = 0) -> tuple[int, Cut | None]:
        """Fold ``columns`` from ``position`` on to the next cut; how far it came, and the cut."""
        began = self._clock()
        fed = self._shards[at].feed(columns, position)
        self.result.seconds["fold"] += self._clock() - began
        self.result.events += fed.position - position
        if fed.dead:
            self.result.dead.update(letter.reason for letter in fed.dead)
            if self._sink:
                self._sink.dead(fed.dead)
        return fed.position, fed.cut

    # ------------------------------------------------------------------------------------------------- open loop

    def _open(self, on_window: Callable[[Window], None]) -> None:
        assembler = Assembler(self._feeds)
        while True:
            for at in assembler.missing():
                cut = self._next_cut(at)
                if cut is None:
                    self._end_of_log(at)
                    return
                assembler.offer(cut)
            step = assembler.step()
            for cut in step.cuts if step else ():
                self._apply(cut)
            if step and step.window is not None and self._decide(step.window, step.skipped, on_window) is None:
                return

    def _next_cut(self, at: Partition) -> Cut | None:
        """Fold on to the next cut of a partition; None at the end of the log."""
        feed = self._feeds[at]
        while (chunk := feed.chunk()) is not None:
            position, cut = self._fold(at, *chunk)
            feed.used(position)
            if cut is not None:
                return cut
        return None

    def _end_of_log(self, at: Partition) -> None:
        """Fold what stands behind the last clock of each partition, so that its dead letters are told.

        Raises:
            ConfigError: no window was closed; partition ``at`` has too few clocks.
        """
        if not self.result.windows:
            message = f"the log closes no window: {at[0]}-{at[1]} has fewer than two clock records"
            raise ConfigError(f"{message}; make a log with `cpn import`, or record while `cpn clock` runs")
        for rest in self._feeds:
            while self._next_cut(rest) is not None:
                pass

    # ----------------------------------------------------------------------------------------------- closed loop

    def _closed(self, on_window: Callable[[Window], None]) -> None:
        options = self._options
        loop = ClosedLoop(
            self._feeds,
            policy=options.policy,
            route=options.route,
            window_ms=options.window_ms,
            plant=self._plant,
            seconds=self.result.seconds,
            stage_clock=self._clock,
        )
        self._fold_window(loop.opening())
        decided: list[Decision] = []
        while True:
            batch = loop.next(decided)
            self._fold_window(batch)
            window = self._decide(batch.end, (), on_window)
            if window is None or loop.over(window.record, window.decisions):
                return
            decided = window.decisions

    def _fold_window(self, batch: LoopWindow) -> None:
        for at, columns in batch.columns.items():
            _, cut = self._fold(at, columns)
            if self._sink:
                self._sink.records(at[0], at[1], columns.records)
            if cut is not None:
                self._apply(cut)

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
        open_window = self.dispatcher.mirror.shards["tasks", 0]
        window = self.dispatcher.decide(
            end,
            skipped,
            window_ms=open_window.window_ms,
            lateness_ms=open_window.lateness_ms,
            solve_clock=time.perf_counter,
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
        failed = record.degraded and not record.refused
        if failed and self._degraded_before:
            message = f"window {end} could not be decided, nor could the one before: {record.error}"
            raise UndecidableError(message)
        self._degraded_before = failed
        return None if self._options.until is not None and end >= self._options.until else window
