"""Workers as processes of their own, watched from outside: two beside one, latency, recovery after a kill, bytes in Redis."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections import deque
from functools import partial

import redis.asyncio
from aiokafka import AIOKafkaProducer

from ops.bench import logs
from ops.bench.rig import REPOSITORY, Figures, Process, Rig, percentile, preload, running, spread, wait_for
from producers.partition import partition_of
from twin.topics import address

MANY, FEW = 8, 4
"""Partitions of telemetry: to share between workers, and for one."""
BEHIND_S = 0.5
PATIENT = {"CPN_SESSION_TIMEOUT_S": "50", "CPN_STALL_S": "3600"}
"""For a worker that is held while a topic is filled."""


def workers(rig: Rig, records: int, entities: int) -> list[Figures]:
    """One, then two workers fold the same log of ``MANY`` partitions; they are in the group before it begins."""
    return [_together(rig, count, records, entities) for count in (1, 2)]


def _together(rig: Rig, count: int, records: int, entities: int) -> Figures:
    namespace = f"w{count}"
    rig.topics(namespace, telemetry=MANY)
    processes = [rig.process(namespace, "worker", f"{k}", **PATIENT) for k in range(count)]
    with running(*processes):
        for process in processes:
            wait_for(partial(_claimed, process), "a worker to claim")
        shares = wait_for_shares(processes)
        for process in processes:
            process.signal(signal.SIGSTOP)
        preload(rig.broker.bootstrap, f"{namespace}.telemetry", MANY, logs.telemetry(records, entities, logs.flat_body))
        cpu = sum(process.cpu_s() for process in processes)
        began = time.monotonic()
        for process in processes:
            process.signal(signal.SIGCONT)
        ended = wait_for(lambda: sum(rig.positions(namespace, "telemetry", MANY)) >= records, "all records", 600)
        cpu = sum(process.cpu_s() for process in processes) - cpu
    seconds = ended - began
    return {
        "workers": count, "records": records, "records_per_s": records / seconds, "per_million": cpu * 1e6 / records,
        "cores": cpu / seconds, "partitions": shares,
    }  # fmt: skip


def _claimed(process: Process) -> bool:
    return process.pid > 0 and "claimed" in process.log.read_text(errors="replace")


def wait_for_shares(processes: list[Process]) -> list[int]:
    """Wait until the group has settled; telemetry partitions of each worker."""
    found: list[int] = []
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = []
        for process in processes:
            lines = [line for line in process.log.read_text(errors="replace").splitlines() if "claimed" in line]
            found.append(len(re.findall(r"telemetry-\d+", lines[-1])) if lines else 0)
        if sum(found) == MANY:
            time.sleep(1.0)  # a join that is under way
            return found
        time.sleep(0.1)
    raise SystemExit(f"the partitions were not shared: {found}")


# ------------------------------------------------------------------------------------------- a steady stream of records


class Stream:
    """Sends flat records at a rate and notes when each was handed over; follows what is visible in Redis."""

    def __init__(self, rig: Rig, namespace: str, rate: int, entities: int) -> None:
        self._rig, self._namespace, self._rate = rig, namespace, rate
        self._rows = [row for rows in logs.telemetry(entities * 200, entities, logs.flat_body) for row in rows]
        self._sent: list[deque[float]] = [deque() for _ in range(FEW)]
        """By partition, when the records that are not visible yet were handed over."""
        self._visible = [0] * FEW
        self.latencies: list[tuple[float, float]] = []
        """(when handed over, how long until visible), s."""
        self.stop = False

    @property
    def behind_s(self) -> float:
        """How long the oldest record that is not visible has waited."""
        now = time.monotonic()
        return max((now - sent[0] for sent in self._sent if sent), default=0.0)

    async def send(self) -> None:
        """Hand over records at the rate, in steps of 2 ms, until told to stop."""
        producer = AIOKafkaProducer(bootstrap_servers=self._rig.broker.bootstrap, linger_ms=1, acks="all")
        await producer.start()
        try:
            began, count = time.monotonic(), 0
            while not self.stop:
                due = int((time.monotonic() - began) * self._rate)
                while count < due:
                    t, key, value = self._rows[count % len(self._rows)]
                    p = partition_of(key, FEW)
                    await producer.send(f"{self._namespace}.telemetry", value, key, p, t)
                    self._sent[p].append(time.monotonic())
                    count += 1
                await asyncio.sleep(0.002)
        finally:
            await producer.stop()

    async def watch(self) -> None:
        """Ask Redis for the positions every 2 ms."""
        client = redis.asyncio.Redis.from_url(self._rig.server.url)
        while not self.stop:
            async with client.pipeline(transaction=False) as pipe:
                for p in range(FEW):
                    pipe.hget(f"{self._namespace}:v1:{{telemetry:{p}}}:meta", "next")
                positions = await pipe.execute()
            now = time.monotonic()
            for p, position in enumerate(positions):
                for _ in range(int(position or 0) - self._visible[p]):
                    handed = self._sent[p].popleft()
                    self.latencies.append((handed, now - handed))
                self._visible[p] = int(position or 0)
            await asyncio.sleep(0.002)
        await client.aclose()

    async def until(self, wanted: bool, within_s: float = 60) -> float:
        """Wait until something is (or nothing is any more) more than ``BEHIND_S`` behind; the time when it was so."""
        end = time.monotonic() + within_s
        while (self.behind_s > BEHIND_S) != wanted:
            if time.monotonic() > end:
                raise SystemExit("the worker did not catch up")
            await asyncio.sleep(0.005)
        return time.monotonic()


def latency(rig: Rig, rate: int, seconds: float, entities: int) -> Figures:
    """From the producer to Redis at ``rate`` records/s."""
    rig.topics("late", telemetry=FEW)
    worker = rig.process("late", "worker", "0")

    async def measure() -> Figures:
        stream = Stream(rig, "late", rate, entities)
        tasks = [asyncio.create_task(stream.send()), asyncio.create_task(stream.watch())]
        await asyncio.sleep(3)
        began, cpu = time.monotonic(), worker.cpu_s()
        await asyncio.sleep(seconds)
        cores = (worker.cpu_s() - cpu) / (time.monotonic() - began)
        stream.stop = True
        await asyncio.gather(*tasks)
        ms = [took * 1000 for handed, took in stream.latencies if handed >= began]
        return {
            "rate": rate, "records": len(ms), "p50_ms": percentile(ms, 0.5), "p99_ms": percentile(ms, 0.99), "max_ms": max(ms),
            "cores": cores, "rss_mb": worker.rss_mb("VmHWM"),
        }  # fmt: skip

    with running(worker):
        wait_for(partial(_claimed, worker), "the worker to claim")
        return asyncio.run(measure())


def recovery(rig: Rig, kills: int, rate: int, entities: int) -> Figures:
    """From SIGKILL, with a restart at once under the same name, until no record has waited longer than ``BEHIND_S``."""
    rig.topics("killed", telemetry=FEW)
    worker = rig.process("killed", "worker", "0")

    async def measure() -> list[float]:
        stream = Stream(rig, "killed", rate, entities)
        tasks = [asyncio.create_task(stream.send()), asyncio.create_task(stream.watch())]
        found = []
        for _ in range(kills):
            await asyncio.sleep(3)
            await stream.until(wanted=False)
            killed = time.monotonic()
            worker.signal(signal.SIGKILL)
            worker.start()
            await stream.until(wanted=True)
            found.append(await stream.until(wanted=False) - killed)
        stream.stop = True
        await asyncio.gather(*tasks)
        return found

    with running(worker):
        wait_for(partial(_claimed, worker), "the worker to claim")
        seconds = asyncio.run(measure())
    return {"rate": rate, "seconds": seconds, "imports_s": imports_s()} | spread(seconds)


def imports_s(repeat: int = 3) -> float:
    """Wall clock of an interpreter that only imports what a worker imports, the best of ``repeat``."""
    code = "import streams.cli, streams.serve, streams.worker"
    took = []
    for _ in range(repeat):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
        took.append(time.monotonic() - began)
    return min(took)


# ------------------------------------------------------------------------------------------------------------ bytes


def stored(rig: Rig, tasks: int, entities: int) -> Figures:
    """Bytes that an entity takes in Redis: packed row, id and its share of dictionaries and heads."""
    rig.topics("stored", telemetry=FEW, tasks=FEW)
    rows = [(event.t, address(event)[1].encode(), logs.encode(event)) for event in logs.lifecycles(tasks)]
    sent, _ = preload(rig.broker.bootstrap, "stored.tasks", FEW, [rows])
    preload(rig.broker.bootstrap, "stored.telemetry", FEW, logs.telemetry(entities, entities, logs.flat_body))
    with running(rig.process("stored", "worker", "0")):
        wait_for(lambda: sum(rig.positions("stored", "tasks", FEW)) >= sent, "the tasks")
        wait_for(lambda: sum(rig.positions("stored", "telemetry", FEW)) >= entities, "the clusters")
    return {"task": rig.bytes_of("stored", "tasks") / tasks, "cluster": rig.bytes_of("stored", "telemetry") / entities}
