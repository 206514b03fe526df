"""Small logs of each topic, drawn by Hypothesis: few entities, few sequence numbers, everything that can go wrong.

A record is drawn as a few small integers, so that examples are cheap to make and shrink to readable ones; its optional
fields follow from one of them.
"""

import json
from collections.abc import Callable
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.oracle.shard import Item

HOUR = 3_600_000
WINDOW = 4 * HOUR
START = 1000 * WINDOW

SEQS = [*range(8), *range(8), *range(8), 40, 62, 63, 64, 65, 66, 67, 70, 2**53]
DELAYS_H = [0, 0, 0, 0, 1, -1, 5, -5, -23, -24, -25, 30, 500]
STEPS_H = [0, 1, 4, 4, 5, 9, 25, -3]

Body = dict[str, Any]
Optional = dict[str, list[Any]]


def _fill(rng: Random, body: Body, optional: Optional) -> Body:
    """Add some of the optional fields."""
    for name, values in optional.items():
        if rng.random() < 0.5:
            body[name] = rng.choice(values)
    return body


def _some(rng: Random, values: list[Any], most: int = 2) -> list[Any]:
    return [rng.choice(values) for _ in range(rng.randrange(most + 1))]


def _inventory(kind: int, who: int, rng: Random) -> Body:
    body: Body = {"cluster_id": f"c{who}"}
    if kind % 3 == 2:
        return body | {"type": "cluster.retired.v1"}
    body |= {"type": "cluster.registered.v1", "tier": rng.choice(["national", "regional", "edge"])}
    body |= {
        "zone_id": rng.choice("xyz"),
        "node_id": rng.choice("mn"),
        "pools": [_pool(rng) for _ in range(rng.randrange(3))],
    }
    texts = {name: ["a", "b", "ü"] for name in ("name", "operator", "hub", "province")}
    numbers = {name: [0, 1.5, 40] for name in ("lat", "lon", "power_cap_kw", "grid_connection_kw", "idle_kw")}
    lists = {name: [[], ["a"], ["b", "a"]] for name in ("labels", "contracts")}
    return _fill(
        rng, body, texts | numbers | lists | {"role": ["training", "mixed"], "pue": [{"a": 1.2}, {"a": 1, "b": 0.3}]}
    )


def _pool(rng: Random) -> Body:
    chips = [{"model": "H"}, {"model": "N", "vendor": "v", "kind": "npu", "mem_gib": 64, "domestic": True}]
    watts = [{"max": 400}, {"idle": 50.5, "max": 700}]
    optional: Optional = {
        "accelerator": chips,
        "w_per_accelerator": watts,
        "w_per_core": watts,
        "failure_domain": ["f", "g"],
    }
    optional |= {
        "accelerators_per_node": [8],
        "cpu_cores": [64.0],
        "mem_gib": [512],
        "tokens_per_s": [{"z": 5, "a": 2.5}, {}],
    }
    return _fill(rng, {"pool_id": rng.choice("pq"), "nodes": rng.randrange(5)}, optional)


def _telemetry(kind: int, who: int, rng: Random) -> Body:
    body: Body = {"cluster_id": f"c{who}"}
    if kind % 3 == 2:
        pools = [{"pool_id": name, "healthy": rng.randrange(9)} for name in _some(rng, ["p", "q"])]
        body |= {"type": "cluster.state.v1", "state": rng.choice(["up", "degraded", "draining", "down"])}
        return _fill(rng, body, {"pools": [pools], "cap_kw": [0, 12.5]})
    pools = [_fill(rng, {"pool_id": n, "allocated": rng.randrange(9)}, USE) for n in _some(rng, ["p", "q", "r"], 3)]
    body |= {"type": "cluster.telemetry.v1", "it_kw": rng.choice([0, 0.0005, 12.3456, 1e12])}
    return _fill(rng, body, METER | {"pools": [pools]})


USE: Optional = {"util": [0, 0.5], "stranded": [0, 3]}
METER: Optional = {
    "facility_kw": [0, 77.7],
    "queue_tasks": [0, 9],
    "inlet_c": [-5.5, 22],
    "statistic": ["mean"],
    "origin": ["measured", "estimated"],
}
ANSWERS = ["started", "progress", "paused", "released", "finished", "failed"]


def _tasks(kind: int, who: int, rng: Random) -> Body:
    body: Body = {"task_id": f"t{who}"}
    if kind % 4 == 2:
        return _fill(rng, body | {"type": "task.cancelled.v1"}, {"reason": ["no"]})
    if kind % 4 == 3:
        return _submitted(body, rng)
    body |= {"type": f"task.{ANSWERS[rng.randrange(6)]}.v1", "attempt": rng.choice([1, 1, 2, 2, 3, 1_000_000])}
    body["cluster_id"] = rng.choice(["c", "d", "e"])
    optional: Optional = {"pool_id": ["p", "q"], "decision_id": ["x"], "reason": ["final", "rejected", "final", "oom"]}
    return _fill(rng, body, optional | {"done_share": [0, 0.3, 0.7, 1], "energy_wh": [0, 0.0005, 12.3456, 1e12]})


def _submitted(body: Body, rng: Random) -> Body:
    body |= {"type": "task.submitted.v1", "origin": rng.choice("mno"), "est_duration_s": rng.choice([0, 60, 1e9])}
    parts: Optional = {
        "accelerators": [8],
        "compatible": [[], ["H"], ["H", "N"]],
        "nodes": [2],
        "cpu_cores": [3.5],
        "mem_gib": [9],
    }
    body["request"] = _fill(rng, {}, parts)
    texts = {name: ["a", "b"] for name in ("tenant", "scenario", "qos", "failure_domains")}
    flags = {name: [True, False] for name in ("gang", "movable", "interruptible")}
    numbers = {
        name: [0, 2.5]
        for name in ("power_w", "value_per_h", "data_in_gb", "data_rate_gbph", "state_gb", "checkpoint_s")
    }
    rest: Optional = {"kind": ["training", "edge"], "priority": [0, 1, 2], "latency_ms": [10.0], "replicas": [1, 3]}
    rest |= {"earliest_start": [START], "deadline": [START + HOUR], "residency": [["cn"], ["cn", "eu"]]}
    return _fill(rng, body, texts | flags | numbers | rest)


def _interval(rng: Random, t: int) -> Body:
    start = t // HOUR * HOUR + rng.choice([-30, -1, 0, 1]) * HOUR
    return {"start": start, "end": start + rng.choice([1, HOUR, 26 * HOUR])}


def _services(kind: int, who: int, rng: Random) -> Body:
    if kind % 3 == 2:
        body: Body = {"type": "service.serving.v1", "cluster_id": f"c{who}", "service": rng.choice("st")}
        body["tokens_per_s"] = rng.choice([0, 0, 55.5])
        optional: Optional = {"pool_id": ["p"], "origin": ["m", "n"], "replicas": [2], "queue": [0, 4]}
        return _fill(rng, body, optional | {"ttft_ms": [{"p50": 5}, {"p50": 5.5, "p99": 99}]})
    body = {
        "type": "service.demand.v1",
        "service": "st"[who % 2],
        "origin": rng.choice("mn"),
        "model": rng.choice("kl"),
    }
    body |= {"tokens_out_per_s": rng.choice([0, 12.5])}
    rates = {name: [0, 7.25] for name in ("requests_per_s", "tokens_in_per_s", "latency_ms", "ttft_ms_limit")}
    return _fill(rng, body, rates | {"compatible": [["H"], ["H", "N"], []]})


def _power(kind: int, who: int, rng: Random) -> Body:
    body: Body = {"zone_id": f"z{who}"}
    if kind % 7 == 6:
        return body | {"type": "power.alert.v1", "kind": "outage"}
    revisions: Optional = {"revision": [0, 1, 2]}
    if kind % 2:
        body |= {"type": "power.carbon.v1", "gco2e_per_kwh": rng.choice([0, 250.5])}
        shares = {name: [0, 0.25] for name in ("renewable_share", "carbon_free_share")}
        kinds: Optional = {"basis": ["marginal"], "scope": ["residual"], "origin": ["measured", "forecast"]}
        return _fill(rng, body, revisions | shares | kinds)
    body |= {"type": "power.price.v1", "market": rng.choice(["day_ahead", "real_time"])}
    body |= {"price_per_mwh": rng.choice([-5, 0, 99.5]), "currency": rng.choice(["EUR", "CNY"])}
    return _fill(
        rng,
        body,
        revisions | {"stage": ["forecast", "final"], "floor": [-500], "cap": [3000.0], "published_at": [START]},
    )


def _network(kind: int, who: int, rng: Random) -> Body:
    body: Body = {"src": f"n{who}", "dst": rng.choice(["n0", "n1"])}
    if kind % 2:
        body |= {"type": "network.fee.v1", "per_gb": rng.choice([0, 0.05]), "currency": rng.choice(["EUR", "CNY"])}
        return _fill(rng, body, {"per_mbps_month": [3], "billing": ["p95"], "from": [START], "to": [START + HOUR]})
    body |= {"type": "network.link.v1", "rtt_ms": _fill(rng, {"p50": rng.choice([0, 12.5])}, {"p99": [33.3]})}
    return _fill(rng, body, {"layer": ["optical"], "jitter_ms": [0.5], "loss": [0, 0.01], "available_mbps": [0, 1e5]})


def _control(kind: int, who: int, rng: Random) -> Body:
    named = ["policy.set.v1", "tenant.quota.v1", "fx.rate.v1"]
    by_id = ["cluster.cordon.v1", "cluster.uncordon.v1", "cluster.drain.v1", "task.pin.v1"]
    single = ["dispatch.pause.v1", "dispatch.resume.v1", "dispatch.advisory.v1"]
    tag = [*by_id, *single, *named][kind % 10]
    body: Body = {"type": tag}
    if tag == "fx.rate.v1":
        return body | {"name": ["EUR", "USD", "CNY"][who], "to": "CNY", "rate": rng.choice([0.5, 7.75])}
    if tag in named:
        more: Optional = {"policy": ["price"], "version": ["2"], "params": [{"b": 1.5, "a": True, "c": "x"}]}
        return _fill(
            rng,
            body | {"name": f"x{who}"},
            more if tag == "policy.set.v1" else {"accelerators": [4.5], "weight": [2.5]},
        )
    if tag in by_id:
        body["id"] = f"x{who}"
    return _fill(
        rng, body, {"by": ["ops"], "reason": ["heat", "ü"]} | ({"cluster_id": ["c"]} if tag == "task.pin.v1" else {})
    )


BODIES: dict[str, Callable[[int, int, Random], Body]] = {
    "inventory": _inventory,
    "telemetry": _telemetry,
    "tasks": _tasks,
    "services": _services,
    "power": _power,
    "network": _network,
    "control": _control,
}


def item(body: Body) -> Item:
    return Item(json.dumps(body, ensure_ascii=False).encode(), body)


def event(topic: str, kind: int, who: int, seq: int, *, t: int, variation: int) -> Item:
    """An event of a topic."""
    rng = Random(variation)
    body = BODIES[topic](kind, who, rng) | {"seq": seq, "t": t}
    if body["type"] in {"service.demand.v1", "power.price.v1", "power.carbon.v1", "power.alert.v1"}:
        body |= _interval(rng, t)
    if topic != "control" and variation % 5 == 0:
        body |= {"source": "w", "unknown_field": {"a": [1]}}
    return item(body)


def clock(t: int, variation: int = 0) -> Item:
    """A clock; variation 0 keeps windows of 4 h without lateness."""
    body: Body = {"type": "clock.v1", "seq": 0, "t": t, "window_ms": WINDOW}
    if variation % 4 == 3:
        body |= {"window_ms": [HOUR, 6 * HOUR, WINDOW][variation // 4 % 3]}
        body |= {"lateness_ms": [0, HOUR, 3 * HOUR][variation // 12 % 3]}
        body |= {"max_ahead_ms": [0, 10 * HOUR, 10_000 * HOUR][variation // 36 % 3]}
    return item(body)


def malformed(topic: str, t: int, variation: int) -> Item:
    """A record that must be refused."""
    body = BODIES[topic](0, 0, Random(0)) | {"seq": 1, "t": t} | _interval(Random(0), t)
    elsewhere = "clusters.cordon.v1" if topic == "control" else "cluster.cordon.v1"
    wrong = [
        (b"", "value.empty"),
        (b"null", "type.missing"),
        (b"[1, 2]", "type.missing"),
        (json.dumps(body).encode()[:-1], "json.malformed"),
        (json.dumps(body | {"seq": -1}).encode(), "body.invalid"),
        (json.dumps(body | {"t": "now"}).encode(), "body.invalid"),
        (json.dumps(body | {"type": elsewhere}).encode(), "type.unknown" if topic == "control" else "topic.wrong"),
        (json.dumps(body | {"type": body["type"][:-1] + "9"}).encode(), "version.unknown"),
        (b'{"type": "x.v1", "a": ' + b"[" * 500 + b"]" * 500 + b"}", "json.too_deep"),
    ]
    value, reason = wrong[variation % len(wrong)]
    return Item(value, None, reason)


def build(topic: str, specs: list[tuple[int, int, int, int, int]]) -> list[Item]:
    """The log that ``specs`` describe: (what, who, seq, delay, variation) each."""
    now, items = START, []
    for what, who, seq, delay, variation in specs:
        if what in {0, 16}:
            step = STEPS_H[variation % len(STEPS_H)] * HOUR
            now = max(now, now + step)
            items.append(clock(now if step >= 0 else now + step, variation // len(STEPS_H)))
        elif what == 1 and items:
            items.append(items[variation % len(items)])
        elif what == 2:
            items.append(malformed(topic, now, variation))
        else:
            items.append(event(topic, what, who, SEQS[seq], t=now + DELAYS_H[delay] * HOUR, variation=variation))
    return items


def logs(topic: str) -> st.SearchStrategy[list[Item]]:
    """Logs of a topic: events, repeats, malformed records and clocks, interleaved."""
    spec = st.tuples(
        st.integers(0, 16),
        st.integers(0, 2),
        st.integers(0, len(SEQS) - 1),
        st.integers(0, len(DELAYS_H) - 1),
        st.integers(0, 1000),
    )
    # lists without a least size are short on average
    few, many = st.lists(spec, max_size=8), st.lists(spec, min_size=20, max_size=60)
    return (few | many | many).map(lambda specs: build(topic, specs))
