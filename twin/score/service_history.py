"""What was wanted of services and what was served, over a whole run."""

import numpy as np

from twin.arrays import Int1
from twin.energy.fixed import FOREVER
from twin.energy.follow import Reader, Translation
from twin.ids import Texts
from twin.mirror import Mirror, MirrorShard
from twin.score.columns import Columns, fitted

DEMAND = dict.fromkeys(("key", "start", "end", "model", "compatible"), "<i8") | {"tokens_per_s": "<f8"}
SERVING = dict.fromkeys(("key", "start", "end", "stated"), "<i8") | {"tokens_per_s": "<f8"}


class ServiceHistory:
    """Demand per interval, and servings from one word to the next, by number in order of first sight.

    ``keys`` are service@origin. A serving's end is ``FOREVER`` while it holds.
    """

    def __init__(self) -> None:
        self.keys = Texts()
        self.models = Texts()
        self.compatible = Texts()
        self.demand = Columns(DEMAND)
        self.serving = Columns(SERVING)
        self._readers = {name: Reader(name) for name in ("demand", "serving")}
        self._codes = Translation()
        self._number: dict[tuple[str, int], Int1] = {}

    def observe(self, mirror: Mirror) -> None:
        """Take in what changed since the last call."""
        for shard in mirror.of("services"):
            for name, read in (("demand", self._read_demand), ("serving", self._read_serving)):
                rows = self._readers[name].rows(shard)
                if not len(rows):
                    continue
                known = self._number.get((name, shard.partition), np.zeros(0, np.int64))
                known = self._number[name, shard.partition] = fitted(known, shard.tables[name].count)
                known[rows[self._readers[name].renamed(shard, rows)]] = -1
                read(shard, rows[shard.tables[name].rows["applied"][rows] > 0], known)

    def _key(self, shard: MirrorShard, table: str, rows: Int1) -> Int1:
        cells, texts = shard.tables[table].rows[rows], shard.tables[table].texts
        service, origin = texts["service"].names, texts["origin"].names
        pairs = zip(cells["service"].tolist(), cells["origin"].tolist(), strict=True)
        return self.keys.codes([f"{service[s]}@{origin[o]}" for s, o in pairs])

    def _read_demand(self, shard: MirrorShard, rows: Int1, known: Int1) -> None:
        table, demand = shard.tables["demand"], self.demand
        new = rows[known[rows] < 0]
        known[new] = demand.add(len(new))
        number = known[rows]
        demand["key"][number] = self._key(shard, "demand", rows)
        for name in ("start", "end"):
            demand[name][number] = table.rows[name][rows]
        demand["tokens_per_s"][number] = table.rows["tokens_out_per_s"][rows]
        for name, own in (("model", self.models), ("compatible", self.compatible)):
            demand[name][number] = self._codes.of(shard.partition, name, table.texts[name], own)[table.rows[name][rows]]

    def _read_serving(self, shard: MirrorShard, rows: Int1, known: Int1) -> None:
        table, serving = shard.tables["serving"].rows, self.serving
        before, stated = known[rows], table["applied"][rows]
        differs = before < 0
        differs[~differs] = serving["stated"][before[~differs]] != stated[~differs]
        rows, before, stated = rows[differs], before[differs], stated[differs]
        since = table["since"][rows]
        had = before >= 0
        serving["end"][before[had]] = np.maximum(since[had], serving["start"][before[had]])
        number = known[rows] = serving.add(len(rows))
        serving["key"][number] = self._key(shard, "serving", rows)
        serving["start"][number], serving["end"][number] = since, FOREVER
        serving["stated"][number] = stated
        serving["tokens_per_s"][number] = table["tokens_per_s"][rows]
