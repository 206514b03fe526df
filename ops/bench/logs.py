"""Event logs to measure with: flat telemetry, telemetry of three pools, lifecycles of tasks.

All are made from a seed. Every window has a clock in every partition, so that a replay cuts and decides at each.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from producers.assemble import number
from producers.log import LogWriter
from producers.log_manifest import FileFormat
from twin import events as ev
from twin.records import Records
from twin.topics import IN_TOPICS, address

T0 = 1_751_299_200_000
SECOND_MS, MINUTE_MS, HOUR_MS = 1000, 60_000, 3_600_000
WINDOW_MS = 5 * MINUTE_MS
DISORDER = 0.01
"""Share of telemetry records that change places with the entity's next one."""
SITES = 20
"""Clusters that run the tasks of the lifecycle log."""

Row = tuple[int, bytes, bytes]  # event time in ms, key, body
Rows = list[Row]
Body = Callable[[int, int, int, float, int], str]
"""(entity, seq, t, IT power, queue) → body."""

encode = msgspec.json.Encoder().encode


def flat_body(entity: int, seq: int, t: int, it_kw: float, queue: int) -> str:
    """One flat telemetry record of about 153 bytes."""
    return (
        f'{{"type":"cluster.telemetry.v1","seq":{seq},"t":{t},"cluster_id":"cluster-{entity:05d}","it_kw":{it_kw!r},'
        f'"facility_kw":{it_kw * 1.25:.1f},"queue_tasks":{queue},"inlet_c":{20 + queue % 50 / 10}}}'
    )


def pools_body(entity: int, seq: int, t: int, it_kw: float, queue: int) -> str:
    """One telemetry record with three pools, about 490 bytes."""
    pools = ",".join(
        f'{{"pool_id":"{name}","allocated":{queue * (k + 3)}.0,"util":0.{queue % 90 + 10}25,"stranded":{queue % 7}.0}}'
        for k, name in enumerate(("a100-nvlink-80gib", "h100-sxm5-80gib", "ascend-910b-64gib"))
    )
    return (
        f'{{"type":"cluster.telemetry.v1","seq":{seq},"t":{t},"source":"hall-{entity % 8}/rack-meter-aggregator-{entity % 40:02d}",'
        f'"cluster_id":"cluster-{entity:05d}","it_kw":{it_kw!r},"facility_kw":{it_kw * 1.25:.1f},"pools":[{pools}],'
        f'"queue_tasks":{queue},"inlet_c":{20 + queue % 50 / 10},"statistic":"mean","origin":"measured"}}'
    )


def telemetry(records: int, entities: int, body: Body, seed: int = 7) -> Iterator[Rows]:
    """Rounds in which every entity reports once, in shuffled order; ``DISORDER`` of them swap with the round after."""
    rng = np.random.default_rng(seed)
    rounds = -(-records // entities)
    seq = np.tile(np.arange(rounds)[:, None], (1, entities))
    swaps = rng.random((rounds, entities)) < DISORDER
    for k in range(0, rounds - 1, 2):
        s = swaps[k] | swaps[k + 1]
        seq[k, s], seq[k + 1, s] = k + 1, k
    left = records
    for k in range(rounds):
        order = rng.permutation(entities)[:left]
        left -= len(order)
        numbers = seq[k, order]
        t = T0 + numbers * MINUTE_MS + order * 7919 % MINUTE_MS
        it_kw = np.round(200 + 1000 * rng.random(len(order)), 1)
        queue = rng.integers(0, 200, len(order))
        columns = zip(order.tolist(), numbers.tolist(), t.tolist(), it_kw.tolist(), queue.tolist(), strict=True)
        rows: Rows = []
        for entity, *rest in columns:
            text = body(entity, *rest).encode()
            rows.append((rest[1], text[text.index(b'_id":"') + 6 :].partition(b'"')[0], text))
        yield rows


def lifecycles(tasks: int, seed: int = 7) -> list[ev.Event]:
    """Tasks at one a second over ``SITES`` clusters: submitted, started within minutes, finished within two hours."""
    rng = np.random.default_rng(seed)
    submitted = T0 + np.arange(tasks) * SECOND_MS
    started = submitted + rng.integers(5, 300, tasks) * SECOND_MS
    seconds = rng.integers(60, 7200, tasks)
    site = rng.integers(0, SITES, tasks)
    events: list[ev.Event] = []
    columns = zip(submitted.tolist(), started.tolist(), seconds.tolist(), site.tolist(), strict=True)
    for i, (at, start, run_s, k) in enumerate(columns):
        task, where = f"task-{i:07d}", f"site-{k:02d}"
        request = ev.Request(cpu_cores=16.0, mem_gib=64.0)
        events += (
            ev.TaskSubmitted(
                seq=0, t=at, task_id=task, tenant=f"tenant-{i % 50}", kind="batch", origin="site-00", request=request,
                power_w=350.0, est_duration_s=float(run_s), latency_ms=1000.0, movable=True,
            ),
            ev.TaskStarted(seq=0, t=start, task_id=task, attempt=1, cluster_id=where),
            ev.TaskFinished(
                seq=1, t=start + run_s * SECOND_MS, task_id=task, attempt=1, cluster_id=where, done_share=1.0,
                energy_wh=350.0 * run_s / 3600,
            ),
        )  # fmt: skip
    return events


def world(hours: int, seed: int = 7) -> list[ev.Event]:
    """What the lifecycles stand on: the policy ``stay``, clusters with room, an hourly price and the carbon of each zone."""
    rng = np.random.default_rng(seed)
    events: list[ev.Event] = [
        ev.PolicySet(seq=0, t=T0 - 1, name="dispatch", policy="stay"),
        ev.PolicySet(seq=0, t=T0 - 1, name="accounting", params={"currency": "EUR", "settlement_market": "day_ahead"}),
    ]
    pool = ev.Pool(pool_id="default", nodes=100_000, cpu_cores=1e7, mem_gib=1e9)
    for k in range(SITES):
        name = f"site-{k:02d}"
        events.append(
            ev.ClusterRegistered(
                seq=0, t=T0 - 1, cluster_id=name, tier="regional", zone_id=f"zone-{k % 5}", node_id=name, pools=[pool]
            )
        )
        events.append(ev.NetworkLink(seq=0, t=T0 - 1, src="site-00", dst=name, rtt_ms=ev.Percentiles(p50=1.0 + k)))
    for hour in range(hours):
        start, end = T0 + hour * HOUR_MS, T0 + (hour + 1) * HOUR_MS
        for k in range(5):
            price, grams = rng.integers(-20, 200), rng.integers(20, 800)
            zone = f"zone-{k}"
            events.append(
                ev.PowerPrice(
                    seq=0, t=T0 - 1, zone_id=zone, start=start, end=end, market="day_ahead", stage="final",
                    price_per_mwh=float(price), currency="EUR", revision=0, published_at=T0 - 1,
                )
            )  # fmt: skip
            events.append(
                ev.PowerCarbon(seq=0, t=T0 - 1, zone_id=zone, start=start, end=end, gco2e_per_kwh=float(grams))
            )
    return events


class Stream:
    """Writes one log window by window: records of each topic, then a clock in every partition."""

    def __init__(self, path: Path, files: FileFormat) -> None:
        self._writer = LogWriter(path, dict.fromkeys(IN_TOPICS, 1), format=files)
        self._clocks = 0
        self.records = self.bytes = 0

    def extend(self, topic: str, rows: Rows) -> None:
        """Append ``rows`` to the only partition of ``topic``."""
        count = len(rows)
        self.records += count
        self.bytes += sum(len(row[2]) for row in rows)
        columns = [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]
        self._writer.extend(topic, 0, Records(0, count, list(range(count)), columns[0], [*columns[1]], columns[2]))

    def clock(self, t: int) -> None:
        """Append a clock at ``t`` everywhere."""
        value = encode(ev.Clock(seq=self._clocks, t=t, window_ms=WINDOW_MS, max_ahead_ms=48 * HOUR_MS))
        self._clocks += 1
        for topic in IN_TOPICS:
            self._writer.append(topic, 0, t=t, key=b"0", value=value)

    def close(self, policy: str) -> None:
        """Make the log whole; it holds the answers to ``policy``."""
        self._writer.meta |= {
            "t0": T0, "window_ms": WINDOW_MS, "lateness_ms": 0, "run": {"answers": True, "policy": policy},
        }  # fmt: skip
        self._writer.close()


def write_telemetry(path: Path, files: FileFormat, records: int, entities: int, body: Body) -> Stream:
    """A log of telemetry with a reading a minute of each entity and a clock every ``WINDOW_MS``."""
    stream = Stream(path, files)
    stream.extend("control", [_row(ev.PolicySet(seq=0, t=T0 - 1, name="dispatch", policy="stay"))])
    stream.clock(T0)
    for k, rows in enumerate(telemetry(records, entities, body), 1):
        stream.extend("telemetry", rows)
        if k * MINUTE_MS % WINDOW_MS == 0:
            stream.clock(T0 + k * MINUTE_MS)
    stream.close("stay")
    return stream


def write_lifecycles(path: Path, files: FileFormat, records: int) -> Stream:
    """A log of ``records // 3`` tasks with a clock every ``WINDOW_MS``."""
    stream = Stream(path, files)
    tasks = max(1, records // 3)
    events = sorted(lifecycles(tasks), key=lambda event: event.t)
    hours = (events[-1].t - T0) // HOUR_MS + 2
    for event in number(world(hours)):
        stream.extend(address(event)[0], [_row(event)])
    stream.clock(T0)
    at, end = 0, T0
    while at < len(events):
        end += WINDOW_MS
        start = at
        while at < len(events) and events[at].t < end:
            at += 1
        stream.extend("tasks", list(map(_row, events[start:at])))
        stream.clock(end)
    stream.close("stay")
    return stream


def _row(event: ev.Event) -> Row:
    return event.t, address(event)[1].encode(), encode(event)
