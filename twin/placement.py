"""Desired and reported placement of every task, and the state machine that joins them.

Ingest never writes here and nobody but the dispatcher writes the desired side. ``follow`` takes what executors reported
since the last window; ``decide`` takes what a window decided. Both work on columns aligned with the rows of the task
shards; a freed row is zeroed.

    state      desired      reported
    WAITING    nowhere      nowhere
    ASSIGNED   p            nowhere
    RUNNING    p            p
    MOVING     b            a, released once b has started
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from twin.arrays import AnyArray, Bool1, Float1, Int1, Int2, packed
from twin.mirror import Mirror, MirrorShard
from twin.packed import Sparse, columns_of, pack_used, unpack_used
from twin.shards import tasks as task_shard
from twin.shards.table import Table
from twin.shards.tasks import DONE_SCALE
from twin.sites import Sites
from twin.view import Action, Decisions, State

ACK_WINDOWS = 2
"""Windows a start may take (besides the transfer) before the task is placed anew."""
RETRY_WINDOWS = 2
"""Windows a pool stays barred for a task after a rejection or a lost answer."""

PLACEMENT = np.dtype(
    [
        ("state", "<i8"),
        ("desired", "<i8"),  # pool index + 1, 0: nowhere
        ("reported", "<i8"),  # pool index + 1 where the newest running attempt runs
        ("leaving", "<i8"),  # pool index + 1 that an older attempt still holds
        ("attempt", "<i8"),  # newest attempt decided on or reported
        ("timeout_at", "<i8"),
        ("start_at", "<i8"),
        ("barred", "<i8", (2,)),  # pool index + 1
        ("barred_until", "<i8", (2,)),
        ("overridden", "<i8"),  # starts elsewhere than desired
        ("stuck", "<i8"),  # runs, and a newer attempt came to nothing: one more would push the run out of the row
        ("live", "<i8"),  # submitted and not done
        ("since", "<i8"),  # start of the running attempt, 0: not running
        ("done", "<f8"),  # share of the task done when the running attempt began, or by now if it does not run
    ]
)

_NUMBERS = PLACEMENT.itemsize // 8


@dataclass(slots=True)
class Live:
    """The live tasks of one shard: their rows in its table (and in the placement), (n,) ascending."""

    shard: MirrorShard
    rows: Int1


class Placement:
    """The placement part of the carry."""

    def __init__(self, partitions: int) -> None:
        self.tasks: list[AnyArray] = [np.zeros(64, PLACEMENT) for _ in range(partitions)]
        self._counts = [0] * partitions
        self._known_pools = 0
        self._pools: dict[int, tuple[tuple[int, int, int], Int2]] = {}

    def follow(self, mirror: Mirror, sites: Sites, *, effective_at: int, window_ms: int) -> list[Live]:
        """Bring every live task up to what was reported; returns the live tasks by shard."""
        parts = [self._follow(shard, sites, effective_at, window_ms) for shard in mirror.of("tasks")]
        self._known_pools = len(sites.pools)
        return parts

    def _follow(self, shard: MirrorShard, sites: Sites, now: int, window_ms: int) -> Live:
        """What is reported moves the tasks it is about; of the others, those whose start is overdue or whose pool may be new."""
        table = shard.tables["tasks"]
        mine = self._room(shard.partition, table.count)
        self._counts[shard.partition] = table.count
        if shard.released.get("tasks"):
            mine[shard.released["tasks"]] = np.zeros((), PLACEMENT)
        used = mine[: table.count]
        pending = (used["state"] == State.ASSIGNED) | (used["state"] == State.MOVING)
        if len(sites.pools) > self._known_pools:  # tasks may run where nobody was registered until now
            pending |= used["live"] > 0
        changed = shard.changed.get("tasks")
        if changed is not None and len(changed):
            pending[changed] |= table.rows["submitted"][changed] > 0
        at = np.flatnonzero(pending & (used["state"] != State.DONE))
        if len(at):
            lut = self._pool_lut(shard, sites)
            packed(mine)[at] = packed(self._moved(mine.take(at), table, at, lut, now=now, window_ms=window_ms))
        return Live(shard, np.flatnonzero(used["live"]))

    @staticmethod
    def _moved(task: AnyArray, table: Table, at: Int1, lut: Int2, *, now: int, window_ms: int) -> AnyArray:
        """The placement rows ``task`` of table rows ``at`` after what was reported of them."""
        rows, reasons = table.rows.take(at), table.texts["reason"].names
        over = task_shard.done(rows, reasons)
        runs = _Runs(rows["run"], lut, reasons)
        _transition(task, runs, now, window_ms)
        task["state"][over] = State.DONE
        for side in ("desired", "reported", "leaving"):
            task[side][over] = 0
        task["live"] = ~over
        since = np.where(task["reported"] > 0, runs.since, 0)
        # a run's own progress is in its time already: what was done before it is what was said when it began
        begins = (since == 0) | (since != task["since"])
        task["done"] = np.where(begins, _done_so_far(rows, runs), task["done"])
        task["since"] = since
        return task

    def _room(self, partition: int, count: int) -> AnyArray:
        mine = self.tasks[partition]
        if len(mine) < count:
            bigger = np.zeros(max(count, 2 * len(mine)), PLACEMENT)
            bigger[: len(mine)] = mine
            self.tasks[partition] = mine = bigger
        return mine

    def _pool_lut(self, shard: MirrorShard, sites: Sites) -> Int2:
        """(cluster code, pool code) → pool index + 1, 0 for places nobody registered."""
        texts = shard.tables["tasks"].texts
        clusters, pools = texts["cluster"].names, texts["pool"].names
        key = (len(clusters), len(pools), sites.version)
        cached = self._pools.get(shard.partition)
        if cached is None or cached[0] != key:
            lut = np.array([[sites.pool_index(c, p) + 1 for p in pools] for c in clusters], np.int64)
            self._pools[shard.partition] = cached = (key, lut)
        return cached[1]

    def decide(
        self, live: list[Live], decisions: Decisions, *, effective_at: int, window_ms: int, transfer_s: Float1
    ) -> None:
        """Write what a window decided. ``transfer_s`` is (K,), the state transfer of each decision."""
        starts = np.cumsum([0, *(len(part.rows) for part in live)])
        for part, first, end in zip(live, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            mask = (decisions.task >= first) & (decisions.task < end)
            if mask.any():
                start_at = decisions.start_at[mask]
                patience_ms = ACK_WINDOWS * window_ms + (transfer_s[mask] * 1000).astype(np.int64)
                self._decide(
                    self.tasks[part.shard.partition],
                    part.rows[decisions.task[mask] - first],
                    decisions.action[mask],
                    pool=decisions.pool[mask] + 1,
                    start_at=start_at,
                    timeout_at=np.maximum(effective_at, start_at) + patience_ms,
                )

    @staticmethod
    def _decide(mine: AnyArray, at: Int1, action: AnyArray, *, pool: Int1, start_at: Int1, timeout_at: Int1) -> None:
        task = mine.take(at)
        goes = (action == Action.PLACE) | (action == Action.MOVE)
        task["attempt"] += goes
        task["desired"] = np.where(goes, pool, task["desired"])
        task["timeout_at"] = np.where(goes, timeout_at, task["timeout_at"])
        task["state"] = np.where(goes, np.where(task["reported"] > 0, State.MOVING, State.ASSIGNED), task["state"])
        task["start_at"] = np.where(action == Action.DEFER, start_at, np.where(goes, 0, task["start_at"]))
        # a task that runs is preempted when it says so; one that moves stays where it runs
        stops = action == Action.PREEMPT
        drop, back = stops & (task["state"] == State.ASSIGNED), stops & (task["state"] == State.MOVING)
        task["state"][drop], task["desired"][drop] = State.WAITING, 0
        task["state"][back], task["desired"][back] = State.RUNNING, task["reported"][back]
        packed(mine)[at] = packed(task)

    def carry(self) -> Sparse:
        """All placements."""
        parts = [part[:count] for part, count in zip(self.tasks, self._counts, strict=True)]
        used = [np.bitwise_or.reduce(part.view(np.int64).reshape(len(part), _NUMBERS), axis=1) != 0 for part in parts]
        rows = np.empty(sum(map(np.count_nonzero, used)), PLACEMENT)
        packed(rows)[:] = np.concatenate([packed(part)[at] for part, at in zip(parts, used, strict=True)])
        return pack_used(used, rows)

    def restore(self, carry: Sparse, mirror: Mirror) -> None:
        """Go on from a carry of where ``mirror`` stands.

        Raises:
            ConfigError: the carry is of another version.
        """
        self._counts = [shard.tables["tasks"].count for shard in mirror.of("tasks")]
        used, columns = unpack_used(carry, self._counts, columns_of(PLACEMENT))
        first = 0
        for partition, (at, count) in enumerate(zip(used, self._counts, strict=True)):
            mine = self._room(partition, count)
            for name, column in columns.items():
                mine[name][at] = column[first : first + len(at)]
            first += len(at)

    def sha(self) -> bytes:
        """Hash of all placements, over the rows that are in use or were."""
        sha = hashlib.sha256()
        for part, count in zip(self.tasks, self._counts, strict=True):
            sha.update(part[:count].view(np.uint8).data)
        return sha.digest()


class _Runs:
    """The latest two attempts of n tasks as columns, (n, 2): newest first. ``pool`` is 0 where an attempt does not run."""

    def __init__(self, run: AnyArray, lut: Int2, reasons: list[str]) -> None:
        self.attempt = run["attempt"]
        started = run["started"] > 0
        self.failed = run["failed"] > 0
        rejected = reasons.index("rejected") if "rejected" in reasons else -1
        self.ended = (run["released"] > 0) | (run["finished"] > 0) | self.failed
        self.runs = started & ~self.ended
        self.broke = started & self.failed
        self.rejected = self.failed & (run["reason"] == rejected)
        self.pool = np.where(self.runs, lut[run["cluster"], run["pool"]], 0)
        self.done = run["done"]
        self.since = np.where(
            self.runs[:, 0], run["started_at"][:, 0], np.where(self.runs[:, 1], run["started_at"][:, 1], 0)
        )


def _done_so_far(rows: AnyArray, runs: _Runs) -> Float1:
    """Share of the task that its latest attempts have done and that is not lost, (n,)."""
    lost = runs.failed & (rows["interruptible"] == 0)[:, None]
    kept: Float1 = np.where(lost, 0, runs.done).max(axis=1, initial=0) / DONE_SCALE
    return kept


def _transition(task: AnyArray, runs: _Runs, now: int, window_ms: int) -> None:
    """The table of semantics "Placement" on n tasks at once."""
    newest = runs.attempt[:, 0]
    ahead = newest > task["attempt"]  # an executor is ahead of what was decided: it is right
    task["attempt"] = np.maximum(task["attempt"], newest)
    current = newest == task["attempt"]
    runs_new, ended = current & runs.runs[:, 0], current & runs.ended[:, 0]
    upper = ~current & runs.runs[:, 0]
    older = np.where(upper, runs.pool[:, 0], runs.pool[:, 1])
    older_runs = upper | runs.runs[:, 1]

    nowhere = (task["state"] == State.RUNNING) & (task["desired"] == 0)  # its pool was not registered until now
    task["overridden"] += runs_new & (runs.pool[:, 0] != task["desired"]) & ~nowhere
    task["desired"] = np.where(runs_new, runs.pool[:, 0], task["desired"])
    task["state"] = np.where(runs_new, State.RUNNING, task["state"])
    task["state"] = np.where((task["state"] == State.ASSIGNED) & older_runs, State.MOVING, task["state"])

    moving = task["state"] == State.MOVING
    pending = moving | (task["state"] == State.ASSIGNED)
    lost = pending & ~ended & (now >= task["timeout_at"])
    _bar(task, lost | (pending & current & runs.rejected[:, 0] & ~ahead), now + RETRY_WINDOWS * window_ms)
    # back to where it still runs, or to the queue
    falls = lost | (pending & ended) | ((task["state"] == State.RUNNING) & ~runs_new)
    left = moving & ~falls & ~older_runs
    hands_over = left & ~runs.broke.any(axis=1)  # the new place has yet to say that it runs
    falls |= left & ~hands_over
    task["desired"] = np.where(falls, older, task["desired"])
    task["state"] = np.where(falls, np.where(older_runs, State.RUNNING, State.WAITING), task["state"])
    task["state"] = np.where(hands_over, State.ASSIGNED, task["state"])

    task["reported"] = np.where(runs_new, runs.pool[:, 0], older)
    task["leaving"] = np.where(runs_new | upper, runs.pool[:, 1], 0)
    task["stuck"] = (task["state"] == State.RUNNING) & ~runs.runs[:, 0] & runs.runs[:, 1]


def _bar(task: AnyArray, mask: Bool1, until: int) -> None:
    """Bar the desired pool; the younger of the two bars stays."""
    if mask.any():
        task["barred"][mask, 1] = task["barred"][mask, 0]
        task["barred_until"][mask, 1] = task["barred_until"][mask, 0]
        task["barred"][mask, 0] = task["desired"][mask]
        task["barred_until"][mask, 0] = until
