"""Small event logs, written by hand record by record, and runs of them in memory."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from producers.log import LogReader, LogWriter
from streams.cli.runs import route
from streams.embedded import Options, Result, Run
from twin import events as ev
from twin.columns import DeadLetter
from twin.decisions import Decision, WindowRecord
from twin.dispatch.policy import Policy
from twin.dispatcher import Window
from twin.plant import Plant
from twin.records import Records
from twin.topics import IN_TOPICS, address

MINUTE, HOUR = 60_000, 3_600_000
T0 = 1_664_143_200_000
WINDOW = 5 * MINUTE
PARTITIONS = {topic: 2 if topic == "tasks" else 1 for topic in IN_TOPICS}
encode = msgspec.json.encode
Place = tuple[str, int]


def cluster(name: str, **more: Any) -> ev.ClusterRegistered:
    body = {
        "seq": 0,
        "t": T0 - 1,
        "tier": "regional",
        "zone_id": name,
        "node_id": name,
        "pools": [ev.Pool(pool_id="cpu", nodes=10, cpu_cores=1000.0, mem_gib=1000.0)],
        "pue": ev.PueCurve(a=1.0),
        "idle_kw": 0.0,
    }
    return ev.ClusterRegistered(cluster_id=name, **(body | more))


def price(zone: str, value: float, *, start: int = T0, hours: int = 1, **more: Any) -> ev.PowerPrice:
    body = {"seq": (start - T0) // HOUR, "t": T0 - 1, "market": "day_ahead", "currency": "EUR"}
    return ev.PowerPrice(zone_id=zone, start=start, end=start + hours * HOUR, price_per_mwh=value, **(body | more))


def task(name: str, *, at: int, minutes: float = 20.0, **more: Any) -> ev.TaskSubmitted:
    body = {
        "seq": 0,
        "origin": "A",
        "est_duration_s": minutes * 60,
        "power_w": 1000.0,
        "request": ev.Request(cpu_cores=10.0),
    }
    return ev.TaskSubmitted(task_id=name, t=at, **(body | more))


def write_log(
    path: Path,
    events: Iterable[ev.Event],
    *,
    windows: int = 12,
    clocks: bool = True,
    without: Mapping[Place, Iterable[int]] | None = None,
    partitions: Mapping[str, int] | None = None,
    raw: Iterable[tuple[str, int, int, bytes]] = (),
    meta: Mapping[str, Any] | None = None,
) -> LogReader:
    """Write a log: events in order of time, a clock per window after what lies before it.

    ``without`` names the windows (from 1) whose clock a partition lacks; ``raw`` are values (topic, partition, t, bytes).
    """
    partitions = dict(PARTITIONS if partitions is None else partitions)
    rows: dict[Place, list[tuple[int, int, bytes, bytes]]] = {
        (t, p): [] for t, n in partitions.items() for p in range(n)
    }
    for event in events:
        topic, key = address(event)
        rows[topic, route(key, partitions[topic])].append((event.t, 1, key.encode(), encode(event)))
    for topic, partition, t, value in raw:
        rows[topic, partition].append((t, 1, b"", value))
    for (topic, partition), part in rows.items():
        left_out = set((without or {}).get((topic, partition), ()))
        for n in range(windows + 1) if clocks else ():
            t = T0 + n * WINDOW
            clock = ev.Clock(seq=n, t=t, partition=partition, window_ms=WINDOW)
            if n not in left_out:
                part.append((t, 0, str(partition).encode(), encode(clock)))
        part.sort(key=lambda row: row[:2])
    with LogWriter(path, partitions, meta={"window_ms": WINDOW, **(meta or {})}) as writer:
        for (topic, partition), part in rows.items():
            for t, _, key, value in part:
                writer.append(topic, partition, t=t, key=key, value=value)
    return LogReader(path)


class Recorder:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.folded: dict[Place, list[bytes]] = {}
        self.letters: list[DeadLetter] = []
        self.windows: list[WindowRecord] = []
        self.decisions: list[list[Decision]] = []

    def records(self, topic: str, partition: int, records: Records) -> None:
        self.folded.setdefault((topic, partition), []).extend(records.values)

    def dead(self, letters: list[DeadLetter]) -> None:
        self.letters.extend(letters)

    def window(self, window: Window) -> None:
        self.windows.append(window.record)
        self.decisions.append(window.decisions)

    def hashes(self) -> list[tuple[int, str, str]]:
        """(end, state, decisions) of every window."""
        return [(record.end, record.state_sha256, record.decisions_sha256) for record in self.windows]

    def decided(self) -> list[tuple[int, str, str, str | None]]:
        """(window, task, action, cluster) of every decision."""
        return [
            (d.window, d.task_id, d.action, d.to.cluster_id if d.to else None) for some in self.decisions for d in some
        ]


def run_log(
    reader: Any, *, policy: str = "price", plant: Plant | None = None, **options: Any
) -> tuple[Run, Result, Recorder]:
    """Run a log in memory."""
    recorder = Recorder()
    run = Run(reader, Options(route=route, policy=Policy.parse(policy), **options), plant=plant, sink=recorder)
    return run, run.run(), recorder
