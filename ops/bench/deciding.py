"""From a clock to the published window: cut → Redis → dispatcher → Kafka, with many live tasks and few that change."""

import asyncio
import time
from collections.abc import Iterator
from typing import Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from ops.bench import logs
from ops.bench.rig import Figures, Rig, percentile, preload, running, scrape, wait_for
from producers.assemble import number
from producers.partition import partition_of
from streams.local import free_port
from twin import events as ev
from twin.topics import IN_TOPICS, address

PARTITIONS = 4
"""Of the tasks; every other topic has one."""
WINDOW_MS = 5_000
FIRST = 3
"""Windows that are not counted: the first has every task in it."""
STAGES = ("fetch", "decide", "publish")
_AT_ONCE = 20_000


def live_tasks(count: int) -> Iterator[logs.Rows]:
    """``count`` tasks that were submitted and have started, spread over the sites."""
    request = ev.Request(cpu_cores=16.0, mem_gib=64.0)
    for start in range(0, count, _AT_ONCE):
        rows: logs.Rows = []
        for i in range(start, min(count, start + _AT_ONCE)):
            name, t = f"task-{i:07d}", logs.T0 + i % WINDOW_MS
            for event in (
                ev.TaskSubmitted(
                    seq=0, t=t, task_id=name, tenant=f"tenant-{i % 50}", origin="site-00", request=request, power_w=350.0,
                    est_duration_s=360_000.0, latency_ms=1000.0, movable=True,
                ),
                ev.TaskStarted(seq=0, t=t, task_id=name, attempt=1, cluster_id=f"site-{i % logs.SITES:02d}"),
            ):  # fmt: skip
                rows.append((t, name.encode(), logs.encode(event)))
        yield rows


def changes(count: int, changed: int, window: int) -> logs.Rows:
    """What ``changed`` of the tasks report in a window: how far they are."""
    t, rows = logs.T0 + window * WINDOW_MS + 1, []
    for k in range(changed):
        i = (window * changed + k) % count
        name = f"task-{i:07d}"
        event = ev.TaskProgress(
            seq=window, t=t, task_id=name, attempt=1, cluster_id=f"site-{i % logs.SITES:02d}", done_share=0.001 * (window % 900)
        )  # fmt: skip
        rows.append((t, name.encode(), logs.encode(event)))
    return rows


class Clocks:
    """Sends what changed, then a clock to every partition; waits for the record of the window that it closes."""

    def __init__(self, rig: Rig, namespace: str) -> None:
        self._rig, self._namespace = rig, namespace
        self._producer = AIOKafkaProducer(bootstrap_servers=rig.broker.bootstrap, acks="all")
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=rig.broker.bootstrap, isolation_level="read_committed", enable_auto_commit=False,
            fetch_max_wait_ms=10_000,
        )  # fmt: skip

    async def __aenter__(self) -> Self:
        await self._producer.start()
        await self._reader.start()
        at = TopicPartition(f"{self._namespace}.windows", 0)
        self._reader.assign([at])
        await self._reader.seek_to_beginning(at)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()
        await self._reader.stop()

    async def send(self, rows: logs.Rows) -> None:
        """Records of tasks, acknowledged and folded."""
        sent = [
            await self._producer.send(f"{self._namespace}.tasks", value, key, partition_of(key, PARTITIONS), t)
            for t, key, value in rows
        ]
        await asyncio.gather(*sent)

    async def tick(self, k: int) -> float:
        """Clock ``k``; s from handing it over to the record of the window it closes (the first clock closes none)."""
        t = logs.T0 + k * WINDOW_MS
        value = logs.encode(ev.Clock(seq=k, t=t, window_ms=WINDOW_MS, max_ahead_ms=48 * logs.HOUR_MS))
        began = time.monotonic()
        counts = dict.fromkeys(IN_TOPICS, 1) | {"tasks": PARTITIONS}
        sent = [
            await self._producer.send(f"{self._namespace}.{topic}", value, b"clock", p, t)
            for topic, n in counts.items()
            for p in range(n)
        ]
        await asyncio.gather(*sent)
        if k > 0:
            async with asyncio.timeout(300):
                await self._reader.getone()
        return time.monotonic() - began


def windows(rig: Rig, tasks: int, changed: int, count: int) -> Figures:
    """``count`` windows with ``changed`` of ``tasks`` live tasks in each, under the policy ``stay``."""
    namespace, port = f"live{tasks}", free_port()
    rig.topics(namespace, tasks=PARTITIONS, **{topic: 1 for topic in IN_TOPICS if topic != "tasks"})
    rig.redis.delete(f"{namespace}:v1:mark:decided")
    worker = rig.process(namespace, "worker", "w")
    dispatcher = rig.process(namespace, "dispatcher", "d", CPN_METRICS_PORT=str(port))
    for event in number(logs.world(2)):
        topic, key = address(event)
        preload(rig.broker.bootstrap, f"{namespace}.{topic}", 1, [[(event.t, key.encode(), logs.encode(event))]])
    with running(worker, dispatcher):
        figures = asyncio.run(_windows(rig, namespace, tasks, changed, count, port=port))
        return figures | {"rss_mb": dispatcher.rss_mb("VmHWM"), "worker_rss_mb": worker.rss_mb("VmHWM")}


async def _windows(rig: Rig, namespace: str, tasks: int, changed: int, count: int, *, port: int) -> Figures:
    async with Clocks(rig, namespace) as clocks:
        await clocks.tick(0)
        records, _ = await asyncio.to_thread(
            preload, rig.broker.bootstrap, f"{namespace}.tasks", PARTITIONS, live_tasks(tasks)
        )
        folded = records + PARTITIONS
        await asyncio.to_thread(_wait, rig, namespace, folded)
        seconds, before = [], dict[str, float]()
        for k in range(1, FIRST + count + 1):
            if k == FIRST + 1:
                before = await asyncio.to_thread(scrape, port)
            rows = changes(tasks, changed, k)
            await clocks.send(rows)
            folded += len(rows)
            await asyncio.to_thread(_wait, rig, namespace, folded)
            seconds.append(await clocks.tick(k))
            folded += PARTITIONS
        after = await asyncio.to_thread(scrape, port)
    name = 'cpn_dispatch_seconds_total{{stage="{}"}}'.format
    counted = seconds[FIRST:]
    return {
        "tasks": tasks, "changed": changed, "windows": count, "p50_s": percentile(counted, 0.5), "max_s": max(counted),
        "first_s": seconds[0],
        **{f"{stage}_s": (after[name(stage)] - before[name(stage)]) / count for stage in STAGES},
    }  # fmt: skip


def _wait(rig: Rig, namespace: str, folded: int) -> None:
    wait_for(lambda: sum(rig.positions(namespace, "tasks", PARTITIONS)) >= folded, f"{folded} records of tasks", 600)
