"""The clock of a twin: one process writes the time to every partition of every in-topic, and nothing else moves it.

Clocks stand at the multiples of a step since the epoch, so that every end of a window is met exactly. After a restart it goes on
behind the last clock in the topics, never before it.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec

from producers.clocks import clock_in, last_clocks
from producers.pace import Pace
from producers.publish import KafkaPublisher
from producers.read import Partition, TopicReader
from producers.topics import counts_of
from twin.errors import ConfigError
from twin.events import Clock
from twin.topics import IN_TOPICS

SOURCE = "cpn-clock"
_LOOK_S = 1.0
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Ticks:
    """What clocks say, and how they follow each other. All in ms of event time.

    Raises:
        ConfigError: a window is not a whole number of steps long.
    """

    window_ms: int
    lateness_ms: int
    max_ahead_ms: int
    step_ms: int

    def __post_init__(self) -> None:
        if self.step_ms > self.window_ms or self.window_ms % self.step_ms:
            raise ConfigError(
                f"a clock every {self.step_ms} ms does not meet the ends of windows of {self.window_ms} ms: give --tick a "
                "part of --window"
            )


def default_step_ms(window_ms: int, factor: float) -> int:
    """Return the longest step that divides a window and takes at most a second at ``factor`` times the speed of the wall clock."""
    most = max(1, min(window_ms, int(1000 * factor)))
    parts = -(-window_ms // most)
    while window_ms % parts:
        parts += 1
    return window_ms // parts


class ClockWriter:
    """Writes clocks to all in-topics of ``namespace``, from event time ``start`` (ms) or behind the last clock that is there.

    Before it writes it watches for ``watch_s`` whether another clock does. Two that begin at the same moment find each other
    while they run; then the one that was started later ends. A context manager.

    Raises:
        ConfigError: topics are missing, or another clock writes to them.
    """

    def __init__(self, bootstrap: str, namespace: str, ticks: Ticks, *, start: int, watch_s: float = 2.5) -> None:
        self.ticks = ticks
        self.written = 0
        self.source = f"{SOURCE}/{time.time_ns() // 1_000_000:013d}-{secrets.token_hex(3)}"
        counts = counts_of(bootstrap, namespace)
        if missing := [f"{namespace}.{short}" for short in IN_TOPICS if short not in counts]:
            raise ConfigError(f"no topic {', '.join(missing)} at {bootstrap}: cpn topics create")
        self._partitions = [(f"{namespace}.{short}", p) for short, count in counts.items() for p in range(count)]
        self._watched = f"{namespace}.control", 0
        with ExitStack() as stack:
            self._reader = stack.enter_context(TopicReader(bootstrap))
            self._publisher = stack.enter_context(KafkaPublisher(bootstrap))
            self._watch(watch_s)
            last = last_clocks(self._reader, self._partitions)
            self._reader.seek({self._watched: self._reader.ends([self._watched])[self._watched][1]})
            self._close = stack.pop_all().close
        self._seq = 1 + max((placed.clock.seq for placed in last.values()), default=-1)
        self.before = max((placed.clock.t for placed in last.values()), default=None)
        self._behind = [at for at in self._partitions if at not in last or last[at].clock.t != self.before]
        first = start // ticks.step_ms * ticks.step_ms
        self.next = first if self.before is None else max(first, (self.before // ticks.step_ms + 1) * ticks.step_ms)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def wait_for_events(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """Return when the topics hold anything; ``on_wait`` is called about twice a second until then.

        A twin has to know its accounting, its clusters and its prices before its time begins.
        """
        while not any(end > begin for begin, end in self._reader.ends(self._partitions).values()):
            on_wait()
            time.sleep(_LOOK_S / 2)

    def run(self, pace: Pace, *, until: int | None = None, on_tick: Callable[[int], None] = lambda _t: None) -> None:
        """Write clocks at the pace of event time, up to the first at or after ``until`` (ms), or for ever.

        Raises:
            ConfigError: another clock was started before this one.
            StoreError: the broker fails.
        """
        if self.before is not None and self._behind:  # what the last run was ended in the middle of
            self._write(self.before, self._behind)
        looked = time.monotonic()
        while True:
            t = self.next
            pace.wait(t)
            self._write(t, self._partitions)
            self.next = t + self.ticks.step_ms
            self.written += 1
            on_tick(t)
            if until is not None and t >= until:
                return
            if time.monotonic() - looked >= _LOOK_S:
                self._look()
                looked = time.monotonic()

    def _write(self, t: int, partitions: list[Partition]) -> None:
        ticks = self.ticks
        for topic, p in partitions:
            clock = Clock(
                seq=self._seq,
                t=t,
                source=self.source,
                partition=p,
                window_ms=ticks.window_ms,
                lateness_ms=ticks.lateness_ms,
                max_ahead_ms=ticks.max_ahead_ms,
            )
            self._publisher.send_one(topic, p, t=t, key=str(p).encode(), value=_encode(clock))
        self._publisher.flush()
        self._seq += 1

    def _watch(self, watch_s: float) -> None:
        """Refuse to begin where somebody writes clocks."""
        self._reader.seek({self._watched: self._reader.ends([self._watched])[self._watched][1]})
        end = time.monotonic() + watch_s
        while (left := end - time.monotonic()) > 0:
            for source in self._sources(min(left, 0.25)):
                raise ConfigError(self._busy(source))

    def _look(self) -> None:
        """End where somebody who was here before writes clocks too."""
        for source in self._sources(0.25):
            if source != self.source and (not source.startswith(f"{SOURCE}/") or source < self.source):
                raise ConfigError(self._busy(source))

    def _sources(self, timeout_s: float) -> set[str]:
        found = self._reader.poll(timeout_s).values()
        return {clock.source for records in found for clock in map(clock_in, records.values) if clock is not None}

    def _busy(self, source: str) -> str:
        return (
            f"another clock ({source or 'without a name'}) writes to {self._watched[0]}: a twin has one. End that one, or use "
            "another --namespace; a log is produced beside this one with `cpn produce --follow-clock`"
        )
