"""One window, from the cuts of all shards to its decisions: what both runtimes call, in the same order.

Everything that decides comes from the log (policy and accounting are control events) or from the carry, so the same
cuts give the same decisions, byte for byte.
"""

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from twin import events as ev
from twin.arrays import Float1
from twin.decisions import ACTION_NAMES, Decision, Delta, RunnerUp, ShareOut, Target, WindowRecord
from twin.dispatch import dispatch
from twin.dispatch.check import check
from twin.dispatch.policy import Policy
from twin.energy.ledger import Bookings, Kind, Ledger
from twin.errors import TwinError
from twin.mirror import Mirror
from twin.placement import Placement
from twin.shards import control
from twin.shards.shard import SCHEMA
from twin.sites import Sites
from twin.snapshot import ViewBuilder, counts
from twin.view import Action, Decisions, PriceCarry, Rates, Reason, State, View

_encode = msgspec.json.Encoder(order="deterministic").encode
DEFAULT_POLICY = "price"


@dataclass(frozen=True, slots=True)
class Accounting:
    """What the log says of money: currency, the market that bills energy, penalties."""

    currency: str = ""
    market: str = "day_ahead"
    rates: Rates = Rates()


@dataclass(frozen=True, slots=True)
class Window:
    """A window as decided: its record, the decisions, what was booked, and the view it was decided on."""

    record: WindowRecord
    decisions: list[Decision]
    bookings: Bookings
    view: View


class Dispatcher:
    """Carries placement, prices, splits and ledger from window to window."""

    def __init__(self, partitions: dict[str, int], *, seed: int = 0) -> None:
        self.mirror = Mirror(partitions)
        self.sites = Sites()
        self.placement = Placement(partitions["tasks"])
        self.ledger: Ledger | None = None
        self.seed = seed
        self.decisions_sha = bytes(32)
        self._builder = ViewBuilder(self.sites)
        self._prices = PriceCarry.empty()
        self._splits: dict[str, Float1] = {}

    def decide(
        self,
        window: int,
        skipped: tuple[int, ...],
        *,
        window_ms: int,
        lateness_ms: int,
        solve_clock: Callable[[], float],
    ) -> Window:
        """Decide on the snapshot that the mirror now holds. ``window`` is the end of the window, ms.

        ``solve_clock`` only measures; nothing depends on it.
        """
        effective_at = window + lateness_ms
        accounting = self.accounting()
        if self.ledger is None:
            self.ledger = Ledger(self.mirror, accounting.currency, accounting.market, first=window - window_ms)
        bookings = self.ledger.book(self.mirror, window)
        self.sites.refresh(self.mirror)
        live = self.placement.follow(self.mirror, self.sites, effective_at=effective_at, window_ms=window_ms)
        view = self._builder.build(
            self.mirror,
            self.placement,
            live,
            self.ledger.curves,
            self._splits,
            window=window,
            effective_at=effective_at,
            window_ms=window_ms,
            market=accounting.market,
            rates=accounting.rates,
        )
        policy = self.policy()
        began = solve_clock()
        decisions, error, violations = self._solve(view, policy)
        solve_ms = (solve_clock() - began) * 1000
        mode = self._mode()
        wire = self._wire(view, decisions, policy, advice=mode == "advisory")
        if mode == "on":
            transfer = _transfer_s(view, decisions)
            self.placement.decide(live, decisions, effective_at=effective_at, window_ms=window_ms, transfer_s=transfer)
            self._splits = {key: decisions.split[d] for d, key in enumerate(view.services.keys)}
        elif mode == "pause":
            wire = []
        sha = hashlib.sha256(b"\n".join(_encode(decision) for decision in wire)).digest()
        self.decisions_sha = hashlib.sha256(self.decisions_sha + sha).digest()
        record = self._record(view, decisions, policy, bookings, skipped, error, violations, solve_ms)
        return Window(record, wire, bookings, view)

    # ------------------------------------------------------------------------------------------ what the log says

    def accounting(self) -> Accounting:
        """Currency, settlement market and penalties in force."""
        said = self._command("policy|accounting")
        if not isinstance(said, ev.PolicySet):
            return Accounting(self._only_currency())
        params = said.params
        rates = Rates(
            penalty_per_accelerator_h=float(params.get("penalty_per_accelerator_h", Rates().penalty_per_accelerator_h)),
            penalty_per_core_h=float(params.get("penalty_per_core_h", Rates().penalty_per_core_h)),
        )
        return Accounting(
            str(params.get("currency") or self._only_currency()),
            str(params.get("settlement_market", "day_ahead")),
            rates,
        )

    def _only_currency(self) -> str:
        """The currency of the first price there is, where no accounting event names one."""
        for shard in self.mirror.of("power"):
            for name in shard.tables["prices"].texts["currency"].names[1:]:
                return name
        return ""

    def policy(self) -> Policy:
        """The dispatch policy in force."""
        said = self._command("policy|dispatch")
        if not isinstance(said, ev.PolicySet):
            return Policy.parse(DEFAULT_POLICY)
        return Policy.of(said.policy, said.params)

    def _mode(self) -> str:
        said = self._command("dispatch|dispatch")
        if isinstance(said, ev.DispatchPause):
            return "pause"
        return "advisory" if isinstance(said, ev.DispatchAdvisory) else "on"

    def _command(self, register: str) -> ev.Event | None:
        for shard in self.mirror.of("control"):
            said: ev.Event | None = control.command(shard.tables["commands"], register)
            if said is not None:
                return said
        return None

    # ---------------------------------------------------------------------------------------------------- solving

    def _solve(self, view: View, policy: Policy) -> tuple[Decisions, str, list[str]]:
        """Dispatch and check. If either fails the window stays as it was and says so."""
        try:
            decisions, prices = dispatch(view, self._prices, policy, self.seed)
            violations = check(view, decisions)
        except (TwinError, ArithmeticError, LookupError, ValueError, TypeError) as error:
            return stay(view), f"{type(error).__name__}: {error}", []
        if violations:
            return stay(view), violations[0], violations
        self._prices = prices
        return decisions, "", []

    def _wire(self, view: View, d: Decisions, policy: Policy, *, advice: bool) -> list[Decision]:
        ids, pool_ids, tasks = view.tasks.ids, view.pools.ids, view.tasks
        name = policy.name
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
                    policy=name,
                )
            )
        return wire + self._splits_wire(view, d, name, advice=advice)

    def _splits_wire(self, view: View, d: Decisions, policy: str, *, advice: bool) -> list[Decision]:
        """A decision per service whose split changes."""
        wire = []
        for i, key in enumerate(view.services.keys):
            before = self._splits.get(key)
            now = d.split[i]
            if before is not None and len(before) == len(now) and np.array_equal(before, now):
                continue
            shares = [
                ShareOut(cluster_id=view.pools.ids[p][0], pool_id=view.pools.ids[p][1], tokens_per_s=float(now[p]))
                for p in np.flatnonzero(now).tolist()
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
        gone = [key for key in self._splits if key not in view.services.keys]
        return wire + [
            Decision(
                task_id=key,
                decision_id=f"{view.window_end}-{key}",
                window=view.window_end,
                t=view.effective_at,
                action="split",
                advice=advice,
                policy=policy,
            )
            for key in gone
        ]

    # ------------------------------------------------------------------------------------------------- the record

    def carry_sha256(self) -> str:
        """Hash of all that is carried: placement, prices, splits, ledger."""
        sha = hashlib.sha256(self.placement.sha())
        sha.update(self._prices.pool_prices.tobytes() + self._prices.power_prices.tobytes())
        sha.update(str(self._prices.cursor).encode())
        for key in sorted(self._splits):
            sha.update(key.encode() + self._splits[key].tobytes())
        if self.ledger is not None:
            sha.update(self.ledger.sha())
        return sha.hexdigest()

    def _record(
        self,
        view: View,
        d: Decisions,
        policy: Policy,
        bookings: Bookings,
        skipped: tuple[int, ...],
        error: str,
        violations: list[str],
        solve_ms: float,
    ) -> WindowRecord:
        actions = np.bincount(d.action, minlength=len(Action))
        number = counts(view.tasks.state)
        number |= {f"{action.name.lower()}s": int(actions[action]) for action in Action if action is not Action.KEEP}
        number["keep"] = len(view.tasks.state) - len(d.task)
        number["forced_moves"] = int(
            np.count_nonzero((d.action == Action.MOVE) & ~view.pools.holds[view.tasks.desired[d.task]])
        )
        reasons = np.bincount(d.unplaced, minlength=len(Reason))
        bounded = not np.isnan(d.lower_bound) and not np.isnan(d.objective) and d.objective != 0
        return WindowRecord(
            window=view.window_end,
            start=view.window_end - view.window_ms,
            end=view.window_end,
            skipped=list(skipped),
            positions=self.mirror.positions(),
            state_sha256=self.mirror.state_sha256(),
            carry_sha256=self.carry_sha256(),
            decisions_sha256=self.decisions_sha.hex(),
            schema=SCHEMA,
            policy={"name": policy.name, "version": policy.version, "params": dict(policy.params)},
            seed=self.seed,
            tier=d.tier,
            counts=number,
            totals=_totals(bookings),
            prices={
                zone: float(price) if known else None
                for zone, price, known in zip(
                    view.clusters.zone, view.clusters.price_per_mwh, view.clusters.price_known, strict=True
                )
            },
            lower_bound=_known(d.lower_bound),
            gap=(d.objective - d.lower_bound) / abs(d.objective) if bounded else None,
            degraded=bool(error),
            error=error,
            staleness_ms=self._staleness(view),
            unplaced={reason.name.lower(): int(reasons[reason]) for reason in Reason if reason and reasons[reason]},
            violations=violations,
            numerics={"numpy": np.__version__, "machine": platform.machine()},
            solve_ms=solve_ms,
        )

    def _staleness(self, view: View) -> dict[str, int | None]:
        """Age of the newest meter reading of each cluster that has any, ms."""
        ages = [
            view.window_end - int(at)
            for shard in self.mirror.of("telemetry")
            for at in shard.tables["clusters"].live()["meter_at"].tolist()
            if at
        ]
        if not ages:
            return {"p50": None, "p99": None, "max": None}
        ages.sort()
        return {"p50": ages[len(ages) // 2], "p99": ages[len(ages) * 99 // 100], "max": ages[-1]}


def stay(view: View) -> Decisions:
    """Decide nothing: every task keeps its place and every service its split."""
    none_i, none_f = np.zeros(0, np.int64), np.zeros(0)
    waiting = view.tasks.state == State.WAITING
    demand = view.services.tokens_per_s
    return Decisions(
        task=none_i, action=np.zeros(0, np.uint8), pool=none_i, start_at=none_i, runner_up=none_i,
        runner_up_more=none_f, delta_energy=none_f, delta_network=none_f, delta_move=none_f, delta_carbon_g=none_f,
        delta_rtt_ms=none_f, binding=np.zeros(0, np.uint8),
        unplaced=np.where(waiting, np.uint8(Reason.POLICY), np.uint8(Reason.NONE)),
        split=view.services.split,
        unserved=np.maximum(demand - view.services.split.sum(axis=1), 0),
        tier="delta",
    )  # fmt: skip


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


def _transfer_s(view: View, d: Decisions) -> Float1:
    """Seconds to carry each decision's state to its new place, (K,); unknown bandwidth: 0."""
    seconds = np.zeros(len(d.task))
    moves = np.flatnonzero(d.action == Action.MOVE)
    if len(moves):
        node = view.clusters.node[view.pools.cluster]
        source = view.tasks.reported[d.task[moves]]
        mbps = view.network.available_mbps[node[source], node[d.pool[moves]]]
        known = ~np.isnan(mbps) & (mbps > 0) & (source >= 0)
        gigabytes = view.tasks.state_gb[d.task[moves]]
        seconds[moves] = np.where(known, gigabytes * 8000 / np.where(known, mbps, 1.0), 0.0)
    return seconds
