"""Chunk → fold → dead letters acknowledged → one atomic write: how the twin of every cluster is kept current.

A worker owns the partitions that its group gave it. It *claims* each of them in the store, which hands it the shard's state
and the log position that state ends at, and reads on from there. Shard and position move together, in one write, so
every record counts exactly once, whatever is killed (the group's offset plays no part). An error that is not about one
bad record ends the process; whoever claims next goes on from the last write.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import structlog
from faust.types import TP

from streams.notices import Notice
from streams.settings import Settings
from streams.store.base import Claim as StoreClaim
from streams.store.base import DamagedError, FencedError, TwinStore
from streams.transport import Chunk, Claim
from twin.columns import Columns, DeadLetter, Decoder
from twin.errors import StoreError, TwinBug
from twin.records import Records
from twin.shards.shard import BASE_EVERY, Cut, Shard

log = structlog.get_logger()
TEND_S = 0.01
"""How often a worker looks whether partitions that are ahead of the dispatcher may go on."""
VERIFY_S = 1.0
"""How often it looks whether the store still has its claims."""
DECIDED = "decided"
"""Name of the store's mark: a window that ends at or before this has been decided or passed over, ms."""
BURIED_AT_ONCE = 1_000
"""Dead letters that are handed to the broker, and waited for, together."""

Bury = Callable[[list[DeadLetter]], Awaitable[None]]
Tell = Callable[[Notice], Awaitable[None]]
Pause = Callable[[Iterable[TP]], None]


@dataclass(slots=True)
class Part:
    """A claimed partition: its shard in memory, and what of it is not written yet."""

    tp: TP
    claim: int
    owner: bytes
    shard: Shard
    decoder: Decoder
    written: int
    """Log position up to which the store has it."""
    folded: int
    """Log position up to which the shard has it."""
    fetched: int
    """Log position up to which chunks were taken."""
    chunks: deque[Records] = field(default_factory=deque)
    """Chunks that were taken and not begun."""
    columns: Columns | None = None
    """The chunk in work, folded up to ``position``."""
    position: int = 0
    cuts: list[Cut] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    waiting: deque[int] = field(default_factory=deque)
    """Windows that were cut and are not decided, as far as is known."""
    paused: bool = False
    wrote_at: float = 0.0

    @property
    def name(self) -> str:
        """Topic and partition, for messages."""
        return f"{self.shard.topic}-{self.shard.partition}"

    @property
    def dirty(self) -> bool:
        """Whether anything is folded and not written."""
        return self.folded != self.written


@dataclass(slots=True)
class Work:
    """What a worker has done, for its metrics: counts, and seconds by stage."""

    records: Counter[str] = field(default_factory=Counter)
    chunks: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    dead: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: int = 0
    writes: int = 0
    claims: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(("decode", "fold", "bury", "write"), 0.0))


class Ingest:
    """What a worker does with chunks. It is told when partitions come and go, and calls back to bury, tell and pause.

    Args:
        settings: of this process.
        store: where shards live.
        bury: write dead letters to their topic; returns when the broker has them.
        tell: announce that a shard was cut.
        pause, resume: stop and go on reading partitions.
    """

    def __init__(
        self, settings: Settings, store: TwinStore, *, bury: Bury, tell: Tell, pause: Pause, resume: Pause
    ) -> None:
        self._settings, self._store = settings, store
        self._bury, self._tell, self._pause, self._resume = bury, tell, pause, resume
        self._lock = asyncio.Lock()
        self._claims = 0
        self._decided = -1
        self._verified = time.monotonic()
        self.parts: dict[TP, Part] = {}
        self.progress = time.monotonic()
        """When anything was last claimed or written."""
        self.work = Work()

    # -------------------------------------------------------------------------------------------- partitions come and go

    async def claim(self, tps: set[TP]) -> dict[TP, Claim]:
        """Claim every partition of ``tps`` and load its shard; from where to read each."""
        self.parts = {}
        parts = dict(zip(tps, await asyncio.gather(*map(self._claim, tps)), strict=True))
        await self._learn_decided()
        for part in parts.values():
            serial = part.shard.serial
            if serial >= 0:  # a notice may have been lost with the process that had the partition before
                await self._tell(Notice(part.shard.topic, part.shard.partition, serial))
        self._resume(tps)  # Faust keeps a partition paused that came back
        self.parts, self.progress = parts, time.monotonic()
        log.info("claimed", partitions={part.name: part.written for part in parts.values()})
        return {tp: Claim(part.claim, part.written) for tp, part in parts.items()}

    async def _claim(self, tp: TP) -> Part:
        topic = self._settings.short(tp.topic)
        try:
            held, shard = await self._load(topic, tp.partition)
        except DamagedError as error:  # the log has it all
            log.warning(
                "shard.damaged", shard=f"{topic}-{tp.partition}", detail=str(error), next="folded from the log again"
            )
            await self._store.forget(topic, tp.partition)
            held, shard = await self._load(topic, tp.partition)
        self._claims += 1
        self.work.claims += 1
        return Part(tp, self._claims, held.owner, shard, Decoder(topic), held.next, held.next, held.next)

    async def _load(self, topic: str, partition: int) -> tuple[StoreClaim, Shard]:
        held = await self._store.claim(topic, partition)
        if held.stored is None:
            return held, Shard(topic, partition, base_every=BASE_EVERY, saved=True)
        try:
            return held, Shard.load(topic, partition, held.stored, base_every=BASE_EVERY)
        except StoreError as error:
            raise DamagedError(str(error)) from error

    def revoke(self) -> None:
        """Forget all partitions: whatever is still in a buffer finds no claim."""
        self.parts = {}

    # --------------------------------------------------------------------------------------------------------- chunks

    async def handle(self, chunk: Chunk, *, last: bool) -> None:
        """Fold a chunk and write what is due; ``last``: no other chunk waits, so everything is written now.

        Raises:
            FencedError: another process has claimed the partition.
            TwinBug: the chunk does not begin where the shard ends.
        """
        async with self._lock:
            self._take(chunk)
            now = time.monotonic()
            for part in list(self.parts.values()):
                if part.cuts or (part.dirty and (last or self._late(part, now))):
                    await self._write(part)

    def _take(self, chunk: Chunk) -> None:
        part = self.parts.get(TP(chunk.topic, chunk.partition))
        if part is None or part.claim != chunk.claim:
            self.work.dropped += 1  # fetched under an earlier claim; it was, or will be, fetched again
            return
        if chunk.records.base != part.fetched:
            raise TwinBug(f"{part.name}: taken up to {part.fetched}, the next chunk begins at {chunk.records.base}")
        part.fetched = chunk.records.next
        part.chunks.append(chunk.records)
        self.work.records[part.shard.topic] += len(chunk.records)
        self.work.chunks[part.shard.topic] += 1
        if not part.paused:
            self._fold(part)

    def _late(self, part: Part, now: float) -> bool:
        return now - part.wrote_at >= self._settings.coalesce_ms / 1000

    def _fold(self, part: Part) -> None:
        """Fold the part's chunks, as far as the dispatcher can follow."""
        while part.columns is not None or part.chunks:
            if part.columns is None:
                began = time.perf_counter()
                part.columns, part.position = part.decoder.decode(part.chunks.popleft()), 0
                self._spent("decode", began)
            columns = part.columns
            while part.position < len(columns):
                if not self._may_cut(part):
                    part.paused = True
                    self._pause([part.tp])
                    return
                began = time.perf_counter()
                fed = part.shard.feed(columns, part.position)
                self._spent("fold", began)
                part.position = fed.position
                part.dead += fed.dead
                part.folded = columns.records.offsets[fed.position - 1] + 1
                if fed.cut is not None:
                    part.cuts.append(fed.cut)
                    part.waiting.append(fed.cut.window)
            part.folded = columns.records.next  # a hole behind the last record is passed with it
            part.columns = None

    def _may_cut(self, part: Part) -> bool:
        while part.waiting and part.waiting[0] <= self._decided:
            part.waiting.popleft()
        return len(part.waiting) < self._settings.pending_windows

    async def _write(self, part: Part) -> None:
        """Dead letters, then state, cuts and position in one step, then the notice."""
        if self.parts.get(part.tp) is not part:
            return  # revoked meanwhile
        if part.dead:  # before the state moves past them: at least once, and copies carry the same position
            began = time.perf_counter()
            await self._bury_all(part)
            self._spent("bury", began)
        cuts, part.cuts = part.cuts, []
        began = time.perf_counter()
        try:
            await self._store.apply(
                part.shard.topic, part.shard.partition, part.owner, part.written, part.folded, part.shard.save(), cuts
            )
        except FencedError:
            if self.parts.get(part.tp) is part:
                raise
            return  # revoked, and perhaps claimed again, while the write was under way
        self._spent("write", began)
        self.work.writes += 1
        self.work.cuts[part.shard.topic] += len(cuts)
        part.written, part.wrote_at = part.folded, time.monotonic()
        self.progress = part.wrote_at
        if cuts:
            await self._tell(Notice(part.shard.topic, part.shard.partition, cuts[-1].serial))

    async def _bury_all(self, part: Part) -> None:
        dead, part.dead = part.dead, []
        for at in range(0, len(dead), BURIED_AT_ONCE):
            some = dead[at : at + BURIED_AT_ONCE]
            await self._bury(some)
            self.progress = time.monotonic()  # 100,000 take longer than a process may stall
            self.work.dead.update((part.shard.topic, letter.reason) for letter in some)

    def _spent(self, stage: str, began: float) -> None:
        self.work.seconds[stage] += time.perf_counter() - began

    # ------------------------------------------------------------------------------------------- waiting for the dispatcher

    async def tend(self) -> None:
        """Let paused partitions go on as windows are decided, and leave nothing unwritten. Runs as long as the process."""
        while True:
            await asyncio.sleep(TEND_S)
            async with self._lock:
                await self._tend()

    async def _tend(self) -> None:
        now = time.monotonic()
        parts = list(self.parts.values())
        if now - self._verified >= VERIFY_S:
            self._verified = now
            await self._verify(parts)
        if any(part.paused for part in parts):
            await self._learn_decided()
        for part in parts:
            if part.paused and self._may_cut(part):
                part.paused = False
                self._fold(part)
                if not part.paused:
                    self._resume([part.tp])
            if part.cuts or (part.dirty and self._late(part, now)):
                await self._write(part)

    async def _verify(self, parts: list[Part]) -> None:
        """Look whether the store still has what was written. Who has nothing to write would wait for ever otherwise."""
        held = await asyncio.gather(
            *(self._store.holds(part.shard.topic, part.shard.partition, part.owner, part.written) for part in parts)
        )
        for part, still in zip(parts, held, strict=True):
            if not still and self.parts.get(part.tp) is part:
                raise FencedError(
                    f"{part.name}: the store no longer has the claim, or not the position {part.written}: another process "
                    "has claimed it, or Redis was emptied or rolled back"
                )

    async def _learn_decided(self) -> None:
        mark = await self._store.get_mark(DECIDED)
        self._decided = int(mark) if mark else -1
