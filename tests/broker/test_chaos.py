"""Everything is killed, paused, emptied and cut off at random while records flow, and what comes out is what always comes out."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis

from streams.local import Broker, RedisServer
from streams.settings import Settings
from tests.broker import twins
from tests.broker.test_twin import LONG, Case, assert_equal, make_case
from tests.broker.twins import Process

pytestmark = pytest.mark.slow

SEEDS = [int(seed) for seed in os.environ.get("CPN_CHAOS_SEEDS", "1 2 3").split()]
STEPS = 24
SESSION_S = 6.0


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return make_case(tmp_path_factory.mktemp("chaos"), **LONG)


class Chaos:
    """What can go wrong, with servers and processes of its own."""

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self.broker, self.redis = Broker(folder / "kafka"), RedisServer(folder / "redis")
        self.folder, self.dice = folder, dice
        self.done: list[str] = []

    def start(self) -> Settings:
        self.broker.start()
        self.redis.start()
        settings = Settings(bootstrap=self.broker.bootstrap, redis_url=self.redis.url, namespace="chaos")
        names = [("worker", "w1"), ("worker", "w2"), ("worker", "w3"), ("dispatcher", "d1"), ("dispatcher", "d2")]
        self.processes = [Process(settings, command, name, self.folder) for command, name in names]
        return settings

    def stop(self) -> None:
        self.redis.stop()
        self.broker.stop()

    async def step(self) -> None:
        """One thing goes wrong."""
        what: list[Callable[[], Awaitable[None]]] = [
            self.kill,
            self.kill,
            self.kill,
            self.pause,
            self.crash_redis,
            self.empty,
        ]
        if self.dice.random() < 0.1:
            what = [self.kill_broker]
        chosen = self.dice.choice(what)
        self.done.append(chosen.__name__)
        await chosen()

    async def kill(self) -> None:
        victim = self.dice.choice(self.processes)
        if victim.alive():
            victim.kill()

    async def pause(self) -> None:
        """Longer than its session, so that another takes its place while it knows nothing of it."""
        victim = self.dice.choice(self.processes)
        if victim.alive():
            victim.signal(signal.SIGSTOP)
            await asyncio.sleep(SESSION_S * 1.5)
            victim.signal(signal.SIGCONT)

    async def crash_redis(self) -> None:
        """Killed, and its file cut off somewhere in its end: what a power cut leaves of the last second."""
        self.redis.kill()
        for file in self.redis.folder.rglob("*.aof"):
            size = file.stat().st_size
            os.truncate(file, size - self.dice.randint(0, min(size // 2, 200_000)))
        await asyncio.to_thread(self.redis.start)

    async def empty(self) -> None:
        client = redis.Redis.from_url(self.redis.url)
        client.flushall()
        client.close()

    async def kill_broker(self) -> None:
        self.broker.kill()
        await asyncio.to_thread(self.broker.start)


@pytest.mark.parametrize("seed", SEEDS)
async def test_whatever_happens_the_windows_are_the_same(case: Case, tmp_path: Path, seed: int) -> None:
    chaos = Chaos(tmp_path, random.Random(seed))
    settings = chaos.start()
    try:
        await twins.make_topics(settings, case.counts)
        sender, count = twins.Sender(settings, case.log), len(case.reference.records)
        with twins.running(chaos.processes):
            for step in range(STEPS):
                await sender.send(int(count * (step + 1) / STEPS))
                restart(chaos.processes)
                await asyncio.sleep(chaos.dice.uniform(0.2, 3))
                await chaos.step()
                restart(chaos.processes)
            await sender.send()
            found = await twins.wait_for_windows(settings, count, chaos.processes, within_s=300, restart=True)
            await assert_equal(settings, case, found)
    finally:
        chaos.stop()
    assert len(chaos.done) == STEPS


def restart(processes: list[Process]) -> None:
    for process in processes:
        if not process.alive():
            process.start()
