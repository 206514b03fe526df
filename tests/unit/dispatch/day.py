"""A day in closed loop, as small as it can be: tasks arrive, are decided on every window, run, are billed.

No plant, no log, no folding: just enough to see what a policy costs over time. The money is counted here by itself.
"""

from dataclasses import dataclass

import numpy as np

from twin.dispatch import Policy, check, dispatch
from twin.view import Action, Clusters, Network, Pools, PriceCarry, Rates, Services, State, Tasks, View

WINDOW_S = 900
HOURS = 24
QUIET_H = 8  # nothing arrives at the end, so that all work can be done
WEIGHT = np.array([1.0, 2.0, 5.0])


@dataclass(frozen=True)
class Bill:
    """What a day cost."""

    energy: float
    network: float
    moves: float
    undelivered: float
    violations: int

    @property
    def total(self) -> float:
        return self.energy + self.network + self.moves + self.undelivered


class World:
    """Clusters with an accelerator and a core pool each, prices with a daily swing, a day of tasks."""

    def __init__(self, seed: int, *, tasks: int = 900, clusters: int = 8, load: float = 0.85) -> None:
        r = np.random.default_rng(seed)
        self.n, self.c, self.origins = tasks, clusters, 5
        nodes = self.origins + clusters
        at = r.uniform(0, 1, (nodes, 2))
        far = np.abs(at[:, None] - at[None]).sum(axis=2)
        self.rtt_ms = 1 + 20 * far
        self.fee = 0.005 + 0.02 * far
        for table in (self.rtt_ms, self.fee):
            np.fill_diagonal(table, 0.0)
        hours = np.arange(HOURS + 1)
        swing = 1 - np.abs(((hours[None] - r.uniform(0, 24, (clusters, 1))) % 24) - 12) / 12  # 0 .. 1 and back
        self.price = r.uniform(30, 120, (clusters, 1)) * (0.4 + 1.2 * swing) + r.normal(0, 5, (clusters, HOURS + 1))
        self.pue = r.uniform(1.1, 1.5, clusters)
        self._tasks(r)
        self._capacity(r, load)

    def _tasks(self, r: np.random.Generator) -> None:
        n = self.n
        self.gpu = r.random(n) < 0.6
        gpus = np.where(self.gpu, r.choice([1, 2, 4, 8], n, p=[0.5, 0.2, 0.2, 0.1]), 0)
        cores = np.where(self.gpu, 8 * gpus, r.choice([4, 8, 16, 32], n))
        self.request = np.stack([gpus, cores, 4 * cores], axis=1).astype(float)
        self.submitted_s = np.sort(r.uniform(0, (HOURS - QUIET_H) * 3600, n))
        self.duration_s = np.where(r.random(n) < 0.4, r.uniform(30, 800, n), r.uniform(1800, 18_000, n))
        self.origin = r.integers(0, self.origins, n)
        self.latency_ms = np.where(r.random(n) < 0.4, r.choice([12.0, 20.0], n), np.inf)
        self.rate = np.where(r.random(n) < 0.4, r.exponential(1.0, n), 0.0)
        self.data_gb = np.where(r.random(n) < 0.5, r.exponential(3.0, n), 0.0)
        self.state_gb = np.where(r.random(n) < 0.5, r.exponential(5.0, n), 0.0)
        self.priority = r.choice(3, n, p=[0.5, 0.35, 0.15])

    def _capacity(self, r: np.random.Generator, load: float) -> None:
        """Size the pools so that the work fills ``load`` of them while it arrives."""
        share = r.uniform(0.3, 1.7, self.c)
        share /= share.sum()
        span_h = HOURS - QUIET_H
        self.capacity = np.zeros((2 * self.c, 3))
        for kind, mine in ((0, self.gpu), (1, ~self.gpu)):
            busy = (self.duration_s[mine, None] / 3600 * self.request[mine]).sum(axis=0) / span_h / load
            self.capacity[kind::2] = np.ceil(share[:, None] * busy / 8) * 8
        self.capacity[:, 1:] = np.maximum(self.capacity[:, 1:], [[32, 128]])


def bill(world: World, text: str) -> Bill:
    """Run the day under a policy."""
    day, policy, carry = _Day(world), Policy.parse(text), PriceCarry.empty()
    for k in range(1, HOURS * 3600 // WINDOW_S):
        now_s = k * WINDOW_S
        live = np.flatnonzero((world.submitted_s < now_s) & (day.left_s > 0))
        view = day.view(live, now_s)
        decisions, carry = dispatch(view, carry, policy, 0)
        day.violations += len(check(view, decisions))
        for i, action, pool in zip(decisions.task, decisions.action, decisions.pool, strict=True):
            day.obey(int(live[i]), int(action), int(pool))
        day.run(now_s)
    return day.bill()


class _Day:
    def __init__(self, world: World) -> None:
        self.w = world
        self.pool = np.full(world.n, -1)
        self.left_s = world.duration_s.copy()
        self.energy = self.network = self.moves = 0.0
        self.violations = 0

    def site(self, pool: np.ndarray | int) -> np.ndarray | int:
        return self.w.origins + pool // 2

    def obey(self, i: int, action: int, pool: int) -> None:
        w = self.w
        self.network += w.data_gb[i] * w.fee[w.origin[i], self.site(pool)]
        if action == Action.MOVE:
            self.moves += w.state_gb[i] * w.fee[self.site(int(self.pool[i])), self.site(pool)]
        self.pool[i] = pool

    def run(self, now_s: int) -> None:
        w = self.w
        i = np.flatnonzero((self.pool >= 0) & (self.left_s > 0))
        hours = np.minimum(self.left_s[i], WINDOW_S) / 3600
        pool = self.pool[i]
        kw = (w.request[i, 0] * 400 + w.request[i, 1] * 8 * (pool % 2)) / 1000
        price = w.price[pool // 2, now_s // 3600]
        self.energy += float((kw * w.pue[pool // 2] * price / 1000 * hours).sum())
        self.network += float((w.rate[i] * w.fee[w.origin[i], self.site(pool)] * hours).sum())
        self.left_s[i] -= WINDOW_S

    def bill(self) -> Bill:
        w = self.w
        lost_h = np.maximum(self.left_s, 0) / 3600 * WEIGHT[w.priority]
        undelivered = float((lost_h * (5 * w.request[:, 0] + 0.08 * w.request[:, 1])).sum())
        return Bill(self.energy, float(self.network), float(self.moves), undelivered, self.violations)

    def view(self, live: np.ndarray, now_s: int) -> View:
        w, now = self.w, now_s * 1000
        n, pools, nodes = len(live), len(w.capacity), w.origins + w.c
        runs = self.pool[live] >= 0
        share = np.minimum(1.0, np.maximum(self.left_s[live], 1.0) / WINDOW_S)
        free = w.capacity.copy()
        np.subtract.at(free, self.pool[live[runs]], w.request[live[runs]] * share[runs, None])
        kinds = np.arange(pools) % 2
        return View(
            window_end=now,
            effective_at=now,
            window_ms=WINDOW_S * 1000,
            pools=Pools(
                ids=tuple((f"c{p // 2}", "cg"[1 - p % 2]) for p in range(pools)),
                cluster=np.arange(pools) // 2,
                capacity=w.capacity,
                free=free,
                open=np.ones(pools, np.bool_),
                holds=np.ones(pools, np.bool_),
                model=-kinds,
                w_per_accelerator=np.where(kinds == 0, 400.0, 0.0),
                w_per_core=np.where(kinds == 0, 0.0, 8.0),
                tokens_per_s=np.zeros((pools, 0)),
            ),
            clusters=Clusters(
                ids=tuple(f"c{k}" for k in range(w.c)),
                zone=tuple(f"z{k}" for k in range(w.c)),
                node=w.origins + np.arange(w.c),
                pue=w.pue,
                price_per_mwh=w.price[:, now_s // 3600],
                price_known=np.ones(w.c, np.bool_),
                carbon_g_per_kwh=np.full(w.c, 300.0),
                power_cap_kw=np.full(w.c, np.inf),
                idle_kw=np.zeros(w.c),
                power_free_kw=np.full(w.c, np.inf),
                tier=np.zeros(w.c, np.int64),
            ),
            tasks=Tasks(
                ids=[f"t{i}" for i in live],
                state=np.where(runs, State.RUNNING, State.WAITING).astype(np.uint8),
                desired=self.pool[live],
                reported=self.pool[live],
                attempt=runs.astype(np.int64),
                request=w.request[live],
                occupancy=share,
                power_w=np.full(n, np.nan),
                shape=np.where(w.gpu[live], 0, 1),
                origin=w.origin[live],
                latency_ms=w.latency_ms[live],
                priority=w.priority[live],
                kind=np.zeros(n, np.int64),
                submitted_at=(w.submitted_s[live] * 1000).astype(np.int64),
                earliest_start=np.zeros(n, np.int64),
                deadline=np.full(n, 2**62),
                remaining_s=self.left_s[live],
                data_in_gb=w.data_gb[live],
                data_rate_gbph=w.rate[live],
                state_gb=w.state_gb[live],
                movable=np.ones(n, np.bool_),
                interruptible=np.ones(n, np.bool_),
                checkpoint_s=np.full(n, np.nan),
                barred=np.full((n, 2), -1),
            ),
            network=Network(
                tuple(f"n{k}" for k in range(nodes)), w.rtt_ms, w.fee, w.fee >= 0, np.full((nodes, nodes), np.nan)
            ),
            services=Services((), *(np.zeros(0, np.int64),) * 2, *(np.zeros(0),) * 2, np.zeros((0, pools)), ()),
            allowed=np.array([kinds == 0, kinds == 1]),
            rates=Rates(),
        )
