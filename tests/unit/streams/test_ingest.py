"""What a worker does with chunks, on the memory store: every record once, whatever the chunks, claims and pauses."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from producers.log import LogReader
from streams.following import Follower
from streams.ingest import DECIDED, Ingest
from streams.notices import Notice
from streams.settings import Settings
from streams.store.base import FencedError
from streams.store.memory import MemoryStore
from streams.transport import Chunk
from tests.broker.twins import Reference, comparable, embedded
from tests.golden.replays import late_events, run, spoil
from twin.assembler import Assembler
from twin.columns import DeadLetter
from twin.dispatcher import Dispatcher
from twin.errors import TwinBug
from twin.records import Records

FOLLOWED_TO_THE_END = "9" * 15


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run log of the tiny scenario, two partitions everywhere, with faults put in."""
    folder = tmp_path_factory.mktemp("log")
    run(late_events(folder / "events", lateness_ms=60_000, partitions=2, files="jsonl"), "price", folder / "run")
    spoil(folder / "run" / "log", folder / "faulty", repeats=0.02, broken=0.01, late=0.05, any_late=True)
    return folder / "faulty"


@pytest.fixture(scope="module")
def reference(log: Path) -> Reference:
    return embedded(log)


class Bench:
    """An ingest on a memory store, with what it buried, told and paused."""

    def __init__(self, store: MemoryStore, **settings: Any) -> None:
        self.buried: list[DeadLetter] = []
        self.told: list[Notice] = []
        self.paused: set[TP] = set()
        self.ingest = Ingest(
            Settings(**settings),
            store,
            bury=self._bury,
            tell=self._tell,
            pause=self.paused.update,
            resume=self.paused.difference_update,
        )

    async def _bury(self, letters: list[DeadLetter]) -> None:
        self.buried += letters

    async def _tell(self, notice: Notice) -> None:
        self.told.append(notice)


def tps_of(log: Path) -> set[TP]:
    return {TP(f"cpn.{topic}", partition) for topic, partition in LogReader(log).partitions()}


def chunks_of(log: Path, tp: TP, start: int, size: int) -> Iterable[Records]:
    for records in LogReader(log).read(tp.topic.removeprefix("cpn."), tp.partition, chunk=size):
        skip = max(0, start - records.base)
        if skip < len(records):
            yield Records(
                records.base + skip,
                records.next,
                records.offsets[skip:],
                records.times[skip:],
                records.keys[skip:],
                records.values[skip:],
            )


async def fold_all(log: Path, ingest: Ingest, tps: set[TP], *, size: int) -> None:
    """Claim and hand in every partition to its end, in turns."""
    claims = await ingest.claim(tps)
    sources = {tp: iter(chunks_of(log, tp, claims[tp].offset, size)) for tp in tps}
    while sources:
        for tp in sorted(sources):
            records = next(sources[tp], None)
            if records is None:
                del sources[tp]
                continue
            await ingest.handle(Chunk(tp.topic, tp.partition, claims[tp].number, records), last=not sources)
    async with asyncio.timeout(30):
        while any(part.dirty or part.paused for part in ingest.parts.values()):
            await ingest._tend()


async def decide_all(log: Path, store: MemoryStore) -> list[dict[str, Any]]:
    """The window records that come of the stored cuts."""
    keys = LogReader(log).partitions()
    follower, assembler = Follower(store, keys), Assembler(keys)
    dispatcher, records = Dispatcher(dict(Counter(topic for topic, _ in keys))), []
    while cuts := await follower.new_cuts():
        for cut in cuts:
            assembler.offer(cut)
    while step := assembler.step():
        for cut in step.cuts:
            dispatcher.mirror.apply(cut)
        if step.window is not None:
            opened = dispatcher.mirror.shards["tasks", 0]
            window = dispatcher.decide(
                step.window,
                step.skipped,
                window_ms=opened.window_ms,
                lateness_ms=opened.lateness_ms,
                solve_clock=time.perf_counter,
            )
            records.append(comparable(window.record))
    return records


@pytest.mark.parametrize(("size", "coalesce_ms"), [(1, 0), (7, 50), (500, 0), (10_000, 100)])
async def test_chunks_of_any_size_give_the_windows_of_the_embedded_replay(
    log: Path, reference: Reference, size: int, coalesce_ms: float
) -> None:
    store = MemoryStore()
    await store.set_mark(DECIDED, FOLLOWED_TO_THE_END.encode())
    bench = Bench(store, coalesce_ms=coalesce_ms)
    await fold_all(log, bench.ingest, tps_of(log), size=size)
    assert await decide_all(log, store) == reference.records
    assert {(letter.topic, letter.partition, letter.offset) for letter in bench.buried} == reference.dead_letters


async def test_workers_that_die_anywhere_lose_and_double_nothing(log: Path, reference: Reference) -> None:
    store, dice = MemoryStore(), random.Random(5)
    await store.set_mark(DECIDED, FOLLOWED_TO_THE_END.encode())
    buried: set[tuple[str, int, int]] = set()
    for _ in range(12):  # each folds a little, writes some of it, and is gone
        bench = Bench(store, coalesce_ms=dice.choice([0, 10_000]))
        claims = await bench.ingest.claim(tps_of(log))
        for tp in dice.sample(sorted(claims), 6):
            chunks = list(chunks_of(log, tp, claims[tp].offset, dice.randint(1, 60)))
            for records in chunks[: dice.randint(0, 12)]:
                await bench.ingest.handle(Chunk(tp.topic, tp.partition, claims[tp].number, records), last=False)
        buried |= {(letter.topic, letter.partition, letter.offset) for letter in bench.buried}
    bench = Bench(store)
    await fold_all(log, bench.ingest, tps_of(log), size=100)
    buried |= {(letter.topic, letter.partition, letter.offset) for letter in bench.buried}
    assert await decide_all(log, store) == reference.records
    assert buried == reference.dead_letters


async def test_what_an_earlier_claim_fetched_is_dropped(log: Path) -> None:
    store, tp = MemoryStore(), TP("cpn.tasks", 0)
    bench = Bench(store)
    old = (await bench.ingest.claim({tp}))[tp]
    new = (await bench.ingest.claim({tp}))[tp]
    first = next(iter(chunks_of(log, tp, 0, 10)))
    await bench.ingest.handle(Chunk(tp.topic, tp.partition, old.number, first), last=True)
    assert (bench.ingest.work.dropped, bench.ingest.parts[tp].written) == (1, 0)
    await bench.ingest.handle(Chunk(tp.topic, tp.partition, new.number, first), last=True)
    assert (bench.ingest.work.dropped, bench.ingest.parts[tp].written) == (1, 10)


async def test_a_hole_between_chunks_is_a_bug_and_not_passed_over(log: Path) -> None:
    tp = TP("cpn.tasks", 0)
    bench = Bench(MemoryStore())
    claim = (await bench.ingest.claim({tp}))[tp]
    second = list(chunks_of(log, tp, 0, 10))[1]
    with pytest.raises(TwinBug, match=r"tasks-0: taken up to 0, the next chunk begins at 10"):
        await bench.ingest.handle(Chunk(tp.topic, tp.partition, claim.number, second), last=True)


async def test_a_worker_whose_partition_was_claimed_by_another_is_turned_away(log: Path) -> None:
    store, tp = MemoryStore(), TP("cpn.tasks", 0)
    bench = Bench(store)
    claim = (await bench.ingest.claim({tp}))[tp]
    await Bench(store).ingest.claim({tp})
    with pytest.raises(FencedError):
        await bench.ingest.handle(
            Chunk(tp.topic, tp.partition, claim.number, next(iter(chunks_of(log, tp, 0, 10)))), last=True
        )


async def test_a_worker_with_nothing_to_write_learns_that_the_store_has_forgotten(log: Path) -> None:
    store, tp = MemoryStore(), TP("cpn.tasks", 0)
    bench = Bench(store)
    claim = (await bench.ingest.claim({tp}))[tp]
    await bench.ingest.handle(
        Chunk(tp.topic, tp.partition, claim.number, next(iter(chunks_of(log, tp, 0, 10)))), last=True
    )
    bench.ingest._verified -= 10
    await bench.ingest._tend()  # all is well
    store._shards.clear()
    bench.ingest._verified -= 10
    with pytest.raises(FencedError, match=r"tasks-0: the store no longer has the claim, or not the position 10"):
        await bench.ingest._tend()


async def test_a_damaged_shard_is_folded_from_the_log_again(log: Path, reference: Reference) -> None:
    store = MemoryStore()
    await store.set_mark(DECIDED, FOLLOWED_TO_THE_END.encode())
    await fold_all(log, Bench(store).ingest, tps_of(log), size=100)
    store._shards["tasks", 0].tables["tasks"].ids[1_000_000] = "nobody"
    again = Bench(store)
    claims = await again.ingest.claim(tps_of(log))
    assert claims[TP("cpn.tasks", 0)].offset == 0
    assert claims[TP("cpn.tasks", 1)].offset > 0
    await fold_all(log, again.ingest, tps_of(log), size=100)
    assert await decide_all(log, store) == reference.records


async def test_a_partition_waits_for_the_dispatcher_and_goes_on_with_it(log: Path, reference: Reference) -> None:
    store, tp = MemoryStore(), TP("cpn.power", 0)
    bench = Bench(store, pending_windows=3)
    claim = (await bench.ingest.claim({tp}))[tp]
    for records in chunks_of(log, tp, 0, 50):
        await bench.ingest.handle(Chunk(tp.topic, tp.partition, claim.number, records), last=True)
    assert bench.paused == {tp}
    assert await store.last_serial("power", 0) == 2
    ends = [record["end"] for record in reference.records]
    await store.set_mark(DECIDED, str(ends[1]).encode())
    await bench.ingest._tend()
    assert await store.last_serial("power", 0) == 4
    assert bench.paused == {tp}
    await store.set_mark(DECIDED, FOLLOWED_TO_THE_END.encode())
    await bench.ingest._tend()
    assert await store.last_serial("power", 0) == len(ends) - 1
    assert not bench.paused


async def test_a_claim_tells_of_the_last_cut_again(log: Path) -> None:
    store, tp = MemoryStore(), TP("cpn.power", 0)
    bench = Bench(store)
    claim = (await bench.ingest.claim({tp}))[tp]
    for records in list(chunks_of(log, tp, 0, 50))[:4]:
        await bench.ingest.handle(Chunk(tp.topic, tp.partition, claim.number, records), last=True)
    told = bench.told[-1]
    assert told == Notice("power", 0, await store.last_serial("power", 0))
    other = Bench(store)
    await other.ingest.claim({tp})
    assert other.told == [told]
