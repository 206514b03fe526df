"""Logs and events that no producer of ours makes, and what the running twin makes of them."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from streams.exits import Exit
from streams.settings import Settings
from streams.store.redis import RedisStore
from tests.broker import twins
from tests.broker.test_processes import ended, until
from tests.broker.twins import Process
from twin.topics import IN_TOPICS

MINUTE = 60_000
ONE_EACH = dict.fromkeys(IN_TOPICS, 1)


def clock(t: int, window_ms: int = MINUTE) -> bytes:
    return json.dumps(
        {"type": "clock.v1", "seq": 1, "t": t, "window_ms": window_ms, "lateness_ms": 0, "max_ahead_ms": 10**11}
    ).encode()


def clocks(first: int, last: int) -> list[tuple[str, bytes]]:
    """A clock in every partition at the end of each of these windows."""
    return [(topic, clock(n * MINUTE)) for n in range(first, last + 1) for topic in IN_TOPICS]


async def send(settings: Settings, records: Iterable[tuple[str, bytes]], **options: Any) -> None:
    """Send (topic, value) pairs in order, to partition 0."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, linger_ms=5, **options)
    await producer.start()
    try:
        for topic, value in records:
            await producer.send(settings.topic(topic), value, b"x", 0)
        await producer.flush()
    finally:
        await producer.stop()


def twin_of(settings: Settings, folder: Path) -> list[Process]:
    return [Process(settings, "worker", "w1", folder), Process(settings, "dispatcher", "d1", folder)]


async def test_a_clock_that_skips_more_windows_than_may_wait_stops_nobody(settings: Settings, tmp_path: Path) -> None:
    """The other partitions come up to it window by window, and none of these windows is decided."""
    await twins.make_topics(settings, ONE_EACH)
    last = 10 * settings.pending_windows
    await send(settings, [(topic, clock(0)) for topic in IN_TOPICS])
    await send(settings, [("tasks", clock(n * MINUTE)) for n in range(1, last + 1)])
    await send(settings, [(topic, clock(last * MINUTE)) for topic in IN_TOPICS if topic != "tasks"])
    processes = twin_of(settings, tmp_path)
    with twins.running(processes):
        found = await twins.wait_for_windows(settings, 1, processes, within_s=15)
    assert [record["window"] for record in found] == [last * MINUTE]


async def test_a_clock_far_off_closes_its_windows_in_a_record_that_the_broker_takes(
    settings: Settings, tmp_path: Path
) -> None:
    await twins.make_topics(settings, ONE_EACH)
    await send(settings, [(topic, clock(0)) for topic in IN_TOPICS])
    await send(settings, [(topic, clock(200_000_000 * MINUTE + n)) for n, topic in enumerate(IN_TOPICS)])
    processes = twin_of(settings, tmp_path)
    with twins.running(processes):
        found = await twins.wait_for_windows(settings, 1, processes, within_s=15)
    assert [record["window"] for record in found] == [200_000_000 * MINUTE]


async def test_a_refused_record_as_large_as_the_broker_takes_becomes_a_dead_letter(
    settings: Settings, tmp_path: Path
) -> None:
    await twins.make_topics(settings, ONE_EACH)
    await send(settings, [("tasks", b"x" * 1_048_400), ("tasks", b"y" * 10)], max_request_size=2**21)
    await send(settings, [("tasks", b"z" * 5_000_000)], max_request_size=2**23, compression_type="gzip")
    worker = Process(settings, "worker", "w1", tmp_path)
    with twins.running([worker]):
        wanted = {("tasks", 0, n) for n in range(3)}
        await twins.wait_until(lambda: twins.dead_letters(settings), wanted)
        assert worker.alive(), worker.tail()
    code, said = await asyncio.to_thread(ended, settings, "deadletter", "requeue", "tasks:0:0", "--yes")
    assert (code, "has only the beginning of its record" in said) == (2, True)
    code, said = await asyncio.to_thread(ended, settings, "deadletter", "requeue", "--all", "--yes")
    assert code == 0
    assert "2 letters have only the beginning of their record: they are left out" in said
    assert "1 records sent back" in said


async def test_many_refused_records_at_once_are_no_standstill(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing their letters takes longer than a process may do nothing."""
    many = 40_000
    monkeypatch.setenv("CPN_STALL_S", "1.5")
    await twins.make_topics(settings, ONE_EACH)
    await send(settings, [("tasks", b"?")] * many, max_batch_size=100_000)
    worker = Process(settings, "worker", "w1", tmp_path)
    with twins.running([worker]):
        store = RedisStore(settings.redis_url, settings.namespace)
        try:
            while (held := await store.read("tasks", 0)) is None or held.next < many:
                assert worker.alive(), worker.tail()
                await asyncio.sleep(0.1)
        finally:
            await store.close()
    assert await twins.dead_letters(settings) == {("tasks", 0, n) for n in range(many)}


def policy(name: str, seq: int) -> bytes:
    return json.dumps({"type": "policy.set.v1", "seq": seq, "t": 1, "name": "dispatch", "policy": name}).encode()


async def test_a_policy_that_does_not_exist_is_cured_by_the_next_one(settings: Settings, tmp_path: Path) -> None:
    """Its windows stay as they were and say why; the dispatcher lives on, for the record cannot be taken back."""
    await twins.make_topics(settings, ONE_EACH)

    processes = twin_of(settings, tmp_path)
    await send(settings, [*clocks(0, 1), ("control", policy("prize", 1)), *clocks(2, 4)])
    with twins.running(processes):
        found = await twins.wait_for_windows(settings, 4, processes, within_s=15)
        assert [record["degraded"] for record in found] == [False, True, True, True]
        assert "no policy 'prize'; policies: price, " in found[-1]["error"]
        assert found[-1]["policy"]["name"] == "prize"
        assert processes[1].log.read_text().count("policy.refused") == 1
        processes[1].stop()
        processes[1].start()
        await send(settings, [("control", policy("stay", 2)), *clocks(5, 6)])
        found = await twins.wait_for_windows(settings, 6, processes, within_s=15)
    assert [record["degraded"] for record in found[4:]] == [False, False]


@pytest.mark.parametrize("short", ["windows", "tasks"])
async def test_a_topic_that_was_made_anew_is_noticed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: str
) -> None:
    """The new one has more records than the old one had, so that no position tells."""
    monkeypatch.setenv("CPN_CHECKPOINT_WINDOWS", "2")
    await twins.make_topics(settings, ONE_EACH)
    await send(settings, clocks(0, 5))
    processes = twin_of(settings, tmp_path)
    with twins.running(processes):
        await twins.wait_for_windows(settings, 5, processes, within_s=15)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([settings.topic(short)])
        await asyncio.sleep(0.5)
    finally:
        await admin.close()
    await twins.make_topics(settings, ONE_EACH)
    if short == "tasks":
        await send(settings, [(topic, value) for topic, value in clocks(0, 20) if topic == short])
    code, said = await asyncio.to_thread(ended, settings, "dispatcher")
    assert (code, f"{short}: deleted and made anew" in said) == (Exit.CONFIG, True), said
    if short == "windows":  # and where Redis was emptied, its carry tells
        client = redis.Redis.from_url(settings.redis_url)
        client.delete(*client.keys(f"{settings.namespace}:*"))
        client.close()
        code, said = await asyncio.to_thread(ended, settings, "dispatcher")
        assert (code, "records of windows were deleted" in said) == (Exit.CONFIG, True), said


async def test_a_partition_without_clocks_is_named(settings: Settings, tmp_path: Path) -> None:
    """All others wait for it, which from outside looks like a twin that hangs."""
    await twins.make_topics(settings, ONE_EACH)
    await send(settings, [(topic, value) for topic, value in clocks(0, 3) if topic != "network"])
    processes = twin_of(settings, tmp_path)
    with twins.running(processes):
        await until(lambda: "waiting.for_partitions" in processes[1].log.read_text())
        [said] = [line for line in processes[1].log.read_text().splitlines() if "waiting.for_partitions" in line]
        assert '"partitions": ["network-0"]' in said
        await send(settings, [(topic, value) for topic, value in clocks(0, 3) if topic == "network"])
        assert len(await twins.wait_for_windows(settings, 3, processes, within_s=10)) == 3
