"""Operators' commands: a register per target. The newest word on a target holds, whatever its type.

``cordon``, ``uncordon`` and ``drain`` of one cluster share a register, so do ``pause``, ``resume`` and ``advisory``.
The body is kept as canonical JSON in the dictionary: commands are few, and their readers want them whole.
"""

from typing import Any

import msgspec
import numpy as np

from twin import events as ev
from twin.arrays import Byte1, Int1
from twin.shards.fold import IDENTITY, Tables, identify, intern, newest_to_write, sequence
from twin.shards.table import Table

COMMANDS = np.dtype([*IDENTITY, ("last_t", "<i8"), ("applied", "<i8"), ("at", "<i8"), ("body", "<i8")])

_REGISTER: dict[type, tuple[str, str]] = {
    ev.PolicySet: ("policy", "name"),
    ev.TenantQuota: ("quota", "name"),
    ev.FxRate: ("fx", "name"),
    ev.ClusterCordon: ("cluster", "id"),
    ev.ClusterUncordon: ("cluster", "id"),
    ev.ClusterDrain: ("cluster", "id"),
    ev.TaskPin: ("task", "id"),
    ev.DispatchPause: ("dispatch", "id"),
    ev.DispatchResume: ("dispatch", "id"),
    ev.DispatchAdvisory: ("dispatch", "id"),
}
_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(
    ev.PolicySet
    | ev.TenantQuota
    | ev.FxRate
    | ev.ClusterCordon
    | ev.ClusterUncordon
    | ev.ClusterDrain
    | ev.TaskPin
    | ev.DispatchPause
    | ev.DispatchResume
    | ev.DispatchAdvisory
).decode


def tables() -> Tables:
    """The empty table of a control shard."""
    return {"commands": Table("commands", COMMANDS, ("body",))}


def register(event: ev.Event) -> str:
    """The register a command goes to, for example ``cluster|guian``."""
    kind, name = _REGISTER[type(event)]
    return f"{kind}|{getattr(event, name)}"


def fold(tables: Tables, events: list[Any], t: Int1) -> Byte1:
    """Fold commands."""
    table, seq = tables["commands"], sequence(events)
    rows, outcome, accepted = identify(table, [register(e) for e in events], seq, t)
    inside = np.flatnonzero(accepted)
    codes = intern(table, "body", [_encode(events[i]).decode() for i in inside])
    at, to = newest_to_write(table, inside, rows, {"applied": seq + 1})
    table.rows["body"][to] = codes[np.searchsorted(inside, at)]
    table.rows["at"][to] = t[at]
    return outcome


def command(table: Table, name: str) -> Any:
    """The command in force in register ``name``, as its event; None where there is none."""
    row = table.ids.row_of.get(name)
    if row is None:
        return None
    return _decode(table.texts["body"].names[int(table.rows["body"][row])])


def expired(tables: Tables, before: int) -> None:
    """Nothing ends here: a command stands until the next."""


FOLDS = {"control": fold}
