"""What a move costs once: state and input data that cross the network, and the work that is done again."""

import numpy as np

from twin.arrays import Float1, Int1
from twin.view import ACCELERATORS, CPU_CORES, State, View


def lost_work(view: View, tasks: Int1) -> Float1:
    """Return the work that a move of ``tasks`` loses, currency, (n,): half a checkpoint interval at penalty rates.

    Without a checkpoint interval a movable task loses nothing.
    """
    t, rates = view.tasks, view.rates
    interval_s = t.checkpoint_s[tasks]
    hours = np.where(np.isnan(interval_s), 0.0, interval_s) / 2.0 / 3600.0
    request = t.request[tasks]
    per_h = (
        request[:, ACCELERATORS] * rates.penalty_per_accelerator_h + request[:, CPU_CORES] * rates.penalty_per_core_h
    )
    return hours * per_h


def move_cost(view: View, tasks: Int1, source: Int1, target: Int1) -> Float1:
    """Return what moving ``tasks`` from pool ``source`` to pool ``target`` costs once, currency, all (n,).

    The start at the target pays for the input data again. A task that has not started leaves no state behind.
    """
    t, fees = view.tasks, view.network.fee_per_gb
    node = view.clusters.node[view.pools.cluster]
    left = t.state_gb[tasks] * fees[node[source], node[target]] + lost_work(view, tasks)
    started = t.state[tasks] != State.ASSIGNED
    return t.data_in_gb[tasks] * fees[t.origin[tasks], node[target]] + np.where(started, left, 0.0)
