"""What the plant says: answers of tasks, servings and meter readings, each numbered within its entity and role."""

from typing import Final

from twin import events as ev
from twin.plant.parts import Cluster, Run, Task
from twin.plant.serving import Change, Demand

SOURCE: Final = "plant"


class Answers:
    """Answers not yet handed over."""

    def __init__(self) -> None:
        self._said: list[tuple[int, str, int, int, ev.Event]] = []  # (t, id, seq, number, answer)
        self._number = 0

    def hand_over(self) -> list[ev.Event]:
        """All answers since the last call, sorted by (t, id, seq); of equals, what was said first."""
        answers = [answer for *_, answer in sorted(self._said)]
        self._said.clear()
        return answers

    def _say(self, answer: ev.Event, name: str) -> None:
        self._number += 1
        self._said.append((answer.t, name, answer.seq, self._number, answer))

    def run(self, t: int, kind: type[ev.TaskAnswer], run: Run, *, done_ms: int, reason: str, decision_id: str) -> None:
        """``run`` starts or ends at ``t`` with ``done_ms`` of its task's run time done."""
        task = run.task
        task.seq += 1
        answer = kind(
            seq=task.seq,
            t=t,
            source=SOURCE,
            task_id=task.spec.task_id,
            attempt=run.attempt,
            cluster_id=run.pool.cluster.spec.cluster_id,
            pool_id=run.pool.pool_id,
            decision_id=decision_id,
            done_share=task.share(done_ms),
            energy_wh=run.energy_wh(t),
            reason=reason,
        )
        self._say(answer, answer.task_id)

    def rejected(self, t: int, task: Task, *, attempt: int, place: tuple[str, str], decision_id: str) -> None:
        """The attempt will not start at ``place`` (cluster_id, pool_id)."""
        task.seq += 1
        answer = ev.TaskFailed(
            seq=task.seq,
            t=t,
            source=SOURCE,
            task_id=task.spec.task_id,
            attempt=attempt,
            cluster_id=place[0],
            pool_id=place[1],
            decision_id=decision_id,
            reason="rejected",
        )
        self._say(answer, answer.task_id)

    def serving(self, t: int, cluster: Cluster, change: Change, demand: Demand) -> None:
        """A pool serves more or less than before; a replica is an accelerator."""
        cluster.seq_serving += 1
        answer = ev.ServiceServing(
            seq=cluster.seq_serving,
            t=t,
            source=SOURCE,
            cluster_id=cluster.spec.cluster_id,
            service=demand.service,
            pool_id=change.pool.pool_id,
            origin=demand.origin,
            replicas=change.accelerators,
            tokens_per_s=change.tokens_per_s,
        )
        self._say(answer, answer.cluster_id)

    def reading(self, to: int, cluster: Cluster) -> None:
        """The meter of ``cluster`` is read just before ``to``; one that is off says nothing."""
        it_kw = cluster.read_kw(to)
        if it_kw is None:
            return
        cluster.seq_meter += 1
        pue = cluster.spec.pue
        answer = ev.ClusterTelemetry(
            seq=cluster.seq_meter,
            t=to - 1,
            source=SOURCE,
            cluster_id=cluster.spec.cluster_id,
            it_kw=it_kw,
            facility_kw=None if pue is None else it_kw * pue.a,
            pools=tuple(ev.PoolUse(pool_id=p.pool_id, allocated=p.allocated) for p in cluster.pools.values() if p.here),
            queue_tasks=cluster.queued,
            statistic="mean",
        )
        self._say(answer, answer.cluster_id)
