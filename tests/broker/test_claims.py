"""Claims on a real broker: they decide where a partition is read from; one that cannot be read on from ends the process."""

import asyncio
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from faust.tables.recovery import RebalanceAgain
from faust.types import TP

from streams.exits import Exit
from streams.settings import Settings
from streams.transport import Chunk, Claim
from tests.broker.reader import (
    Reader,
    admin_of,
    assert_tiles,
    committed,
    has_committed,
    run,
    send,
    topics_of,
    until,
)


def test_the_claim_decides_where_to_read_from_and_the_groups_offset_follows_it(settings: Settings) -> None:
    async def main() -> None:
        topics = await topics_of(settings, "tasks", "power")
        for topic in topics:
            await send(settings, topic, [b"x"] * 100)
        one, two = (TP(topic, 0) for topic in topics)
        async with Reader(settings, topics) as first:
            await first.reached({one: 100, two: 100})
        assert await committed(settings, "reader", [one, two]) == {one: 100, two: 100}

        async with Reader(settings, topics, positions={one: 20, two: 100}) as second:
            await second.reached({one: 100})
        assert_tiles(second.by_partition()[one], 20, 100)
        assert two not in second.by_partition()
        # a group that has no offset is taken to the claim even where there is nothing to read
        async with Reader(settings, topics, group="other", positions={one: 100, two: 100}) as third:
            await has_committed(settings, "other", {one: 100, two: 100})
        assert not third.chunks

    run(main())


class Fold:
    """Positions that only the newest claim may move: what Redis does for the workers."""

    def __init__(self) -> None:
        self.owner: dict[TP, int] = {}
        self.next: dict[TP, int] = {}
        self.folded = defaultdict[TP, list[bytes]](list)
        self.dropped = 0

    def reader(self, settings: Settings, topics: list[str], pause_s: float) -> Reader:
        async def work(chunk: Chunk) -> None:
            tp = TP(chunk.topic, chunk.partition)
            await asyncio.sleep(pause_s)
            if self.owner[tp] != chunk.claim:
                self.dropped += 1
                return
            assert chunk.records.base == self.next.get(tp, 0)
            self.next[tp] = chunk.records.next
            self.folded[tp] += chunk.records.values

        reader = Reader(settings, topics, positions=self.next, work=work, consumer_max_fetch_size=2_048)
        claim = reader.claim

        async def owned(tps: set[TP]) -> dict[TP, Claim]:
            claims = await claim(tps)
            self.owner |= {tp: c.number for tp, c in claims.items()}
            return claims

        reader.app.claim_partitions = owned
        return reader


def test_workers_that_join_and_leave_lose_and_double_nothing(settings: Settings) -> None:
    """A chunk that an earlier claim left in a buffer is never taken for one of the new claim."""

    async def main() -> None:
        [topic] = await topics_of(settings, "tasks", partitions=4)
        values = [b"%06d" % i for i in range(3_000)]
        tps = [TP(topic, partition) for partition in range(4)]
        for tp in tps:
            await send(settings, topic, list(values), tp.partition, max_batch_size=1_024)
        fold = Fold()
        one, two = fold.reader(settings, [topic], 0.05), fold.reader(settings, [topic], 0.03)
        async with one:
            await until(lambda: len(fold.next) == 4)
            async with two:
                await until(lambda: two.chunks)
                await until(lambda: len(one.claims) > 4)
                assert min(fold.next.values()) < 3_000  # still under way when the second one leaves
            await until(lambda: set(fold.next.values()) == {3_000})
        assert len(one.claims) > 4 + 2
        assert two.claims
        assert all(fold.folded[tp] == values for tp in tps)
        for reader in (one, two):
            for number, (tp, offset) in reader.claims.items():
                mine = [chunk for chunk in reader.chunks if chunk.claim == number]
                assert all((c.topic, c.partition) == tp for c in mine)
                assert_tiles(mine, offset, mine[-1].records.next if mine else offset)

    run(main())


def test_what_an_earlier_claim_left_in_the_buffer_keeps_its_number(settings: Settings) -> None:
    """Faust drops what an earlier generation left; here the generation stays, so that the number alone tells."""

    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        end = await send(settings, topic, [b"x" * 100] * 200, max_batch_size=1_000)
        tp, go_on = TP(topic, 0), asyncio.Event()

        async def work(_: Chunk) -> None:
            await go_on.wait()

        async with Reader(settings, [topic], work=work, consumer_max_fetch_size=1_000) as reader:
            consumer = reader.app.consumer
            await until(lambda: consumer._read_offset[tp])
            await asyncio.sleep(0.2)  # the buffer fills
            consumer.stop_flow()
            reader.positions[tp] = 50
            await consumer.perform_seek()
            consumer.resume_flow()
            go_on.set()
            await reader.reached({tp: end})
        first, second = sorted(reader.claims)
        before, after = ([c for c in reader.chunks if c.claim == number] for number in (first, second))
        assert reader.chunks == before + after
        assert len(before) > 2
        assert_tiles(before, 0, before[-1].records.next)
        assert_tiles(after, 50, end)

    run(main())


def test_records_do_not_flow_while_a_partition_is_claimed(settings: Settings) -> None:
    """Nor in a worker that held no partition before, whose flow Faust does not stop."""

    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        await send(settings, topic, [b"x"] * 10)
        async with Reader(settings, [topic]) as one, Reader(settings, [topic]) as two:
            await until(lambda: one.claims or two.claims)
            await until(lambda: one.app.consumer_generation_id == two.app.consumer_generation_id > 1)
            await until(lambda: one.app.consumer.flow_active and two.app.consumer.flow_active)
            holder, idle = (one, two) if one.app.consumer.assignment() else (two, one)
            assert not idle.app.consumer.assignment()
            before = len(idle.claims)
            await holder.app.stop()
            await until(lambda: len(idle.claims) > before)
            await idle.reached({TP(topic, 0): 10})
        assert idle.flowing
        assert not any(one.flowing + two.flowing)

    run(main())


def test_a_stopped_flow_is_no_reason_to_claim(settings: Settings) -> None:
    """Faust seeks when a fetch ends with the flow stopped, which may be in the middle of a rebalance."""

    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        end = await send(settings, topic, [b"x"])
        async with Reader(settings, [topic]) as reader:
            await reader.reached({TP(topic, 0): end})
            reader.app.consumer.stop_flow()
            await asyncio.sleep(1.5)  # a fetch that brings nothing ends after 1 s
            assert len(reader.claims) == 1
            reader.app.consumer.resume_flow()
            await send(settings, topic, [b"y"])
            await reader.reached({TP(topic, 0): end + 1})
        assert len(reader.claims) == 1

    run(main())


def test_a_rebalance_during_the_claim_leaves_the_seek_to_the_next_round(settings: Settings) -> None:
    async def main() -> None:
        [topic] = await topics_of(settings, "tasks")
        await send(settings, topic, [b"x"] * 10)
        async with Reader(settings, [topic]) as reader:
            await reader.reached({TP(topic, 0): 10})
            claim = reader.claim

            async def rebalanced(tps: set[TP]) -> dict[TP, Claim]:
                reader.app.consumer_generation_id += 1
                return await claim(tps)

            reader.app.claim_partitions = rebalanced
            reader.app.consumer.stop_flow()
            with pytest.raises(RebalanceAgain):
                await reader.app.consumer.perform_seek()
            assert await reader.app.consumer.position(TP(topic, 0)) == 10

    run(main())


WORKER = """
import asyncio, logging, sys
import faust
from streams import transport
from streams.transport import Claim
from twin.errors import ConfigError

logging.basicConfig(level="WARNING")
bootstrap, group, topic, offset = sys.argv[1:]
transport.register()
app = faust.App(group, broker=f"chunk://{bootstrap}", TableManager=transport.NoTables, topic_allow_declare=False,
                topic_disable_leader=True, table_standby_replicas=0, web_enabled=False, autodiscover=False,
                broker_session_timeout=6.0, broker_request_timeout=10.0, datadir="/nonexistent")

async def claim(tps):
    if offset == "refused":
        raise ConfigError("the state is of another version")
    if offset == "broken":
        raise OSError("no Redis")
    if offset == "late":
        await asyncio.sleep(60)
    return {tp: Claim(1, int(offset)) for tp in tps}

app.claim_partitions = claim

@app.agent(app.topic(topic, value_type=bytes, value_serializer="raw"))
async def read(stream):
    async for chunk in stream:
        print("a chunk at", chunk.records.base, flush=True)

async def main():
    await app.start()
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("offset", "code", "says"),
    [
        ("11", Exit.CLAIM, "its state ends at 11, but the log at 10. The topic was emptied or created anew"),
        ("3", Exit.CLAIM, "its state ends at 3, but the log begins at 4. Retention deleted records"),
        ("broken", Exit.CLAIM, "OSError: no Redis"),
        ("late", Exit.CLAIM, "could not claim and seek the assigned partitions: TimeoutError()"),
        ("refused", Exit.CONFIG, "the state is of another version"),
    ],
)
def test_a_claim_that_cannot_be_read_on_from_ends_the_process(
    settings: Settings, tmp_path: Path, offset: str, code: Exit, says: str
) -> None:
    async def trimmed() -> str:
        [topic] = await topics_of(settings, "tasks")
        await send(settings, topic, [b"x"] * 10)
        async with admin_of(settings) as admin:
            await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(4)})
        return topic

    script = tmp_path / "worker.py"
    script.write_text(WORKER, "utf-8")
    topic = asyncio.run(trimmed())
    ended = subprocess.run(
        [sys.executable, str(script), settings.bootstrap, f"{settings.namespace}-w", topic, offset],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert says in ended.stdout + ended.stderr
    assert "a chunk at" not in ended.stdout
