"""RTT, bandwidth and fees between network nodes, kept from the network shards as matrices."""

from collections.abc import Iterable

import numpy as np

from twin.arrays import Bool2, Float2
from twin.mirror import Mirror
from twin.shards.table import Table


class Names:
    """Names in the order they were first seen."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}

    def add(self, name: str) -> int:
        """The index of ``name``, a new one if it is new."""
        return self.index.setdefault(name, len(self.index))

    def restore(self, names: Iterable[str]) -> None:
        """Go on from ``names``, by index."""
        self.index = {name: index for index, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self.index)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, by index."""
        return tuple(self.index)


class Paths:
    """Paths between nodes, node × node in the order nodes were first named.

    Attributes:
        rtt_ms: median RTT, NaN where unknown, 0 on the diagonal unless given.
        fee_per_gb: 0 where unknown; fee_known says where it is known.
        mbps: available bandwidth, NaN where unknown.
    A missing direction is the other one.
    """

    def __init__(self) -> None:
        self.nodes = Names()
        self.rtt_ms: Float2 = np.zeros((0, 0))
        self.fee_per_gb: Float2 = np.zeros((0, 0))
        self.fee_known: Bool2 = np.zeros((0, 0), bool)
        self.mbps: Float2 = np.zeros((0, 0))
        self._versions: tuple[int, ...] = ()

    def refresh(self, mirror: Mirror) -> None:
        """Bring the matrices up to date with ``mirror``; nodes that it does not name yet have none."""
        shards = mirror.of("network")
        self._note_nodes(mirror)
        now = (len(self.nodes), *(shard.version for shard in shards))
        if now == self._versions:
            return
        self._versions = now
        n = len(self.nodes)
        self.rtt_ms, self.mbps, fee = (np.full((n, n), np.nan) for _ in range(3))
        for shard in shards:
            self._fill(shard.tables["links"], {"rtt_p50_ms": self.rtt_ms, "available_mbps": self.mbps})
            self._fill(shard.tables["fees"], {"per_gb": fee})
        for matrix in (self.rtt_ms, self.mbps, fee):
            np.copyto(matrix, matrix.T.copy(), where=np.isnan(matrix))
        for matrix in (self.rtt_ms, fee):
            np.fill_diagonal(matrix, np.nan_to_num(np.diagonal(matrix)))
        self.fee_known = ~np.isnan(fee)
        self.fee_per_gb = np.nan_to_num(fee)

    def _note_nodes(self, mirror: Mirror) -> None:
        """Ends of paths, then origins of demand and of tasks: every node that a view may point to."""
        for topic, table, columns in (
            ("network", "links", ("src", "dst")),
            ("network", "fees", ("src", "dst")),
            ("services", "demand", ("origin",)),
            ("tasks", "tasks", ("origin",)),
        ):
            for shard in mirror.of(topic):
                for column in columns:
                    for name in shard.tables[table].texts[column].names:
                        self.nodes.add(name)

    def _fill(self, table: Table, matrices: dict[str, Float2]) -> None:
        live = table.live()
        at = np.flatnonzero(live["applied"] > 0)
        index = self.nodes.index
        src = np.array([index.get(name, 0) for name in table.texts["src"].names], np.int64)[live["src"][at]]
        dst = np.array([index.get(name, 0) for name in table.texts["dst"].names], np.int64)[live["dst"][at]]
        for column, matrix in matrices.items():
            matrix[src, dst] = live[column][at]
