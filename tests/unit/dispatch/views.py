"""Small random views: everything that dispatch must survive, with what is free counted by plain loops."""

from dataclasses import dataclass, replace

import numpy as np

from twin.view import Clusters, Network, Pools, Rates, Services, State, Tasks, View

FAR = 2**62
WINDOW_MS = 300_000


@dataclass(frozen=True)
class Mix:
    """How a random view is made up; shares are probabilities."""

    clusters: int = 4
    pools_each: int = 2
    new: int = 8
    running: int = 12
    assigned: int = 2
    moving: int = 1
    origins: int = 3
    services: int = 2
    kinds: int = 6  # task kinds: few, so that many tasks are equal
    load: float = 0.6  # capacity is what runs now divided by this; small: plenty of room
    closed: float = 0.15
    down: float = 0.1
    caps: float = 0.3
    unknown_rtt: float = 0.1
    negative: float = 0.2
    unknown_carbon: float = 0.2
    tight: float = 0.5  # share of tasks with an RTT limit
    barred: float = 0.1
    fees: float = 0.02
    state_gb: float = 20.0
    short: float = 0.4
    effective_at: int = 1_000_000_000


def random_view(seed: int, mix: Mix | None = None) -> View:
    """Return the view of ``seed``: integers where possible, so that sums are exact."""
    m = mix or Mix()
    r = np.random.default_rng(seed)
    n_pools = m.clusters * m.pools_each
    clusters = _clusters(r, m)
    network = _network(r, m)
    pools = _pools(r, m, n_pools)
    tasks, allowed = _tasks(r, m, n_pools)
    services = _services(r, m, pools)
    view = View(
        window_end=m.effective_at,
        effective_at=m.effective_at,
        window_ms=WINDOW_MS,
        pools=pools,
        clusters=clusters,
        tasks=tasks,
        network=network,
        services=services,
        allowed=allowed,
        rates=Rates(),
    )
    return with_commitments(_sized(r, m, view))


def with_commitments(view: View) -> View:
    """Return ``view`` with free capacity and power recounted from placements and the standing split."""
    p, c, t = view.pools, view.clusters, view.tasks
    free = p.capacity.copy()
    used_kw = np.zeros(len(c.ids))
    for i in range(len(t.ids)):
        for pool in {int(t.desired[i]), int(t.reported[i])} - {-1}:
            free[pool] -= t.request[i] * t.occupancy[i]
            used_kw[p.cluster[pool]] += task_kw(view, i, pool) * t.occupancy[i]
    for k in range(len(view.services.keys)):
        for pool in np.flatnonzero(view.services.split[k]):
            accelerators = view.services.split[k, pool] / p.tokens_per_s[pool, view.services.model[k]]
            free[pool, 0] -= accelerators
            used_kw[p.cluster[pool]] += accelerators * p.w_per_accelerator[pool] / 1000
    power_free = c.power_cap_kw / c.pue - c.idle_kw - used_kw
    return replace(view, pools=replace(p, free=free), clusters=replace(c, power_free_kw=power_free))


def task_kw(view: View, i: int, pool: int) -> float:
    """IT power of task ``i`` at ``pool`` in kW, by hand."""
    watts = view.tasks.power_w[i]
    if np.isnan(watts):
        a, c, _ = view.tasks.request[i]
        watts = a * view.pools.w_per_accelerator[pool] + c * view.pools.w_per_core[pool]
    return float(watts / 1000)


def _clusters(r: np.random.Generator, m: Mix) -> Clusters:
    n = m.clusters
    price = np.round(r.uniform(20, 200, n))
    price[r.random(n) < m.negative] *= -0.5
    carbon = np.round(r.uniform(20, 700, n))
    carbon[r.random(n) < m.unknown_carbon] = np.nan
    return Clusters(
        ids=tuple(f"c{k}" for k in range(n)),
        zone=tuple(f"z{k // 2}" for k in range(n)),
        node=r.integers(0, m.origins + n, n) if n else np.zeros(0, np.int64),
        pue=np.round(r.uniform(1.05, 1.6, n), 2),
        price_per_mwh=price,
        price_known=r.random(n) < 0.9,
        carbon_g_per_kwh=carbon,
        power_cap_kw=np.where(r.random(n) < m.caps, 1.0, np.inf),  # sized later
        idle_kw=np.round(r.uniform(0, 1, n), 1),
        power_free_kw=np.full(n, np.inf),
        tier=r.integers(0, 3, n),
    )


def _network(r: np.random.Generator, m: Mix) -> Network:
    n = m.origins + m.clusters
    rtt = np.round(r.uniform(1, 40, (n, n)))
    rtt[r.random((n, n)) < m.unknown_rtt] = np.nan
    np.fill_diagonal(rtt, 0.0)
    fee = np.round(r.uniform(0, m.fees, (n, n)), 4)
    fee[r.random((n, n)) < 0.2] = 0.0
    np.fill_diagonal(fee, 0.0)
    return Network(tuple(f"n{k}" for k in range(n)), rtt, fee, fee > 0, np.full((n, n), np.nan))


def _pools(r: np.random.Generator, m: Mix, n: int) -> Pools:
    gpu = r.random(n) < 0.6
    holds = r.random(n) >= m.down
    speed = np.where(r.random((n, 2)) < 0.7, np.round(r.uniform(100, 3000, (n, 2))), 0.0) * gpu[:, None]
    return Pools(
        ids=tuple((f"c{k // m.pools_each}", f"p{k % m.pools_each}") for k in range(n)),
        cluster=np.arange(n) // max(m.pools_each, 1),
        capacity=np.stack([gpu * 1.0, np.ones(n), np.ones(n)], axis=1),
        free=np.zeros((n, 3)),
        open=holds & (r.random(n) >= m.closed),
        holds=holds,
        model=np.where(gpu, 0, -1),
        w_per_accelerator=np.where(gpu, np.round(r.uniform(200, 700, n)), 0.0),
        w_per_core=np.round(r.uniform(2, 12, n)),
        tokens_per_s=speed,
    )


def _tasks(r: np.random.Generator, m: Mix, n_pools: int) -> tuple[Tasks, np.ndarray]:
    states = [State.WAITING] * m.new
    if n_pools:
        states += [State.RUNNING] * m.running + [State.ASSIGNED] * m.assigned + [State.MOVING] * m.moving
    n = len(states)
    kinds = max(m.kinds, 1)
    accelerators = np.where(r.random(kinds) < 0.5, r.integers(1, 9, kinds), 0)
    request = np.stack([accelerators, r.integers(1, 33, kinds), r.integers(1, 65, kinds)], axis=1).astype(float)
    allowed = r.random((kinds, n_pools)) < 0.8
    power = np.where(r.random(kinds) < 0.5, np.round(r.uniform(50, 4000, kinds)), np.nan)
    limit = np.where(r.random(kinds) < m.tight, np.round(r.uniform(5, 40, kinds)), np.inf)
    rate = np.where(r.random(kinds) < 0.5, np.round(r.uniform(0, 30, kinds), 1), 0.0)
    state_gb = np.round(r.uniform(0, m.state_gb, kinds)) * (r.random(kinds) < 0.6)
    checkpoint = np.where(r.random(kinds) < 0.5, 600.0, np.nan)
    kind = r.integers(0, kinds, n)
    state = np.array(states, np.uint8)
    desired = np.where(state == State.WAITING, -1, r.integers(0, max(n_pools, 1), n))
    reported = np.where(state == State.RUNNING, desired, -1)
    reported = np.where(state == State.MOVING, (desired + 1) % max(n_pools, 1), reported)
    short = r.random(n) < m.short
    barred = np.full((n, 2), -1)
    if n_pools:
        hit = r.random(n) < m.barred
        barred[hit, 0] = r.integers(0, n_pools, hit.sum())
    order = r.permutation(n)
    tasks = Tasks(
        ids=[f"t{k}" for k in range(n)],
        state=state[order],
        desired=desired[order],
        reported=reported[order],
        attempt=(state[order] != State.WAITING).astype(np.int64),
        request=request[kind],
        occupancy=np.where(short, r.integers(1, 8, n) / 8, 1.0),
        power_w=power[kind],
        shape=kind,
        origin=r.integers(0, m.origins, n),
        latency_ms=limit[kind],
        priority=r.integers(0, 3, n),
        kind=r.integers(0, 4, n),
        submitted_at=m.effective_at - r.integers(0, 10, n) * 60_000,
        earliest_start=m.effective_at + np.where(r.random(n) < 0.1, 1, 0),
        deadline=np.full(n, FAR),
        remaining_s=np.where(short, 60.0, np.round(r.uniform(300, 100_000, n))),
        data_in_gb=np.where(r.random(kinds) < 0.5, 5.0, 0.0)[kind],
        data_rate_gbph=rate[kind],
        state_gb=state_gb[kind],
        movable=r.random(n) < 0.8,
        interruptible=r.random(n) < 0.5,
        checkpoint_s=checkpoint[kind],
        barred=barred,
    )
    return tasks, allowed


def _services(r: np.random.Generator, m: Mix, pools: Pools) -> Services:
    d, n = m.services, len(pools.ids)
    model = r.integers(0, 2, d)
    split = np.zeros((d, n))
    for k in range(d):
        able = np.flatnonzero(pools.tokens_per_s[:, model[k]] > 0)
        for pool in able[:2]:
            split[k, pool] = float(r.integers(0, 2000))
    return Services(
        keys=tuple(f"s{k}@n0" for k in range(d)),
        origin=r.integers(0, m.origins, d),
        model=model,
        tokens_per_s=np.round(r.uniform(0, 8000, d)),
        latency_ms=np.where(r.random(d) < 0.7, np.round(r.uniform(5, 60, d)), np.inf),
        split=split,
        models=("m0", "m1"),
    )


def _sized(r: np.random.Generator, m: Mix, view: View) -> View:
    """Give pools and caps sizes around what is there now; some end up overcommitted, some without any capacity."""
    bare = with_commitments(replace(view, pools=replace(view.pools, capacity=np.zeros_like(view.pools.capacity))))
    n = len(view.pools.ids)
    typical = np.array([8.0, 32.0, 64.0])
    used = -bare.pools.free
    capacity = np.ceil(used / m.load + typical * r.integers(0, 3, (n, 1)))
    capacity[:, 0] *= view.pools.model >= 0
    capacity[r.random(n) < 0.05] = 0.0
    capacity[r.random(n) < 0.05] *= 0.5
    c = view.clusters
    used_kw = np.zeros(len(c.ids))
    for k in range(len(c.ids)):
        kw = capacity[:, 0] * view.pools.w_per_accelerator + capacity[:, 1] * view.pools.w_per_core
        used_kw[k] = kw[view.pools.cluster == k].sum() / 1000
    cap = np.where(np.isinf(c.power_cap_kw), np.inf, c.pue * (c.idle_kw + used_kw * r.uniform(0.3, 1.1, len(c.ids))))
    return replace(view, pools=replace(view.pools, capacity=capacity), clusters=replace(c, power_cap_kw=cap))
