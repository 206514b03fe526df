"""Where tasks run: starting, ending and waiting, and who comes next. It knows the instant, not where it comes from."""

from heapq import heapify, heappop, heapreplace
from typing import Final

from twin import events as ev
from twin.plant.agenda import FINISH, READY, Agenda
from twin.plant.answers import Answers
from twin.plant.line import Item
from twin.plant.parts import Cluster, Entry, Pool, Run, Task
from twin.plant.serving import Demand, grant

PATIENCE_MS: Final = 600_000
"""How long a waiting task lets others pass. After that the room it needs is kept for it."""


class Floor:
    """All clusters and tasks, and the changes of one instant after the other."""

    def __init__(self, agenda: Agenda, answers: Answers) -> None:
        self.clusters: dict[str, Cluster] = {}
        self.tasks: dict[str, Task] = {}
        self.demands: dict[str, Demand] = {}
        self.running = 0
        self.waiting = 0
        self._agenda = agenda
        self._answers = answers
        self._stirred: dict[int, Cluster] = {}

    def pool(self, cluster_id: str, pool_id: str) -> Pool | None:
        """The pool of that name, None where there is none."""
        cluster = self.clusters.get(cluster_id)
        return cluster.pools.get(pool_id) if cluster is not None else None

    # ------------------------------------------------------------------------------------------------- waiting

    def enter(self, t: int, entry: Entry) -> None:
        """Let a task want a pool: it joins the queue at ``entry.ready``."""
        entry.task.want = entry.pool.entries[entry.task.spec.task_id] = entry
        self.waiting += 1
        if entry.ready > t:
            self._agenda.add(entry.ready, READY, entry)
        else:
            self.join(t, entry)

    def join(self, _: int, entry: Entry) -> None:
        """Put ``entry`` in its queue, unless its task has come to want something else."""
        if entry.task.want is entry:
            entry.pool.line.add(entry.key, entry.kind, entry)
            entry.pool.cluster.queued += 1
            entry.queued = True
            self.stir(entry.pool)

    def leave(self, task: Task) -> None:
        """Take ``task`` out of the queue it waits in or is on its way to, if any."""
        entry = task.want
        if entry is not None:
            self._unqueue(entry)
            self.stir(entry.pool)  # it may have kept room

    def _unqueue(self, entry: Entry) -> None:
        entry.task.want = None
        del entry.pool.entries[entry.task.spec.task_id]
        self.waiting -= 1
        if entry.queued:
            entry.pool.line.remove(entry.key, entry.kind)
            entry.pool.cluster.queued -= 1

    def turn_out(self, t: int, cluster: Cluster) -> None:
        """Turn away all that waits, or is on its way, for what ``cluster`` could not start any more."""
        for pool in cluster.pools.values():
            place = cluster.spec.cluster_id, pool.pool_id
            for entry in [entry for entry in pool.entries.values() if not pool.holds(entry.need)]:
                self._unqueue(entry)
                self._answers.rejected(t, entry.task, attempt=entry.attempt, place=place, decision_id=entry.decision_id)

    # ------------------------------------------------------------------------------------------------- running

    def _start(self, t: int, entry: Entry) -> None:
        task, pool = entry.task, entry.pool
        self._unqueue(entry)
        if task.run is not None:
            saved_ms = task.run.saved_ms(t)
            self.stop(t, task.run, ev.TaskReleased, done_ms=saved_ms, reason="moved", decision_id=entry.decision_id)
        run = Run(task, pool, entry, t)
        task.run = pool.runs[task.spec.task_id] = run
        pool.take(run.need, t)
        self.running += 1
        self._agenda.add(t + max(0, task.duration_ms - task.done_ms), FINISH, run)
        self._answers.run(t, ev.TaskStarted, run, done_ms=task.done_ms, reason="", decision_id=run.decision_id)

    def stop(
        self, t: int, run: Run, kind: type[ev.TaskAnswer], *, done_ms: int, reason: str, decision_id: str = ""
    ) -> None:
        """End ``run`` with ``done_ms`` of its task's run time done, give its room back and say so.

        ``decision_id`` is the decision that ends it; without one the answer names the decision that began it.
        """
        task, pool = run.task, run.pool
        task.run, task.done_ms = None, done_ms
        del pool.runs[task.spec.task_id]
        pool.take(run.need, t, -1)
        self.running -= 1
        self.stir(pool)
        cause = decision_id or run.decision_id
        self._answers.run(t, kind, run, done_ms=done_ms, reason=reason, decision_id=cause)

    def finish(self, t: int, run: Run) -> None:
        """The end of ``run`` has come, unless it has left meanwhile. A move that is under way evaporates."""
        task = run.task
        if task.run is run:
            self.leave(task)
            del self.tasks[task.spec.task_id]
            self.stop(t, run, ev.TaskFinished, done_ms=task.duration_ms, reason="")

    def fail(self, t: int, cluster: Cluster) -> None:
        """Fail what runs on ``cluster``, and with it moves that are under way from there."""
        for pool in cluster.pools.values():
            for run in list(pool.runs.values()):
                self.leave(run.task)
                kept_ms = run.saved_ms(t) if run.task.spec.interruptible else 0
                self.stop(t, run, ev.TaskFailed, done_ms=kept_ms, reason="cluster_down")

    # ------------------------------------------------------------------------------------------------- settling

    def stir(self, pool: Pool) -> None:
        """The queue of ``pool`` is to be looked at before the instant is over."""
        pool.stirred = True
        self._stirred[pool.cluster.index] = pool.cluster

    def regrant(self, pool: Pool) -> None:
        """What ``pool`` serves is to be looked at before the instant is over."""
        pool.cluster.reset = True
        self.stir(pool)

    def settle(self, t: int) -> None:
        """Look at every cluster where something has changed until nothing does: services first, then the queues."""
        while self._stirred:
            stirred, self._stirred = self._stirred, {}
            for index in sorted(stirred):
                cluster = stirred[index]
                if cluster.reset or cluster.unmet:
                    cluster.reset = False
                    self._serve(t, cluster)
                if cluster.queued and cluster.starts:
                    self._start_what_fits(t, cluster)

    def _serve(self, t: int, cluster: Cluster) -> None:
        for change in grant(cluster, self.demands, t):
            change.pool.stirred = True
            self._answers.serving(t, cluster, change, self.demands[change.key])

    def _start_what_fits(self, t: int, cluster: Cluster) -> None:
        """Look along the queues of ``cluster`` as one.

        Under a power cap every pool counts, since a start in one takes what another waits for.
        """
        capped, pools, may_start = cluster.capped, [], False
        for pool in cluster.pools.values():
            if pool.line.equals and (pool.stirred or capped):
                pools.append(pool)
                may_start = may_start or pool.may_start()
            pool.stirred = False
        if may_start:
            self._walk(t, [(*items[0], items) for pool in pools for items in pool.line.equals.values()])
            for pool in pools:
                pool.line.tighten()

    def _walk(self, t: int, firsts: list[tuple[int, int, int, Entry, list[Item[Entry]]]]) -> None:
        """Start what fits, in order. ``firsts`` are the first of each list of equals, with their list."""
        heapify(firsts)
        shut = set[Pool]()
        while firsts:
            *_, entry, equals = firsts[0]
            pool = entry.pool
            if pool not in shut and entry.fits():
                self._start(t, entry)
                if equals:
                    heapreplace(firsts, (*equals[0], equals))
                    continue
            elif pool not in shut and _keeps_room(t, entry):
                if entry.lacks_only_power():
                    return
                shut.add(pool)
            heappop(firsts)


def _keeps_room(t: int, entry: Entry) -> bool:
    """Whether ``entry`` has let others pass for long enough and only has to wait until tasks end."""
    return t - entry.ready >= PATIENCE_MS and entry.task.run is None and entry.pool.leaves(entry.need)
