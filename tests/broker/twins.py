"""A twin of real processes on the real broker and Redis, fed with a finished log, and the embedded replay it must equal."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from producers.log import LogReader
from producers.topics import create_topics, specs
from streams.cli.runs import route
from streams.embedded import Options, Run
from streams.settings import Settings
from twin.columns import DeadLetter
from twin.decisions import Decision, WindowRecord
from twin.dispatcher import Window
from twin.records import Records

NOT_COMPARED = {"solve_ms", "numerics"}
_record = msgspec.json.Decoder(WindowRecord).decode
_decision = msgspec.json.Decoder(Decision).decode


# ------------------------------------------------------------------------------------------------ what it must equal


@dataclass
class Reference:
    """What the embedded open-loop replay of a log gives."""

    records: list[dict[str, Any]] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    dead_letters: set[tuple[str, int, int]] = field(default_factory=set)
    events: int = 0
    state_sha256: str = ""

    def dead(self, letters: list[DeadLetter]) -> None:
        self.dead_letters |= {(letter.topic, letter.partition, letter.offset) for letter in letters}

    def window(self, window: Window) -> None:
        self.records.append(comparable(window.record))
        self.decisions += window.decisions


class _Sink:
    def __init__(self, reference: Reference) -> None:
        self.dead, self.window = reference.dead, reference.window

    def records(self, topic: str, partition: int, records: Records) -> None:
        pass


def comparable(record: WindowRecord) -> dict[str, Any]:
    row = msgspec.json.decode(msgspec.json.encode(record))
    return {key: value for key, value in row.items() if key not in NOT_COMPARED}


def embedded(log: Path) -> Reference:
    reference = Reference()
    result = Run(LogReader(log), Options(route=route, closed=False), sink=_Sink(reference)).run()
    reference.events, reference.state_sha256 = result.events, result.state_sha256
    return reference


# ------------------------------------------------------------------------------------------------------------ Kafka


async def make_topics(settings: Settings, counts: dict[str, int]) -> None:
    await asyncio.to_thread(create_topics, settings.bootstrap, specs(settings.namespace, counts))


class Sender:
    """Sends a log at full speed: the whole, or up to the clocks that close so many windows of each partition."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._settings, self._reader = settings, LogReader(log)
        self._rows = {at: self._load(*at) for at in self._reader.partitions()}
        self._sent = dict.fromkeys(self._rows, 0)

    def _load(self, topic: str, partition: int) -> list[tuple[int, bytes | None, bytes, int]]:
        """Time, key, value, and how many clocks stand before it, of every record."""
        rows, clocks = [], 0
        for records in self._reader.read(topic, partition):
            for t, key, value in zip(records.times, records.keys, records.values, strict=True):
                rows.append((t, key, value, clocks))
                clocks += b'"type":"clock.v1"' in value
        return rows

    async def send(self, windows: int | None = None) -> int:
        """Send what is left, or what is left of the first ``windows`` windows; how many records were sent."""
        count = 0
        producer = AIOKafkaProducer(bootstrap_servers=self._settings.bootstrap, enable_idempotence=True, linger_ms=5)
        await producer.start()
        try:
            for (topic, partition), rows in self._rows.items():
                for t, key, value, clocks in rows[self._sent[topic, partition] :]:
                    if windows is not None and clocks > windows:
                        break
                    await producer.send(self._settings.topic(topic), value, key, partition, t)
                    self._sent[topic, partition] += 1
                    count += 1
            await producer.flush()
        finally:
            await producer.stop()
        return count


async def read_all(settings: Settings, short: str) -> list[Any]:
    """Every committed record of an out-topic, as Kafka records."""
    at = TopicPartition(settings.topic(short), 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # seek_to_beginning alone comes too late for a position that is being asked for
    )
    await consumer.start()
    try:
        consumer.assign([at])
        end = (await consumer.end_offsets([at]))[at]
        await consumer.seek_to_beginning(at)
        found: list[Any] = []
        while await consumer.position(at) < end:
            for records in (await consumer.getmany(at, timeout_ms=500)).values():
                found += records
        return found
    finally:
        await consumer.stop()


async def windows(settings: Settings) -> list[dict[str, Any]]:
    return [comparable(_record(record.value)) for record in await read_all(settings, "windows")]


async def decisions(settings: Settings) -> list[Decision]:
    return [_decision(record.value) for record in await read_all(settings, "decisions")]


async def dead_letters(settings: Settings) -> set[tuple[str, int, int]]:
    found = set()
    for record in await read_all(settings, "deadletter"):
        topic, partition, offset = record.key.decode().split(":")
        found.add((topic, int(partition), int(offset)))
    return found


async def wait_until(read: Callable[[], Awaitable[Any]], wanted: Any, within_s: float = 15) -> None:
    """Read until there is as much as ``wanted``, a transaction's markers reach its topics one after the other; then compare."""
    until = time.monotonic() + within_s
    while len(found := await read()) < len(wanted) and time.monotonic() < until:
        await asyncio.sleep(0.2)  # a broker tells by being asked
    assert found == wanted


# -------------------------------------------------------------------------------------------------------- processes


class Process:
    """A process of the twin; ``exits`` are the codes it ended with."""

    def __init__(self, settings: Settings, command: str, instance: str, folder: Path) -> None:
        self.command, self.instance = command, instance
        self.log = folder / f"{instance}.log"
        self.exits: list[int] = []
        self._env = os.environ | {
            "CPN_BOOTSTRAP": settings.bootstrap,
            "CPN_REDIS_URL": settings.redis_url,
            "CPN_NAMESPACE": settings.namespace,
            "CPN_LOG_FORMAT": "json",
        }
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> "Process":
        argv = [str(Path(sys.executable).with_name("cpn")), self.command, "--instance", self.instance]
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(argv, env=self._env, stdout=out, stderr=out, start_new_session=True)
        return self

    def alive(self) -> bool:
        assert self._popen is not None
        return self._popen.poll() is None

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def signal(self, signum: int) -> None:
        assert self._popen is not None
        self._popen.send_signal(signum)

    def _end(self, signum: int) -> None:
        assert self._popen is not None
        if self._popen.poll() is None:
            self._popen.send_signal(signum)
        self.exits.append(self._popen.wait(30))

    def tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-25:])


@contextmanager
def running(processes: Sequence[Process]) -> Iterator[Sequence[Process]]:
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            if process.alive():
                process.kill()


async def wait_for_windows(
    settings: Settings, count: int, processes: Sequence[Process], *, within_s: float = 300, restart: bool = False
) -> list[dict[str, Any]]:
    """The window records, once there are ``count``. A process that ends is started again, or fails the test."""
    until = time.monotonic() + within_s
    while True:
        found = await windows(settings)
        if len(found) >= count:
            return found
        for process in processes:
            if not process.alive():
                if not restart:
                    raise AssertionError(f"{process.instance} ended:\n{process.tail()}")
                process.start()
        if time.monotonic() > until:
            logs = "\n".join(f"--- {process.instance}\n{process.tail()}" for process in processes)
            raise AssertionError(f"{len(found)} of {count} windows after {within_s} s\n{logs}")
        await asyncio.sleep(0.2)
