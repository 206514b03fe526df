"""What task shards say of tasks and their latest two attempts, gathered from all partitions at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin.arrays import AnyArray, Float1, Int1, Int2, packed
from twin.energy.fixed import FOREVER
from twin.energy.fleet import Fleet
from twin.energy.follow import Translation
from twin.mirror import MirrorShard
from twin.shards.tasks import ENDS, RUN

LATEST = 1 << 62
"""Beyond every sequence number."""

# the ends of a run stand one after another as (sequence number plus one, time): read as one block
_ENDS_AT = next(offset for name, (_, offset, *_) in (RUN.fields or {}).items() if name == ENDS[0])
_ENDS = np.dtype(
    {"names": ["ends"], "formats": [("<i8", (len(ENDS), 2))], "offsets": [_ENDS_AT], "itemsize": RUN.itemsize}
)


@dataclass(frozen=True, slots=True)
class Facts:
    """n tasks and their two latest attempts (slot 0 the newest).

    Attributes:
        cell: meter of slot 0, (n,).
        attempt, stated, start, cluster, pool: of each attempt, (n, 2); ``stated`` is the sequence number plus one of the
            event that started it, 0: none; codes of clusters and pools' names are the fleet's.
        ends: (sequence number plus one, time) of each kind of end, (n, 2, 4, 2).
        submitted: sequence number plus one, (n,).
        origin: node code, (n,).
        accelerators, cpu_cores, power_w, data_in_gb, data_rate_gbph, state_gb: of the task, (n,).
    """

    cell: Int1
    attempt: Int2
    stated: Int2
    start: Int2
    cluster: Int2
    pool: Int2
    ends: AnyArray
    submitted: Int1
    origin: Int1
    accelerators: Int1
    cpu_cores: Float1
    power_w: Float1
    data_in_gb: Float1
    data_rate_gbph: Float1
    state_gb: Float1

    def __len__(self) -> int:
        return len(self.cell)

    def has(self, end: str) -> AnyArray:
        """Whether each attempt has ended so, (n, 2) bool."""
        result: AnyArray = self.ends[:, :, ENDS.index(end), 0] > 0
        return result


_TASK = ("submitted", "accelerators", "cpu_cores", "power_w", "data_in_gb", "data_rate_gbph", "state_gb")
_CODES = ("cluster", "pool", "origin")


def gather(parts: Sequence[tuple[MirrorShard, Int1, Int1]], fleet: Fleet, codes: Translation) -> Facts:
    """Facts of some rows of some shards, in the order given: (shard, rows, their first meters), at least one part."""
    records, texts = [], []
    for shard, rows, _ in parts:
        table = shard.tables["tasks"]
        some = table.rows.take(rows)  # whole records: one pass over the table, and columns of a few rows cost nothing
        records.append(some)
        for name, target in zip(_CODES, (fleet.cluster_names, fleet.pool_names, fleet.nodes), strict=True):
            column = some["origin"] if name == "origin" else some["run"][name]
            texts.append(codes.of(shard.partition, name, table.texts[name], target)[column])
    record = _joined(list(map(packed, records))).view(records[0].dtype)
    run = record["run"]
    return Facts(
        cell=_joined([cell for _, _, cell in parts]),
        attempt=run["attempt"],
        stated=run["started"],
        start=run["started_at"],
        cluster=_joined(texts[0::3]),
        pool=_joined(texts[1::3]),
        origin=_joined(texts[2::3]),
        ends=ends_of(run),
        **{name: record[name] for name in _TASK},
    )


def _joined(parts: list[AnyArray]) -> AnyArray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def ends_of(run: AnyArray) -> AnyArray:
    """(Sequence number plus one, time) of each kind of end of runs (of the shard's dtype), (…, 4, 2)."""
    result: AnyArray = run.view(_ENDS)["ends"]
    return result


def first_end(ends: AnyArray, stated: AnyArray, before: AnyArray | int = LATEST) -> AnyArray:
    """The first end reported of each run by an event after its start (``stated``) and before another one.

    Shapes: ``ends`` (…, 4, 2) as in ``Facts``, the others and the result (…). An end with a lower sequence number than
    the start belongs to what was before a pause. ``FOREVER`` where there is none.
    """
    seq, at = ends[..., 0], ends[..., 1]
    counts = seq > np.asarray(stated)[..., None]
    counts &= seq < np.asarray(before)[..., None]
    result: AnyArray = np.where(counts, at, FOREVER).min(axis=-1)
    return result
