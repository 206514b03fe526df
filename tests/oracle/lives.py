"""Lives of a small twin: logs of all topics that speak of the same few places and tasks, drawn as small integers.

Everything that a carry has to survive happens: places that come, change, and go; tasks that are asked for again under a name
that was freed; answers late, lost, repeated or from elsewhere; prices, fees and rates of exchange that come afterwards;
services whose model changes; commands of operators; and clocks that some partitions miss.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st

from twin import events as ev
from twin.assembler import Assembler, Partition, Step
from twin.columns import Decoder
from twin.records import Records
from twin.shards.shard import Cut, Shard
from twin.topics import address

MINUTE, HOUR = 60_000, 3_600_000
WINDOW = 15 * MINUTE
T0 = 1_664_143_200_000
RETAIN = 3 * WINDOW
PARTITIONS = {"inventory": 2, "telemetry": 2, "tasks": 2, "services": 2, "power": 2, "network": 1, "control": 1}
CLUSTERS, ZONES, NODES, CURRENCIES = ("a", "b", "c"), ("x", "y"), ("m", "n", "o"), ("CNY", "EUR")
POLICIES = ("price", "cost-greedy", "stay", "round-robin", "pinned:x")

Body = dict[str, Any]
Make = Callable[[str, Random, int], tuple[type[ev.Event], Body]]


def _cluster(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    name = rng.choice(CLUSTERS)
    pools = [
        ev.Pool(
            pool_id="gpu",
            accelerator=ev.Accelerator(model=rng.choice("HN")),
            nodes=rng.choice([0, 1, 2]),
            accelerators_per_node=8,
            cpu_cores=rng.choice([0.0, 64.0]),
            w_per_accelerator=rng.choice([None, ev.IdleMax(max=400.0), ev.IdleMax(idle=50.0, max=700.0)]),
            tokens_per_s=rng.choice([{}, {"k": 100.0}, {"k": 50.0, "l": 25.0}]),
        ),
        ev.Pool(pool_id="cpu", nodes=1, cpu_cores=rng.choice([32.0, 500.0]), mem_gib=1000.0),
    ]
    body: Body = {"zone_id": rng.choice(ZONES), "node_id": rng.choice(NODES), "tier": rng.choice(["regional", "edge"])}
    body |= {"pools": rng.choice([pools, pools[:1], pools[1:], pools[::-1]]), "idle_kw": rng.choice([None, 1.0, 2.5])}
    body |= {"pue": rng.choice([None, ev.PueCurve(a=1.2), ev.PueCurve(a=1.4)])}
    return ev.ClusterRegistered, body | {"cluster_id": name, "power_cap_kw": rng.choice([None, 4.0, 6.0])}


def _retired(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    return ev.ClusterRetired, {"cluster_id": rng.choice(CLUSTERS)}


def _state(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    pools = rng.choice([[], [ev.PoolHealth(pool_id="gpu", healthy=rng.choice([0, 1]))]])
    state = rng.choice(["up", "up", "degraded", "draining", "down"])
    return ev.ClusterState, {"cluster_id": rng.choice(CLUSTERS), "state": state, "pools": pools}


def _telemetry(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    use = [ev.PoolUse(pool_id=name, allocated=rng.choice([0, 3, 9])) for name in rng.choice([["gpu"], ["gpu", "cpu"]])]
    return ev.ClusterTelemetry, {"cluster_id": rng.choice(CLUSTERS), "it_kw": 1.0, "pools": use}


def _submitted(task: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    body: Body = {"task_id": task, "origin": rng.choice(NODES), "est_duration_s": rng.choice([0.0, 600.0, 9000.0])}
    chips = {"accelerators": rng.choice([1, 4]), "compatible": rng.choice([[], ["H"], ["N", "H"]])}
    body["request"] = ev.Request(cpu_cores=rng.choice([1.0, 20.0]), **rng.choice([{}, {}, chips]))
    body |= {"power_w": rng.choice([None, 900.0]), "priority": rng.choice([0, 1, 2]), "movable": rng.random() < 0.7}
    body |= {"data_in_gb": rng.choice([0.0, 3.0]), "data_rate_gbph": rng.choice([0.0, 1.5])}
    body |= {"state_gb": rng.choice([0.0, 40.0]), "residency": rng.choice([[], [], ["x"], ["y", "x"]])}
    body |= {"interruptible": rng.random() < 0.5, "checkpoint_s": rng.choice([None, 60.0])}
    body |= {"latency_ms": rng.choice([None, 15.0]), "earliest_start": rng.choice([None, None, t + 3 * WINDOW])}
    return ev.TaskSubmitted, body


def _answer(task: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    kinds: list[type[ev.Event]] = [ev.TaskStarted] * 6 + [ev.TaskProgress, ev.TaskPaused, ev.TaskReleased]
    kind = rng.choice([*kinds, ev.TaskReleased, ev.TaskFinished, ev.TaskFailed])
    body: Body = {
        "task_id": task,
        "attempt": rng.choice([1, 1, 1, 2, 2, 3]),
        "cluster_id": rng.choice([*CLUSTERS, "d"]),
    }
    body["pool_id"] = rng.choice(["gpu", "cpu", "cpu"])
    if kind in {ev.TaskProgress, ev.TaskFailed, ev.TaskReleased}:
        body["done_share"] = rng.choice([0.25, 0.5])
    if kind is ev.TaskFailed:
        body["reason"] = rng.choice(["rejected", "oom", "final"])
    return kind, body


def _cancelled(task: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    return ev.TaskCancelled, {"task_id": task}


def _hours(rng: Random, t: int) -> Body:
    start = t // HOUR * HOUR + rng.choice([-2, -1, 0, 0, 1]) * HOUR
    return {"start": start, "end": start + rng.choice([1, 1, 4]) * HOUR}


def _price(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    body: Body = {"zone_id": rng.choice(ZONES), "market": rng.choice(["day_ahead"] * 4 + ["real_time"])}
    body |= {"price_per_mwh": rng.choice([-5.0, 40.0, 90.5, 300.0]), "currency": rng.choice(CURRENCIES)}
    return ev.PowerPrice, body | {"stage": rng.choice(["forecast", "final"])} | _hours(rng, t)


def _carbon(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    return ev.PowerCarbon, {"zone_id": rng.choice(ZONES), "gco2e_per_kwh": rng.choice([20.0, 600.0])} | _hours(rng, t)


def _path(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    body: Body = {"src": rng.choice(NODES), "dst": rng.choice(NODES)}
    if rng.random() < 0.5:
        spread = ev.Percentiles(p50=rng.choice([2.0, 12.0, 30.0]))
        return ev.NetworkLink, body | {"rtt_ms": spread, "available_mbps": rng.choice([None, 1e3])}
    limits: Body = rng.choice([{}, {"from_": t - HOUR, "to": t + HOUR}])
    return ev.NetworkFee, body | {"per_gb": rng.choice([0.01, 0.3]), "currency": rng.choice(CURRENCIES)} | limits


def _demand(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    body: Body = {"service": rng.choice("st"), "origin": rng.choice(NODES[:2]), "model": rng.choice("kkl")}
    return ev.ServiceDemand, body | {"tokens_out_per_s": rng.choice([0.0, 70.0, 250.0])} | _hours(rng, t)


def _serving(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    body: Body = {"cluster_id": rng.choice(CLUSTERS), "pool_id": "gpu", "service": rng.choice("st")}
    return ev.ServiceServing, body | {"origin": rng.choice(NODES[:2]), "tokens_per_s": rng.choice([0.0, 70.0, 200.0])}


def _command(_: str, rng: Random, t: int) -> tuple[type[ev.Event], Body]:
    name = rng.choice(CLUSTERS)
    penalty = {"currency": "CNY", "penalty_per_core_h": rng.choice([0.05, 2.0])}
    choices: list[tuple[type[ev.Event], Body]] = [
        (ev.FxRate, {"name": "EUR", "to": "CNY", "rate": rng.choice([7.5, 7.75])}),
        (ev.ClusterCordon, {"id": name}),
        (ev.ClusterUncordon, {"id": name}),
        (ev.ClusterDrain, {"id": name}),
        (ev.DispatchPause, {}),
        (ev.DispatchResume, {}),
        (ev.DispatchResume, {}),
        (ev.DispatchAdvisory, {}),
        (ev.PolicySet, {"name": "accounting", "policy": "accounting", "params": penalty}),
        (ev.PolicySet, {"name": "dispatch", "policy": rng.choice(["price", "round-robin", "stay"]), "params": {}}),
    ]
    return rng.choice(choices)


MAKES: tuple[Make, ...] = (
    *[_cluster] * 3, _retired, _state, _telemetry, *[_submitted] * 6, *[_answer] * 9, _cancelled, *[_price] * 2, _carbon,
    *[_path] * 2, *[_demand] * 2, *[_serving] * 2, _command,
)  # fmt: skip


@dataclass(frozen=True)
class Life:
    """The values of each partition's records, in order."""

    values: dict[Partition, list[bytes]] = field(repr=False)
    retain_ms: int = RETAIN

    @property
    def partitions(self) -> dict[str, int]:
        """Number of partitions of each topic."""
        return dict(Counter(topic for topic, _ in self.values))

    def cuts(self, base_every: int | None = None) -> dict[Partition, list[Cut]]:
        """The cuts of each partition."""
        return {at: _cuts(at, values, base_every, self.retain_ms) for at, values in self.values.items()}


def _cuts(at: Partition, values: list[bytes], base_every: int | None, retain_ms: int) -> list[Cut]:
    shard, n, cuts, position = Shard(*at, retain_ms=retain_ms, base_every=base_every), len(values), [], 0
    columns = Decoder(at[0]).decode(Records(0, n, list(range(n)), [0] * n, [None] * n, values))
    while position < n:
        fed = shard.feed(columns, position)
        position = fed.position
        if fed.cut is not None:
            cuts.append(fed.cut)
    return cuts


def steps(cuts: dict[Partition, list[Cut]]) -> Iterable[Step]:
    """The cuts as they are applied and decided on."""
    assembler = Assembler(cuts)
    for some in cuts.values():
        for cut in some:
            assembler.offer(cut)
    while (step := assembler.step()) is not None:
        yield step


class _Scribe:
    """Writes events and clocks into partitions."""

    def __init__(self) -> None:
        self.values: dict[Partition, list[bytes]] = {(t, p): [] for t, n in PARTITIONS.items() for p in range(n)}
        self._seq = 0

    def send(self, kind: type[ev.Event], body: Body, *, t: int, behind: int = 0) -> None:
        self._seq += 1
        event = kind(seq=max(0, self._seq - behind), t=t, **body)
        topic, key = address(event)
        self.values[topic, sum(key.encode()) % PARTITIONS[topic]].append(msgspec.json.encode(event))

    def clock(self, t: int, missing: Partition | None = None) -> None:
        for (topic, partition), values in self.values.items():
            if (topic, partition) != missing:
                values.append(msgspec.json.encode(ev.Clock(seq=t, t=t, partition=partition, window_ms=WINDOW)))


def live(policy: str, windows: list[list[tuple[int, int, int]]], misses: list[int]) -> Life:
    """The life in which window by window events (what, which task, details) happen under ``policy``.

    ``misses`` says per window which partition has no clock (most numbers: none).
    """
    scribe, places = _Scribe(), [(t, p) for t, n in PARTITIONS.items() for p in range(n)]
    name, _, place = policy.partition(":")
    params = {"place": place} if place else {}
    scribe.send(ev.PolicySet, {"name": "dispatch", "policy": name, "params": params}, t=T0)
    scribe.send(ev.PolicySet, {"name": "accounting", "policy": "accounting", "params": {"currency": "CNY"}}, t=T0)
    scribe.send(ev.FxRate, {"name": "EUR", "to": "CNY", "rate": 7.6}, t=T0)
    for cluster, zone in zip(CLUSTERS[1:], ZONES, strict=True):
        _, body = _cluster("", Random(len(zone)), T0)
        scribe.send(ev.ClusterRegistered, body | {"cluster_id": cluster, "zone_id": zone}, t=T0)
    scribe.clock(T0)
    for n, (events, miss) in enumerate(zip(windows, misses, strict=True), 1):
        now = T0 + n * WINDOW
        for what, task, details in events:
            rng = Random(details)
            t = now - rng.choice([1, 1, 5 * MINUTE, 20 * MINUTE])
            kind, body = MAKES[what](f"t{task}", rng, t)
            scribe.send(kind, body, t=t, behind=rng.choice([0, 0, 0, 1, 9]))
        last = n == len(windows)
        scribe.clock(now, None if last or miss >= len(places) else places[miss])
    return Life(scribe.values)


@st.composite
def lives(draw: st.DrawFn, policy: str) -> Life:
    """A life of 6 to 16 windows with up to 14 events each."""
    what = st.tuples(st.integers(0, len(MAKES) - 1), st.integers(0, 6), st.integers(0, 9999))
    windows = draw(st.lists(st.lists(what, min_size=3, max_size=14), min_size=6, max_size=16))
    return live(policy, windows, [draw(st.integers(0, 60)) for _ in windows])
