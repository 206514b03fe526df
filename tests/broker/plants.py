"""A plant as a process, the topics it answers in, and the embedded run that its answers must equal."""

import asyncio
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from producers.log import LogReader
from streams.cli.runs import route
from streams.closed_loop import ClosedLoop, LoopWindow
from streams.embedded import Options, Run
from streams.feed import Batch
from streams.settings import Settings
from tests.broker.twins import Process, Reference, comparable
from twin import events as ev
from twin.assembler import Partition
from twin.dispatch.policy import Policy
from twin.dispatcher import Window
from twin.plant import Plant
from twin.plant.answers import SOURCE
from twin.records import Records
from twin.topics import address

Row = tuple[int, bytes | None, bytes]
"""Timestamp, key, value."""
PATIENCE_S = 60.0
BY_PLANT = f'"source":"{SOURCE}"'.encode()


class PlantProcess(Process):
    """``cpn plant`` with ``options``."""

    def __init__(self, settings: Settings, folder: Path, *options: str) -> None:
        super().__init__(settings, "plant", "plant", folder)
        self._options = options

    def start(self) -> Process:
        argv = [str(Path(sys.executable).with_name("cpn")), "plant", *self._options]
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(argv, env=self._env, stdout=out, stderr=out, start_new_session=True)
        return self

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        return [row for row in map(msgspec.json.decode, lines) if row["event"] == event]


class Topics:
    """The in-topics: writes to them, waits for their ends, reads them whole."""

    def __init__(self, settings: Settings, partitions: Iterable[Partition]) -> None:
        self._tps = {at: TopicPartition(settings.topic(at[0]), at[1]) for at in partitions}
        self._producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, enable_idempotence=True)
        self._consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap, enable_auto_commit=False)

    async def __aenter__(self) -> Self:
        await self._producer.start()
        await self._consumer.start()
        self._consumer.assign(list(self._tps.values()))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
        await self._consumer.stop()

    async def send(self, at: Partition, rows: list[Row]) -> None:
        for t, key, value in rows:
            await self._producer.send(self._tps[at].topic, value, key, at[1], t)

    async def flush(self) -> None:
        await self._producer.flush()

    async def ends(self) -> dict[Partition, int]:
        ends = await self._consumer.end_offsets(list(self._tps.values()))
        return {at: ends[tp] for at, tp in self._tps.items()}

    async def grow_to(self, wanted: dict[Partition, int], processes: Iterable[Process]) -> None:
        """Wait until the partitions are so long; longer is wrong."""
        until = time.monotonic() + PATIENCE_S
        while (ends := await self.ends()) != wanted:
            dead = [process for process in processes if not process.alive()]
            too_long = {at: end for at, end in ends.items() if end > wanted[at]}
            if dead or too_long or time.monotonic() > until:
                differ = {at: (end, wanted[at]) for at, end in ends.items() if end != wanted[at]}
                tails = "\n".join(f"--- {process.instance}\n{process.tail()}" for process in processes)
                raise AssertionError(f"(is, should be) {differ}\n{tails}")
            await asyncio.sleep(0.01)

    async def read(self) -> dict[Partition, list[Row]]:
        found: dict[Partition, list[Row]] = {}
        ends = await self.ends()
        for at, tp in self._tps.items():
            rows = found[at] = []
            self._consumer.seek(tp, 0)
            while len(rows) < ends[at]:
                for some in (await self._consumer.getmany(tp, timeout_ms=500)).values():
                    rows += [(record.timestamp, record.key, record.value) for record in some]
        return found


# ------------------------------------------------------------------------------------- the embedded run it must equal


class _Trailing(ClosedLoop):
    """The plant's answers stand behind the clock up to which they were given: a plant that reads clocks is no earlier."""

    trailing: list[ev.Event] = []  # noqa: RUF012 - never added to

    def _window(self, own: list[ev.Event]) -> LoopWindow:
        clock = msgspec.structs.replace(self._clock, t=self._end + self._clock.lateness_ms)
        batches = {at: feed.before(clock.t) for at, feed in self._feeds.items()}
        trailing = self.trailing
        _Trailing.trailing = self._answers(batches, clock)
        firsts = {at: Batch() for at in batches}
        for event in (*own, *trailing):
            at = self.place(event)
            firsts[at].add_event(event, self._feeds[at].decoder)
        for at, batch in batches.items():
            firsts[at].add(batch.columns(0), list(range(len(batch.events))))
        columns = {at: feed.window(firsts[at], [], clock) for at, feed in self._feeds.items()}
        self._furthest = clock.t + clock.max_ahead_ms
        return LoopWindow(self._end, columns)

    def place(self, event: ev.Event) -> Partition:
        topic, key = address(event)
        return topic, self._route(key, self._partitions[topic])


class _Sink:
    """Keeps the records of each window in each partition, and the window records."""

    def __init__(self) -> None:
        self.rows: dict[Partition, list[list[Row]]] = defaultdict(list)
        self.reference = Reference()
        self.dead = self.reference.dead

    def records(self, topic: str, partition: int, records: Records) -> None:
        self.rows[topic, partition].append(list(zip(records.times, records.keys, records.values, strict=True)))

    def window(self, window: Window) -> None:
        self.reference.records.append(comparable(window.record))
        self.reference.decisions += window.decisions


def trailing_run(log: LogReader, plant: Plant, monkeypatch: pytest.MonkeyPatch) -> _Sink:
    """An embedded run whose answers stand behind the clock; what the plant said last stands behind everything."""
    sink = _Sink()
    monkeypatch.setattr("streams.embedded.ClosedLoop", _Trailing)
    monkeypatch.setattr(_Trailing, "trailing", [])
    options = Options(route=route, policy=Policy.parse("price"), until=log.meta["end"] + 3_600_000)
    Run(log, options, plant=plant, sink=sink).run()
    counts = Counter(topic for topic, _ in sink.rows)
    last: dict[Partition, list[Row]] = {at: [] for at in sink.rows}
    for event in _Trailing.trailing:
        topic, key = address(event)
        last[topic, route(key, counts[topic])].append((event.t, key.encode(), msgspec.json.encode(event)))
    for at, rows in last.items():
        sink.rows[at].append(rows)
    return sink


def answers_of(rows: list[Row]) -> list[Row]:
    return [row for row in rows if BY_PLANT in row[2]]


def others_of(rows: list[Row]) -> list[Row]:
    return [row for row in rows if BY_PLANT not in row[2]]
