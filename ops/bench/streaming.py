"""Our worker, a hand-written loop and stock Faust on the same topic: ``python -m ops.bench.streaming`` (``make bench-stream``)."""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import redis
from aiokafka import AIOKafkaProducer

from ops.bench import logs
from ops.bench.text import table
from producers.partition import partition_of
from producers.topics import create_topics, specs
from streams.local import Broker, RedisServer

REPOSITORY = Path(__file__).resolve().parents[2]
PARTITIONS = 4
WHO = ("ours", "aiokafka", "faust")
BODIES: dict[str, logs.Body] = {"flat": logs.flat_body, "pools": logs.pools_body}
TARGETS = {"flat": 3.0, "pools": 6.0}
"""CPU seconds per million records of our worker."""

Figures = dict[str, Any]


async def preload(bootstrap: str, topic: str, records: int, entities: int, body: logs.Body) -> int:
    """Fill the topic; bytes per record."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=20)
    await producer.start()
    size, batch = 0, {p: producer.create_batch() for p in range(PARTITIONS)}
    try:
        for rows in logs.telemetry(records, entities, body):
            for t, key, value in rows:
                p = partition_of(key, PARTITIONS)
                size += len(value)
                if batch[p].append(key=key, value=value, timestamp=t) is None:
                    await producer.send_batch(batch[p], topic, partition=p)
                    batch[p] = producer.create_batch()
                    batch[p].append(key=key, value=value, timestamp=t)
        for p, rest in batch.items():
            await producer.send_batch(rest, topic, partition=p)
        await producer.flush()
    finally:
        await producer.stop()
    return size // records


def contestant(who: str, broker: Broker, server: RedisServer, namespace: str, records: int) -> Figures:
    """Run one contestant in a process of its own, on an empty Redis.

    Raises:
        SystemExit: it failed.
    """
    client = redis.Redis.from_url(server.url)
    client.flushall()
    client.set(f"{namespace}:v1:mark:decided", 2**62)  # nobody decides here, so nothing has to be waited for
    client.close()
    command = [
        sys.executable,
        "-m",
        "ops.bench.contestants",
        who,
        broker.bootstrap,
        server.url,
        namespace,
        str(records),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False, timeout=1200)
    if done.returncode:
        raise SystemExit(f"{who} failed with exit code {done.returncode}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures | {"who": who, "per_million": figures["cpu_s"] * 1e6 / figures["records"]}


def measure(kind: str, records: int, few: int, entities: int, repeat: int) -> list[Figures]:
    """All contestants in turn, ``repeat`` times, on one broker; of each the run with the median CPU time."""
    found: dict[str, list[Figures]] = {who: [] for who in WHO}
    with tempfile.TemporaryDirectory(prefix="cpn-bench-") as name:
        folder = Path(name)
        with Broker(folder / "kafka") as broker, RedisServer(folder / "redis") as server:
            for namespace, count in (("many", records), ("few", few)):
                create_topics(broker.bootstrap, specs(namespace, {"telemetry": PARTITIONS}))
                asyncio.run(preload(broker.bootstrap, f"{namespace}.telemetry", count, entities, BODIES[kind]))
            for _ in range(repeat):
                for who in WHO:
                    namespace, count = ("few", few) if who == "faust" else ("many", records)
                    found[who].append(contestant(who, broker, server, namespace, count))
    return [
        sorted(runs, key=lambda run: float(run["cpu_s"]))[(len(runs) - 1) // 2] | {"kind": kind}
        for runs in found.values()
    ]


def rows(results: list[Figures]) -> str:
    """CPU first: it survives a busy machine."""
    heading = [
        "record",
        "who",
        "CPU s per million",
        "records/s",
        "records",
        "RSS MB",
        "decode",
        "fold",
        "write",
        "target",
    ]
    lines = []
    for r in results:
        seconds = {stage: s * 1e6 / r["records"] for stage, s in r.get("seconds", {}).items()}
        target = TARGETS[r["kind"]] if r["who"] == "ours" else None
        verdict = "–" if target is None else f"≤ {target:g} {'reached' if r['per_million'] <= target else 'MISSED'}"
        split = [f"{seconds[stage]:.2f} µs" if stage in seconds else "–" for stage in ("decode", "fold", "write")]
        lines.append(
            [r["kind"], r["who"], f"{r['per_million']:.2f}", f"{r['records'] / r['wall_s']:,.0f}", f"{r['records']:,}",
             f"{r['rss_mb']:.0f}", *split, verdict]
        )  # fmt: skip
    return table(heading, lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.streaming", description=__doc__)
    parser.add_argument("--records", type=int, default=2_000_000)
    parser.add_argument("--few", type=int, default=50_000, help="records for stock Faust, which is slow")
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=tuple(BODIES), action="append")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    wanted = parser.parse_args(arguments)
    results = [
        figures
        for kind in wanted.only or BODIES
        for figures in measure(kind, wanted.records, wanted.few, wanted.entities, wanted.repeat)
    ]
    print(json.dumps(results, indent=2) if wanted.json else rows(results))


if __name__ == "__main__":
    main()
