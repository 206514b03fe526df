"""From the cuts of all shards to published windows: taking over, deciding, publishing, and nothing twice.

What is decided is a function of the cuts and of the carry, so nothing has to be stored between two windows: a new
process takes the last published carry, brings the mirror to that window from stored cuts, decides the windows since then
once more, compares them with what is published, and goes on behind it.
"""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from streams.following import Follower
from streams.ingest import DECIDED
from streams.outbox import Decided, Outbox, Published
from streams.settings import Settings
from streams.store.base import TwinStore
from twin.assembler import Assembler, Partition, Step
from twin.carry import carry_header
from twin.decisions import WindowRecord
from twin.dispatcher import Dispatcher
from twin.errors import TwinBug, TwinError
from twin.mirror import Mirror
from twin.topics import IN_TOPICS

log = structlog.get_logger()
LOOK_S = 1.0
"""Cuts are looked for at each notice, and without one so often: a notice may be lost."""
SILENCE_S = 10.0
"""A partition that others have waited for so long, because no clock came in it, is named in the log."""
PUBLISH_S = 0.2
"""Windows that are decided within so long are published together."""
_COMPARED = ("positions", "state_sha256", "carry_sha256", "decisions_sha256")


@dataclass(slots=True)
class Done:
    """What was decided since taking over, and the time that it took, s by stage."""

    window: int = 0
    carry_bytes: int = 0
    windows: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("fetch", "decide", "publish"), 0.0))


class DifferentError(TwinError):
    """A window was decided otherwise than it is published."""


class Deciding:
    """The dispatcher at work, from taking over to being stopped.

    Args:
        settings: of this process.
        store: where cuts are.
        outbox: where decisions go.
        partitions: number of partitions of each in-topic.
    """

    def __init__(self, settings: Settings, store: TwinStore, outbox: Outbox, partitions: dict[str, int]) -> None:
        self._settings, self._store, self._outbox, self._partitions = settings, store, outbox, partitions
        keys = [(topic, p) for topic in IN_TOPICS for p in range(partitions[topic])]
        self._follower = Follower(store, keys)
        self._assembler = Assembler(keys)
        self._dispatcher = Dispatcher(partitions, seed=settings.seed, patient=True)
        self._published: dict[int, WindowRecord] = {}
        self._newest = -1
        self._checkpoint: dict[Partition, int] = dict.fromkeys(keys, -1)
        self._decided = -1
        self._since_checkpoint = 0
        self._degraded_before = False
        self._refused = ""
        self._missing: list[Partition] = []
        self._missing_since = 0.0
        self.notice = asyncio.Event()
        self.done = Done()
        self.progress = time.monotonic()

    async def run(self) -> None:
        """Take over, then decide window after window until cancelled.

        Raises:
            FencedError: another dispatcher has taken over.
            DifferentError: a window came out otherwise than it is published.
            ConfigError, StoreError, TwinBug: it cannot go on.
        """
        await self._resume(await self._outbox.take_over())
        while True:
            self.notice.clear()
            while await self._advance():
                pass
            self.progress = time.monotonic()
            await self._mark()
            try:
                await asyncio.wait_for(self.notice.wait(), LOOK_S)
            except TimeoutError:
                self._name_silent()
                await self._follower.drop(self._checkpoint)  # what workers fold again after Redis was emptied

    def _name_silent(self) -> None:
        """Say which partitions nobody can go on without: a clock that is missing in one of them stops the whole twin."""
        missing = self._assembler.missing()
        if len(missing) == len(self._checkpoint) or missing != self._missing:
            self._missing, self._missing_since = missing, time.monotonic()
        elif missing and time.monotonic() - self._missing_since >= SILENCE_S:
            silent = [f"{topic}-{p}" for topic, p in missing]
            log.warning(
                "waiting.for_partitions",
                partitions=silent,
                decided=self._decided,
                detail="all others wait for a clock that closes a window there; or it is still being read",
            )
            self._missing_since = math.inf  # said once

    # ------------------------------------------------------------------------------------------------ taking over

    async def _resume(self, published: Published) -> None:
        self._published = published.records
        self._newest = max(self._published, default=-1)
        if published.carry is not None:
            mirror = Mirror(self._partitions)
            header = carry_header(published.carry)
            self._decided = header.window
            await self._mark()
            for at, serial in header.serials.items():
                await self._rebuild(mirror, at, serial)
            self._dispatcher = await asyncio.to_thread(
                Dispatcher.restore, self._partitions, mirror, published.carry, seed=self._settings.seed, patient=True
            )
            self._checkpoint = dict(header.serials)
        log.info("took over", carry=self._decided, newest_published=self._newest)

    async def _rebuild(self, mirror: Mirror, at: Partition, serial: int) -> None:
        while (cuts := await self._follower.base_and_deltas(at, serial)) is None:
            log.info("waiting for a shard to be folded again", shard=f"{at[0]}-{at[1]}", until=serial)
            await self._follower_wait()
        for cut in cuts:
            mirror.apply(cut)

    async def _follower_wait(self) -> None:
        self.progress = time.monotonic()
        await self._mark()
        await asyncio.sleep(LOOK_S)

    async def _mark(self) -> None:
        """Tell workers how far decisions are, so that they know how far they may run ahead.

        Windows that a clock has skipped count too: shards that come up to it have them, and nobody will decide them.
        """
        done = max(self._decided, self._assembler.passed)
        await self._store.set_mark(DECIDED, str(done).encode())

    # --------------------------------------------------------------------------------------------------- deciding

    async def _advance(self) -> bool:
        """Take new cuts, decide what they complete, publish it. Whether there was anything."""
        began = time.perf_counter()
        cuts = await self._follower.new_cuts()
        for cut in cuts:
            self._assembler.offer(cut)
        self._spent("fetch", began)
        while decided := await self._decide_off_the_loop():
            await self._publish(decided)
        return bool(cuts)

    async def _decide_off_the_loop(self) -> list[Decided]:
        began = time.perf_counter()
        decided = await asyncio.to_thread(self._decide_some)
        self._spent("decide", began)
        return decided

    def _spent(self, stage: str, began: float) -> None:
        self.done.seconds[stage] += time.perf_counter() - began

    def _decide_some(self) -> list[Decided]:
        """Decide the windows that are complete, for at most about ``PUBLISH_S``. Runs in a thread of its own."""
        began, decided = time.monotonic(), list[Decided]()
        while (not decided or time.monotonic() - began < PUBLISH_S) and (step := self._assembler.step()) is not None:
            for cut in step.cuts:
                self._dispatcher.mirror.apply(cut)
            if step.window is not None:
                decided.append(self._decide(step, step.window))
                if decided[-1].carry is not None or decided[-1].record.degraded:
                    break
        return decided

    def _decide(self, step: Step, end: int) -> Decided:
        opened = self._dispatcher.mirror.shards["tasks", 0]
        window = self._dispatcher.decide(
            end,
            step.skipped,
            window_ms=opened.window_ms,
            lateness_ms=opened.lateness_ms,
            solve_clock=time.perf_counter,
        )
        self._since_checkpoint += 1
        due = self._since_checkpoint >= self._settings.checkpoint_windows and end not in self._published
        if due:
            self._since_checkpoint = 0
        return Decided(window.record, window.decisions, self._dispatcher.carry() if due else None)

    async def _publish(self, decided: Sequence[Decided]) -> None:
        new = []
        for one in decided:
            known = self._published.pop(one.record.window, None)
            if known is None:
                if one.record.window <= self._newest:
                    raise DifferentError(f"window {one.record.window} was never published, later ones were")
                new.append(one)
            else:
                _compare(one.record, known)
        began = time.perf_counter()
        if new:
            await self._outbox.publish(new)
        self._spent("publish", began)
        self._decided = self.done.window = decided[-1].record.window
        self.progress = time.monotonic()
        await self._mark()
        self.done.windows["compared"] += len(decided) - len(new)
        if any(one.carry is not None for one in new):
            shards = self._dispatcher.mirror.shards
            self._checkpoint = {at: shard.serial for at, shard in shards.items()}
            await self._follower.drop(self._checkpoint)
        for one in new:
            self.done.windows["degraded" if one.record.degraded else "decided"] += 1
            self.done.decisions.update(decision.action for decision in one.decisions)
            self.done.carry_bytes = len(one.carry) if one.carry is not None else self.done.carry_bytes
            self._look_at(one.record)

    def _look_at(self, record: WindowRecord) -> None:
        """Say so when the log asks for what cannot be; end when two windows in a row failed for no such reason.

        Raises:
            TwinBug: they did.
        """
        if record.refused and record.error != self._refused:
            log.error("policy.refused", window=record.end, reason=record.error, cure="send another policy.set.v1")
        self._refused = record.error if record.refused else ""
        failed = record.degraded and not record.refused
        if failed and self._degraded_before:
            raise TwinBug(f"window {record.end} could not be decided, nor could the one before: {record.error}")
        self._degraded_before = failed


def _compare(record: WindowRecord, published: WindowRecord) -> None:
    for name in _COMPARED:
        if getattr(record, name) != getattr(published, name):
            raise DifferentError(
                f"window {record.window} decided again has another {name} than published: the published decisions stand; "
                f"numerics then {published.numerics}, now {record.numerics}. Was the program, the seed or the log changed?"
            )
