"""What clusters serve of services → meters.

A serving draws accelerators · (max − idle) watts, accelerators = tokens per second / tokens per second of one. It holds
from its ``since`` until the next word on the same cluster, pool, service and origin.
"""

from collections import Counter

import msgspec
import numpy as np

from twin.arrays import Float1, Int1
from twin.energy.fixed import FOREVER, to_fixed
from twin.energy.fleet import Fleet
from twin.energy.follow import Reader, Translation
from twin.energy.meters import Meters, MetersCarry, pack_held, unpack_held
from twin.energy.settle import Jobs, Kind
from twin.mirror import Mirror, MirrorShard

_NO_ROWS = np.zeros(0, np.int64)
_speeds = msgspec.json.Decoder(dict[str, float]).decode


class ServingsCarry(msgspec.Struct, array_like=True, frozen=True):
    """Meters of services, and (service, origin, start, model) of the demand that said so last."""

    meters: MetersCarry
    models: list[tuple[str, str, int, str]]


class Servings:
    """Meters of all servings. ``taken_back`` is for the ledger to book and empty.

    A serving whose cluster, or whose service's model, is not known yet is held until it is. ``assumed`` counts servings
    whose pool has no known speed for the model (``tokens_per_s``) or no known watts (``device_w``): 0 W.
    """

    def __init__(self, partitions: int, fleet: Fleet) -> None:
        self.meters = Meters(partitions, 1)
        self.assumed: Counter[str] = Counter()
        self.taken_back: list[Jobs] = []
        self.held: dict[int, Int1] = {}
        self.models: dict[tuple[str, str], tuple[int, str]] = {}
        """(service, origin) → (start of the demand that said so, model); origin "" is any origin."""
        self._fleet = fleet
        self._demand = Reader("demand")
        self._reader = Reader("serving")
        self._codes = Translation()
        self._speed: dict[tuple[int, str], float] = {}

    def read(self, mirror: Mirror, *, rates_changed: bool) -> None:
        """Follow the service shards. ``rates_changed``: power may differ for all that is served."""
        if rates_changed:
            self._speed = {}
        shards = mirror.of("services")
        learned = [self._learn_models(shard) for shard in shards]
        for shard in shards:
            rows = self._reader.rows(shard)
            held = self.held.get(shard.partition, _NO_ROWS)
            if len(held):
                rows = np.union1d(rows, held)
            if len(rows):
                self._read(shard, rows)
            if rates_changed or any(learned):
                self._rate(shard, self.meters.active_of(shard.partition))

    def carry(self) -> ServingsCarry:
        """The meters, as of a time when nothing is to be booked, and the models that services were asked for with."""
        meters = MetersCarry(self.meters.carry(), sorted((+self.assumed).items()), pack_held(self.held))
        return ServingsCarry(meters, sorted((*key, *said) for key, said in self.models.items()))

    def restore(self, carry: ServingsCarry, mirror: Mirror) -> None:
        """Go on from a carry of where ``mirror`` stands.

        Raises:
            ConfigError: the carry is of another version.
        """
        shards = mirror.of("services")
        self.meters.restore(carry.meters.meters, [shard.tables["serving"].count for shard in shards])
        self.assumed = Counter(dict(carry.meters.assumed))
        self.held = unpack_held(carry.meters.held)
        self.models = {(service, origin): (start, model) for service, origin, start, model in carry.models}
        for reader in (self._demand, self._reader):
            reader.restore(shards)

    def _learn_models(self, shard: MirrorShard) -> bool:
        """Note with which models services are asked for; says whether any is another one now."""
        other = False
        table = shard.tables["demand"]
        rows = self._demand.rows(shard)
        rows = rows[table.rows["applied"][rows] > 0]
        texts = table.texts
        for row in rows.tolist():
            cell = table.rows[row]
            service = texts["service"].names[int(cell["service"])]
            known = (int(cell["start"]), texts["model"].names[int(cell["model"])])
            for origin in (texts["origin"].names[int(cell["origin"])], ""):
                before = self._said(service, origin) or known
                self.models[service, origin] = max(self.models.get((service, origin), known), known)
                other |= before[1] != self.models[service, origin][1]
        return other

    def _model(self, shard: MirrorShard, row: int) -> str | None:
        table = shard.tables["serving"]
        service, origin = (table.texts[name].names[int(table.rows[name][row])] for name in ("service", "origin"))
        found = self._said(service, origin)
        return None if found is None else found[1]

    def _said(self, service: str, origin: str) -> tuple[int, str] | None:
        return self.models.get((service, origin)) or self.models.get((service, ""))

    def _read(self, shard: MirrorShard, rows: Int1) -> None:
        table, meters = shard.tables["serving"], self.meters
        meters.fit(shard.partition, table.count)
        cells = meters.cells(shard.partition, rows)
        other = cells[self._reader.renamed(shard, rows)]
        if len(other):
            meters.clear(other)
        stated = table.rows["applied"][rows]
        cluster = self._translated(shard, "cluster_id")[table.rows["cluster_id"][rows]]
        known = np.array([self._model(shard, row) is not None for row in rows.tolist()], bool)
        known &= self._fleet.clusters["registered"][cluster] > 0
        self.held[shard.partition] = rows[(stated > 0) & ~known]
        fresh = np.flatnonzero((stated > 0) & known & (meters.rows["stated"][cells] != stated))
        if len(fresh):
            self._change(shard, cells[fresh], rows[fresh], stated[fresh], cluster[fresh])

    def _change(self, shard: MirrorShard, cells: Int1, row: Int1, stated: Int1, cluster: Int1) -> None:
        """End the rates in force when the new ones begin, and begin those."""
        table, meters = shard.tables["serving"].rows, self.meters
        since = table["since"][row]
        before = np.flatnonzero(meters.rows["stated"][cells] > 0)
        if len(before):
            until = np.maximum(since[before], meters.rows["start"][cells[before]])
            self.taken_back.append(meters.jobs(Kind.SERVICE, cells[before], until))
        begun: dict[str, Int1 | int] = dict.fromkeys(("start", "anchor", "booked"), since)
        begun |= {"stated": stated, "cluster": cluster, "accelerated": 1, "power_mw": 0}
        begun["pool"] = self._translated(shard, "pool_id")[table["pool_id"][row]]
        for name, column in begun.items():
            meters.rows[name][cells] = column
        meters.end(cells, np.where(table["tokens_per_s"][row] > 0, FOREVER, since))
        self._rate(shard, cells, count=True)

    def _rate(self, shard: MirrorShard, cells: Int1, *, count: bool = False) -> None:
        """Set the power of ``cells``."""
        if not len(cells):
            return
        table, rows = shard.tables["serving"].rows, self.meters.rows
        row = self.meters.row[cells]
        cluster = rows["cluster"][cells]
        pool = self._fleet.pool_rows(cluster, rows["pool"][cells])
        speed = self._speeds(shard, row, pool)
        watts = self._fleet.pools["w_accelerator"][pool]
        tokens_per_s = table["tokens_per_s"][row]
        accelerators = np.where(speed > 0, tokens_per_s / np.where(speed > 0, speed, 1.0), 0.0)
        site = self._fleet.clusters[cluster]
        power_mw, over = to_fixed(accelerators * np.nan_to_num(watts) * site["pue"], 1000.0)
        self.meters.rate(cells, power_mw, np.zeros(len(cells), np.int64))
        if count:
            some = tokens_per_s > 0
            found = {
                "tokens_per_s": speed == 0,
                "device_w": np.isnan(watts),
                "pue": site["pue_assumed"],
                "power_limit": over,
            }
            self.assumed.update({name: int((flag & some).sum()) for name, flag in found.items()})

    def _speeds(self, shard: MirrorShard, row: Int1, pool: Int1) -> Float1:
        """Tokens per second of one accelerator, 0 where unknown, (n,)."""
        speeds = np.zeros(len(row))
        for i, (r, p) in enumerate(zip(row.tolist(), pool.tolist(), strict=True)):
            model = self._model(shard, r) or ""
            speed = self._speed.get((p, model))
            if speed is None:
                text = self._fleet.tokens_per_s[p]
                speed = self._speed[p, model] = _speeds(text).get(model, 0.0) if text else 0.0
            speeds[i] = speed
        return speeds

    def _translated(self, shard: MirrorShard, column: str) -> Int1:
        texts = shard.tables["serving"].texts[column]
        if column == "cluster_id":
            codes = self._codes.of(shard.partition, column, texts, self._fleet.cluster_names)
            self._fleet.fit()
            return codes
        return self._codes.of(shard.partition, column, texts, self._fleet.pool_names)
