"""One contestant keeps 10,000 entities current from a preloaded topic, and prints what it took as one JSON object.

``ours BOOTSTRAP REDIS NAMESPACE RECORDS`` is the worker as it is; ``aiokafka`` a loop written by hand, with the same decoder
library, NumPy and one write per batch; ``faust`` a stock Faust agent, ``async for`` and a pipeline of every 1,000 records.

Time and CPU run from the first record that the code sees until the last write is acknowledged. Beyond what the other two
do, ours checks claims, positions, repeats and bounds, and sends what is wrong to the dead letters.
"""

import asyncio
import json
import os
import resource
import sys
import time
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from streams.collector import collect_rarely

PIPELINE = 1000
POLL_S = 0.002


class Meter:
    """Wall clock and CPU time of this process from the first record to the last write."""

    def __init__(self) -> None:
        self._wall: float | None = None
        self._cpu = self._thread = 0.0

    def first(self) -> None:
        """A record has been seen."""
        if self._wall is None:
            self._wall, self._cpu, self._thread = time.perf_counter(), time.process_time(), time.thread_time()

    def done(self, records: int, **more: object) -> None:
        """All is written: print it, and end the process with whatever threads it has."""
        wall, cpu = time.perf_counter() - (self._wall or 0.0), time.process_time() - self._cpu
        main_cpu = time.thread_time() - self._thread
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        figures = {
            "records": records,
            "wall_s": wall,
            "cpu_s": cpu,
            "rss_mb": rss,
            "other_threads_s": cpu - main_cpu,
            **more,
        }
        print(json.dumps(figures), flush=True)
        os._exit(0)


class Reading(msgspec.Struct, gc=False):
    """What the two others take of a record."""

    cluster_id: str
    seq: int
    t: int
    it_kw: float
    facility_kw: float


decode = msgspec.json.Decoder(Reading).decode


async def ours(records: int) -> None:
    """The worker, every topic of it, in this process."""
    from streams import ingest as ingest_module  # noqa: PLC0415
    from streams import worker  # noqa: PLC0415  # the app takes its settings when it is imported

    ingest, meter = worker.worker._ready(), Meter()  # noqa: SLF001
    take = ingest._take  # noqa: SLF001
    # its stages are timed by the CPU time of the thread that folds
    vars(ingest_module)["time"] = SimpleNamespace(perf_counter=time.thread_time, monotonic=time.monotonic)

    def noted(chunk: Any) -> None:  # noqa: ANN401
        if len(chunk.records):
            meter.first()
        take(chunk)

    ingest._take = noted  # type: ignore[method-assign]  # noqa: SLF001
    await worker.app.start()
    while sum(part.written for part in ingest.parts.values()) < records:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    work = ingest.work
    stages = {stage: work.seconds[stage] for stage in ("decode", "fold", "write")}
    chunks = sum(work.chunks.values())
    meter.done(records, cpu_s_by_stage=stages, chunks=chunks, writes=work.writes, dead=sum(work.dead.values()))


async def by_hand(records: int, bootstrap: str, redis_url: str, topic: str) -> None:
    """aiokafka, a decoder, arrays per partition, one transaction on Redis per batch."""
    import redis.asyncio as aioredis  # noqa: PLC0415
    from aiokafka import AIOKafkaConsumer  # noqa: PLC0415

    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False,
        max_partition_fetch_bytes=4 << 20,
    )  # fmt: skip
    redis, meter, seen = aioredis.Redis.from_url(redis_url), Meter(), 0
    rows_of: dict[int, dict[str, int]] = {}
    table_of: dict[int, np.ndarray] = {}
    dtype = np.dtype([("seq", "<i8"), ("t", "<i8"), ("it_kw", "<f8"), ("facility_kw", "<f8")])
    await consumer.start()
    while seen < records:
        for tp, batch in (await consumer.getmany(timeout_ms=500, max_records=20_000)).items():
            meter.first()
            readings = [decode(record.value) for record in batch]
            rows, table = rows_of.setdefault(tp.partition, {}), table_of.get(tp.partition)
            at = np.array([rows.setdefault(reading.cluster_id, len(rows)) for reading in readings])
            if table is None or len(table) < len(rows):
                table = np.concatenate(
                    [np.zeros(0, dtype) if table is None else table, np.zeros(max(64, len(rows)), dtype)]
                )
                table_of[tp.partition] = table
            seq = np.array([reading.seq for reading in readings]) + 1
            order = np.lexsort((seq, at))
            last = order[np.append(at[order][1:] != at[order][:-1], [True])]
            last = last[seq[last] > table["seq"][at[last]]]
            for i, row in zip(last.tolist(), at[last].tolist(), strict=True):
                reading = readings[i]
                table[row] = (reading.seq + 1, reading.t, reading.it_kw, reading.facility_kw)
            async with redis.pipeline(transaction=True) as pipe:
                pipe.set(f"hand:{tp.partition}", table.tobytes())
                pipe.set(f"hand:{tp.partition}:next", batch[-1].offset + 1)
                await pipe.execute()
            seen += len(batch)
    meter.done(seen)


async def stock_faust(records: int, bootstrap: str, redis_url: str, topic: str) -> None:
    """Faust as its documentation shows it."""
    import faust  # noqa: PLC0415
    import redis.asyncio as aioredis  # noqa: PLC0415

    app = faust.App(
        f"stock-{os.getpid()}", broker=f"kafka://{bootstrap}", web_enabled=False, topic_disable_leader=True,
        topic_allow_declare=False, datadir=f"/tmp/faust-stock-{os.getpid()}",  # noqa: S108
    )  # fmt: skip
    redis, meter, seen = aioredis.Redis.from_url(redis_url), Meter(), 0
    finished = asyncio.Event()
    newest: dict[str, int] = {}

    @app.agent(app.topic(topic, value_type=bytes, value_serializer="raw"))
    async def agent(stream: Any) -> None:  # noqa: ANN401
        nonlocal seen
        pipe = redis.pipeline(transaction=False)
        async for value in stream:
            meter.first()
            reading = decode(value)
            if reading.seq >= newest.get(reading.cluster_id, -1):
                newest[reading.cluster_id] = reading.seq
                pipe.hset(
                    f"stock:{reading.cluster_id}", mapping={"seq": reading.seq, "t": reading.t, "it_kw": reading.it_kw}
                )
            seen += 1
            if seen % PIPELINE == 0 or seen >= records:
                await pipe.execute()
            if seen >= records:
                finished.set()

    await app.start()
    await finished.wait()
    meter.done(seen)


def main() -> None:
    """Run the contestant that the command line names."""
    who, bootstrap, redis_url, namespace, count = sys.argv[1:]
    os.environ |= {"CPN_BOOTSTRAP": bootstrap, "CPN_REDIS_URL": redis_url, "CPN_NAMESPACE": namespace}
    topic = f"{namespace}.telemetry"
    runs = {
        "ours": lambda: ours(int(count)),
        "aiokafka": lambda: by_hand(int(count), bootstrap, redis_url, topic),
        "faust": lambda: stock_faust(int(count), bootstrap, redis_url, topic),
    }
    collect_rarely()  # as the worker does; it takes a third off the time of each
    asyncio.run(runs[who]())


if __name__ == "__main__":
    main()
