"""What clusters draw without any task: booked beside the tasks, so that both together are the facility's energy."""

import numpy as np

from twin.energy.fixed import to_fixed
from twin.energy.fleet import Fleet
from twin.energy.settle import Jobs, Kind, Whose
from twin.packed import Packed, pack_columns, unpack_rows

_METER = np.dtype([(name, "<i8") for name in ("known", "power_mw", "start", "anchor", "booked", "end")])


class Idle:
    """One meter per cluster, by its code, from ``first`` (ms) or the cluster's registration until it is retired."""

    def __init__(self, fleet: Fleet) -> None:
        self.rows = np.zeros(0, _METER)
        self._fleet = fleet

    def read(self, first: int) -> None:
        """Follow the fleet: new clusters begin, a changed power counts from where it is booked to."""
        fleet, n = self._fleet.clusters, len(self.rows)
        self.rows = np.concatenate([self.rows, np.zeros(len(fleet) - n, _METER)])
        rows = self.rows
        new = (rows["known"] == 0) & (fleet["registered"] > 0)
        for name in ("start", "anchor", "booked"):
            rows[name][new] = np.maximum(fleet["since"][new], first)
        rows["known"][new] = 1
        power_mw, _ = to_fixed(fleet["idle_kw"] * fleet["pue"], 1_000_000.0)
        changed = rows["power_mw"] != power_mw
        rows["anchor"][changed] = rows["booked"][changed]
        rows["power_mw"] = power_mw
        rows["end"] = np.maximum(fleet["until"], rows["start"])

    def carry(self) -> dict[str, Packed]:
        """The meters."""
        return pack_columns(self.rows)

    def restore(self, carry: dict[str, Packed]) -> None:
        """Go on from a carry.

        Raises:
            ConfigError: the carry is of another version.
        """
        self.rows = unpack_rows(carry, _METER)

    def due(self, upto: int) -> Jobs:
        """What is to be booked up to ``upto``, and note it as booked."""
        rows = self.rows
        target = np.maximum(np.minimum(rows["end"], upto), rows["start"])
        at = np.flatnonzero((rows["known"] > 0) & (rows["power_mw"] > 0) & (rows["booked"] != target))
        some, nothing = rows[at], np.zeros(len(at), np.int64)
        kind = np.full(len(at), Kind.IDLE, np.uint8)
        whose = Whose(at, nothing, at, nothing, nothing)
        jobs = Jobs(kind, *whose, some["power_mw"], nothing, some["anchor"], some["booked"], target[at])
        rows["booked"] = target
        return jobs
