"""Operators' commands: a register per target. The newest word on a target holds, whatever its type.

``cordon``, ``uncordon`` and ``drain`` of one cluster share a register, so do ``pause``, ``resume`` and ``advisory``.
The body is kept as canonical JSON in the dictionary: commands are few, and their readers want them whole.
"""

from functools import reduce
from operator import or_
from typing import Any

import msgspec
import numpy as np

from twin import events as ev
from twin.arrays import Int1
from twin.shards.fold import IDENTITY, Outcomes, Tables, Writer, identify, intern, marks, newest_to_write
from twin.shards.table import Fields, Table

COMMANDS = np.dtype([*IDENTITY, ("applied", "<i8"), ("at", "<i8"), ("body", "<i8")])
_writer, _order, _said = Writer(COMMANDS), Fields(COMMANDS, "applied"), Fields(COMMANDS, "at", "body")

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
_commands: Any = reduce(or_, _REGISTER)
_decode = msgspec.json.Decoder(_commands).decode


def tables() -> Tables:
    """The empty table of a control shard."""
    return {"commands": Table("commands", COMMANDS, ("body",))}


def register(event: ev.Event) -> str:
    """The register a command goes to, for example ``cluster|guian``."""
    kind, name = _REGISTER[type(event)]
    return f"{kind}|{getattr(event, name)}"


def fold(tables: Tables, events: list[Any], t: Int1) -> Outcomes:
    """Fold commands."""
    table = tables["commands"]
    outcomes, events, rows = identify(table, _writer, [register(e) for e in events], events, t)
    (body,) = intern(table, body=[_encode(e).decode() for e in events])
    at, to = newest_to_write(table, _order, rows, marks(events))
    _said.write(table, to, ((events[i].t, body[i]) for i in at))
    return outcomes


def command(table: Table, name: str) -> Any:  # noqa: ANN401  # readers know which types their register holds
    """The command in force in register ``name``, as its event; None where there is none."""
    row = table.ids.row_of.get(name)
    if row is None:
        return None
    return _decode(table.texts["body"].names[int(table.rows["body"][row])])


def expired(tables: Tables, before: int) -> None:
    """Nothing ends here: a command stands until the next."""


FOLDS = {"control": fold}
