"""Tasks: what their tenants asked for, and what executors said of their latest two attempts.

Two roles write a task. The submitter's events have one identity. An executor's events are ordered by (attempt, seq);
each attempt has an identity and a slot of its own, slot 0 the newest attempt, slot 1 the one before.
``started_at``, ``released_at`` and so on are each set by their own event, whenever it arrives, so the order of arrival
does not show in the row.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from twin import events as ev
from twin.arrays import AnyArray, Bool1, Byte1, Int1
from twin.shards.fold import IDENTITY, Tables, canonical, column, identify, intern, newest_to_write, sequence, write
from twin.shards.order import Outcome, admit
from twin.shards.table import Table

KINDS = ("training", "batch", "inference", "edge")
ATTEMPT_TOO_OLD = 4
"""Outcome of an event of an attempt before the latest two; continues ``Outcome``."""

SUBMITTER_TEXTS = ("tenant", "scenario", "qos", "origin", "failure_domains", "compatible", "residency")
EXECUTOR_TEXTS = ("cluster", "pool", "reason")
ENDS = ("paused", "released", "finished", "failed")
DONE_SCALE = 1_000_000_000
"""``done`` is the done share in parts of a thousand million."""

RUN = np.dtype(
    [
        ("attempt", "<i8"),
        *IDENTITY,
        ("started", "<i8"),  # sequence number of the event that holds, plus one; 0: none. The same for the ends
        ("started_at", "<i8"),
        ("cluster", "<i4"),
        ("pool", "<i4"),
        *[(f"{end}{part}", "<i8") for end in ENDS for part in ("", "_at")],
        ("reason", "<i4"),
        ("unused", "<i4"),  # keeps 8-byte alignment
        ("done", "<i8"),
        ("energy_mwh", "<i8"),
    ]
)
FLOATS = {
    "latency_ms": "<f8",
    "power_w": "<f8",
    "est_duration_s": "<f8",
    "value_per_h": "<f8",
    "data_in_gb": "<f8",
    "data_rate_gbph": "<f8",
    "state_gb": "<f8",
    "checkpoint_s": "<f8",
}
FLAGS = {"gang": "<i4", "movable": "<i4", "interruptible": "<i4", "replicas": "<i4", "priority": "<i4"}
TIMES = {"earliest_start": "<i8", "deadline": "<i8"}
REQUEST = {"accelerators": "<i8", "nodes": "<i8", "cpu_cores": "<f8", "mem_gib": "<f8"}

TASKS = np.dtype(
    [
        *IDENTITY,
        ("last_t", "<i8"),
        ("submitted", "<i8"),  # sequence number of the submission in force, plus one; 0: never submitted
        ("submitted_at", "<i8"),
        ("cancelled", "<i8"),
        ("cancelled_at", "<i8"),
        ("kind", "<i4"),
        *[(name, "<i4") for name in SUBMITTER_TEXTS],
        *FLOATS.items(),
        *TIMES.items(),
        *REQUEST.items(),
        *FLAGS.items(),
        ("unused", "<i4"),
        ("run", RUN, (2,)),
    ]
)


def tables() -> Tables:
    """The empty tables of a task shard."""
    return {"tasks": Table("tasks", TASKS, SUBMITTER_TEXTS + EXECUTOR_TEXTS)}


def fold_submitter(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold submissions and cancellations."""
    table, seq = tables["tasks"], sequence(events)
    rows, outcome, accepted = identify(table, [e.task_id for e in events], seq, t)
    submits = np.array([type(e) is ev.TaskSubmitted for e in events], bool)
    if (accepted & ~submits).any():
        at, to = newest_to_write(table, np.flatnonzero(accepted & ~submits), rows, {"cancelled": seq + 1})
        table.rows["cancelled_at"][to] = t[at]
    _submit(table, events, np.flatnonzero(accepted & submits), rows, seq, t)
    return outcome


def _submit(table: Table, events: list[Any], submitted: Int1, rows: Int1, seq: Int1, t: Int1) -> None:
    new = [events[i] for i in submitted]
    if not new:
        return
    codes = {
        name: intern(table, name, [getattr(e, name) for e in new])
        for name in ("tenant", "scenario", "qos", "origin", "failure_domains")
    }
    codes["compatible"] = intern(table, "compatible", [canonical(e.request.compatible) for e in new])
    codes["residency"] = intern(table, "residency", [canonical(e.residency) for e in new])
    at, to = newest_to_write(table, submitted, rows, {"submitted": seq + 1})
    kept = np.searchsorted(submitted, at)
    chosen = [events[i] for i in at]
    for name, code in codes.items():
        table.rows[name][to] = code[kept]
    table.rows["submitted_at"][to] = t[at]
    table.rows["kind"][to] = [KINDS.index(e.kind) for e in chosen]
    write(table, to, chosen, FLOATS | TIMES | FLAGS)
    write(table, to, [e.request for e in chosen], REQUEST)


# ------------------------------------------------------------------------------------------------------ executor


def fold_executor(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold what executors answered."""
    table = tables["tasks"]
    rows = table.assign([e.task_id for e in events])
    attempt = np.array([e.attempt for e in events], np.int64)
    bounds = _one_attempt_each(rows, attempt)
    if len(bounds) == 2:
        return _fold_attempts(table, events, rows, attempt, t)
    parts = [slice(start, end) for start, end in pairwise(bounds)]
    return np.concatenate([_fold_attempts(table, events[p], rows[p], attempt[p], t[p]) for p in parts])


def _one_attempt_each(rows: Int1, attempt: Int1) -> list[int]:
    """Bounds of consecutive parts in which every task has events of just one attempt: [0, ..., n].

    A new attempt moves the one before to another slot, so the two of a moving task are not folded at once.
    """
    n = len(rows)
    order = np.argsort(rows, kind="stable")
    r, a = rows[order], attempt[order]
    mixed = (r[1:] == r[:-1]) & (a[1:] != a[:-1])
    bounds = [0]
    if mixed.any():
        latest: dict[int, int] = {}
        some = np.flatnonzero(np.isin(rows, r[1:][mixed]))
        for i, row, number in zip(some.tolist(), rows[some].tolist(), attempt[some].tolist(), strict=True):
            if latest.setdefault(row, number) != number:
                bounds.append(i)
                latest = {row: number}
    return [*bounds, n]


def _slots(table: Table, rows: Int1, attempt: Int1) -> Int1:
    """The slot of each event's attempt (-1: too old); makes room for a new attempt. One attempt per row."""
    run = table.rows["run"]
    newest, before = run["attempt"][rows, 0], run["attempt"][rows, 1]
    slot = np.where(attempt == newest, 0, np.where(attempt == before, 1, -1))
    ahead = np.unique(rows[attempt > newest])
    if len(ahead):
        run[ahead, 1] = run[ahead, 0]
        run[ahead, 0] = np.zeros((), RUN)
        slot[attempt > newest] = 0
    between = np.unique(rows[(attempt < newest) & (attempt > before)])
    if len(between):
        run[between, 1] = np.zeros((), RUN)
        slot[(attempt < newest) & (attempt > before)] = 1
    run["attempt"][rows[slot >= 0], slot[slot >= 0]] = attempt[slot >= 0]
    return slot


def _fold_attempts(table: Table, events: list[Any], rows: Int1, attempt: Int1, t: Int1) -> Byte1:
    slot = _slots(table, rows, attempt)
    outcome = np.full(len(events), ATTEMPT_TOO_OLD, np.uint8)
    fit = np.flatnonzero(slot >= 0)
    seq = sequence(events)
    run = table.rows["run"]
    cells = rows * 2 + slot
    high, seen = run["high"], run["seen"]
    some = cells[fit]
    outcome[fit] = _admit_cells(some, seq[fit], high, seen)
    accepted = np.flatnonzero(outcome < Outcome.REPEAT)
    if not len(accepted):
        return outcome
    hit = rows[accepted]
    table.touch(hit)
    np.maximum.at(table.rows["last_t"], hit, t[accepted])
    _progress(run, events, accepted, rows, slot)
    _write_ends(table, events, accepted, cells, seq, t)
    return outcome


def _admit_cells(cells: Int1, seq: Int1, high: AnyArray, seen: AnyArray) -> Byte1:
    """``admit`` over (row, slot) cells: gathers the identities concerned, folds, scatters them back."""
    if not len(cells):
        return np.zeros(0, np.uint8)
    unique, inverse = np.unique(cells, return_inverse=True)
    row, slot = unique >> 1, unique & 1
    h, s = high[row, slot], seen[row, slot]
    outcome = admit(inverse.astype(np.int64), seq, h, s)
    high[row, slot], seen[row, slot] = h, s
    return outcome


def _progress(run: AnyArray, events: list[Any], at: Int1, rows: Int1, slot: Int1) -> None:
    """``done`` and ``energy_mwh`` are cumulative in an attempt: the greatest is the newest."""
    where = (rows[at], slot[at])
    some = [events[i] for i in at]
    if any(e.done_share is not None for e in some):
        done = np.rint(np.nan_to_num(column(some, "done_share")) * DONE_SCALE).astype(np.int64)
        np.maximum.at(run["done"], where, done)
    if any(e.energy_wh is not None for e in some):
        energy = np.rint(np.nan_to_num(column(some, "energy_wh")) * 1000).astype(np.int64)
        np.maximum.at(run["energy_mwh"], where, energy)


_END_OF: dict[type, str] = {
    ev.TaskStarted: "started",
    ev.TaskPaused: "paused",
    ev.TaskReleased: "released",
    ev.TaskFinished: "finished",
    ev.TaskFailed: "failed",
}


def _write_ends(table: Table, events: list[Any], accepted: Int1, cells: Int1, seq: Int1, t: Int1) -> None:
    """Per type, cell and in log order: the event with the greatest sequence number gives time and place."""
    by_type: dict[str, list[int]] = {}
    for i in accepted.tolist():
        name = _END_OF.get(type(events[i]))
        if name is not None:
            by_type.setdefault(name, []).append(i)
    run = table.rows["run"]
    for name, index in by_type.items():
        at = np.array(index, np.int64)
        texts = {
            "started": {"cluster": "cluster_id", "pool": "pool_id"},
            "failed": {"reason": "reason"},
        }.get(name, {})
        codes = {to: intern(table, to, [getattr(events[i], of) for i in index]) for to, of in texts.items()}
        order = np.lexsort((seq[at], cells[at]))
        last = np.append(cells[at][order][1:] != cells[at][order][:-1], True)  # noqa: FBT003
        pick = order[last]
        row, slot = cells[at[pick]] >> 1, cells[at[pick]] & 1
        later = seq[at[pick]] + 1 > run[name][row, slot]
        pick, row, slot = pick[later], row[later], slot[later]
        run[name][row, slot] = seq[at[pick]] + 1
        run[f"{name}_at"][row, slot] = t[at[pick]]
        for to, code in codes.items():
            run[to][row, slot] = code[pick]


def expired(tables: Tables, before: int) -> None:
    """Free tasks that are done for good and whose last event is at or before ``before``."""
    table = tables["tasks"]
    live = table.live()
    old = np.flatnonzero((live["last_t"] <= before) & (live["last_t"] > 0))
    if len(old):
        table.release(old[done(live[old], table.texts["reason"].names)])


def done(rows: AnyArray, reasons: list[str]) -> Bool1:
    """Which rows are terminal: finished, cancelled, or failed with reason ``final``, (n,)."""
    run = rows["run"]
    final = reasons.index("final") if "final" in reasons else -1
    failed = ((run["failed"] > 0) & (run["reason"] == final)).any(axis=1)
    finished = (run["finished"] > 0).any(axis=1)
    result: Bool1 = finished | failed | (rows["cancelled"] > 0)
    return result


FOLDS = {"submitter": fold_submitter, "executor": fold_executor}
