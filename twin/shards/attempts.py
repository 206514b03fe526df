"""What executors say of the attempts of a task: the part ``run`` of a task's row.

Events are ordered by (attempt, seq). Each attempt has an identity and a slot of its own, slot 0 the newest attempt, slot
1 the one before; of an older attempt nothing is known. A new attempt moves the one before to slot 1.
"""

from itertools import pairwise
from typing import Any

import numpy as np

from twin import events as ev
from twin.arrays import AnyArray, Int1
from twin.shards.fold import Outcomes, heard, heard_many, sequence
from twin.shards.order import Outcome, admit, admit_one, newest
from twin.shards.table import Fields, Table

ATTEMPT_TOO_OLD = 4
"""Outcome of an event of an attempt before the latest two; continues ``Outcome``."""

TEXTS = ("cluster", "pool", "reason")
ENDS = ("paused", "released", "finished", "failed")
DONE_SCALE = 1_000_000_000
"""``done`` is the done share in parts of a thousand million."""

RUN = np.dtype(
    [
        ("attempt", "<i8"),
        ("high", "<i8"),
        ("seen", "<u8"),
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
_REPEAT = int(Outcome.REPEAT)
_identity, _attempt = Fields(RUN, "attempt", "high", "seen"), Fields(RUN, "attempt")
_progress = Fields(RUN, "done", "energy_mwh")
_TEXTS_OF: dict[type, tuple[tuple[str, str], ...]] = {
    ev.TaskStarted: (("cluster", "cluster_id"), ("pool", "pool_id")),
    ev.TaskFailed: (("reason", "reason"),),
}
_NAME_OF: dict[type, str] = {
    ev.TaskStarted: "started",
    ev.TaskPaused: "paused",
    ev.TaskReleased: "released",
    ev.TaskFinished: "finished",
    ev.TaskFailed: "failed",
}
_FIELDS_OF = {
    kind: Fields(RUN, name, f"{name}_at", *(column for column, _ in _TEXTS_OF.get(kind, ())))
    for kind, name in _NAME_OF.items()
}


def fold(table: Table, last_t: Fields, events: list[Any], t: Int1) -> Outcomes:
    """Fold events into the column ``run`` of ``table``."""
    rows = table.assign([e.task_id for e in events])
    if len(rows) <= table.FEW:
        return _fold_few(table, last_t, rows, events)
    outcomes: Outcomes = []
    for start, end in pairwise(_one_attempt_each(rows, events)):
        some, of = events[start:end], rows[start:end]
        if end - start <= table.FEW:
            outcomes += _fold_few(table, last_t, of, some)
        else:
            outcomes += _fold_many(table, np.array(of, np.int64), some, t[start:end])
    return outcomes


# --------------------------------------------------------------------------------------------------- one by one


def _fold_few(table: Table, last_t: Fields, rows: list[int], events: list[Any]) -> Outcomes:
    outcomes = []
    for row, event in zip(rows, events, strict=True):
        slot = _slot(table, row, event.attempt)
        if slot is None:
            outcomes.append(ATTEMPT_TOO_OLD)
            continue
        _, high, seen = _identity.get(table, row, slot)
        outcome, high, seen = admit_one(high, seen, event.seq)
        outcomes.append(outcome)
        if outcome < _REPEAT:
            _identity.put(table, row, event.attempt, high, seen, inside=slot)
            heard(table, last_t, row, event.t)
            _write_progress(table, row, slot, event)
            _write_end(table, row, slot, event)
    return outcomes


def _slot(table: Table, row: int, attempt: int) -> int | None:
    """The byte in the row where the reports on an attempt stand; makes room for a new one. None: it is too old."""
    first = table.offset_of("run")
    second, end = first + RUN.itemsize, first + 2 * RUN.itemsize
    newest_one = _attempt.get(table, row, first)[0]
    if attempt == newest_one:
        return first
    before = _attempt.get(table, row, second)[0]
    if attempt == before:
        return second
    if attempt < before:
        return None
    memory, start = table.memory, row * table.width
    if attempt > newest_one:
        memory[start + second : start + end] = memory[start + first : start + second]
        second = first
    memory[start + second : start + second + RUN.itemsize] = bytes(RUN.itemsize)
    return second


def _write_progress(table: Table, row: int, slot: int, event: ev.TaskAnswer) -> None:
    """``done`` and ``energy_mwh`` are cumulative in an attempt: the greatest is the newest."""
    if event.done_share is None and event.energy_wh is None:
        return
    done, energy = _progress.get(table, row, slot)
    done = max(done, round((event.done_share or 0) * DONE_SCALE))
    energy = max(energy, round((event.energy_wh or 0) * 1000))
    _progress.put(table, row, done, energy, inside=slot)


def _write_end(table: Table, row: int, slot: int, event: ev.TaskAnswer) -> None:
    """Per type, the event with the greatest sequence number gives time and place."""
    kind = type(event)
    fields = _FIELDS_OF.get(kind)
    if fields is None:
        return
    codes = [table.texts[column].code_list((getattr(event, of),))[0] for column, of in _TEXTS_OF.get(kind, ())]
    if event.seq + 1 > fields.get(table, row, slot)[0]:
        fields.put(table, row, event.seq + 1, event.t, *codes, inside=slot)


# --------------------------------------------------------------------------------------------------- in columns


def _one_attempt_each(rows: list[int], events: list[Any]) -> list[int]:
    """Bounds of consecutive parts in which every task has events of just one attempt: [0, ..., n]."""
    bounds, latest = [0], dict[int, int]()
    for i, (row, event) in enumerate(zip(rows, events, strict=True)):
        if latest.setdefault(row, event.attempt) != event.attempt:
            bounds.append(i)
            latest = {row: event.attempt}
    return [*bounds, len(rows)]


def _fold_many(table: Table, rows: Int1, events: list[Any], t: Int1) -> Outcomes:
    """``_fold_few`` in columns; every row has events of just one attempt."""
    run = table.rows["run"]
    slot = _slots(run, rows, np.fromiter((e.attempt for e in events), np.int64, len(events)))
    outcome = np.full(len(events), ATTEMPT_TOO_OLD, np.uint8)
    fit = np.flatnonzero(slot >= 0)
    cells, number = np.unique(rows[fit] * 2 + slot[fit], return_inverse=True)
    place = cells >> 1, cells & 1
    high, seen = run["high"][place], run["seen"][place]
    outcome[fit] = admit(number, sequence(events)[fit], high, seen)
    run["high"][place], run["seen"][place] = high, seen
    accepted = np.flatnonzero(outcome < _REPEAT)
    heard_many(table, rows[accepted], t[accepted])
    events = [events[i] for i in accepted.tolist()]
    _write_progress_many(run, (rows[accepted], slot[accepted]), events)
    _write_ends(table, rows[accepted] * 2 + slot[accepted], events)
    return outcome.tolist()


def _slots(run: AnyArray, rows: Int1, attempt: Int1) -> Int1:
    """The slot of each event's attempt, -1: too old; makes room for new ones. (n,)."""
    newest_one, before = run["attempt"][rows, 0], run["attempt"][rows, 1]
    ahead, between = attempt > newest_one, (attempt < newest_one) & (attempt > before)
    slot = np.where(ahead | (attempt == newest_one), 0, np.where(between | (attempt == before), 1, -1))
    new = np.unique(rows[ahead])
    run[new, 1] = run[new, 0]
    run[new, 0] = np.zeros((), RUN)
    run[np.unique(rows[between]), 1] = np.zeros((), RUN)
    run["attempt"][rows[slot >= 0], slot[slot >= 0]] = attempt[slot >= 0]
    return slot


def _write_progress_many(run: AnyArray, place: tuple[Int1, Int1], events: list[Any]) -> None:
    for column, name, scale in (("done", "done_share", DONE_SCALE), ("energy_mwh", "energy_wh", 1000)):
        said = np.array([getattr(event, name) for event in events], np.float64)
        if not np.isnan(said).all():
            np.maximum.at(run[column], place, np.rint(np.nan_to_num(said) * scale).astype(np.int64))


def _write_ends(table: Table, cells: Int1, events: list[Any]) -> None:
    by_type: dict[type, list[int]] = {}
    for i, event in enumerate(events):
        by_type.setdefault(type(event), []).append(i)
    run = table.rows["run"]
    for kind, name in _NAME_OF.items():
        at = by_type.get(kind)
        if at is None:
            continue
        some, mark = [events[i] for i in at], sequence([events[i] for i in at]) + 1
        codes = {to: table.texts[to].codes([getattr(e, of) for e in some]) for to, of in _TEXTS_OF.get(kind, ())}
        pick = newest(cells[at], mark)
        place = cells[at][pick] >> 1, cells[at][pick] & 1
        later = mark[pick] > run[name][place]
        pick, place = pick[later], (place[0][later], place[1][later])
        run[name][place] = mark[pick]
        run[f"{name}_at"][place] = [some[i].t for i in pick.tolist()]
        for to, code in codes.items():
            run[to][place] = code[pick]
