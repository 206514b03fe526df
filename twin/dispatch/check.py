"""An independent check of decisions against every hard constraint, in plain loops.

Shares no code with the policies on purpose: a rule that both got wrong would otherwise never be noticed. Looks only at
decided tasks and at the pools they touch, so it can run at every window.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from twin.view import RESOURCES, Action, Decisions, State, View

TOLERANCE = 1e-6

_PLACING = (Action.PLACE, Action.MOVE)
_PLACED = (State.ASSIGNED, State.RUNNING, State.MOVING)
_ADMITTED: dict[int, tuple[State, ...]] = {
    Action.PLACE: (State.WAITING,),
    Action.DEFER: (State.WAITING,),
    Action.REJECT: (State.WAITING,),
    Action.MOVE: _PLACED,
    Action.PREEMPT: _PLACED,
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: its name (stable, for counting), what broke it, and by how much."""

    rule: str
    subject: str
    detail: str


def check(view: View, decisions: Decisions) -> list[str]:
    """Return every hard constraint that ``decisions`` break on ``view`` as a line of text; empty where there is none."""
    return [f"{v.rule} {v.subject}: {v.detail}" for v in violations(view, decisions)]


def violations(view: View, decisions: Decisions) -> list[Violation]:
    """Return the same with its parts apart."""
    return _Check(view, decisions).run()


class _Check:
    """The view, the decisions and what has been found and added up so far."""

    def __init__(self, view: View, decisions: Decisions) -> None:
        self.view, self.d = view, decisions
        self.found: list[Violation] = []
        self.used: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])  # pool -> resources taken anew
        self.power: dict[int, float] = defaultdict(float)  # cluster -> IT kW taken anew
        self.back: dict[int, float] = defaultdict(float)  # pool -> accelerators of the standing split

    def run(self) -> list[Violation]:
        self.tasks()
        self.services()
        self.standing_split()
        self.pool_room()
        self.power_room()
        return self.found

    def flag(self, rule: str, subject: str, detail: str) -> None:
        self.found.append(Violation(rule, subject, detail))

    def where(self, pool: int) -> str:
        return "/".join(self.view.pools.ids[pool])

    def tasks(self) -> None:
        """Check each decision about a task and add up what it takes."""
        d, t, p = self.d, self.view.tasks, self.view.pools
        lengths = {len(d.task), len(d.action), len(d.pool)}
        if len(lengths) != 1:
            self.flag("shape", "decisions", f"columns of different length {sorted(lengths)}")
            return
        seen: set[int] = set()
        for i, action, pool in zip(d.task.tolist(), d.action.tolist(), d.pool.tolist(), strict=True):
            if not 0 <= i < len(t.ids):
                self.flag("unknown_task", str(i), "no such task")
                continue
            if i in seen:
                self.flag("two_decisions", t.ids[i], "decided twice in one window")
            seen.add(i)
            self.state(i, action)
            if action not in _PLACING:
                continue
            if not 0 <= pool < len(p.ids):
                self.flag("unknown_pool", t.ids[i], f"no pool {pool}")
                continue
            self.place(i, action, pool)
            share = float(t.occupancy[i])
            for r, asked in enumerate(t.request[i].tolist()):
                self.used[pool][r] += asked * share
            self.power[int(p.cluster[pool])] += self.task_kw(i, pool) * share

    def state(self, i: int, action: int) -> None:
        """Check that the state of task ``i`` admits ``action``."""
        t = self.view.tasks
        name, state = t.ids[i], int(t.state[i])
        admitted = _ADMITTED.get(action)
        if admitted is None:
            self.flag("unknown_action", name, f"action {action} is no decision about a task")
        elif state not in admitted:
            self.flag("wrong_state", name, f"{Action(action).name} of a task that is {State(state).name}")
        elif action == Action.PLACE and t.earliest_start[i] > self.view.effective_at:
            self.flag("not_yet", name, "placed before its earliest start")
        elif action == Action.MOVE and state != State.ASSIGNED and not t.movable[i]:
            self.flag("not_movable", name, "moved")

    def place(self, i: int, action: int, pool: int) -> None:
        """Check the constraints between task ``i`` and ``pool`` alone."""
        t, p = self.view.tasks, self.view.pools
        name, where = t.ids[i], self.where(pool)
        if action == Action.MOVE and pool == t.desired[i]:
            self.flag("same_place", name, f"moved to {where}, where it is")
        if not p.open[pool]:
            self.flag("closed", name, f"{where} takes no new work")
        if not self.view.allowed[t.shape[i], pool]:
            self.flag("compatibility", name, f"cannot run on {where}")
        if pool in t.barred[i].tolist():
            self.flag("barred", name, f"barred from {where}")
        for r, (asked, there) in enumerate(zip(t.request[i].tolist(), p.capacity[pool].tolist(), strict=True)):
            if asked > there + TOLERANCE:
                self.flag("too_big", name, f"asks for {asked:g} {RESOURCES[r]}, {where} has {there:g}")
        self.rtt(name, int(t.origin[i]), float(t.latency_ms[i]), pool)

    def rtt(self, name: str, origin: int, limit_ms: float, pool: int) -> None:
        """Check the RTT from ``origin`` to ``pool``; an unknown RTT breaks any limit."""
        if math.isinf(limit_ms):
            return
        node = self.view.clusters.node[self.view.pools.cluster[pool]]
        rtt_ms = float(self.view.network.rtt_ms[origin, node])
        if math.isnan(rtt_ms) or rtt_ms > limit_ms:
            self.flag("latency", name, f"RTT {rtt_ms:g} ms to {self.where(pool)}, limit {limit_ms:g} ms")

    def task_kw(self, i: int, pool: int) -> float:
        """Return the IT power of task ``i`` at ``pool``, kW."""
        t, p = self.view.tasks, self.view.pools
        watts = float(t.power_w[i])
        if math.isnan(watts):
            accelerators, cores, _ = t.request[i].tolist()
            watts = accelerators * float(p.w_per_accelerator[pool]) + cores * float(p.w_per_core[pool])
        return watts / 1000.0

    def services(self) -> None:
        """Check the split of each service."""
        d, s = self.d, self.view.services
        if d.split.shape != (len(s.keys), len(self.view.pools.ids)) or d.unserved.shape != (len(s.keys),):
            self.flag("shape", "split", f"{d.split.shape}, {d.unserved.shape}")
            return
        for k, name in enumerate(s.keys):
            served = 0.0
            for pool in np.flatnonzero(d.split[k]).tolist():
                served += float(d.split[k, pool])
                self.share(k, pool)
            asked, unserved = float(s.tokens_per_s[k]), float(d.unserved[k])
            slack = TOLERANCE * max(1.0, asked)
            if served > asked + slack:
                self.flag("oversupply", name, f"{served:g} tokens/s of {asked:g}")
            elif abs(asked - served - unserved) > slack:
                self.flag("unserved", name, f"{asked:g} asked, {served:g} served, {unserved:g} called unserved")

    def share(self, k: int, pool: int) -> None:
        """Check the share of service ``k`` at ``pool`` and add up what it takes."""
        s, p = self.view.services, self.view.pools
        name, tokens = s.keys[k], float(self.d.split[k, pool])
        speed = float(p.tokens_per_s[pool, s.model[k]])
        if not tokens > 0:
            self.flag("negative_split", name, f"{tokens:g} tokens/s at {self.where(pool)}")
            return
        if not p.open[pool]:
            self.flag("closed", name, f"{self.where(pool)} takes no new work")
        if not speed > 0:
            self.flag("compatibility", name, f"not served by {self.where(pool)}")
            return
        self.rtt(name, int(s.origin[k]), float(s.latency_ms[k]), pool)
        self.used[pool][0] += tokens / speed
        self.power[int(p.cluster[pool])] += tokens / speed * float(p.w_per_accelerator[pool]) / 1000.0

    def standing_split(self) -> None:
        """Add up the accelerators that the split decided last holds."""
        s, p = self.view.services, self.view.pools
        for k, pool in zip(*(x.tolist() for x in np.nonzero(s.split)), strict=True):
            speed = float(p.tokens_per_s[pool, s.model[k]])
            if speed > 0:
                self.back[pool] += float(s.split[k, pool]) / speed

    def pool_room(self) -> None:
        """Check what was taken from each pool against what was free once the standing split is given back."""
        for pool in sorted(self.used):
            free = self.view.pools.free[pool].tolist()
            free[0] += self.back.get(pool, 0.0)
            taken = self.used[pool]
            for r in range(3):
                if taken[r] > TOLERANCE and taken[r] > free[r] + TOLERANCE:
                    self.flag("capacity", self.where(pool), f"{taken[r]:g} {RESOURCES[r]} taken, {free[r]:g} free")

    def power_room(self) -> None:
        """Check the same for the power of each cluster."""
        p, c = self.view.pools, self.view.clusters
        freed: dict[int, float] = defaultdict(float)
        for pool, accelerators in self.back.items():
            freed[int(p.cluster[pool])] += accelerators * float(p.w_per_accelerator[pool]) / 1000.0
        for cluster in sorted(self.power):
            taken, free = self.power[cluster], float(c.power_free_kw[cluster]) + freed[cluster]
            if taken > TOLERANCE and taken > free + TOLERANCE:
                self.flag("power_cap", c.ids[cluster], f"{taken:g} kW taken, {free:g} free")
