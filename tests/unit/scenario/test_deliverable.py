"""Whether the work of a scenario can be done: a plain greedy loop, window by window, with failures but without services."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from producers.scenario import Scenario, generate
from twin import events as ev

WORK_DONE = {"islands": 0.999, "edge-heavy": 0.999, "gpu-crunch": 0.995, "tiny": 0.999}


@dataclass
class Room:
    """A pool with what is free in it."""

    cluster: ev.ClusterRegistered
    pool: ev.Pool
    total: np.ndarray = field(init=False)
    used: np.ndarray = field(init=False)
    share: float = 1.0

    def __post_init__(self) -> None:
        pool = self.pool
        self.total = np.array([pool.nodes * pool.accelerators_per_node, pool.cpu_cores, pool.mem_gib], float)
        self.used = np.zeros(3)

    def suits(self, task: ev.TaskSubmitted, rtt: dict[tuple[str, str], float]) -> bool:
        r, pool = task.request, self.pool
        model = pool.accelerator.model if pool.accelerator else None
        return (
            (r.accelerators > 0) == (model is not None)
            and (not r.compatible or model in r.compatible)
            and r.nodes <= pool.nodes
            and r.accelerators <= r.nodes * pool.accelerators_per_node
            and (not task.residency or self.cluster.zone_id in task.residency)
            and (task.latency_ms is None or rtt[task.origin, self.cluster.node_id] <= task.latency_ms)
        )

    def has(self, need: np.ndarray) -> bool:
        return bool((self.used + need <= self.share * self.total).all())


def done_share(scenario: Scenario) -> float:
    """Share of the work that is done by the end when each task goes to the emptiest pool that suits it, big ones first."""
    events = scenario.events
    rtt = {(e.src, e.dst): e.rtt_ms.p50 for e in events if isinstance(e, ev.NetworkLink)}
    rtt |= {(dst, src): value for (src, dst), value in rtt.items()}
    rooms = [Room(c, pool) for c in events if isinstance(c, ev.ClusterRegistered) for pool in c.pools]
    tasks = [e for e in events if isinstance(e, ev.TaskSubmitted)]
    states = [e for e in events if isinstance(e, ev.ClusterState)]
    waiting: list[ev.TaskSubmitted] = []
    running: list[tuple[float, Room, np.ndarray]] = []
    suits: dict[tuple[object, ...], list[Room]] = {}
    work = done = 0.0
    for now in range(scenario.t0 + scenario.window_ms, scenario.end, scenario.window_ms):
        for state in states:
            for room in rooms:
                if now - scenario.window_ms <= state.t < now and room.cluster.cluster_id == state.cluster_id:
                    healthy = {pool.pool_id: pool.healthy for pool in state.pools}
                    room.share = healthy[room.pool.pool_id] / room.pool.nodes
        for end, room, need in running:
            if end <= now:
                room.used -= need
        running = [row for row in running if row[0] > now]
        while tasks and tasks[0].t < now:
            waiting.append(tasks.pop(0))
        waiting.sort(key=lambda task: (-task.request.accelerators, -task.priority, task.t))
        left = []
        for task in waiting:
            r = task.request
            key = (task.origin, task.latency_ms, *task.residency, r.accelerators, r.nodes, r.cpu_cores, *r.compatible)
            if key not in suits:
                suits[key] = [room for room in rooms if room.suits(task, rtt)]
            need = np.array([r.accelerators, r.cpu_cores, r.mem_gib], float)
            free = [room for room in suits[key] if room.has(need)]
            if not free or (task.earliest_start or 0) > now:
                left.append(task)
                continue
            room = min(free, key=lambda each: float((each.used / np.maximum(each.total, 1)).max()))
            room.used += need
            running.append((now + 1000 * task.est_duration_s, room, need))
            amount = r.accelerators or r.cpu_cores / 64
            work += amount * task.est_duration_s
            done += amount * min(task.est_duration_s, (scenario.end - now) / 1000)
        waiting = left
    missing = sum((task.request.accelerators or task.request.cpu_cores / 64) * task.est_duration_s for task in waiting)
    return done / (work + missing)


@pytest.mark.parametrize("name", WORK_DONE)
def test_a_plain_greedy_dispatcher_gets_nearly_all_work_done(name: str) -> None:
    assert done_share(generate(name)) >= WORK_DONE[name]


def test_the_default_scenario_can_be_done_too() -> None:
    assert done_share(generate("edwc", scale=0.3)) >= 0.999
