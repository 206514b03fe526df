"""A policy's summary, read once: untyped JSON in, one typed row out, with everything unknown kept as ``None``."""

from math import isfinite
from typing import Any

import msgspec

from streams.report.data import PolicyResult

# The report is read by people: a summary may lack a figure (an older run, no such kind of work), and lacks it visibly.
Number = float | None


class Cost(msgspec.Struct, frozen=True):
    """Money by part; ``idle`` stands outside comparisons and outside ``total``."""

    energy: Number = None
    network: Number = None
    moves: Number = None
    penalty: Number = None
    idle: Number = None
    total: Number = None


class Carbon(msgspec.Struct, frozen=True):
    """Kilograms, location- and market-based, and the energy (kWh) whose carbon is unknown."""

    location: Number = None
    market: Number = None
    unknown_kwh: Number = None


class Tasks(msgspec.Struct, frozen=True):
    """Counts of tasks."""

    submitted: Number = None
    started: Number = None
    finished: Number = None
    unplaced: Number = None
    missed_deadline: Number = None


class Delivered(msgspec.Struct, frozen=True):
    """Delivered work in hours and as the share (0 to 1) of the work asked for."""

    core_h: Number = None
    accelerator_h: Number = None
    share: Number = None


class UnitCost(msgspec.Struct, frozen=True):
    """Energy, network and moves per delivered hour: of work on accelerators, and of work on cores alone."""

    accelerator_h: Number = None
    core_h: Number = None


class Spread(msgspec.Struct, frozen=True):
    """Median and 95th percentile."""

    p50: Number = None
    p95: Number = None


class Wait(msgspec.Struct, frozen=True):
    """Seconds from submitted to started, over all tasks and by kind of task."""

    p50: Number = None
    p95: Number = None
    by_kind: dict[str, Spread] = {}


class Summary(msgspec.Struct, frozen=True):
    """The JSON object of ``cpn replay --json``; fields a report does not show are ignored."""

    events: Number = None
    windows: Number = None
    decisions: Number = None
    state_sha256: str | None = None
    decisions_sha256: str | None = None
    currency: str | None = None
    unit_cost: UnitCost = UnitCost()
    energy_kwh: Number = None
    unpriced_kwh: Number = None
    cost: Cost = Cost()
    carbon_kg: Carbon = Carbon()
    tasks: Tasks = Tasks()
    delivered: Delivered = Delivered()
    wait_s: Wait = Wait()
    rtt_ms: Spread = Spread()
    slo: Number = None
    moves: Number = None
    violations: Number = None
    wall_s: Number = None
    events_per_s: Number = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A policy as the report compares it."""

    name: str
    summary: Summary


def read_row(policy: PolicyResult) -> Row:
    """Return ``policy`` as a typed row.

    Raises:
        msgspec.ValidationError: A figure of the summary has the wrong type; the message names its path.
    """
    summary = msgspec.convert(_known(policy.summary), Summary)
    return Row(name=policy.name, summary=summary)


def _known(value: dict[str, Any]) -> dict[str, Any]:
    """Drop what is null or not finite, at any depth, so that the field's default (unknown) stands."""
    kept: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict):
            kept[key] = _known(item)
        elif item is not None and not (isinstance(item, float) and not isfinite(item)):
            kept[key] = item
    return kept
