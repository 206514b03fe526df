"""What traffic between two network nodes costs per GB."""

import numpy as np

from twin.arrays import Bool1, Float1, Int1
from twin.energy.currency import rate_to
from twin.energy.fixed import FOREVER
from twin.ids import Texts
from twin.mirror import Mirror

_PAIR = 1 << 31


class Fees:
    """Fees per GB in the accounting currency, by (source, destination); nodes are codes of ``nodes``."""

    def __init__(self, currency: str, nodes: Texts) -> None:
        self.currency = currency
        self._nodes = nodes
        self._versions: tuple[int, ...] = ()
        self._key = self._from = self._to = np.zeros(0, np.int64)
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
        keys, froms, tos, fees = [self._key[:0]], [self._key[:0]], [self._key[:0]], [self._per_gb[:0]]
        for shard in shards:
            table = shard.tables["fees"]
            rows = table.live()
            rows = rows[rows["applied"] > 0]
            node = {name: self._nodes.codes(table.texts[name].names) for name in ("src", "dst")}
            code = rows["currency"].astype(np.int64)
            factor = np.ones(len(table.texts["currency"].names))
            for used in np.unique(code).tolist():
                source = table.texts["src"].names[int(rows["src"][np.argmax(code == used)])]
                what = f"a network fee from {source}"
                factor[used] = rate_to(mirror, table.texts["currency"].names[used], self.currency, what)
            keys.append(node["src"][rows["src"]] * _PAIR + node["dst"][rows["dst"]])
            froms.append(rows["from_"].astype(np.int64))
            tos.append(np.where(rows["to"] == 0, FOREVER, rows["to"]).astype(np.int64))
            fees.append(rows["per_gb"] * factor[code])
        key = np.concatenate(keys)
        order = np.argsort(key, kind="stable")
        self._key, self._per_gb = key[order], np.concatenate(fees)[order]
        self._from, self._to = np.concatenate(froms)[order], np.concatenate(tos)[order]
        self.timed = bool((self._from > 0).any() or (self._to < FOREVER).any())
        self._versions = versions
        return True

    def per_gb(self, src: Int1, dst: Int1, t: Int1) -> tuple[Float1, Bool1]:
        """Currency per GB at ``t`` and whether it is known, (n,): 0 within a node, a missing direction is the other one."""
        there, known = self._one_way(src, dst, t)
        back, known_back = self._one_way(dst, src, t)
        same = src == dst
        fee = np.where(same, 0.0, np.where(known, there, np.where(known_back, back, 0.0)))
        return fee, same | known | known_back

    def _one_way(self, src: Int1, dst: Int1, t: Int1) -> tuple[Float1, Bool1]:
        if not len(self._key):
            return np.zeros(len(src)), np.zeros(len(src), bool)
        key = src * _PAIR + dst
        at = np.minimum(np.searchsorted(self._key, key), len(self._key) - 1)
        known = (self._key[at] == key) & (self._from[at] <= t) & (t < self._to[at])
        return np.where(known, self._per_gb[at], 0.0), known
