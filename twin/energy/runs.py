"""Reported runs of tasks → meters, and what is paid when a task starts or moves.

A meter runs from the attempt's start to the first end that was reported of it. Facts may arrive late or be corrected:
what has been booked is then taken back or caught up. A run whose task or cluster is not known yet is held until it is.
"""

from collections import Counter

import numpy as np

from twin.arrays import AnyArray, Bool1, Int1
from twin.energy.facts import Facts, first_end, gather
from twin.energy.fees import Fees
from twin.energy.fixed import MILLION, to_fixed
from twin.energy.fleet import Fleet
from twin.energy.follow import Reader, Translation
from twin.energy.meters import Meters, MetersCarry, pack_held, unpack_held
from twin.energy.power import task_it_w
from twin.energy.settle import Bookings, Jobs, Kind, payments
from twin.mirror import Mirror

SLOTS = 2
_NO_ROWS = np.zeros(0, np.int64)


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
        found: list[tuple[int, Int1]] = []
        for shard in mirror.of("tasks"):
            rows = self._reader.rows(shard)
            held = self.held.get(shard.partition, _NO_ROWS)
            if len(held):
                rows = np.union1d(rows, held)
            self.meters.fit(shard.partition, shard.tables["tasks"].count)
            if len(rows):
                found.append((shard.partition, rows))
        self.held = {}
        if found:
            facts = self._gather(mirror, found)
            changed = [self._reader.renamed(mirror.shards["tasks", p], rows) for p, rows in found]
            self._read(facts, np.concatenate(changed))
        # of a task that is held, the facts may be others than those that its meters were set by
        some = np.flatnonzero(self.meters.active) if rates_changed else self._cells_held()
        cells = some[self.meters.rows["end"][some] > self.meters.rows["booked"][some]]  # as in ``_update``
        of = self.meters.partition[cells]
        parts = [(int(p), self.meters.row[cells[of == p]]) for p in np.flatnonzero(np.bincount(of))]
        if parts:
            self._rate(self._gather(mirror, parts), np.arange(len(cells)), cells)

    def _cells_held(self) -> Int1:
        """Active meters of tasks that are held, ascending."""
        first = [self.meters.cells(partition, rows) for partition, rows in sorted(self.held.items())]
        if not first:
            return _NO_ROWS
        cells: Int1 = (np.concatenate(first)[:, None] + np.arange(SLOTS)).reshape(-1)
        result: Int1 = cells[self.meters.active[cells]]
        return result

    def carry(self) -> MetersCarry:
        """The meters, as of a time when nothing is to be booked."""
        return MetersCarry(self.meters.carry(), sorted((+self.assumed).items()), pack_held(self.held))

    def restore(self, carry: MetersCarry, mirror: Mirror) -> None:
        """Go on from a carry of where ``mirror`` stands.

        Raises:
            ConfigError: the carry is of another version.
        """
        shards = mirror.of("tasks")
        self.meters.restore(carry.meters, [shard.tables["tasks"].count for shard in shards])
        self.assumed = Counter(dict(carry.assumed))
        self.held = unpack_held(carry.held)
        self._reader.restore(shards)

    def _gather(self, mirror: Mirror, parts: list[tuple[int, Int1]]) -> Facts:
        """Facts of some rows of some partitions."""
        shards = [mirror.shards["tasks", partition] for partition, _ in parts]
        cells = [self.meters.cells(partition, rows) for partition, rows in parts]
        facts = gather(list(zip(shards, (rows for _, rows in parts), cells, strict=True)), self._fleet, self._codes)
        self._fleet.fit()
        return facts

    # ------------------------------------------------------------------------------------------------------- runs

    def _read(self, facts: Facts, other: Bool1) -> None:
        """Bring the meters of n tasks to what is reported; ``other``, (n,), holds where a row has changed hands."""
        meters = self.meters
        gone = facts.cell[other & (meters.rows["attempt"][facts.cell] + meters.rows["attempt"][facts.cell + 1] > 0)]
        if len(gone):
            meters.clear(np.concatenate([gone, gone + 1]))
        self._shift(facts)
        stated = facts.stated > 0
        ready = stated & (facts.submitted > 0)[:, None] & (self._fleet.clusters["registered"][facts.cluster] > 0)
        if (ready != stated).any():
            wait = facts.cell[(ready != stated).any(axis=1)]
            of = meters.partition[wait]
            self.held = {int(p): meters.row[wait[of == p]] for p in np.flatnonzero(np.bincount(of))}
        task, slot = np.nonzero(ready)
        if len(task):
            self._update(facts, task, slot)
            self._moves(facts)

    def _shift(self, facts: Facts) -> None:
        """Let meters follow their attempts between the two slots.

        Of an attempt that left both without an end nothing more will be heard: it ends where the newest one starts.
        """
        meters, rows, cell, attempt = self.meters, self.meters.rows, facts.cell, facts.attempt
        newest, before = rows["attempt"][cell], rows["attempt"][cell + 1]
        left = (newest > 0) & (attempt[:, 0] != newest)
        out = (before > 0) & (attempt[:, 1] != before)
        if not (left.any() or out.any()):
            return
        down = left & (attempt[:, 1] == newest)
        for slot, at in enumerate((np.flatnonzero(left & ~down), np.flatnonzero(out))):
            if len(at):
                self._leave(cell[at] + slot, facts.stated[at, 0], facts.start[at, 0])
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

    def _update(self, facts: Facts, task: Int1, slot: Int1) -> None:
        """Bring the meters of runs (``task``, ``slot``), both (m,), to what is reported of them."""
        meters = self.meters
        cells, stated = facts.cell[task] + slot, facts.stated[task, slot]
        before = meters.rows["stated"][cells]
        differs = before != stated
        if differs.any():
            redo = np.flatnonzero(differs & (before > 0))
            if len(redo):
                differs[redo[self._take_back(facts, task[redo], slot[redo])]] = False
            self._begin(facts, task, slot, before != stated)
            new = np.flatnonzero(differs)
            self._data_in(facts, task[new], cells[new])
        meters.end(cells, first_end(facts.ends[task, slot], stated))
        # what is only taken back goes at the power it was booked at
        running = np.flatnonzero((meters.rows["end"][cells] > meters.rows["booked"][cells]) | (before != stated))
        self._rate(facts, task[running], cells[running], count=before[running] != stated[running])

    def _begin(self, facts: Facts, task: Int1, slot: Int1, some: Bool1) -> None:
        task, slot = task[some], slot[some]
        cells = facts.cell[task] + slot
        begun: dict[str, AnyArray | int] = dict.fromkeys(("start", "anchor", "booked"), facts.start[task, slot])
        begun |= {"power_mw": 0, "rate": 0, "accelerated": facts.accelerators[task] > 0}
        begun |= {name: getattr(facts, name)[task, slot] for name in ("stated", "attempt", "cluster", "pool")}
        for name, column in begun.items():
            self.meters.rows[name][cells] = column

    def _take_back(self, facts: Facts, task: Int1, slot: Int1) -> Int1:
        """Book back runs whose start has been corrected; a run that was paused and resumed keeps what it had.

        Returns which of them (indices) were resumed.
        """
        cells, start = facts.cell[task] + slot, facts.start[task, slot]
        old = self.meters.take(cells)
        paused = first_end(facts.ends[task, slot], old["stated"], facts.stated[task, slot])
        resumed = paused <= start
        target = np.where(resumed, np.maximum(paused, old["start"]), old["start"])
        self.taken_back.append(self.meters.jobs(Kind.TASK, cells, target))
        wrong = np.flatnonzero(~resumed)
        self._pay(Kind.DATA_IN, cells[wrong], -old["paid_in"][wrong])
        self._pay(Kind.MOVE, cells[wrong], -old["paid_move"][wrong])
        for name in ("paid_in", "paid_move", "moved"):
            self.meters.rows[name][cells[wrong]] = 0
        return np.flatnonzero(resumed)

    # ---------------------------------------------------------------------------------------------- power and fees

    def _rate(self, facts: Facts, task: Int1, cells: Int1, count: Bool1 | None = None) -> None:
        """Set power and network cost of running ``cells`` of ``task``; ``count`` says whose assumptions are new."""
        if not len(cells):
            return
        meters = self.meters.rows
        cluster = meters["cluster"][cells]
        devices = self._fleet.pools[self._fleet.pool_rows(cluster, meters["pool"][cells])]
        request = (facts.power_w[task], facts.accelerators[task], facts.cpu_cores[task])
        it_w, device_w = task_it_w(*request, devices["w_accelerator"], devices["w_core"])
        site = self._fleet.clusters[cluster]
        power_mw, over = to_fixed(it_w * site["pue"], 1000.0)
        gbph = facts.data_rate_gbph[task]
        rate, fee = np.zeros(len(cells), np.int64), np.zeros(len(cells), bool)
        paying = np.flatnonzero(gbph > 0)
        if len(paying):
            per_gb, known = self._per_gb(facts.origin[task[paying]], cluster[paying], meters["booked"][cells[paying]])
            rate[paying], over[paying] = to_fixed(gbph[paying] * per_gb, MILLION)
            fee[paying] = ~known
        self.meters.rate(cells, power_mw, rate)
        if count is not None and count.any():
            found = {"device_w": device_w, "pue": site["pue_assumed"], "power_limit": over, "fee": fee}
            self.assumed.update({name: int((flag & count).sum()) for name, flag in found.items()})

    def _per_gb(self, origin: Int1, cluster: Int1, t: Int1) -> tuple[AnyArray, Bool1]:
        return self._fees.per_gb(origin, self._fleet.clusters["node"][cluster], t)

    def _data_in(self, facts: Facts, task: Int1, cells: Int1) -> None:
        """Pay for the data that a start brings from the task's origin."""
        some = np.flatnonzero(facts.data_in_gb[task] > 0)
        if not len(some):
            return
        task, cells = task[some], cells[some]
        rows = self.meters.rows
        per_gb, known = self._per_gb(facts.origin[task], rows["cluster"][cells], rows["start"][cells])
        self.assumed["fee"] += int((~known).sum())
        rows["paid_in"][cells] = _micro(facts.data_in_gb[task], per_gb)
        self._pay(Kind.DATA_IN, cells, rows["paid_in"][cells])

    def _moves(self, facts: Facts) -> None:
        """Pay for the state of tasks whose newest attempt runs elsewhere than the one before, which did not end by itself."""
        rows, cell = self.meters.rows, facts.cell
        was = rows["moved"][cell] > 0
        both = (rows["stated"][cell] > 0) & (rows["stated"][cell + 1] > 0)
        if not (both.any() or was.any()):
            return
        moved = both & (rows["cluster"][cell] != rows["cluster"][cell + 1])
        moved &= ~facts.has("failed")[:, 1] & ~facts.has("finished")[:, 1]
        wrong = cell[was & ~moved]
        if len(wrong):
            self._pay(Kind.MOVE, wrong, -rows["paid_move"][wrong])
            rows["paid_move"][wrong] = rows["moved"][wrong] = 0
        new = np.flatnonzero(moved & ~was)
        if len(new):
            to = cell[new]
            gb, node = facts.state_gb[new], self._fleet.clusters["node"]
            source, target = node[rows["cluster"][to + 1]], node[rows["cluster"][to]]
            per_gb, known = self._fees.per_gb(source, target, rows["start"][to])
            self.assumed["fee"] += int((~known & (gb > 0)).sum())
            rows["paid_move"][to], rows["moved"][to] = _micro(gb, per_gb), 1
            self._pay(Kind.MOVE, to, rows["paid_move"][to])

    def _pay(self, kind: Kind, cells: Int1, micro: Int1) -> None:
        if len(cells):
            self.paid.append(payments(kind, self.meters.whose(cells), self.meters.rows["start"][cells], micro))


def _micro(gb: AnyArray, per_gb: AnyArray) -> Int1:
    """GB × currency per GB in micro-currency, rounded half-even."""
    return to_fixed(gb * per_gb, MILLION, 1 << 60)[0]
