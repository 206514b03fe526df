"""What dispatch reads: the twin at one window as joined columns, and what it writes: decisions as columns.

P pools, C clusters, N live tasks (waiting, assigned, running or moving), O network nodes, S shapes, K service models,
D service demands. The order of pools and clusters is append-only over a run, so prices may be carried by index.
Resources are the three columns ACCELERATORS, CPU_CORES, MEM_GIB.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from twin.arrays import Bool1, Bool2, Byte1, Float1, Float2, Int1

ACCELERATORS, CPU_CORES, MEM_GIB = 0, 1, 2
RESOURCES = ("accelerators", "cpu_cores", "mem_gib")


class State(IntEnum):
    """Where a task stands (desired and reported placement together)."""

    WAITING = 0
    ASSIGNED = 1
    RUNNING = 2
    MOVING = 3
    DONE = 4


class Action(IntEnum):
    """What a decision does. Keeps are counted, not written."""

    KEEP = 0
    PLACE = 1
    MOVE = 2
    DEFER = 3
    PREEMPT = 4
    REJECT = 5
    SPLIT = 6


class Reason(IntEnum):
    """Why a task is not placed, or what bound a choice."""

    NONE = 0
    CAPACITY = 1
    POWER_CAP = 2
    LATENCY = 3
    COMPATIBILITY = 4
    CLUSTER_STATE = 5
    BARRED = 6
    NOT_YET = 7
    RESIDENCY = 8
    POLICY = 9


@dataclass(frozen=True, slots=True)
class Pools:
    """Columns of pools.

    Attributes:
        ids: (cluster_id, pool_id), P of them.
        cluster: index of the cluster, (P,).
        capacity: healthy capacity, (P, 3).
        free: capacity less all that is committed (desired or reported tasks, services, foreign load), (P, 3), may be < 0.
        open: takes new work, (P,).
        holds: work that is there may stay (False: down or draining), (P,).
        model: index of the accelerator model, -1 without accelerators, (P,).
        w_per_accelerator, w_per_core: IT watts that one busy device adds to idle, (P,).
        tokens_per_s: output tokens per second of one accelerator by service model, (P, K); 0: cannot serve it.
    """

    ids: tuple[tuple[str, str], ...]
    cluster: Int1
    capacity: Float2
    free: Float2
    open: Bool1
    holds: Bool1
    model: Int1
    w_per_accelerator: Float1
    w_per_core: Float1
    tokens_per_s: Float2


@dataclass(frozen=True, slots=True)
class Clusters:
    """Columns of clusters.

    Attributes:
        ids: cluster_id, C of them.
        zone: zone_id of each.
        node: index of its network node, (C,).
        pue: facility power / IT power at the margin, (C,).
        price_per_mwh: energy price when the decisions take effect, (C,); the latest known value where the interval is not
            published, the mean of the known ones (0 where there are none) where there never was one.
        price_known: whether ``price_per_mwh`` is published for that time, (C,).
        carbon_g_per_kwh: location-based average intensity, NaN where unknown, (C,).
        power_cap_kw: facility power cap, inf where there is none, (C,).
        idle_kw: IT power without any task, (C,).
        power_free_kw: IT kW that may still be added under the cap, (C,), may be < 0.
        tier: 0 national, 1 regional, 2 edge, (C,).
    """

    ids: tuple[str, ...]
    zone: tuple[str, ...]
    node: Int1
    pue: Float1
    price_per_mwh: Float1
    price_known: Bool1
    carbon_g_per_kwh: Float1
    power_cap_kw: Float1
    idle_kw: Float1
    power_free_kw: Float1
    tier: Int1


@dataclass(frozen=True, slots=True)
class Tasks:
    """Columns of live tasks, in a fixed order (topic partition, row).

    Attributes:
        ids: task_id, N of them.
        state: State, (N,).
        desired: pool where the task is wanted, -1: nowhere, (N,).
        reported: pool where it runs, -1: nowhere, (N,).
        attempt: the newest attempt decided on, 0 before the first, (N,).
        request: what it occupies while it runs, (N, 3).
        occupancy: share of the window that a short task holds its request, (N,), in (0, 1]; capacity and power used in a
            window are ``request * occupancy`` and ``power * occupancy``.
        power_w: IT watts while it runs, NaN where they follow from the pool's devices, (N,).
        shape: row of ``View.allowed``, (N,).
        origin: network node of the tenant, (N,).
        latency_ms: RTT limit, inf where there is none, (N,).
        priority: 0, 1, 2, (N,).
        kind: 0 training, 1 batch, 2 inference, 3 edge, (N,).
        submitted_at, earliest_start, deadline: ms; deadline is a huge number where there is none, (N,).
        remaining_s: expected run time still to come, (N,).
        data_in_gb: paid from the origin at each start; data_rate_gbph: while running; state_gb: at each move, (N,).
        movable, interruptible: (N,).
        checkpoint_s: NaN: no work is lost by a move, (N,).
        barred: pools barred after a rejection, -1: none, (N, 2).
    """

    ids: list[str]
    state: Byte1
    desired: Int1
    reported: Int1
    attempt: Int1
    request: Float2
    occupancy: Float1
    power_w: Float1
    shape: Int1
    origin: Int1
    latency_ms: Float1
    priority: Int1
    kind: Int1
    submitted_at: Int1
    earliest_start: Int1
    deadline: Int1
    remaining_s: Float1
    data_in_gb: Float1
    data_rate_gbph: Float1
    state_gb: Float1
    movable: Bool1
    interruptible: Bool1
    checkpoint_s: Float1
    barred: Int1


@dataclass(frozen=True, slots=True)
class Network:
    """Between network nodes (origins and sites).

    Attributes:
        nodes: node ids, O of them.
        rtt_ms: (O, O), NaN where unknown, 0 on the diagonal unless given.
        fee_per_gb: (O, O), 0 where unknown; fee_known: (O, O).
        available_mbps: (O, O), NaN where unknown.
    """

    nodes: tuple[str, ...]
    rtt_ms: Float2
    fee_per_gb: Float2
    fee_known: Bool2
    available_mbps: Float2


@dataclass(frozen=True, slots=True)
class Services:
    """Demand for services when the decisions take effect.

    Attributes:
        keys: service@origin, D of them, sorted.
        origin: network node, (D,).
        model: index into the columns of ``Pools.tokens_per_s``, (D,).
        tokens_per_s: demand, output tokens, (D,).
        latency_ms: RTT limit, inf where there is none, (D,).
        split: tokens per second wanted from each pool as decided last, (D, P).
        models: names of the K service models.
    """

    keys: tuple[str, ...]
    origin: Int1
    model: Int1
    tokens_per_s: Float1
    latency_ms: Float1
    split: Float2
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rates:
    """Money that is not a price of energy: penalties of the run (scenario currency)."""

    penalty_per_accelerator_h: float = 5.0
    penalty_per_core_h: float = 0.08
    priority_weight: tuple[float, float, float] = (1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class View:
    """The twin at the end of one window.

    ``allowed`` is (S, P): accelerator model, residency and device counts permit the shape on the pool. It says nothing of
    capacity, RTT, cluster state or bars. ``tasks.shape`` indexes its rows.
    """

    window_end: int
    effective_at: int
    window_ms: int
    pools: Pools
    clusters: Clusters
    tasks: Tasks
    network: Network
    services: Services
    allowed: Bool2
    rates: Rates

    def site_rtt_ms(self) -> Float2:
        """RTT from each node to each cluster, (O, C)."""
        return self.network.rtt_ms[:, self.clusters.node]

    def site_fee_per_gb(self) -> Float2:
        """Fee per GB from each node to each cluster, (O, C)."""
        return self.network.fee_per_gb[:, self.clusters.node]


@dataclass(frozen=True, slots=True)
class Decisions:
    """What one window decided. K decisions over tasks in ascending ``task``, and the whole split of services.

    Attributes:
        task: index into ``View.tasks``, (K,), no repeats.
        action: Action, (K,).
        pool: where to, -1 for defer, preempt and reject, (K,).
        start_at: ms, 0 where it does not apply, (K,).
        runner_up: second best pool, -1: none, (K,).
        runner_up_more: what the runner-up costs more, currency per hour, NaN: none, (K,).
        delta_energy, delta_network: change of running cost, currency per hour (against the old place, or from nothing), (K,).
        delta_move: one-off cost of the move or start, currency, (K,).
        delta_carbon_g: change of gCO2e per hour, NaN: unknown, (K,).
        delta_rtt_ms: change of RTT, NaN: unknown, (K,).
        binding: Reason that kept the task from its cheapest place, (K,).
        unplaced: Reason per live task that stays without a place, NONE for the others, (N,).
        split: tokens per second from each pool, (D, P).
        unserved: tokens per second of demand left without a place, (D,).
        lower_bound: certified lower bound of the window's objective, currency per hour, NaN: the policy has none.
        objective: the window's objective, currency per hour, NaN: the policy has none.
        tier: "delta" or "full".
    """

    task: Int1
    action: Byte1
    pool: Int1
    start_at: Int1
    runner_up: Int1
    runner_up_more: Float1
    delta_energy: Float1
    delta_network: Float1
    delta_move: Float1
    delta_carbon_g: Float1
    delta_rtt_ms: Float1
    binding: Byte1
    unplaced: Byte1
    split: Float2
    unserved: Float1
    lower_bound: float = float("nan")
    objective: float = float("nan")
    tier: str = "full"


@dataclass(frozen=True, slots=True)
class PriceCarry:
    """What a policy keeps from window to window; indexed like the view's pools and clusters (shorter: new ones at the end).

    Attributes:
        pool_prices: dual price per pool and resource, currency per unit and hour, (P, 3).
        power_prices: dual price of IT power under the cap per cluster, currency per kWh, (C,).
        cursor: position of a rotating policy.
    """

    pool_prices: Float2
    power_prices: Float1
    cursor: int = 0

    @classmethod
    def empty(cls) -> "PriceCarry":
        """The carry before the first window."""
        return cls(np.zeros((0, 3)), np.zeros(0))
