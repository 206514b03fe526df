"""The twin on a real broker and a real Redis gives, byte for byte, what the embedded replay of the same log gives."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from producers.assemble import assemble
from producers.log import LogWriter
from producers.scenario import generate
from streams.settings import Settings
from tests.broker import twins
from tests.broker.twins import Process, Reference
from tests.golden.replays import run, spoil
from twin.topics import IN_TOPICS

TASK_PARTITIONS = 8
SHORT: dict[str, Any] = {"preset": "edwc", "hours": 4, "scale": 0.4, "window_ms": 300_000}
LONG: dict[str, Any] = {"preset": "edwc", "hours": 24, "scale": 1.3, "window_ms": 300_000}
RESTLESS = "price:break_even_h=100,hysteresis=0"
"""Moves whatever saves anything."""


@dataclass(frozen=True)
class Case:
    """A log with faults, and what comes of it."""

    log: Path
    counts: dict[str, int]
    reference: Reference


def make_case(folder: Path, *, preset: str, hours: int, scale: float, window_ms: int) -> Case:
    """A closed-loop run's log, into which faults are put afterwards, and its embedded open-loop replay."""
    counts = {topic: TASK_PARTITIONS if topic == "tasks" else 1 for topic in IN_TOPICS}
    made = generate(preset, hours=hours, window_ms=window_ms, scale=scale)
    with LogWriter(folder / "events", counts, meta=made.meta) as writer:
        assemble(
            made.events,
            writer,
            t0=made.t0,
            end=made.end,
            window_ms=window_ms,
            lateness_ms=0,
            max_ahead_ms=made.max_ahead_ms,
        )
    run(folder / "events", RESTLESS, folder / "run")
    faults = spoil(folder / "run" / "log", folder / "faulty", repeats=0.01, broken=0.001, late=0.02, any_late=True)
    assert min(faults.values()) > 0
    return Case(folder / "faulty", counts, twins.embedded(folder / "faulty"))


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("short"), **SHORT)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Case:
    case = make_case(tmp_path_factory.mktemp("long"), **LONG)
    actions = Counter(decision.action for decision in case.reference.decisions)
    assert len(case.reference.records) >= 96
    assert case.reference.events >= 100_000
    assert actions["move"] >= 1000
    return case


def processes(settings: Settings, folder: Path) -> list[Process]:
    """Two workers and a dispatcher."""
    return [
        Process(settings, "worker", "w1", folder),
        Process(settings, "worker", "w2", folder),
        Process(settings, "dispatcher", "d1", folder),
    ]


async def assert_equal(settings: Settings, case: Case, found: list[dict[str, Any]]) -> None:
    """Windows, decisions and dead letters are those of the reference: none lost, none twice, each in its place."""
    assert [record["window"] for record in found] == [record["window"] for record in case.reference.records]
    for mine, theirs in zip(found, case.reference.records, strict=True):
        assert mine == theirs
    await twins.wait_until(lambda: twins.decisions(settings), case.reference.decisions)
    # behind the last clock of a partition there may be letters, and no window waits for them
    await twins.wait_until(lambda: twins.dead_letters(settings), case.reference.dead_letters)


async def test_a_log_through_kafka_gives_the_windows_of_its_embedded_replay(
    settings: Settings, short: Case, tmp_path: Path
) -> None:
    await twins.make_topics(settings, short.counts)
    assert await twins.Sender(settings, short.log).send() == short.reference.events
    with twins.running(processes(settings, tmp_path)) as all_of_them:
        found = await twins.wait_for_windows(settings, len(short.reference.records), all_of_them)
        await assert_equal(settings, short, found)


async def test_kill_9_of_a_worker_and_of_the_dispatcher_changes_nothing(
    settings: Settings, short: Case, tmp_path: Path
) -> None:
    await killed_in_the_middle(settings, short, tmp_path)


async def test_an_emptied_redis_changes_nothing(settings: Settings, short: Case, tmp_path: Path) -> None:
    await emptied_in_the_middle(settings, short, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", "kill", "flush"])
async def test_the_long_log(settings: Settings, long: Case, tmp_path: Path, fault: str) -> None:
    if fault == "kill":
        await killed_in_the_middle(settings, long, tmp_path)
    elif fault == "flush":
        await emptied_in_the_middle(settings, long, tmp_path)
    else:
        await test_a_log_through_kafka_gives_the_windows_of_its_embedded_replay(settings, long, tmp_path)


async def killed_in_the_middle(settings: Settings, case: Case, folder: Path) -> None:
    """Each process is killed and started again while records are on their way, the dispatcher twice."""
    count = len(case.reference.records)
    await twins.make_topics(settings, case.counts)
    sender = twins.Sender(settings, case.log)
    w1, w2, dispatcher = all_of_them = processes(settings, folder)
    with twins.running(all_of_them):
        for share, victim in ((0.2, w1), (0.4, dispatcher), (0.6, w2), (0.8, dispatcher)):
            sent = await sender.send(int(share * count))
            assert sent
            await twins.wait_for_windows(settings, int((share - 0.1) * count), all_of_them)
            victim.kill()
            victim.start()
        await sender.send()
        await assert_equal(settings, case, await twins.wait_for_windows(settings, count, all_of_them))
        assert [process.exits for process in all_of_them] == [[-9], [-9], [-9, -9]], "and nothing ended by itself"


async def emptied_in_the_middle(settings: Settings, case: Case, folder: Path) -> None:
    """Redis loses everything while records are on their way; then again together with a kill of the dispatcher."""
    count = len(case.reference.records)
    await twins.make_topics(settings, case.counts)
    sender = twins.Sender(settings, case.log)
    all_of_them = processes(settings, folder)
    dispatcher = all_of_them[-1]
    client = redis.Redis.from_url(settings.redis_url)
    try:
        with twins.running(all_of_them):
            for share, kill_too in ((0.4, False), (0.8, True)):
                await sender.send(int(share * count))
                await twins.wait_for_windows(settings, int((share - 0.1) * count), all_of_them, restart=True)
                client.flushdb()
                if kill_too:
                    dispatcher.kill()
                    dispatcher.start()
            await sender.send()
            found = await twins.wait_for_windows(settings, count, all_of_them, restart=True)
            await assert_equal(settings, case, found)
    finally:
        client.close()
