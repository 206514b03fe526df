"""What traffic between two network nodes costs per GB."""

import numpy as np

from twin.arrays import AnyArray, Bool1, Float1, Int1
from twin.energy.currency import rate_to
from twin.energy.fixed import FOREVER
from twin.energy.pairs import Pairs
from twin.ids import Texts
from twin.mirror import Mirror
from twin.shards.table import Table

_NONE = np.zeros(0, np.int64)


class Fees:
    """Fees per GB in the accounting currency, by (source, destination); nodes are codes of ``nodes``."""

    def __init__(self, currency: str, nodes: Texts) -> None:
        self.currency = currency
        self._nodes = nodes
        self._versions: tuple[int, ...] = ()
        self._pairs = Pairs(_NONE, _NONE)
        self._from = self._to = _NONE
        self._per_gb = np.zeros(0)
        self.timed = False
        """Whether a fee holds for a limited time, so that it may change without an event."""

    def update(self, mirror: Mirror) -> bool:
        """Follow the mirror; says whether anything changed.

        Raises:
            ConfigError: a fee is in another currency and there is no exchange rate.
        """
        shards = mirror.of("network")
        versions = tuple(shard.version for shard in (*shards, *mirror.of("control")))
        if versions == self._versions:
            return False
        parts = [self._rows(mirror, shard.tables["fees"]) for shard in shards]
        src, dst, from_, to, per_gb = (np.concatenate(column) for column in zip(*parts, strict=True))
        self._pairs = Pairs(src.astype(np.int64), dst.astype(np.int64))
        order = self._pairs.order
        self._from, self._to = from_[order].astype(np.int64), to[order].astype(np.int64)
        self._per_gb = per_gb[order]
        self.timed = bool((self._from > 0).any() or (self._to < FOREVER).any())
        self._versions = versions
        return True

    def _rows(self, mirror: Mirror, table: Table) -> tuple[AnyArray, ...]:
        """Source, destination, first and last ms, fee of each row."""
        live = table.live()
        rows = live[live["applied"] > 0]
        node = {name: self._nodes.codes(table.texts[name].names) for name in ("src", "dst")}
        factor = np.ones(len(table.texts["currency"].names))
        for used in np.flatnonzero(np.bincount(rows["currency"])).tolist():
            source = table.texts["src"].names[int(rows["src"][np.argmax(rows["currency"] == used)])]
            what = f"a network fee from {source}"
            factor[used] = rate_to(mirror, table.texts["currency"].names[used], self.currency, what)
        to = np.where(rows["to"] == 0, FOREVER, rows["to"])
        fee = rows["per_gb"] * factor[rows["currency"]]
        return node["src"][rows["src"]], node["dst"][rows["dst"]], rows["from_"], to, fee

    def per_gb(self, src: Int1, dst: Int1, t: Int1) -> tuple[Float1, Bool1]:
        """Currency per GB at ``t`` and whether it is known, (n,): 0 within a node, a missing direction is the other one."""
        there, known = self._one_way(src, dst, t)
        back, known_back = self._one_way(dst, src, t)
        same = src == dst
        fee = np.where(same, 0.0, np.where(known, there, np.where(known_back, back, 0.0)))
        return fee, same | known | known_back

    def _one_way(self, src: Int1, dst: Int1, t: Int1) -> tuple[Float1, Bool1]:
        at, known = self._pairs.find(src, dst)
        if not known.any():
            return np.zeros(len(src)), known
        known = known & (self._from[at] <= t) & (t < self._to[at])
        return np.where(known, self._per_gb[at], 0.0), known
