"""Reported runs of tasks → meters, and what is paid when a task starts or moves.

A meter runs from the attempt's start to the first end that was reported of it. Facts may arrive late or be corrected:
what has been booked is then taken back or caught up. A run whose task or cluster is not known yet is held until it is.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from twin.arrays import AnyArray, Bool1, Int1
from twin.energy.fees import Fees
from twin.energy.fixed import FOREVER, MILLION, to_fixed
from twin.energy.fleet import Fleet
from twin.energy.follow import Reader, Translation
from twin.energy.meters import Meters
from twin.energy.power import task_it_w
from twin.energy.settle import Bookings, Jobs, Kind, payments
from twin.mirror import Mirror, MirrorShard
from twin.shards.table import Table
from twin.shards.tasks import ENDS

SLOTS = 2
_NO_ROWS = np.zeros(0, np.int64)
_LATEST = 1 << 62


@dataclass(frozen=True, slots=True)
class _Reported:
    """Runs of one shard as reported: meter, row, slot, start event (sequence number plus one), its time and cluster."""

    cells: Int1
    row: Int1
    slot: Int1
    stated: Int1
    start: Int1
    cluster: Int1

    def some(self, at: Int1) -> "_Reported":
        """Those ``at`` (indices)."""
        columns = (self.cells, self.row, self.slot, self.stated, self.start, self.cluster)
        return _Reported(*(column[at] for column in columns))


class Runs:
    """Meters of the latest two attempts of every task.

    ``assumed`` counts starts for which something had to be assumed: ``device_w`` (0 W), ``pue`` (1.0), ``fee`` (0),
    ``power_limit`` (cut off). ``taken_back`` and ``paid`` are for the ledger to book and empty.
    """

    def __init__(self, partitions: int, fleet: Fleet, fees: Fees) -> None:
        self.meters = Meters(partitions, SLOTS)
        self.assumed: Counter[str] = Counter()
        self.taken_back: list[Jobs] = []
        self.paid: list[Bookings] = []
        self.held: dict[int, Int1] = {}
        self._fleet = fleet
        self._fees = fees
        self._reader = Reader("tasks")
        self._codes = Translation()

    def read(self, mirror: Mirror, *, rates_changed: bool) -> None:
        """Follow the task shards. ``rates_changed``: power or fees may differ for all that runs."""
        for shard in mirror.of("tasks"):
            rows = self._reader.rows(shard)
            held = self.held.get(shard.partition, _NO_ROWS)
            if len(held):
                rows = np.union1d(rows, held)
            if len(rows):
                self._read(shard, rows)
            if rates_changed:
                self._rate(shard, self.meters.active_of(shard.partition))

    # -------------------------------------------------------------------------------------------------- one shard

    def _read(self, shard: MirrorShard, rows: Int1) -> None:
        table, meters = shard.tables["tasks"], self.meters
        meters.fit(shard.partition, table.count)
        cell = meters.cells(shard.partition, rows)
        other = cell[self._reader.renamed(shard, rows)]
        if len(other):
            meters.clear(np.concatenate([other, other + 1]))
        run = table.rows["run"]
        self._shift(cell, run[rows])
        cells = (cell[:, None] + np.arange(SLOTS)).ravel()
        stated = run["started"][rows].ravel()
        cluster = self._translated(shard, "cluster")[run["cluster"][rows].ravel()]
        ready = stated > 0
        ready &= np.repeat(table.rows["submitted"][rows] > 0, SLOTS)
        ready &= self._fleet.clusters["registered"][cluster] > 0
        self.held[shard.partition] = np.unique(np.repeat(rows, SLOTS)[(stated > 0) & ~ready])
        at = np.flatnonzero(ready)
        if len(at):
            row, slot = np.repeat(rows, SLOTS)[at], at % SLOTS
            self._update(shard, _Reported(cells[at], row, slot, stated[at], run["started_at"][row, slot], cluster[at]))
            self._moves(table, cell, rows)

    def _shift(self, cell: Int1, run: AnyArray) -> None:
        """Let meters follow their attempts between the two slots.

        Of an attempt that left both without an end nothing more will be heard: it ends where the newest one starts.
        """
        meters, rows, attempt = self.meters, self.meters.rows, run["attempt"]
        newest, before = rows["attempt"][cell], rows["attempt"][cell + 1]
        keeps = (before == 0) | (attempt[:, 1] == before)
        down = (newest > 0) & (attempt[:, 0] != newest) & (attempt[:, 1] == newest)
        leaves = [np.flatnonzero((newest > 0) & (attempt[:, 0] != newest) & ~down), np.flatnonzero(~keeps)]
        for slot, at in enumerate(leaves):
            if len(at):
                self._leave(cell[at] + slot, run["started"][at, 0], run["started_at"][at, 0])
        if down.any():
            at = cell[down]
            for column in (*rows.values(), meters.active):
                column[at + 1] = column[at]
            meters.clear(at)

    def _leave(self, cells: Int1, next_stated: Int1, next_start: Int1) -> None:
        rows = self.meters.rows
        at = np.flatnonzero(self.meters.active[cells] & (next_stated > 0))
        if len(at):
            some = cells[at]
            target = np.maximum(np.minimum(rows["end"][some], next_start[at]), rows["start"][some])
            self.taken_back.append(self.meters.jobs(Kind.TASK, some, target))
        self.meters.clear(cells)

    def _update(self, shard: MirrorShard, said: _Reported) -> None:
        """Bring meters to what is reported of their runs."""
        meters, run = self.meters, shard.tables["tasks"].rows["run"]
        cells = said.cells
        before = meters.rows["stated"][cells]
        differs = before != said.stated
        redo = np.flatnonzero(differs & (before > 0))
        resumed = self._take_back(run, said.some(redo)) if len(redo) else redo
        fresh = np.flatnonzero(differs)
        if len(fresh):
            self._begin(shard, said.some(fresh))
            self._data_in(shard, said.cells[np.setdiff1d(fresh, redo[resumed])])
        meters.end(cells, first_end(run, said.row, said.slot, said.stated))
        running = meters.active[cells] | differs
        self._rate(shard, cells[running], count=differs[running])

    def _begin(self, shard: MirrorShard, said: _Reported) -> None:
        run = shard.tables["tasks"].rows["run"]
        begun: dict[str, Int1 | int] = dict.fromkeys(("start", "anchor", "booked"), said.start)
        begun |= {"stated": said.stated, "cluster": said.cluster, "power_mw": 0, "rate": 0}
        begun["accelerated"] = (shard.tables["tasks"].rows["accelerators"][said.row] > 0).astype(np.int64)
        begun["attempt"] = run["attempt"][said.row, said.slot]
        begun["pool"] = self._translated(shard, "pool")[run["pool"][said.row, said.slot]]
        for name, column in begun.items():
            self.meters.rows[name][said.cells] = column

    def _take_back(self, run: AnyArray, said: _Reported) -> Int1:
        """Book back runs whose start has been corrected; a run that was paused and resumed keeps what it had.

        Returns which of them (indices) were resumed.
        """
        cells = said.cells
        old = self.meters.take(cells)
        paused = first_end(run, said.row, said.slot, old["stated"], said.stated)
        resumed = paused <= said.start
        target = np.where(resumed, np.maximum(paused, old["start"]), old["start"])
        self.taken_back.append(self.meters.jobs(Kind.TASK, cells, target))
        wrong = np.flatnonzero(~resumed)
        self._pay(Kind.DATA_IN, cells[wrong], -old["paid_in"][wrong])
        self._pay(Kind.MOVE, cells[wrong], -old["paid_move"][wrong])
        for name in ("paid_in", "paid_move", "moved"):
            self.meters.rows[name][cells[wrong]] = 0
        return np.flatnonzero(resumed)

    # ---------------------------------------------------------------------------------------------- power and fees

    def _rate(self, shard: MirrorShard, cells: Int1, count: Bool1 | None = None) -> None:
        """Set power and network cost of running ``cells``; ``count`` says whose assumptions are new."""
        if not len(cells):
            return
        table, meters = shard.tables["tasks"].rows, self.meters.rows
        row = self.meters.row[cells]
        cluster = meters["cluster"][cells]
        pool = self._fleet.pool_rows(cluster, meters["pool"][cells])
        devices = self._fleet.pools[pool]
        request = (table["power_w"][row], table["accelerators"][row], table["cpu_cores"][row])
        it_w, device_w = task_it_w(*request, devices["w_accelerator"], devices["w_core"])
        site = self._fleet.clusters[cluster]
        power_mw, over = to_fixed(it_w * site["pue"], 1000.0)
        gbph = table["data_rate_gbph"][row]
        rate, fee = np.zeros(len(cells), np.int64), np.zeros(len(cells), bool)
        paying = np.flatnonzero(gbph > 0)
        if len(paying):
            per_gb, known = self._per_gb(shard, row[paying], cluster[paying], meters["booked"][cells[paying]])
            rate[paying], over[paying] = to_fixed(gbph[paying] * per_gb, MILLION)
            fee[paying] = ~known
        self.meters.rate(cells, power_mw, rate)
        if count is not None and count.any():
            found = {"device_w": device_w, "pue": site["pue_assumed"], "power_limit": over, "fee": fee}
            self.assumed.update({name: int((flag & count).sum()) for name, flag in found.items()})

    def _per_gb(self, shard: MirrorShard, row: Int1, cluster: Int1, t: Int1) -> tuple[AnyArray, Bool1]:
        origin = self._codes.of(shard.partition, "origin", shard.tables["tasks"].texts["origin"], self._fleet.nodes)
        from_ = origin[shard.tables["tasks"].rows["origin"][row]]
        return self._fees.per_gb(from_, self._fleet.clusters["node"][cluster], t)

    def _data_in(self, shard: MirrorShard, cells: Int1) -> None:
        """Pay for the data that a start brings from the task's origin."""
        row = self.meters.row[cells]
        gb = shard.tables["tasks"].rows["data_in_gb"][row]
        some = np.flatnonzero(gb > 0)
        if not len(some):
            return
        cells, row = cells[some], row[some]
        rows = self.meters.rows
        per_gb, known = self._per_gb(shard, row, rows["cluster"][cells], rows["start"][cells])
        self.assumed["fee"] += int((~known).sum())
        rows["paid_in"][cells] = _micro(gb[some], per_gb)
        self._pay(Kind.DATA_IN, cells, rows["paid_in"][cells])

    def _moves(self, table: Table, cell: Int1, task: Int1) -> None:
        """Pay for the state of tasks whose newest attempt runs elsewhere than the one before, which did not end by itself."""
        rows, run = self.meters.rows, table.rows["run"]
        moved = (rows["stated"][cell] > 0) & (rows["stated"][cell + 1] > 0)
        moved &= rows["cluster"][cell] != rows["cluster"][cell + 1]
        moved &= (run["failed"][task, 1] == 0) & (run["finished"][task, 1] == 0)
        was = rows["moved"][cell] > 0
        wrong = cell[was & ~moved]
        if len(wrong):
            self._pay(Kind.MOVE, wrong, -rows["paid_move"][wrong])
            rows["paid_move"][wrong] = rows["moved"][wrong] = 0
        new = np.flatnonzero(moved & ~was)
        if len(new):
            to = cell[new]
            gb, node = table.rows["state_gb"][task[new]], self._fleet.clusters["node"]
            source, target = node[rows["cluster"][to + 1]], node[rows["cluster"][to]]
            per_gb, known = self._fees.per_gb(source, target, rows["start"][to])
            self.assumed["fee"] += int((~known & (gb > 0)).sum())
            rows["paid_move"][to], rows["moved"][to] = _micro(gb, per_gb), 1
            self._pay(Kind.MOVE, to, rows["paid_move"][to])

    def _pay(self, kind: Kind, cells: Int1, micro: Int1) -> None:
        if len(cells):
            self.paid.append(payments(kind, self.meters.whose(cells), self.meters.rows["start"][cells], micro))

    def _translated(self, shard: MirrorShard, column: str) -> Int1:
        texts = shard.tables["tasks"].texts[column]
        if column == "cluster":
            codes = self._codes.of(shard.partition, column, texts, self._fleet.cluster_names)
            self._fleet.fit()
            return codes
        return self._codes.of(shard.partition, column, texts, self._fleet.pool_names)


def first_end(run: AnyArray, row: Int1, slot: Int1, stated: Int1, before: Int1 | int = _LATEST) -> Int1:
    """The first end reported of each run by an event after its start (``stated``) and before another one, (n,).

    An end with a lower sequence number than the start belongs to what was before a pause.
    """
    first = np.full(len(row), FOREVER, np.int64)
    for name in ENDS:
        seq = run[name][row, slot]
        at = run[f"{name}_at"][row, slot]
        np.minimum(first, np.where((seq > stated) & (seq < before), at, FOREVER), out=first)
    return first


def _micro(gb: AnyArray, per_gb: AnyArray) -> Int1:
    """GB × currency per GB in micro-currency, rounded half-even."""
    return to_fixed(gb * per_gb, MILLION, 1 << 60)[0]
