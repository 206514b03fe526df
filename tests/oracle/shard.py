"""A whole shard, one record at a time: what it refuses, counts, cuts and frees."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.oracle.book import Book
from tests.oracle.clock import OracleClock
from tests.oracle.inventory import Inventory
from tests.oracle.rest import Control, Network, Power, Services
from tests.oracle.tasks import Tasks
from tests.oracle.telemetry import Telemetry

RETAIN_MS = 24 * 3_600_000


class Topic(Protocol):
    """One topic's tables."""

    books: dict[str, Book]

    def fold(self, body: dict[str, Any]) -> str: ...
    def expire(self, before: int) -> None: ...


TOPICS: dict[str, type] = {
    "inventory": Inventory,
    "telemetry": Telemetry,
    "tasks": Tasks,
    "services": Services,
    "power": Power,
    "network": Network,
    "control": Control,
}


@dataclass(frozen=True)
class Item:
    """A record of a log as its writer knows it: its bytes, and what they say (None: ``reason`` they must be refused for)."""

    value: bytes
    body: dict[str, Any] | None
    reason: str = ""


@dataclass
class OracleCut:
    """What a clock closed."""

    window: int
    skipped: tuple[int, ...]
    next: int
    time: int
    sums: dict[str, int]


@dataclass
class OracleShard:
    """Folds items one by one."""

    topic: str
    state: Topic = field(init=False)
    clock: OracleClock = field(default_factory=OracleClock)
    counts: Counter[str] = field(default_factory=Counter)
    outcomes: list[str] = field(default_factory=list)
    dead: list[tuple[int, str]] = field(default_factory=list)
    cuts: list[OracleCut] = field(default_factory=list)
    _cut_counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.state = TOPICS[self.topic]()

    def feed(self, items: list[Item], first_offset: int = 0) -> None:
        for offset, item in enumerate(items, first_offset):
            self._one(offset, item)

    def _one(self, offset: int, item: Item) -> None:
        outcome = self._outcome(item)
        self.outcomes.append(outcome)
        if outcome not in {"folded", "older", "repeats", "not_folded", "clocks"}:
            self.dead.append((offset, outcome))
            outcome = "dead"
        self.counts[outcome] += 1
        if item.body is not None and item.body["type"] == "clock.v1":
            self._tick(offset, item.body)

    def _outcome(self, item: Item) -> str:
        if item.body is None:
            return item.reason
        if item.body["type"] == "clock.v1":
            return "clocks"
        return self._out_of_time(item.body["t"]) or self.state.fold(item.body)

    def _out_of_time(self, t: int) -> str | None:
        if self.clock.time is None:
            return None
        if t > self.clock.time + self.clock.max_ahead_ms:
            return "time.future"
        return "time.past" if self.topic == "tasks" and t <= self.clock.time - RETAIN_MS else None

    def _tick(self, offset: int, body: dict[str, Any]) -> None:
        ends = self.clock.advance(body)
        if ends:
            assert self.clock.time is not None
            self.state.expire(self.clock.time - RETAIN_MS)
            sums = dict(self.counts - self._cut_counts)
            self._cut_counts = self.counts.copy()
            self.cuts.append(OracleCut(ends[-1], tuple(ends[:-1]), offset + 1, self.clock.time, sums))
