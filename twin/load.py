"""What is taken of pools and clusters: by tasks, by services, by others."""

import numpy as np

from twin.arrays import Float1, Float2, Int1
from twin.sites import Columns
from twin.view import ACCELERATORS, CPU_CORES, Services, Tasks


def task_kw(tasks: Tasks, columns: Columns, at: Int1, pool: Int1) -> Float1:
    """IT kW of tasks ``at`` on ``pool``, both (n,)."""
    request = tasks.request[at]
    watts = (
        request[:, ACCELERATORS] * columns.w_per_accelerator[pool] + request[:, CPU_CORES] * columns.w_per_core[pool]
    )
    own = tasks.power_w[at]
    return np.where(np.isnan(own), watts, own) / 1000


def committed(tasks: Tasks, leaving: Int1, columns: Columns) -> tuple[Float2, Float1]:
    """Use per pool (P, 3) and IT kW per cluster (C,) of the union of desired and reported places."""
    pools, clusters = len(columns.pool_ids), len(columns.cluster_ids)
    used, kw = np.zeros((pools, 3)), np.zeros(clusters)
    sides = (tasks.desired, np.where(tasks.reported == tasks.desired, -1, tasks.reported))
    both = (leaving == tasks.desired) | (leaving == tasks.reported)
    for side in (*sides, np.where(both, -1, leaving)):
        at = np.flatnonzero(side >= 0)
        if not len(at):
            continue
        pool, share = side[at], tasks.occupancy[at]
        for r in range(3):
            used[:, r] += np.bincount(pool, tasks.request[at, r] * share, pools)
        kw += np.bincount(columns.cluster[pool], task_kw(tasks, columns, at, pool) * share, clusters)
    return used, kw


def throughput(columns: Columns, models: tuple[str, ...]) -> Float2:
    """Tokens per second of one accelerator, (P, K); 0: the pool cannot serve the model."""
    rows = [[tokens.get(model, 0.0) for model in models] for tokens in columns.tokens]
    return np.array(rows, np.float64).reshape(len(columns.pool_ids), len(models))


def served(services: Services, columns: Columns, throughput: Float2) -> tuple[Float2, Float1]:
    """Accelerators per pool (P, 3) and IT kW per cluster (C,) that the split of services holds."""
    used = np.zeros((len(columns.pool_ids), 3))
    for d in range(len(services.keys)):
        rate = throughput[:, services.model[d]]
        used[:, ACCELERATORS] += np.where(rate > 0, services.split[d] / np.where(rate > 0, rate, 1), 0)
    kw = used[:, ACCELERATORS] * columns.w_per_accelerator / 1000
    return used, np.bincount(columns.cluster, kw, len(columns.cluster_ids)).astype(np.float64)


def foreign(tasks: Tasks, leaving: Int1, served: Float2, allocated: Float1) -> Float2:
    """Accelerators that pools report allocated beyond our own running tasks and services, (P, 3), never below 0."""
    foreign = np.zeros((len(allocated), 3))
    metered = ~np.isnan(allocated)
    if metered.any():
        ours = served[:, ACCELERATORS].copy()
        for side in (tasks.reported, leaving):
            at = np.flatnonzero(side >= 0)
            ours += np.bincount(side[at], tasks.request[at, ACCELERATORS], len(allocated))
        foreign[:, ACCELERATORS] = np.where(metered, np.maximum(allocated - ours, 0), 0)
    return foreign
