"""A closed loop through Kafka, the plant answering, equals the embedded closed loop when each window waits for the last."""

from collections import Counter
from pathlib import Path

from aiokafka import AIOKafkaProducer

from producers.log import LogReader
from streams.cli.runs import route
from streams.closed_loop import ClosedLoop
from streams.embedded import Options, Run
from streams.feed import Feed
from streams.lockstep import lockstep
from streams.settings import Settings
from streams.windows import DecidedWindow, WindowReader
from tests.broker import twins
from tests.broker.twins import Process, Reference, comparable
from tests.golden.replays import events_of
from twin.assembler import Partition
from twin.decisions import Decision
from twin.dispatch.policy import Policy
from twin.records import Records


class _Sink:
    def __init__(self, reference: Reference) -> None:
        self.window, self.dead = reference.window, reference.dead

    def records(self, topic: str, partition: int, records: Records) -> None:
        pass


async def test_lockstep_equals_the_embedded_closed_loop(settings: Settings, tmp_path: Path) -> None:
    log, policy = LogReader(events_of("tiny", tmp_path / "events", hours=6)), Policy.parse("price")
    reference = Reference()
    Run(log, Options(route=route, policy=policy), sink=_Sink(reference)).run()
    counts = Counter(topic for topic, _ in log.partitions())
    await twins.make_topics(settings, dict(counts))

    feeds = {at: Feed(log, *at, {"read": 0.0, "decode": 0.0}) for at in log.partitions()}
    loop = ClosedLoop(feeds, policy=policy, route=route)
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, enable_idempotence=True)
    records, decisions = [], list[Decision]()

    async def send(window: dict[Partition, Records]) -> None:
        for (topic, partition), some in window.items():
            for t, key, value in zip(some.times, some.keys, some.values, strict=True):
                await producer.send(settings.topic(topic), value, key, partition, t)
        await producer.flush()

    def on_window(window: DecidedWindow) -> None:
        records.append(comparable(window.record))
        decisions.extend(window.decisions)

    await producer.start()
    try:
        processes = [Process(settings, "worker", "w1", tmp_path), Process(settings, "dispatcher", "d1", tmp_path)]
        with twins.running(processes):
            async with WindowReader(settings) as windows:
                await lockstep(loop, windows, send, on_window=on_window)
    finally:
        await producer.stop()
    assert records == reference.records
    assert decisions == reference.decisions
