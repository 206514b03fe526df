"""What the dispatcher says: decisions and window records as they go out, from columns."""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from twin.arrays import Float1
from twin.decisions import ACTION_NAMES, Decision, Delta, RunnerUp, ShareOut, Target, WindowRecord
from twin.dispatch.policy import Policy
from twin.energy.ledger import Bookings, Kind
from twin.shards.shard import SCHEMA
from twin.snapshot import counts
from twin.view import Action, Decisions, Reason, State, View

Splits = Mapping[str, Float1]


@dataclass(frozen=True, slots=True)
class Solved:
    """What dispatch made of a view. ``error`` is empty unless the window stays as it was; ``solve_ms`` is a measurement."""

    decisions: Decisions
    error: str
    violations: list[str]
    solve_ms: float
    splits: int = 0
    """Services whose split changes."""
    published: int = 0
    """Decisions that are published with the window."""


@dataclass(frozen=True, slots=True)
class TwinHashes:
    """Where the twin stands: positions and hashes after the window's decisions, and when each cluster was metered last."""

    skipped: tuple[int, ...]
    positions: dict[str, int]
    state_sha256: str
    carry_sha256: str
    decisions_sha256: str
    seed: int
    meter_at: list[int]


def decisions_out(view: View, d: Decisions, policy: str, *, splits: Splits, advice: bool) -> list[Decision]:
    """The decisions of a window as they go out: tasks in the view's order, then services whose split changes."""
    ids, pool_ids, tasks = view.tasks.ids, view.pools.ids, view.tasks
    stem = f"{view.window_end}-"
    targets = [Target(cluster_id=c, pool_id=p) for c, p in pool_ids]
    columns = zip(
        d.task.tolist(), d.action.tolist(), d.pool.tolist(), d.start_at.tolist(), d.runner_up.tolist(),
        d.runner_up_more.tolist(), d.delta_energy.tolist(), d.delta_network.tolist(), d.delta_move.tolist(),
        d.delta_carbon_g.tolist(), d.delta_rtt_ms.tolist(), d.binding.tolist(), strict=True,
    )  # fmt: skip
    wire = []
    for task, action, pool, start_at, second, more, energy, network, move, carbon, rtt, binding in columns:
        goes = action in {Action.PLACE, Action.MOVE}
        old = int(tasks.desired[task])
        wire.append(
            Decision(
                task_id=ids[task],
                decision_id=f"{stem}{ids[task]}",
                window=view.window_end,
                t=view.effective_at,
                action=ACTION_NAMES[Action(action)],
                attempt=int(tasks.attempt[task]) + goes,
                advice=advice,
                from_=targets[old] if old >= 0 else None,
                to=targets[pool] if pool >= 0 else None,
                start_at=start_at or None,
                delta=Delta(
                    energy_cost=energy,
                    network_cost=network,
                    move_cost=move,
                    carbon_g=_known(carbon),
                    rtt_ms=_known(rtt),
                ),
                binding=Reason(binding).name.lower() if binding else "",
                runner_up=_runner_up(pool_ids, second, more),
                assumed=_assumed(view, task, pool),
                policy=policy,
            )
        )
    return wire + _splits_out(view, d, policy, splits=splits, advice=advice)


def _splits_out(view: View, d: Decisions, policy: str, *, splits: Splits, advice: bool) -> list[Decision]:
    """A decision per service whose split changes; a service that is asked for no more gets an empty one."""
    now = {key: d.split[i] for i, key in enumerate(view.services.keys)}
    gone = {key: np.zeros(0) for key in splits if key not in now}
    wire = []
    for key, split in (now | gone).items():
        before = splits.get(key)
        if key in now and before is not None and np.array_equal(before, split):
            continue
        shares = [
            ShareOut(cluster_id=view.pools.ids[p][0], pool_id=view.pools.ids[p][1], tokens_per_s=float(split[p]))
            for p in np.flatnonzero(split).tolist()
        ]
        wire.append(
            Decision(
                task_id=key,
                decision_id=f"{view.window_end}-{key}",
                window=view.window_end,
                t=view.effective_at,
                action="split",
                advice=advice,
                shares=shares,
                policy=policy,
            )
        )
    return wire


def window_out(view: View, solved: Solved, policy: Policy, bookings: Bookings, twin: TwinHashes) -> WindowRecord:
    """The record of a window."""
    d = solved.decisions
    reasons = np.bincount(d.unplaced, minlength=len(Reason))
    bounded = not np.isnan(d.lower_bound) and not np.isnan(d.objective) and d.objective != 0
    return WindowRecord(
        window=view.window_end,
        start=view.window_end - view.window_ms,
        end=view.window_end,
        skipped=list(twin.skipped),
        positions=twin.positions,
        state_sha256=twin.state_sha256,
        carry_sha256=twin.carry_sha256,
        decisions_sha256=twin.decisions_sha256,
        schema=SCHEMA,
        policy={"name": policy.name, "version": policy.version, "params": dict(policy.params)},
        seed=twin.seed,
        tier=d.tier,
        counts=_counts(view, d) | {"splits": solved.splits, "decisions": solved.published},
        totals=_totals(bookings),
        prices={
            zone: float(price) if known else None
            for zone, price, known in zip(
                view.clusters.zone, view.clusters.price_per_mwh, view.clusters.price_known, strict=True
            )
        },
        lower_bound=_known(d.lower_bound),
        gap=(d.objective - d.lower_bound) / abs(d.objective) if bounded else None,
        degraded=bool(solved.error),
        error=solved.error,
        staleness_ms=_staleness(view.effective_at, twin.meter_at),
        unplaced={reason.name.lower(): int(reasons[reason]) for reason in Reason if reason and reasons[reason]},
        violations=solved.violations,
        numerics={"numpy": np.__version__, "machine": platform.machine()},
        solve_ms=solved.solve_ms,
    )


_APART = (Action.KEEP, Action.SPLIT)
"""Counted from what they leave out, and from the services."""


def _counts(view: View, d: Decisions) -> dict[str, int]:
    """Live tasks by state, those that wait for their time, services demanded, decisions by action, keeps, forced moves."""
    actions = np.bincount(d.action, minlength=len(Action))
    number = counts(view.tasks.state)
    waiting = view.tasks.state == State.WAITING
    number["dated"] = int(np.count_nonzero(waiting & (view.tasks.earliest_start > view.effective_at)))
    number["services"] = len(view.services.keys)
    number |= {f"{action.name.lower()}s": int(actions[action]) for action in Action if action not in _APART}
    number["keep"] = len(view.tasks.state) - len(d.task)
    number["forced_moves"] = int(
        np.count_nonzero((d.action == Action.MOVE) & ~view.pools.holds[view.tasks.desired[d.task]])
    )
    return number


def _staleness(now: int, meter_at: Iterable[int]) -> dict[str, int | None]:
    """Age at ``now`` of the newest meter reading of each cluster that has any, ms."""
    ages = sorted(now - at for at in meter_at if at)
    if not ages:
        return {"p50": None, "p99": None, "max": None}
    return {"p50": ages[len(ages) // 2], "p99": ages[len(ages) * 99 // 100], "max": ages[-1]}


def _totals(b: Bookings) -> dict[str, float | None]:
    """What a window cost, in currency and kg, from its bookings."""
    micro = np.zeros(len(Kind), np.int64)
    np.add.at(micro, b.kind, b.cost_micro)
    energy = micro[[Kind.TASK, Kind.SERVICE]].sum()
    network = micro[[Kind.DATA_IN, Kind.DATA_RATE]].sum()
    work = (b.kind == Kind.TASK) | (b.kind == Kind.SERVICE)
    return {
        "energy_kwh": int(b.energy_mwh[work].sum()) / 1e6,
        "energy_cost": int(energy) / 1e6,
        "network_cost": int(network) / 1e6,
        "move_cost": int(micro[Kind.MOVE]) / 1e6,
        "idle_cost": int(micro[Kind.IDLE]) / 1e6,
        "carbon_kg": int(b.carbon_mg[work].sum()) / 1e6,
    }


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _runner_up(pools: tuple[tuple[str, str], ...], pool: int, more: float) -> RunnerUp | None:
    if pool < 0:
        return None
    return RunnerUp(cluster_id=pools[pool][0], pool_id=pools[pool][1], cost_more=_known(more))


def _assumed(view: View, task: int, pool: int) -> list[str]:
    """What the decision had to take on trust."""
    if pool < 0:
        return []
    cluster = int(view.pools.cluster[pool])
    assumed = []
    if not view.clusters.price_known[cluster]:
        assumed.append("price")
    if not view.network.fee_known[view.tasks.origin[task], view.clusters.node[cluster]]:
        assumed.append("fee")
    return assumed
