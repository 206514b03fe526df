"""RTT between network nodes."""

import numpy as np

from twin.arrays import Float1, Int1
from twin.energy.pairs import Pairs
from twin.ids import Texts
from twin.mirror import Mirror

_NONE = np.zeros(0, np.int64)


class Links:
    """Median RTT by (source, destination); nodes are codes of ``nodes``."""

    def __init__(self, nodes: Texts) -> None:
        self._nodes = nodes
        self._versions: tuple[int, ...] = ()
        self._pairs = Pairs(_NONE, _NONE)
        self._rtt_ms = np.zeros(0)

    def update(self, mirror: Mirror) -> None:
        """Follow the mirror."""
        shards = mirror.of("network")
        versions = tuple(shard.version for shard in shards)
        if versions == self._versions:
            return
        src, dst, rtt_ms = [_NONE], [_NONE], [self._rtt_ms[:0]]
        for shard in shards:
            table = shard.tables["links"]
            rows = table.live()
            rows = rows[rows["applied"] > 0]
            src.append(self._nodes.codes(table.texts["src"].names)[rows["src"]])
            dst.append(self._nodes.codes(table.texts["dst"].names)[rows["dst"]])
            rtt_ms.append(rows["rtt_p50_ms"])
        self._pairs = Pairs(np.concatenate(src), np.concatenate(dst))
        self._rtt_ms = np.concatenate(rtt_ms)[self._pairs.order]
        self._versions = versions

    def rtt_ms(self, src: Int1, dst: Int1) -> Float1:
        """RTT of each pair, (n,): a missing direction is the other one, within a node 0 unless given, else NaN."""
        result = np.where(src == dst, 0.0, np.nan)
        for a, b in ((dst, src), (src, dst)):
            at, known = self._pairs.find(a, b)
            result[known] = self._rtt_ms[at[known]]
        return result
