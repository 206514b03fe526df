"""What a run did, collected window by window: shards forget tasks a day after their last event, a score does not."""

import numpy as np

from twin.arrays import AnyArray, Bool1, Float1, Int1
from twin.energy.facts import ends_of, first_end
from twin.energy.fixed import FOREVER
from twin.energy.fleet import Fleet
from twin.energy.follow import Reader, Translation
from twin.energy.runs import SLOTS
from twin.ids import Texts
from twin.mirror import Mirror, MirrorShard
from twin.score.columns import Columns, fitted
from twin.score.links import Links
from twin.score.service_history import ServiceHistory

_FACTS = ("latency_ms", "est_duration_s", "cpu_cores", "state_gb")
_WHOLE = ("kind", "priority", "earliest_start", "deadline", "accelerators", "interruptible")

TASK = dict.fromkeys(_FACTS, "<f8") | dict.fromkeys((*_WHOLE, "submitted_at", "cancelled_at", "origin"), "<i8")
RUN = dict.fromkeys(
    ("task", "attempt", "stated", "start", "end", "cluster", "pool", "done", "failed", "finished", "released"), "<i8"
) | {"rtt_ms": "<f8"}


class History:
    """Tasks and their runs (one per attempt and start), by number in order of first sight.

    Attributes:
        ids: task_id of each task.
        tasks: submitted_at and cancelled_at are ``FOREVER`` where they did not happen; deadline 0: none.
        runs: end is ``FOREVER`` while none is reported; failed, finished, released are 0 or 1; ``done`` is the share of
            the task, of 10⁹, that its attempt has reported; ``rtt_ms`` is between origin and cluster when it was first
            seen, NaN where unknown.
        services: demand and servings.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.tasks = Columns(TASK)
        self.runs = Columns(RUN)
        self.fleet = Fleet()
        self.pool_names = Texts()
        self.services = ServiceHistory()
        self._links = Links(self.fleet.nodes)
        self._reader = Reader("tasks")
        self._codes = Translation()
        self._task: dict[int, Int1] = {}
        self._run: dict[int, Int1] = {}

    def observe(self, mirror: Mirror) -> None:
        """Take in what changed since the last call; to be called once per window, after its cuts."""
        self.fleet.update(mirror)
        self._links.update(mirror)
        for shard in mirror.of("tasks"):
            rows = self._reader.rows(shard)
            if len(rows):
                self._read(shard, rows)
        self.services.observe(mirror)

    def rtt_ms(self) -> Float1:
        """RTT of each run, (runs,); where it was not known at first, what is known now."""
        result: Float1 = self.runs["rtt_ms"].copy()
        missing = np.flatnonzero(np.isnan(result))
        if len(missing):
            result[missing] = self._rtt(missing)
        return result

    # ------------------------------------------------------------------------------------------------ reading rows

    def _read(self, shard: MirrorShard, rows: Int1) -> None:
        table, partition = shard.tables["tasks"], shard.partition
        none = np.zeros(0, np.int64)
        task = self._task[partition] = fitted(self._task.get(partition, none), table.count)
        run = self._run[partition] = fitted(self._run.get(partition, none), table.count, SLOTS)
        changed = rows[self._reader.renamed(shard, rows)]
        if len(changed):
            run.reshape(-1, SLOTS)[changed] = -1
            names = [table.ids.names[row] for row in changed.tolist()]
            used = np.array([name is not None for name in names], bool)
            task[changed] = -1
            task[changed[used]] = self.tasks.add(int(used.sum()))
            self.ids += [name for name in names if name is not None]
        rows = rows[task[rows] >= 0]
        if len(rows):
            self._read_tasks(shard, rows, task[rows])
            self._read_runs(shard, rows, task[rows], run.reshape(-1, SLOTS))

    def _read_tasks(self, shard: MirrorShard, rows: Int1, number: Int1) -> None:
        table = shard.tables["tasks"]
        for name in (*_FACTS, *_WHOLE):
            self.tasks[name][number] = table.rows[name][rows]
        for name in ("submitted", "cancelled"):
            at = np.where(table.rows[name][rows] > 0, table.rows[f"{name}_at"][rows], FOREVER)
            self.tasks[f"{name}_at"][number] = at
        origin = self._codes.of(shard.partition, "origin", table.texts["origin"], self.fleet.nodes)
        self.tasks["origin"][number] = origin[table.rows["origin"][rows]]

    def _read_runs(self, shard: MirrorShard, rows: Int1, task: Int1, known: AnyArray) -> None:
        """Find or make the run of each slot, and write what is reported of it. ``known`` is (rows of the table, 2)."""
        run = shard.tables["tasks"].rows["run"]
        before = known[rows]
        attempt, stated = run["attempt"][rows], run["started"][rows]
        number = np.full(before.shape, -1, np.int64)
        for now in range(SLOTS):
            for old in range(SLOTS):
                same = (before[:, old] >= 0) & (stated[:, now] > 0)
                same[same] = self.runs["attempt"][before[same, old]] == attempt[same, now]
                number[same, now] = before[same, old]
        self._resume(run, rows, number, stated)
        new = (number < 0) & (stated > 0)
        number[new] = self.runs.add(int(new.sum()))
        known[rows] = number
        at, slot = np.nonzero(number >= 0)
        if len(at):
            self._write_runs(shard, number[at, slot], rows[at], slot, task[at])
            fresh = number[new]
            self.runs["rtt_ms"][fresh] = self._rtt(fresh)

    def _resume(self, run: AnyArray, rows: Int1, number: AnyArray, stated: AnyArray) -> None:
        """A run that was paused and has started again is another run: the first one ends at the pause."""
        at, slot = np.nonzero(number >= 0)
        old = number[at, slot]
        again = self.runs["stated"][old] != stated[at, slot]
        if not again.any():
            return
        at, slot, old = at[again], slot[again], old[again]
        paused = first_end(ends_of(run[rows[at], slot]), self.runs["stated"][old], stated[at, slot])
        resumed = paused <= run["started_at"][rows[at], slot]
        self.runs["end"][old[resumed]] = np.maximum(paused[resumed], self.runs["start"][old[resumed]])
        self.runs["released"][old[resumed]] = 1
        number[at[resumed], slot[resumed]] = -1

    def _write_runs(self, shard: MirrorShard, number: Int1, row: Int1, slot: Int1, task: Int1) -> None:
        run, texts, runs = shard.tables["tasks"].rows["run"], shard.tables["tasks"].texts, self.runs
        stated, start = run["started"][row, slot], run["started_at"][row, slot]
        cluster = self._codes.of(shard.partition, "cluster", texts["cluster"], self.fleet.cluster_names)
        self.fleet.fit()
        pool = self._codes.of(shard.partition, "pool", texts["pool"], self.pool_names)
        runs["task"][number], runs["attempt"][number] = task, run["attempt"][row, slot]
        runs["stated"][number], runs["start"][number] = stated, start
        runs["end"][number] = np.maximum(first_end(ends_of(run[row, slot]), stated), start)
        runs["cluster"][number] = cluster[run["cluster"][row, slot]]
        runs["pool"][number] = pool[run["pool"][row, slot]]
        runs["done"][number] = run["done"][row, slot]
        for name in ("failed", "finished", "released"):
            runs[name][number] = run[name][row, slot] > stated

    def _rtt(self, runs: Int1) -> Float1:
        origin = self.tasks["origin"][self.runs["task"][runs]]
        cluster = self.runs["cluster"][runs]
        known: Bool1 = self.fleet.clusters["registered"][cluster] > 0
        rtt_ms = self._links.rtt_ms(origin, self.fleet.clusters["node"][cluster])
        return np.where(known, rtt_ms, np.nan)
