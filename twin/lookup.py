"""Rows of a table as plain values, for people and other programs: texts instead of codes, unknown as None."""

from typing import Any

import msgspec
import numpy as np

from twin.arrays import AnyArray
from twin.shards import inventory, power, tasks, telemetry
from twin.shards.table import Table

_JSON_TEXTS = frozenset({"compatible", "residency", "tokens_per_s", "labels", "contracts", "body"})
_ENUMS: dict[str, dict[str, tuple[str, ...]]] = {
    "inventory.clusters": {"tier": inventory.TIERS, "role": inventory.ROLES},
    "telemetry.clusters": {"state": telemetry.STATES, "meter_origin": telemetry.ORIGINS},
    "tasks.tasks": {"kind": tasks.KINDS},
    "power.prices": {"market": power.MARKETS, "stage": power.STAGES},
    "power.carbon": {"basis": power.BASES, "scope": power.SCOPES, "origin": power.ORIGINS},
}
_HIDDEN = frozenset(
    {
        *("high", "seen", "unused", "state_high", "state_seen", "meter_high", "meter_seen"),
        *("registered", "retired", "applied", "submitted", "cancelled", "state_seq", "meter_seq", "revision"),
    }
)
"""Sequence numbers and masks: how the state is kept, not what it is."""
_SAID_BY: dict[str, dict[str, str]] = {
    "telemetry.clusters": {
        **dict.fromkeys(("state", "cap_kw"), "state_seq"),
        **dict.fromkeys(("meter_origin", "it_kw", "facility_kw", "queue_tasks", "inlet_c"), "meter_seq"),
    },
    "telemetry.pools": {"healthy": "state_seq", **dict.fromkeys(("allocated", "util", "stranded"), "meter_seq")},
}
"""Columns that mean nothing until somebody has said something: column → the sequence number that is 0 till then."""
_OPTIONAL_TIMES = frozenset({"earliest_start", "deadline"})


def row_json(topic: str, table: Table, row: int) -> dict[str, Any]:
    """One row: columns by name, dictionary codes as texts, lists as lists, NaN and times that are not set as None."""
    cell = table.rows[row]
    enums, said_by = _ENUMS.get(f"{topic}.{table.name}", {}), _SAID_BY.get(f"{topic}.{table.name}", {})
    return {
        name: None if name in said_by and not cell[said_by[name]] else _value(table, name, cell[name], enums)
        for name in (table.rows.dtype.names or ())
        if name not in _HIDDEN
    }


def _value(table: Table, name: str, value: np.generic, enums: dict[str, tuple[str, ...]]) -> object:
    if name == "run":
        return [_run(table, run) for run in np.asarray(value) if run["attempt"] > 0]
    if name in enums:
        return enums[name][int(value)]
    texts = table.texts.get(name)
    if texts is not None:
        text = texts.names[int(value)]
        if name in _JSON_TEXTS:
            return msgspec.json.decode(text) if text else None
        return text or None
    if isinstance(value, np.floating):
        return None if np.isnan(value) else float(value)
    number = int(value)
    return None if number == 0 and (name.endswith("_at") or name in _OPTIONAL_TIMES) else number


def _run(table: Table, run: AnyArray) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "attempt": int(run["attempt"]),
        "cluster_id": table.texts["cluster"].names[int(run["cluster"])] or None,
        "pool_id": table.texts["pool"].names[int(run["pool"])] or None,
    }
    for name in ("started", *tasks.ENDS):
        shown[f"{name}_at"] = int(run[f"{name}_at"]) if run[name] else None
    shown["reason"] = table.texts["reason"].names[int(run["reason"])] or None
    shown["done_share"] = int(run["done"]) / tasks.DONE_SCALE
    shown["energy_wh"] = int(run["energy_mwh"]) / 1000
    return shown
