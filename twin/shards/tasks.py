"""Tasks: what their tenants asked for, and what executors said of their latest two attempts (``attempts``).

Two roles write a task. The submitter's events have one identity, an executor's one for each attempt. ``submitted_at``,
``started_at``, ``released_at`` and so on are each set by their own event, whenever it arrives, so the order of arrival
does not show in the row.
"""

from operator import attrgetter
from typing import Any

import numpy as np

from twin import events as ev
from twin.arrays import AnyArray, Bool1, Int1
from twin.shards import attempts
from twin.shards.attempts import ATTEMPT_TOO_OLD, DONE_SCALE, ENDS, RUN
from twin.shards.fold import (
    IDENTITY,
    Outcomes,
    Tables,
    Writer,
    canonical,
    identify,
    intern,
    marks,
    newest_to_write,
)
from twin.shards.table import NEVER_DUE, Fields, Table

KINDS = ("training", "batch", "inference", "edge")
SUBMITTER_TEXTS = ("tenant", "scenario", "qos", "origin", "failure_domains", "compatible", "residency")
FLOATS = (
    "latency_ms",
    "power_w",
    "est_duration_s",
    "value_per_h",
    "data_in_gb",
    "data_rate_gbph",
    "state_gb",
    "checkpoint_s",
)
TIMES = ("earliest_start", "deadline")
REQUEST = ("accelerators", "nodes", "cpu_cores", "mem_gib")
FLAGS = ("gang", "movable", "interruptible", "replicas", "priority")

TASKS = np.dtype(
    [
        *IDENTITY,
        ("cancelled", "<i8"),
        ("cancelled_at", "<i8"),
        ("submitted", "<i8"),  # sequence number of the submission in force, plus one; 0: never submitted
        ("submitted_at", "<i8"),
        ("kind", "<i4"),
        *[(name, "<i4") for name in SUBMITTER_TEXTS],
        *[(name, "<f8") for name in FLOATS],
        ("earliest_start", "<i8"),
        ("deadline", "<i8"),
        ("accelerators", "<i8"),
        ("nodes", "<i8"),
        ("cpu_cores", "<f8"),
        ("mem_gib", "<f8"),
        *[(name, "<i4") for name in FLAGS],
        ("unused", "<i4"),
        ("run", RUN, (2,)),
    ]
)
_submitter = Writer(TASKS)
_submit_order, _cancel_order, _cancel_said = (
    Fields(TASKS, name) for name in ("submitted", "cancelled", "cancelled_at")
)
_submit_said = Fields(
    TASKS,
    *("submitted_at", "kind", *SUBMITTER_TEXTS, *FLOATS, *TIMES, *REQUEST, *FLAGS),
)
_floats, _request, _flags = attrgetter(*FLOATS), attrgetter(*REQUEST), attrgetter(*FLAGS)


def tables() -> Tables:
    """The empty tables of a task shard."""
    return {"tasks": Table("tasks", TASKS, SUBMITTER_TEXTS + attempts.TEXTS)}


def fold_submitter(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold submissions and cancellations."""
    table = tables["tasks"]
    outcomes, events, rows = identify(table, _submitter, [e.task_id for e in events], events, t)
    submits = [i for i, e in enumerate(events) if type(e) is ev.TaskSubmitted]
    if len(submits) < len(events):
        cancels = [i for i, e in enumerate(events) if type(e) is ev.TaskCancelled]
        chosen = [events[i] for i in cancels]
        at, to = newest_to_write(table, _cancel_order, [rows[i] for i in cancels], marks(chosen))
        _cancel_said.write(table, to, ((chosen[i].t,) for i in at))
        events, rows = [events[i] for i in submits], [rows[i] for i in submits]
    _submit(table, events, rows)
    return outcomes


def _submit(table: Table, events: list[Any], rows: list[int]) -> None:
    texts = {name: [getattr(e, name) for e in events] for name in SUBMITTER_TEXTS[:5]}
    lists = {
        "compatible": [canonical(e.request.compatible) for e in events],
        "residency": [canonical(e.residency) for e in events],
    }
    codes = intern(table, **texts, **lists)
    at, to = newest_to_write(table, _submit_order, rows, marks(events))
    _submit_said.write(table, to, (_said(events[i], [code[i] for code in codes]) for i in at))


def _said(event: ev.TaskSubmitted, texts: list[int]) -> tuple[float | None, ...]:
    times = event.earliest_start or 0, event.deadline or 0
    kind = KINDS.index(event.kind)
    return event.t, kind, *texts, *_floats(event), *times, *_request(event.request), *_flags(event)


def expired(tables: Tables, before: int) -> None:
    """Free tasks that are done for good and whose last event is at or before ``before``."""
    table = tables["tasks"]
    if before < table.due:
        return
    live = table.live()
    last_t = live["last_t"]
    old = np.flatnonzero(last_t <= before)
    table.release(old[done(live.take(old), table.texts["reason"].names)])
    # an old task that is not done ends by an event, which makes it due again
    table.due = int(last_t[last_t > before].min(initial=NEVER_DUE))


def done(rows: AnyArray, reasons: list[str]) -> Bool1:
    """Which rows are terminal: finished, cancelled, or failed with reason ``final``, (n,)."""
    run = rows["run"]
    final = reasons.index("final") if "final" in reasons else -1
    failed = ((run["failed"] > 0) & (run["reason"] == final)).any(axis=1)
    finished = (run["finished"] > 0).any(axis=1)
    result: Bool1 = finished | failed | (rows["cancelled"] > 0)
    return result


def fold_executor(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold what executors answered."""
    return attempts.fold(tables["tasks"], _submitter.last_t, events, t)


__all__ = [
    "ATTEMPT_TOO_OLD",
    "DONE_SCALE",
    "ENDS",
    "FOLDS",
    "KINDS",
    "RUN",
    "TASKS",
    "done",
    "expired",
    "fold_executor",
    "fold_submitter",
    "tables",
]
FOLDS = {"submitter": fold_submitter, "executor": fold_executor}
