"""What was asked for and what was delivered of it, in hours of run time.

Deliverable of a task: what could have run until the end of the comparison, had it started when it was allowed to:
min(est_duration, end − max(submitted_at, earliest_start)), end = ``until`` or its cancellation.

Delivered: the deliverable hours of a finished task. Of an unfinished one the work done after its last run, at most what
was deliverable, where the work done after a run is
- still running: the work before it + its run time, or the share it has reported, whichever is more;
- failed and not interruptible: nothing;
- failed otherwise: the share reported;
- released or paused: the share reported, or the work before it + its run time where none was.
A reported share is of the whole task, what earlier attempts left included.
"""

from dataclasses import dataclass

import numpy as np

from twin.arrays import AnyArray, Bool1, Float1, Int1
from twin.energy.fixed import FOREVER, MS_PER_H
from twin.score.history import History
from twin.shards.tasks import DONE_SCALE

S_PER_H = 3600.0


@dataclass(frozen=True, slots=True)
class Work:
    """Per task, all (tasks,): whether it counts (submitted before the end), hours, and whether and when it ran.

    ``started_at`` and ``finished_at`` are ``FOREVER`` where that did not happen before the end.
    """

    counts: Bool1
    deliverable_h: Float1
    delivered_h: Float1
    started_at: Int1
    finished_at: Int1


def run_hours(history: History, until: int) -> Float1:
    """Hours each run has run until ``until``, (runs,)."""
    runs = history.runs
    ms = np.minimum(runs["end"], until) - runs["start"]
    result: Float1 = np.maximum(ms, 0) / MS_PER_H
    return result


def work(history: History, until: int) -> Work:
    """Deliverable and delivered work of every task up to ``until`` (ms)."""
    tasks, runs = history.tasks, history.runs
    counts = tasks["submitted_at"] < until
    stop = np.minimum(until, tasks["cancelled_at"])
    from_ = np.maximum(np.where(counts, tasks["submitted_at"], until), tasks["earliest_start"])
    est_h = tasks["est_duration_s"] / S_PER_H
    deliverable_h = np.where(counts, np.minimum(est_h, np.maximum(stop - from_, 0) / MS_PER_H), 0.0)
    started_at = _first(runs["task"], runs["start"], np.ones(len(runs), bool), len(tasks), until)
    finished_at = _first(runs["task"], runs["end"], runs["finished"] > 0, len(tasks), until)
    done_h = np.where(finished_at < FOREVER, est_h, _work_h(history, est_h, until))
    return Work(counts, deliverable_h, np.minimum(done_h, deliverable_h), started_at, finished_at)


def _first(task: Int1, at: Int1, some: AnyArray, tasks: int, until: int) -> Int1:
    """The first of ``some`` times of each task not after ``until``, else ``FOREVER``, (tasks,)."""
    first = np.full(tasks, FOREVER, np.int64)
    some = some & (at <= until)
    np.minimum.at(first, task[some], at[some])
    return first


def _work_h(history: History, est_h: Float1, until: int) -> Float1:
    """Hours of work done after the last run of each task, (tasks,)."""
    runs = history.runs
    done_h = np.zeros(len(est_h))
    order = np.lexsort((runs["start"], runs["attempt"], runs["task"]))
    order = order[runs["start"][order] < until]
    task = runs["task"][order]
    first = np.flatnonzero(np.append(True, task[1:] != task[:-1])) if len(task) else task
    rank = np.arange(len(task)) - np.repeat(first, np.diff(np.append(first, len(task))))
    ran_h = run_hours(history, until)
    for nth in range(int(rank.max(initial=-1)) + 1):  # as many rounds as the most attempts of one task
        at = order[rank == nth]
        of = runs["task"][at]
        reported_h = runs["done"][at] / DONE_SCALE * est_h[of]
        on_h = done_h[of] + ran_h[at]
        failed = runs["failed"][at] > 0
        kept_h = np.where(failed & (history.tasks["interruptible"][of] == 0), 0.0, reported_h)
        ended_h = np.where(~failed & (reported_h == 0), on_h, kept_h)
        done_h[of] = np.where(runs["end"][at] > until, np.maximum(reported_h, on_h), ended_h)
    return done_h
