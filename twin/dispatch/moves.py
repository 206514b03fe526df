"""What a move costs once: the state that crosses the network and the work that is done again."""

import numpy as np

from twin.arrays import Float1, Int1
from twin.view import ACCELERATORS, CPU_CORES, View


def lost_work(view: View, tasks: Int1) -> Float1:
    """Return the work that a move of ``tasks`` loses, currency, (n,): half a checkpoint interval at penalty rates.

    Without a checkpoint interval a movable task loses nothing.
    """
    t, rates = view.tasks, view.rates
    hours = np.nan_to_num(t.checkpoint_s[tasks], nan=0.0) / 2.0 / 3600.0
    request = t.request[tasks]
    per_h = (
        request[:, ACCELERATORS] * rates.penalty_per_accelerator_h + request[:, CPU_CORES] * rates.penalty_per_core_h
    )
    return hours * per_h


def move_cost(view: View, tasks: Int1, source: Int1, target: Int1) -> Float1:
    """Return what moving ``tasks`` from pool ``source`` to pool ``target`` costs once, currency, all (n,)."""
    node = view.clusters.node[view.pools.cluster]
    fee = view.network.fee_per_gb[node[source], node[target]]
    return view.tasks.state_gb[tasks] * fee + lost_work(view, tasks)
