"""How well it was served: waits, round-trip times, limits, deadlines."""

import numpy as np

from twin.arrays import Float1
from twin.energy.fixed import FOREVER
from twin.score.history import History
from twin.score.work import Work, run_hours
from twin.shards.tasks import KINDS


def percentile(values: Float1, weights: Float1, share: float) -> float | None:
    """The lowest value at or below which lies at least ``share`` of the weight; None where there is no weight.

    Nothing is interpolated: the result is one of ``values``, (n,). ``weights`` are (n,), not negative.
    """
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order])
    if not len(below) or below[-1] <= 0:
        return None
    return float(values[order[np.searchsorted(below, share * below[-1], "left")]])


def p50_p95(values: Float1, weights: Float1) -> dict[str, float | None]:
    """Both percentiles that reports show."""
    return {"p50": percentile(values, weights, 0.5), "p95": percentile(values, weights, 0.95)}


def waits_s(history: History, work: Work) -> dict[str, dict[str, float | None]]:
    """Submitted → first started, in seconds, over tasks that started: ``all`` and by kind."""
    tasks = history.tasks
    started = work.counts & (work.started_at < FOREVER)
    wait_s = np.maximum(work.started_at - tasks["submitted_at"], 0) / 1000.0
    groups = {"all": started} | {name: started & (tasks["kind"] == code) for code, name in enumerate(KINDS)}
    return {name: p50_p95(wait_s[some], np.ones(int(some.sum()))) for name, some in groups.items()}


def rtt_ms(history: History, until: int) -> dict[str, float | None]:
    """RTT between origin and cluster, weighted by task-hours; runs of unknown RTT are left out."""
    values, hours = history.rtt_ms(), run_hours(history, until)
    known = ~np.isnan(values)
    return p50_p95(values[known], hours[known])


def slo(history: History, work: Work, until: int) -> float | None:
    """Task-hours within the RTT limit / all task-hours of tasks that have one; None where none has.

    A task that never started misses its limit with all its deliverable hours; so does a run of unknown RTT.
    """
    limit = history.tasks["latency_ms"]
    hours, task = run_hours(history, until), history.runs["task"]
    limited = ~np.isnan(limit[task])
    within = limited & (history.rtt_ms() <= limit[task])
    waiting = work.counts & (work.started_at == FOREVER) & ~np.isnan(limit)
    total = float(hours[limited].sum() + work.deliverable_h[waiting].sum())
    return float(hours[within].sum()) / total if total > 0 else None


def missed_deadlines(history: History, work: Work, until: int) -> int:
    """Tasks whose deadline has passed, without their being finished or cancelled by then."""
    deadline = history.tasks["deadline"]
    due = work.counts & (deadline > 0) & (deadline <= until)
    return int((due & (work.finished_at > deadline) & (history.tasks["cancelled_at"] > deadline)).sum())
