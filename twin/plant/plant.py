"""The plant itself: what comes in, in the order of its time, and what is answered.

At one instant, in this order: tasks finish; inventory, cluster states and links change; tasks are cancelled and demand
changes; decisions take effect; what has become ready joins its queue; services are granted; queues start what fits. So
a state holds for a decision of the same instant, and room given back at an instant is used at the same one.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final
from zlib import crc32

from twin import events as ev
from twin.decisions import Decision, Target
from twin.errors import TwinBug
from twin.plant.agenda import DECISION, STATE, TASK, Agenda
from twin.plant.answers import Answers
from twin.plant.floor import Floor
from twin.plant.parts import Cluster, Entry, Pool, Run, Task
from twin.plant.serving import Demand

RANK: Final[dict[type, int]] = {
    ev.ClusterRegistered: STATE,
    ev.ClusterRetired: STATE,
    ev.ClusterState: STATE,
    ev.NetworkLink: STATE,
    ev.TaskSubmitted: TASK,
    ev.TaskCancelled: TASK,
    ev.ServiceDemand: TASK,
}


class Plant:
    """Simulated clusters that take decisions, run tasks and serve services.

    A queue holds only what its pool, empty, could start as it stands: with its working nodes, under the power cap, and
    only while the cluster is up or degraded. Anything else is refused, at the decision or when that changes. Queues are
    first come first served within priority, with backfill: what has no room is passed by what has, until it has waited
    for ``floor.PATIENCE_MS``; from then on nothing behind it starts in its pool (in its cluster, where it lacks nothing
    but power) before it does. What services leave no room for keeps none, nor does what still runs elsewhere.

    Args:
        reject: share of places that are refused: those whose crc32 of ``task_id|cluster_id``, as a fraction of 2**32, is
            below it.
        silent: share of places and moves that get lost without an answer, by the crc32 of ``silent|task_id|cluster_id``.
        delay_s: how much later than decided a task is ready to start.
    """

    def __init__(self, *, reject: float = 0.0, silent: float = 0.0, delay_s: float = 0.0) -> None:
        self._reject, self._silent = round(reject * 2**32), round(silent * 2**32)
        self._delay_ms = round(delay_s * 1000)
        self._agenda = Agenda()
        self._answers = Answers()
        self._floor = Floor(self._agenda, self._answers)
        self._said: dict[str, ev.ClusterState] = {}
        self._mbps: dict[tuple[str, str], float | None] = {}
        self._splits: dict[str, list[Pool]] = {}
        self._number = 0
        self._handlers: dict[type, Callable[[int, Any], None]] = {
            Run: self._floor.finish,
            Entry: self._floor.join,
            Decision: self._take,
            ev.ClusterRegistered: self._register,
            ev.ClusterRetired: self._retire,
            ev.ClusterState: self._obey,
            ev.NetworkLink: self._link,
            ev.TaskSubmitted: self._submit,
            ev.TaskCancelled: self._cancel,
            ev.ServiceDemand: self._demand,
        }

    @property
    def busy(self) -> bool:
        """Whether anything runs, waits in a queue, is on its way to one, or was handed in and is not yet due."""
        return bool(self._floor.running or self._floor.waiting or self._agenda.inputs)

    def feed(self, events: Iterable[ev.Event]) -> None:
        """Take events of the world, in log order. They take effect at their ``t``, or now where that is past.

        Types that mean nothing to a plant (prices, answers, clocks) are passed over.
        """
        for event in events:
            rank = RANK.get(type(event))
            if rank is None:
                continue
            if type(event) is ev.TaskSubmitted and event.task_id not in self._floor.tasks:
                self._floor.tasks[event.task_id] = Task(event)  # nothing happens until a decision names it
            else:
                self._agenda.add(event.t, rank, event)

    def decide(self, decisions: Iterable[Decision]) -> None:
        """Take decisions; each takes effect at its ``t``. Advice is ignored."""
        for decision in decisions:
            if not decision.advice:
                self._agenda.add(decision.t, DECISION, decision)

    def advance(self, to: int, *, telemetry: bool = False) -> list[ev.Event]:
        """Simulate up to ``to`` (exclusive) and return the answers, sorted by (t, id, seq).

        With ``telemetry`` each cluster that is on adds a reading at ``to`` - 1 ms: its mean IT power since its reading
        before, and what its pools have allocated then. Everything else does not depend on how time is cut into calls.
        """
        agenda, handlers = self._agenda, self._handlers
        while (t := agenda.next(to)) is not None:
            while (what := agenda.take(t)) is not None:
                handlers[type(what)](t, what)
            self._floor.settle(t)
        agenda.now = max(agenda.now, to)
        if telemetry:
            for cluster in self._floor.clusters.values():
                self._answers.reading(to, cluster)
        return self._answers.hand_over()

    # ------------------------------------------------------------------------------------------------- the world

    def _register(self, t: int, event: ev.ClusterRegistered) -> None:
        clusters = self._floor.clusters
        if event.cluster_id not in clusters:
            clusters[event.cluster_id] = Cluster(len(clusters))
        cluster = clusters[event.cluster_id]
        cluster.describe(event, t)
        self._follow(t, cluster)

    def _retire(self, t: int, event: ev.ClusterRetired) -> None:
        cluster = self._floor.clusters.get(event.cluster_id)
        if cluster is not None:
            cluster.retired = True
            self._follow(t, cluster)

    def _obey(self, t: int, event: ev.ClusterState) -> None:
        self._said[event.cluster_id] = event
        cluster = self._floor.clusters.get(event.cluster_id)
        if cluster is not None:
            self._follow(t, cluster)

    def _follow(self, t: int, cluster: Cluster) -> None:
        """Bring ``cluster`` to what was said of it last."""
        cluster.obey(self._said.get(cluster.spec.cluster_id), t)
        for pool in cluster.pools.values():
            self._floor.regrant(pool)
        if cluster.off:
            self._floor.fail(t, cluster)
        self._floor.turn_out(t, cluster)

    def _link(self, _: int, event: ev.NetworkLink) -> None:
        self._mbps[event.src, event.dst] = event.available_mbps

    def _submit(self, _: int, event: ev.TaskSubmitted) -> None:
        """A task asked for again: the newer word holds."""
        task = self._floor.tasks.get(event.task_id)
        if task is None:
            self._floor.tasks[event.task_id] = Task(event)
        elif event.seq > task.spec.seq:
            task.ask(event)

    def _cancel(self, t: int, event: ev.TaskCancelled) -> None:
        task = self._floor.tasks.pop(event.task_id, None)
        if task is None:
            return
        self._floor.leave(task)
        if task.run is not None:
            self._floor.stop(t, task.run, ev.TaskReleased, done_ms=task.run.done_ms(t), reason="cancelled")

    def _demand(self, _: int, event: ev.ServiceDemand) -> None:
        demand = Demand(event.service, event.origin, event.model)
        key = f"{event.service}@{event.origin}"
        if self._floor.demands.get(key) != demand:
            self._floor.demands[key] = demand
            for pool in self._splits.get(key, ()):
                self._floor.regrant(pool)

    # ------------------------------------------------------------------------------------------------- decisions

    def _take(self, t: int, decision: Decision) -> None:
        if decision.action == "split":
            self._split(decision)
            return
        task = self._floor.tasks.get(decision.task_id)
        if task is None:
            return  # it is over
        if decision.action in {"place", "move"}:
            if decision.to is None:
                message = f"decision {decision.decision_id}: {decision.action} to nowhere"
                raise TwinBug(message)
            self._bring(t, task, decision, decision.to)
        else:
            self._take_back(t, task, decision)

    def _bring(self, t: int, task: Task, decision: Decision, to: Target) -> None:
        """Want ``task`` at a pool: fresh, or away from where it runs once its state has come over."""
        if self._hit(f"silent|{decision.task_id}|{to.cluster_id}", self._silent):
            return
        self._floor.leave(task)
        pool = self._floor.pool(to.cluster_id, to.pool_id)
        transfer_ms = self._transfer_ms(task, pool) if pool is not None else None
        if (
            pool is None
            or transfer_ms is None
            or not pool.holds((*task.need, pool.power_of(task)))
            or self._hit(f"{decision.task_id}|{to.cluster_id}", self._reject)
        ):
            place = to.cluster_id, to.pool_id
            self._answers.rejected(t, task, attempt=decision.attempt, place=place, decision_id=decision.decision_id)
            return
        not_before = 0 if task.run is not None else task.spec.earliest_start or 0
        ready = max(t, decision.start_at or 0, not_before) + transfer_ms + self._delay_ms
        self._number += 1
        self._floor.enter(t, Entry(task, pool, decision, ready=ready, number=self._number))

    @staticmethod
    def _hit(text: str, share: int) -> bool:
        return share > 0 and crc32(text.encode()) < share

    def _transfer_ms(self, task: Task, to: Pool) -> int | None:
        """How long the state of a running task takes: GB * 8000 / Mbit/s; None over a path without bandwidth.

        Bandwidth that nobody has measured takes no time.
        """
        if task.run is None or not task.spec.state_gb:
            return 0
        src, dst = task.run.pool.cluster.spec.node_id, to.cluster.spec.node_id
        mbps = self._mbps.get((src, dst))
        if mbps is None:
            mbps = self._mbps.get((dst, src))
        if mbps is None:
            return 0
        return round(task.spec.state_gb * 8_000_000 / mbps) if mbps > 0 else None

    def _take_back(self, t: int, task: Task, decision: Decision) -> None:
        """Preempt, defer or reject: nothing is wanted any more. Preempting a task that moves ends the move, not the run."""
        run, moving = task.run, task.run is not None and task.want is not None
        self._floor.leave(task)
        if decision.action == "preempt" and run is not None and not moving:
            kept_ms = run.saved_ms(t) if task.spec.interruptible else 0
            cause = decision.decision_id
            self._floor.stop(t, run, ev.TaskReleased, done_ms=kept_ms, reason="preempted", decision_id=cause)

    def _split(self, decision: Decision) -> None:
        key = decision.task_id
        for pool in self._splits.pop(key, ()):
            pool.wants.pop(key, None)
            self._floor.regrant(pool)
        wanted = []
        for share in decision.shares:
            found = self._floor.pool(share.cluster_id, share.pool_id)
            if found is not None and share.tokens_per_s > 0:
                found.wants[key] = found.wants.get(key, 0.0) + share.tokens_per_s
                wanted.append(found)
                self._floor.regrant(found)
        self._splits[key] = wanted
