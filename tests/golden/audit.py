"""An audit of a run log in plain loops: what ran where at every instant, against what the inventory says there is.

Knows only the log's records. Room and power are looked at whenever something starts or is served more: a node that
fails or a cap that falls under running work breaks no rule, starting something then does.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from producers.log import LogReader

RESOURCES = ("accelerators", "cpu_cores", "mem_gib")
SLACK = 1e-6
Body = dict[str, Any]
Place = tuple[str, str]
ORDER = {
    "cluster.registered.v1": 0,
    "cluster.retired.v1": 0,
    "cluster.state.v1": 0,
    "network.link.v1": 0,
    "task.submitted.v1": 0,
    "service.demand.v1": 0,
    "task.finished.v1": 1,
    "task.released.v1": 1,
    "task.failed.v1": 1,
    "service.serving.v1": 2,
    "task.started.v1": 2,
}
"""What is over at an instant gives its room back before anything starts; room is looked at once all has happened."""


def bodies(log: Path) -> list[Body]:
    """All records of a log that matter, in order of time."""
    reader = LogReader(log)
    found = []
    for topic, partition in reader.partitions():
        for records in reader.read(topic, partition):
            found += [body for body in map(msgspec.json.decode, records.values) if body["type"] in ORDER]
    return sorted(found, key=lambda body: (body["t"], ORDER[body["type"]], body["seq"]))


@dataclass
class Audit:
    """Lives through a log. ``found`` is what broke a rule, ``peak`` the greatest share of each resource and of power used."""

    found: list[str] = field(default_factory=list)
    peak: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    starts: int = 0
    servings: int = 0
    clusters: dict[str, Body] = field(default_factory=dict)
    states: dict[str, Body] = field(default_factory=dict)
    rtt_ms: dict[tuple[str, str], float] = field(default_factory=dict)
    tasks: dict[str, Body] = field(default_factory=dict)
    demands: dict[tuple[str, str], Body] = field(default_factory=dict)
    running: dict[str, tuple[int, Place]] = field(default_factory=dict)
    served: dict[tuple[Place, str, str], float] = field(default_factory=dict)

    def run(self, log: Path) -> "Audit":
        for _, instant in groupby(bodies(log), key=itemgetter("t")):
            grown: dict[Place, Body] = {}
            for body in instant:
                if getattr(self, "_" + body["type"].replace(".v1", "").replace(".", "_"))(body):
                    grown[body["cluster_id"], body["pool_id"]] = body
            for place, body in grown.items():
                self._fits(body, place)
        return self

    def flag(self, body: Body, what: str) -> None:
        self.found.append(f"{body['t']} {body.get('task_id') or body.get('service')}: {what}")

    # ----------------------------------------------------------------------------------------------------- the world

    def _cluster_registered(self, body: Body) -> None:
        self.clusters[body["cluster_id"]] = body

    def _cluster_retired(self, body: Body) -> None:
        self.states[body["cluster_id"]] = {"state": "down"}

    def _cluster_state(self, body: Body) -> None:
        self.states[body["cluster_id"]] = body

    def _network_link(self, body: Body) -> None:
        self.rtt_ms[body["src"], body["dst"]] = body["rtt_ms"]["p50"]

    def _task_submitted(self, body: Body) -> None:
        self.tasks.setdefault(body["task_id"], body)

    def _service_demand(self, body: Body) -> None:
        self.demands[body["service"], body["origin"]] = body

    # --------------------------------------------------------------------------------------------------- what is done

    def _task_started(self, body: Body) -> bool:
        self.starts += 1
        name, place = body["task_id"], (body["cluster_id"], body["pool_id"])
        task = self.tasks.get(name)
        if task is None:
            self.flag(body, "nobody has submitted it")
            return False
        if name in self.running:
            self.flag(body, f"starts at {place} and runs at {self.running[name]}")
        if body["t"] < max(task["t"], task.get("earliest_start") or 0):
            self.flag(body, "starts too early")
        self.running[name] = (body["attempt"], place)
        self._reach(body, task["origin"], task.get("latency_ms"))
        self._takes_work(body)
        wanted = task["request"].get("compatible")
        model = (self._pool(place).get("accelerator") or {}).get("model")
        if wanted and model not in wanted:
            self.flag(body, f"wants {wanted}, runs on {model}")
        return True

    def _ended(self, body: Body) -> None:
        if self.running.get(body["task_id"], (0,))[0] == body["attempt"]:
            del self.running[body["task_id"]]

    _task_finished = _task_released = _task_failed = _ended

    def _service_serving(self, body: Body) -> bool:
        self.servings += 1
        place = (body["cluster_id"], body["pool_id"])
        key = (place, body["service"], body["origin"])
        before, now = self.served.get(key, 0.0), float(body.get("replicas", 0.0))
        self.served[key] = now
        if now > before:
            self._reach(body, body["origin"], self.demands[body["service"], body["origin"]].get("latency_ms"))
        return now > before

    # ------------------------------------------------------------------------------------------------------ the rules

    def _pool(self, place: Place) -> Body:
        return next(pool for pool in self.clusters[place[0]]["pools"] if pool["pool_id"] == place[1])

    def _reach(self, body: Body, origin: str, limit_ms: float | None) -> None:
        if limit_ms is None:
            return
        node = self.clusters[body["cluster_id"]]["node_id"]
        rtt = 0.0 if origin == node else self.rtt_ms.get((origin, node), self.rtt_ms.get((node, origin)))
        if (origin, node) in self.rtt_ms:
            rtt = self.rtt_ms[origin, node]
        if rtt is None or rtt > limit_ms:
            self.flag(body, f"RTT {rtt} ms from {origin} to {body['cluster_id']}, limit {limit_ms} ms")

    def _takes_work(self, body: Body) -> None:
        state = self.states.get(body["cluster_id"], {}).get("state", "up")
        if state not in {"up", "degraded"}:
            self.flag(body, f"{body['cluster_id']} is {state}")

    def _fits(self, body: Body, place: Place) -> None:
        pool, said = self._pool(place), self.states.get(place[0], {})
        healthy = next((p["healthy"] for p in said.get("pools", []) if p["pool_id"] == place[1]), pool["nodes"])
        share = min(1.0, healthy / pool["nodes"]) if pool["nodes"] else 1.0
        whole = (
            pool["nodes"] * pool.get("accelerators_per_node", 0),
            pool.get("cpu_cores", 0.0),
            pool.get("mem_gib", 0.0),
        )
        used = self._used(place)
        for name, have, use in zip(RESOURCES, whole, used, strict=True):
            if use > have * share + SLACK:
                self.flag(body, f"{use:g} {name} used at {place}, {have * share:g} are there")
            self.peak[name] = max(self.peak[name], use / have if have else 0.0)
        self._power(body, place[0], said.get("cap_kw"))

    def _used(self, place: Place) -> tuple[float, float, float]:
        used = [0.0, 0.0, 0.0]
        for name, (_, where) in self.running.items():
            if where == place:
                for r, resource in enumerate(RESOURCES):
                    used[r] += self.tasks[name]["request"].get(resource, 0.0)
        used[0] += sum(n for (where, _, _), n in self.served.items() if where == place)
        return used[0], used[1], used[2]

    def _power(self, body: Body, cluster: str, cap_kw: float | None) -> None:
        spec = self.clusters[cluster]
        caps = [kw for kw in (spec.get("power_cap_kw"), cap_kw) if kw is not None]
        if not caps:
            return
        it_kw = self._idle_kw(spec)
        it_kw += sum(self._task_kw(name, where) for name, (_, where) in self.running.items() if where[0] == cluster)
        for (where, _, _), accelerators in self.served.items():
            if where[0] == cluster:
                it_kw += accelerators * _spread(self._pool(where).get("w_per_accelerator")) / 1000
        facility_kw = (spec.get("pue") or {"a": 1.0})["a"] * it_kw
        if facility_kw > min(caps) + SLACK:
            self.flag(body, f"{cluster} draws {facility_kw:g} kW, its cap is {min(caps):g} kW")
        self.peak["power"] = max(self.peak["power"], facility_kw / min(caps))

    def _task_kw(self, name: str, place: Place) -> float:
        task, pool = self.tasks[name], self._pool(place)
        if task.get("power_w") is not None:
            return float(task["power_w"]) / 1000
        request = task["request"]
        watts = request.get("accelerators", 0) * _spread(pool.get("w_per_accelerator"))
        return (watts + request.get("cpu_cores", 0.0) * _spread(pool.get("w_per_core"))) / 1000

    @staticmethod
    def _idle_kw(spec: Body) -> float:
        if spec.get("idle_kw") is not None:
            return float(spec["idle_kw"])
        watts = 0.0
        for pool in spec["pools"]:
            devices = pool["nodes"] * pool.get("accelerators_per_node", 0)
            watts += devices * (pool.get("w_per_accelerator") or {}).get("idle", 0.0)
            watts += pool.get("cpu_cores", 0.0) * (pool.get("w_per_core") or {}).get("idle", 0.0)
        return watts / 1000


def _spread(device: Body | None) -> float:
    return 0.0 if device is None else float(device["max"]) - float(device.get("idle", 0.0))
