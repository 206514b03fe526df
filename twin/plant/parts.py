"""What the plant is made of: clusters with pools, tasks, their runs and their entries in queues.

All amounts are integers in millionths (of an accelerator, core, GiB, watt), so that what is taken and given back a
million times still sums to the whole.
"""

from typing import Final

from twin import events as ev
from twin.decisions import Decision
from twin.plant.line import ENDLESS, Key, Kind, Line, Need

MICRO: Final = 1_000_000
WH: Final = 3.6e12
"""Microwatt milliseconds in a watt-hour."""


def micro(amount: float) -> int:
    """``amount`` in millionths, rounded half to even."""
    return round(amount * MICRO)


class Task:
    """A task that is not over: what was asked for, how much is done (ms of run time), where it runs and where it waits."""

    __slots__ = ("done_ms", "duration_ms", "need", "run", "seq", "spec", "want")

    def __init__(self, spec: ev.TaskSubmitted) -> None:
        self.done_ms = 0
        self.seq = 0
        self.run: Run | None = None
        self.want: Entry | None = None
        self.ask(spec)

    def ask(self, spec: ev.TaskSubmitted) -> None:
        """Take over what is asked for; a run in progress keeps what it holds."""
        self.spec = spec
        self.duration_ms = round(spec.est_duration_s * 1000)
        r = spec.request
        self.need = (r.accelerators * MICRO, micro(r.cpu_cores), micro(r.mem_gib))

    def share(self, done_ms: int) -> float:
        """``done_ms`` as a share of the task."""
        return min(1.0, done_ms / self.duration_ms) if self.duration_ms else 1.0


class Run:
    """An attempt that runs: where, since when (ms), what it holds, and how much had been done before it (ms)."""

    __slots__ = ("attempt", "before_ms", "decision_id", "need", "pool", "since", "task")

    def __init__(self, task: Task, pool: "Pool", entry: "Entry", since: int) -> None:
        self.task = task
        self.pool = pool
        self.attempt = entry.attempt
        self.decision_id = entry.decision_id
        self.need = entry.need
        self.since = since
        self.before_ms = task.done_ms

    def energy_wh(self, t: int) -> float:
        """IT energy of the attempt up to ``t``."""
        return self.need[3] * (t - self.since) / WH

    def done_ms(self, t: int) -> int:
        """Run time of the task that is done at ``t``."""
        return self.before_ms + t - self.since

    def saved_ms(self, t: int) -> int:
        """Run time that survives leaving at ``t``: up to the last checkpoint of this attempt if it has checkpoints."""
        every_ms = round((self.task.spec.checkpoint_s or 0.0) * 1000)
        ran_ms = t - self.since
        return self.before_ms + (ran_ms - ran_ms % every_ms if every_ms else ran_ms)


class Entry:
    """A wish of the dispatcher: the task at a pool, from ``ready`` on. ``key`` orders the queue."""

    __slots__ = ("attempt", "decision_id", "key", "kind", "need", "pool", "queued", "ready", "task")

    def __init__(self, task: Task, pool: "Pool", decision: Decision, *, ready: int, number: int) -> None:
        self.task = task
        self.pool = pool
        self.attempt = decision.attempt
        self.decision_id = decision.decision_id
        self.ready = ready
        self.key: Key = (-task.spec.priority, ready, number)
        self.need: Need = (*task.need, pool.power_of(task))
        brings_room = task.run is not None and task.run.pool.cluster is pool.cluster
        self.kind: Kind = (*self.need, number) if brings_room else self.need
        self.queued = False

    def fits(self) -> bool:
        """Whether there is room for it now; what its task gives up in the same cluster by moving counts."""
        pool, run = self.pool, self.task.run
        a, b, c, d = self.need
        if run is not None and run.pool.cluster is pool.cluster:
            d -= run.need[3]
            if run.pool is pool:
                a, b, c = a - run.need[0], b - run.need[1], c - run.need[2]
        return a <= pool.accelerators and b <= pool.cores and c <= pool.mem and d <= pool.cluster.power

    def lacks_only_power(self) -> bool:
        """Whether all that it waits for is power."""
        a, b, c, _ = self.need
        return a <= self.pool.accelerators and b <= self.pool.cores and c <= self.pool.mem


class Pool:
    """A pool: its capacity, what of it is free (``accelerators``, ``cores``, ``mem``), who runs, waits and is served."""

    __slots__ = (
        "accelerators", "capacity", "cluster", "cores", "entries", "full", "granted", "here", "line", "mem", "pool_id",
        "runs", "served", "spec", "stirred", "w_accelerator", "w_core", "wants",
    )  # fmt: skip

    def __init__(self, cluster: "Cluster", pool_id: str) -> None:
        self.cluster = cluster
        self.pool_id = pool_id
        self.capacity = self.full = (0, 0, 0)
        self.accelerators = self.cores = self.mem = 0
        self.here = False
        self.stirred = True
        self.runs: dict[str, Run] = {}
        self.entries: dict[str, Entry] = {}
        self.line: Line[Entry] = Line()
        self.wants: dict[str, float] = {}  # service@origin → tokens per second
        self.served: dict[str, float] = {}
        self.granted = 0

    def describe(self, spec: ev.Pool | None) -> None:
        """Take over the inventory's word; None: the pool is not there any more."""
        self.here = spec is not None
        if spec is None:
            self.full = (0, 0, 0)
            return
        self.spec = spec
        self.full = (spec.nodes * spec.accelerators_per_node * MICRO, micro(spec.cpu_cores), micro(spec.mem_gib))
        self.w_accelerator = _spread(spec.w_per_accelerator)
        self.w_core = _spread(spec.w_per_core)

    def resize(self, healthy: int | None) -> None:
        """Set the capacity to what ``healthy`` nodes make of it (None: all); what is in use stays."""
        nodes = self.spec.nodes
        share = min(healthy, nodes) if healthy is not None else nodes
        old = self.capacity
        self.capacity = tuple(f * share // nodes if nodes else f for f in self.full)  # type: ignore[assignment]
        self.accelerators += self.capacity[0] - old[0]
        self.cores += self.capacity[1] - old[1]
        self.mem += self.capacity[2] - old[2]

    def power_of(self, task: Task) -> int:
        """IT power of ``task`` here, microwatts above idle."""
        if task.spec.power_w is not None:
            return micro(task.spec.power_w)
        return (task.need[0] * self.w_accelerator + task.need[1] * self.w_core) // MICRO

    @property
    def allocated(self) -> float:
        """Accelerators in use by tasks and services."""
        return (self.capacity[0] - self.accelerators) / MICRO

    def may_start(self) -> bool:
        """Whether anything in the line could have room, as far as its bounds tell."""
        a, b, c, d = self.line.least
        return a <= self.accelerators and b <= self.cores and c <= self.mem and d <= self.cluster.power

    def holds(self, need: Need) -> bool:
        """Whether it starts tasks and, empty, would hold ``need`` as it stands: with its working nodes, under the cap."""
        c, cluster = self.capacity, self.cluster
        inside = need[0] <= c[0] and need[1] <= c[1] and need[2] <= c[2] and need[3] <= cluster.limit - cluster.idle
        return inside and self.here and cluster.starts

    def leaves(self, need: Need) -> bool:
        """Whether services leave room for ``need`` once no task runs."""
        cluster = self.cluster
        power = cluster.limit - cluster.idle - cluster.granted
        return need[0] <= self.capacity[0] - self.granted and need[3] <= power

    def take(self, need: Need, t: int, sign: int = 1) -> None:
        """Use ``need`` from ``t`` on; with ``sign`` -1 give it back."""
        self.accelerators -= sign * need[0]
        self.cores -= sign * need[1]
        self.mem -= sign * need[2]
        self.cluster.draw(sign * need[3], t)


class Cluster:
    """A cluster: its pools, its state, its power (``power``: IT microwatts still free under the cap) and its meter."""

    __slots__ = (
        "_drawn_uw_ms", "_metered_to", "_read_at", "granted", "idle", "index", "limit", "load", "pools", "power", "queued", "reset",
        "retired", "seq_meter", "seq_serving", "spec", "state", "unmet",
    )  # fmt: skip

    def __init__(self, index: int) -> None:
        self.index = index
        self.pools: dict[str, Pool] = {}
        self.idle = self.load = self.granted = 0
        self.limit = self.power = ENDLESS
        self.retired = False
        self.queued = 0
        self.state: ev.ClusterHealth = "up"
        self.unmet = False  # services get less than they want
        self.reset = False  # wishes or capacity have changed: services are to be granted anew
        self.seq_meter = self.seq_serving = 0
        self._drawn_uw_ms = self._metered_to = self._read_at = 0

    def describe(self, spec: ev.ClusterRegistered, t: int) -> None:
        """Take over the inventory's word."""
        if not self.pools or self.retired:
            self._read_at = self._metered_to = t
        self.draw(0, t)
        self.spec, self.retired = spec, False
        named = {pool.pool_id: pool for pool in spec.pools}
        for pool_id in [*named, *(name for name in self.pools if name not in named)]:
            if pool_id not in self.pools:
                self.pools[pool_id] = Pool(self, pool_id)
            self.pools[pool_id].describe(named.get(pool_id))
        self.idle = micro(_idle_w(spec))

    def obey(self, said: ev.ClusterState | None, t: int) -> None:
        """Take over the operator's word (None: nothing has been said): state, working nodes, cap."""
        self.draw(0, t)
        was_off = self.off
        self.state = said.state if said is not None else "up"
        if was_off and not self.off:
            self._read_at, self._drawn_uw_ms = t, 0
        healthy = {} if said is None else {pool.pool_id: pool.healthy for pool in said.pools}
        for name, pool in self.pools.items():
            pool.resize(healthy.get(name) if pool.here else 0)
        caps = [kw for kw in (self.spec.power_cap_kw, None if said is None else said.cap_kw) if kw is not None]
        pue = 1.0 if self.spec.pue is None else self.spec.pue.a
        self.limit = micro(min(caps) * 1000 / pue) if caps else ENDLESS
        self.power = self.limit - self.idle - self.load

    @property
    def capped(self) -> bool:
        """Whether its power is limited."""
        return self.limit < ENDLESS

    @property
    def off(self) -> bool:
        """Whether nothing runs here."""
        return self.retired or self.state == "down"

    @property
    def starts(self) -> bool:
        """Whether it starts tasks."""
        return not self.retired and self.state in {"up", "degraded"}

    def draw(self, more: int, t: int) -> None:
        """Draw ``more`` microwatts from ``t`` on."""
        self._drawn_uw_ms += (self.idle + self.load) * (t - self._metered_to)
        self._metered_to = t
        self.load += more
        self.power -= more

    def read_kw(self, to: int) -> float | None:
        """Mean IT power in kW since the last reading, up to ``to``; None when it is off or no time has passed."""
        self.draw(0, to)
        drawn, span = self._drawn_uw_ms, to - self._read_at
        self._drawn_uw_ms, self._read_at = 0, to
        return None if self.off or span <= 0 else drawn / span / 1e9


def _spread(device: ev.IdleMax | None) -> int:
    """Microwatts that one busy device adds to idle; 0 where they are unknown."""
    return micro(device.max - device.idle) if device is not None else 0


def _idle_w(spec: ev.ClusterRegistered) -> float:
    """IT power without any task: as given, else the idle power of all devices."""
    if spec.idle_kw is not None:
        return spec.idle_kw * 1000
    w = 0.0
    for pool in spec.pools:
        devices = pool.nodes * pool.accelerators_per_node
        w += devices * pool.w_per_accelerator.idle if pool.w_per_accelerator is not None else 0.0
        w += pool.cpu_cores * pool.w_per_core.idle if pool.w_per_core is not None else 0.0
    return w
