"""A small world: events in, windows closed, a mirror to account from."""

from collections import Counter
from typing import Any

import msgspec

from twin import events as ev
from twin.columns import Decoder
from twin.mirror import Mirror
from twin.records import Records
from twin.shards.shard import Shard
from twin.topics import address

MINUTE, HOUR = 60_000, 3_600_000
T0 = 1_664_143_200_000  # 2022-09-25 22:00 UTC


class World:
    """Shards of all topics and their mirror, fed by hand. Sequence numbers count per entity and writer."""

    def __init__(
        self, *, task_partitions: int = 2, window_ms: int = 15 * MINUTE, every_cut_a_base: bool = False
    ) -> None:
        self.partitions = dict.fromkeys(("inventory", "telemetry", "services", "power", "network", "control"), 1)
        self.partitions["tasks"] = task_partitions
        self.window_ms = window_ms
        self.mirror = Mirror(self.partitions)
        base_every = 1 if every_cut_a_base else None
        self.shards = {
            (topic, p): Shard(topic, p, base_every=base_every) for topic, n in self.partitions.items() for p in range(n)
        }
        self.queues: dict[tuple[str, int], list[bytes]] = {key: [] for key in self.shards}
        self.offsets: Counter[tuple[str, int]] = Counter()
        self.seq: Counter[Any] = Counter()
        self.dead: list[Any] = []
        self.clock(T0)

    def send(self, kind: type[ev.Event], /, **body: Any) -> ev.Event:
        """Queue one event; ``seq`` is counted unless given."""
        body.setdefault("t", T0)
        probe = kind(**({"seq": 0} | body))
        topic, key = address(probe)
        role = (key, issubclass(kind, ev.TaskAnswer), body.get("attempt"), body.get("start"), body.get("stage"))
        self.seq[role] += "seq" not in body
        event = msgspec.structs.replace(probe, seq=body.get("seq", self.seq[role]))
        partition = sum(key.encode()) % self.partitions[topic]
        self.queues[topic, partition].append(msgspec.json.encode(event))
        return event

    def clock(self, t: int) -> int:
        """Write a clock to every partition, fold all that is queued and follow the cuts. Returns ``t``."""
        for (topic, partition), queue in self.queues.items():
            queue.append(msgspec.json.encode(ev.Clock(seq=t, t=t, partition=partition, window_ms=self.window_ms)))
            shard, base = self.shards[topic, partition], self.offsets[topic, partition]
            n = len(queue)
            records = Records(base, base + n, list(range(base, base + n)), [t] * n, [None] * n, list(queue))
            queue.clear()
            self.offsets[topic, partition] += n
            fed = shard.feed(Decoder(topic).decode(records))
            self.dead += fed.dead
            if fed.cut is not None:
                self.mirror.apply(fed.cut)
        return t

    # ------------------------------------------------------------------------------------------------- short forms

    def cluster(self, name: str, zone: str, *, pools: tuple[ev.Pool, ...] = (), **more: Any) -> None:
        body = {
            "tier": "regional",
            "node_id": zone,
            "pools": list(pools) or [ev.Pool(pool_id="cpu", nodes=1, cpu_cores=1e4)],
        }
        self.send(ev.ClusterRegistered, cluster_id=name, zone_id=zone, **(body | more))

    def price(self, zone: str, start: int, value: float, *, hours: float = 1, **more: Any) -> None:
        body = {"market": "day_ahead", "currency": "EUR", "end": start + int(hours * HOUR)}
        self.send(ev.PowerPrice, zone_id=zone, start=start, price_per_mwh=value, **(body | more))

    def carbon(self, zone: str, start: int, grams: float, *, hours: float = 1, **more: Any) -> None:
        end = start + int(hours * HOUR)
        self.send(ev.PowerCarbon, zone_id=zone, start=start, end=end, gco2e_per_kwh=grams, **more)

    def task(self, name: str, **more: Any) -> None:
        body = {"origin": "NL", "est_duration_s": 3600.0, "power_w": 1000.0, "request": ev.Request(cpu_cores=16.0)}
        self.send(ev.TaskSubmitted, task_id=name, **(body | more))

    def started(self, name: str, t: int, cluster: str, *, pool: str = "cpu", attempt: int = 1, **more: Any) -> None:
        self.send(ev.TaskStarted, task_id=name, t=t, cluster_id=cluster, pool_id=pool, attempt=attempt, **more)

    def ended(
        self, name: str, t: int, cluster: str, *, how: type = ev.TaskFinished, attempt: int = 1, **more: Any
    ) -> None:
        self.send(how, task_id=name, t=t, cluster_id=cluster, attempt=attempt, **more)
