"""What the measurements of the distributed runtime stand on: a broker, a Redis, processes of the twin, and views from outside."""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from ops.bench import logs
from producers.partition import partition_of
from producers.publish import BatchPublisher
from producers.topics import create_topics, specs
from streams.local import Broker, RedisServer
from twin.records import Records

REPOSITORY = Path(__file__).resolve().parents[2]
NEVER = str(2**62)
TICK = os.sysconf("SC_CLK_TCK")
Figures = dict[str, Any]


class Process:
    """A process of the twin, watched from outside. Its log is in ``folder``."""

    def __init__(self, command: str, instance: str, env: dict[str, str], folder: Path) -> None:
        self._argv = [sys.executable, "-m", "streams.cli", command, "--instance", instance]
        self._env, self.log = os.environ | env, folder / f"{instance}.log"
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> "Process":
        """Start it (again)."""
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(self._argv, cwd=REPOSITORY, env=self._env, stdout=out, stderr=out)
        return self

    @property
    def pid(self) -> int:
        """Of the process that runs.

        Raises:
            SystemExit: it ended by itself.
        """
        if self._popen is None or self._popen.poll() is not None:
            raise SystemExit(f"a process ended:\n{self.log.read_text()[-2000:]}")
        return self._popen.pid

    def signal(self, signum: int) -> None:
        """Send a signal; waits for the end where that is what it brings."""
        os.kill(self.pid, signum)
        if signum in {signal.SIGKILL, signal.SIGTERM} and self._popen is not None:
            self._popen.wait(30)

    def end(self) -> None:
        """Stop it if it runs."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait(30)

    def cpu_s(self) -> float:
        """CPU time of all its threads so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def rss_mb(self, line: str = "VmRSS") -> float:
        """Memory it holds; with ``VmHWM`` the most it has held."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition(f"{line}:")[2].split()[0]) / 1024


class Rig:
    """A broker and a Redis of one's own; each measurement uses a namespace of its own."""

    def __init__(self, broker: Broker, server: RedisServer, folder: Path) -> None:
        self.broker, self.server, self.folder = broker, server, folder
        self.redis = redis.Redis.from_url(server.url)

    def topics(self, namespace: str, **partitions: int) -> None:
        """Create the topics of a twin in which nobody decides."""
        create_topics(self.broker.bootstrap, specs(namespace, partitions))
        self.nobody_decides(namespace)

    def nobody_decides(self, namespace: str) -> None:
        """Let nothing wait for decisions."""
        self.redis.set(f"{namespace}:v1:mark:decided", NEVER)

    def process(self, namespace: str, command: str, instance: str, **env: str) -> Process:
        """A process of the twin ``namespace``, not started."""
        where = {
            "CPN_BOOTSTRAP": self.broker.bootstrap, "CPN_REDIS_URL": self.server.url, "CPN_NAMESPACE": namespace,
        }  # fmt: skip
        return Process(command, f"{namespace}-{instance}", where | env, self.folder)

    def positions(self, namespace: str, topic: str, partitions: int) -> list[int]:
        """How far each partition is folded and stored."""
        with self.redis.pipeline(transaction=False) as pipe:
            for p in range(partitions):
                pipe.hget(f"{namespace}:v1:{{{topic}:{p}}}:meta", "next")
            return [int(position or 0) for position in pipe.execute()]

    def bytes_of(self, namespace: str, topic: str) -> int:
        """Memory that the shards of ``topic`` take in Redis."""
        keys = list(self.redis.scan_iter(f"{namespace}:v1:{{{topic}:*", count=1000))
        return sum(int(self.redis.memory_usage(key, samples=0) or 0) for key in keys)


@contextmanager
def rig() -> Iterator[Rig]:
    """Start broker and Redis in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="cpn-bench-") as name:
        folder = Path(name)
        with Broker(folder / "kafka") as broker, RedisServer(folder / "redis") as server:
            yield Rig(broker, server, folder)


@contextmanager
def running(*processes: Process) -> Iterator[None]:
    """Start ``processes``, and end them whatever happens."""
    try:
        for process in processes:
            process.start()
        yield
    finally:
        for process in processes:
            process.end()


def wait_for(what: Callable[[], bool], why: str, within_s: float = 120, every_s: float = 0.01) -> float:
    """Wait until ``what`` holds; the time when it did.

    Raises:
        SystemExit: it took too long.
    """
    until = time.monotonic() + within_s
    while not what():
        if time.monotonic() > until:
            raise SystemExit(f"waited {within_s:g} s in vain: {why}")
        time.sleep(every_s)
    return time.monotonic()


def preload(bootstrap: str, topic: str, partitions: int, rows: Iterable[logs.Rows]) -> tuple[int, int]:
    """Fill ``topic``; records and bytes of their values."""
    records = size = 0
    publisher = BatchPublisher(bootstrap)
    try:
        for some in rows:
            parts = [Records(0, 0) for _ in range(partitions)]
            for t, key, value in some:
                part = parts[partition_of(key, partitions)]
                part.times.append(t)
                part.keys.append(key)
                part.values.append(value)
                size += len(value)
            records += len(some)
            for p, part in enumerate(parts):
                if len(part):
                    publisher.send(topic, p, part)
        publisher.flush()
    finally:
        publisher.close()
    return records, size


def scrape(port: int) -> dict[str, float]:
    """What a process says of itself: value by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def percentile(values: list[float], share: float) -> float:
    """The value below or at which ``share`` of ``values`` are."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def spread(values: list[float]) -> Figures:
    """Median and greatest."""
    return {"median": statistics.median(values), "max": max(values), "n": len(values)}
