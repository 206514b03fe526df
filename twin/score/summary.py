"""The score of a run: what it cost, what it delivered, how well. Encodes to the JSON that runs print."""

from collections.abc import Sequence

import msgspec
import numpy as np

from twin.arrays import Bool1, Float1
from twin.energy.fixed import FOREVER, MILLION
from twin.energy.ledger import Kind, Ledger
from twin.score.history import History
from twin.score.quality import missed_deadlines, rtt_ms, slo, waits_s
from twin.score.service_work import ServiceWork, service_work
from twin.score.work import Work, work
from twin.view import Rates

SAME_WORK = 0.001
"""Delivered shares that differ by more than this are not the same work: no saving is claimed."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a score."""


class Cost(Part, frozen=True, kw_only=True):
    """Money in the accounting currency. ``total`` = energy + network + moves + penalty; ``idle`` is outside it."""

    energy: float
    network: float
    moves: float
    penalty: float
    idle: float
    total: float


class Carbon(Part, frozen=True, kw_only=True):
    """kg CO2e of tasks and services, None where nothing of it is known; ``unknown_kwh`` of their energy has no known intensity. Market-based: not known."""

    location: float | None
    market: float | None
    unknown_kwh: float


class Tasks(Part, frozen=True, kw_only=True):
    """Counts of tasks submitted before the end. ``unplaced``: never started and not cancelled."""

    submitted: int
    started: int
    finished: int
    cancelled: int
    unplaced: int
    missed_deadline: int


class Delivered(Part, frozen=True, kw_only=True):
    """Hours of run time × devices of tasks; accelerator hours include those of services.

    ``share``: delivered / deliverable, both valued at the penalties per hour (without priorities); 1 where nothing was
    deliverable.
    """

    core_h: float
    accelerator_h: float
    deliverable_core_h: float
    deliverable_accelerator_h: float
    share: float


class UnitCost(Part, frozen=True, kw_only=True):
    """Energy, network and moves per hour delivered; None where none was.

    Per accelerator-hour: of services and of tasks that ask for accelerators. Per core-hour: of the other tasks.
    """

    accelerator_h: float | None
    core_h: float | None


class Moves(Part, frozen=True, kw_only=True):
    """Runs that went on at another cluster than the run before, and the state they took along."""

    total: int
    state_gb: float


class Services(Part, frozen=True, kw_only=True):
    """Output tokens. ``served_share`` is None where nothing was demanded; ``no_speed_tokens``: no pool can serve them."""

    demanded_tokens: float
    served_tokens: float
    served_share: float | None
    no_speed_tokens: float
    accelerator_h: float


class Score(Part, frozen=True, kw_only=True):
    """What a run cost and delivered. Energy is of tasks and services; ``unpriced_kwh`` of it is billed at nothing.

    ``assumed`` counts what was assumed where data are missing, ``held`` runs whose task or cluster is not known.
    """

    currency: str
    energy_kwh: float
    unpriced_kwh: float
    idle_kwh: float
    cost: Cost
    carbon_kg: Carbon
    tasks: Tasks
    delivered: Delivered
    unit_cost: UnitCost
    wait_s: dict[str, float | dict[str, dict[str, float | None]] | None]
    rtt_ms: dict[str, float | None]
    slo: float | None
    moves: Moves
    services: Services
    assumed: dict[str, int]
    held: int


def score(history: History, ledger: Ledger | None, *, until: int, currency: str, rates: Rates) -> Score:
    """The score of a run up to ``until`` (ms), up to where ``ledger`` has to be booked (None: nothing has been)."""
    done, services = work(history, until), service_work(history, until)
    waits = waits_s(history, done)
    energy, idle = (_sums(ledger, *kinds) for kinds in ((Kind.TASK, Kind.SERVICE), (Kind.IDLE,)))
    return Score(
        currency=currency,
        energy_kwh=energy["energy_mwh"] / MILLION,
        unpriced_kwh=energy["unpriced_mwh"] / MILLION,
        idle_kwh=idle["energy_mwh"] / MILLION,
        cost=_cost(ledger, penalty(history, done, services, rates)),
        carbon_kg=_carbon(energy),
        tasks=_tasks(history, done, until),
        delivered=_delivered(history, done, services, rates),
        unit_cost=_unit_cost(history, done, services, ledger),
        wait_s={**waits["all"], "by_kind": {name: value for name, value in waits.items() if name != "all"}},
        rtt_ms=rtt_ms(history, until),
        slo=slo(history, done, until),
        moves=_moves(history, until),
        services=Services(
            demanded_tokens=services.demanded_tokens,
            served_tokens=services.served_tokens,
            served_share=services.served_tokens / services.demanded_tokens if services.demanded_tokens > 0 else None,
            no_speed_tokens=services.no_speed_tokens,
            accelerator_h=services.served_h,
        ),
        assumed=dict(sorted(ledger.assumed.items())) if ledger else {},
        held=ledger.held if ledger else 0,
    )


def penalty(history: History, done: Work, services: ServiceWork, rates: Rates) -> float:
    """Currency for work not delivered: hours × devices × rate × weight of the priority; services weigh 1."""
    tasks = history.tasks
    per_h = rates.penalty_per_accelerator_h * tasks["accelerators"] + rates.penalty_per_core_h * tasks["cpu_cores"]
    weight = np.array(rates.priority_weight)[tasks["priority"]]
    missing = float((weight * per_h * (done.deliverable_h - done.delivered_h)).sum())
    return missing + rates.penalty_per_accelerator_h * (services.demanded_h - services.served_h)


def _sums(ledger: Ledger | None, *kinds: Kind) -> dict[str, int]:
    names = ("energy_mwh", "unpriced_mwh", "cost_micro", "carbon_mg", "carbon_unknown_mwh")
    return ledger.totals.of(*kinds) if ledger else dict.fromkeys(names, 0)


def _cost(ledger: Ledger | None, missing: float) -> Cost:
    def of(*kinds: Kind) -> float:
        return _sums(ledger, *kinds)["cost_micro"] / MILLION

    energy, network, moves = of(Kind.TASK, Kind.SERVICE), of(Kind.DATA_IN, Kind.DATA_RATE), of(Kind.MOVE)
    total = energy + network + moves + missing
    return Cost(energy=energy, network=network, moves=moves, penalty=missing, idle=of(Kind.IDLE), total=total)


def _tasks(history: History, done: Work, until: int) -> Tasks:
    started = done.counts & (done.started_at < FOREVER)
    cancelled = done.counts & (history.tasks["cancelled_at"] <= until)
    return Tasks(
        submitted=int(done.counts.sum()),
        started=int(started.sum()),
        finished=int((done.counts & (done.finished_at < FOREVER)).sum()),
        cancelled=int(cancelled.sum()),
        unplaced=int((done.counts & ~started & ~cancelled).sum()),
        missed_deadline=missed_deadlines(history, done, until),
    )


def _delivered(history: History, done: Work, services: ServiceWork, rates: Rates) -> Delivered:
    tasks = history.tasks
    cores, accelerators = tasks["cpu_cores"], tasks["accelerators"]
    hours = {
        "core_h": float((cores * done.delivered_h).sum()),
        "accelerator_h": float((accelerators * done.delivered_h).sum()) + services.served_h,
        "deliverable_core_h": float((cores * done.deliverable_h).sum()),
        "deliverable_accelerator_h": float((accelerators * done.deliverable_h).sum()) + services.demanded_h,
    }
    value = rates.penalty_per_accelerator_h * hours["accelerator_h"] + rates.penalty_per_core_h * hours["core_h"]
    most = rates.penalty_per_accelerator_h * hours["deliverable_accelerator_h"]
    most += rates.penalty_per_core_h * hours["deliverable_core_h"]
    return Delivered(**hours, share=value / most if most > 0 else 1.0)


def _unit_cost(history: History, done: Work, services: ServiceWork, ledger: Ledger | None) -> UnitCost:
    """Cost of CPU tasks per core-hour, of everything else per accelerator-hour."""
    tasks = history.tasks
    with_chips = tasks["accelerators"] > 0
    core_h = _sum((tasks["cpu_cores"] * done.delivered_h), ~with_chips)
    accelerator_h = _sum((tasks["accelerators"] * done.delivered_h), with_chips) + services.served_h
    if ledger is None:
        return UnitCost(accelerator_h=None, core_h=None)
    cores, chips = (ledger.device_cost_micro.sum(axis=0) - ledger.device_cost_micro[Kind.IDLE]).tolist()
    return UnitCost(
        accelerator_h=chips / MILLION / accelerator_h if accelerator_h > 0 else None,
        core_h=cores / MILLION / core_h if core_h > 0 else None,
    )


def _sum(values: Float1, some: Bool1) -> float:
    return float(values[some].sum())


def _carbon(energy: dict[str, int]) -> Carbon:
    """Carbon of ``energy``; none of it known is unknown, not zero."""
    unknown = energy["carbon_unknown_mwh"]
    nothing_known = unknown > 0 and unknown == energy["energy_mwh"]
    return Carbon(
        location=None if nothing_known else energy["carbon_mg"] / MILLION, market=None, unknown_kwh=unknown / MILLION
    )


def _moves(history: History, until: int) -> Moves:
    """Of the runs of a task, by attempt, those elsewhere than the one before, which neither finished nor failed."""
    runs = history.runs
    order = np.lexsort((runs["start"], runs["attempt"], runs["task"]))
    order = order[runs["start"][order] <= until]
    before, after = order[:-1], order[1:]
    moved = (runs["task"][before] == runs["task"][after]) & (runs["cluster"][before] != runs["cluster"][after])
    moved &= (runs["failed"][before] == 0) & (runs["finished"][before] == 0)
    return Moves(total=int(moved.sum()), state_gb=_sum(history.tasks["state_gb"][runs["task"][after]], moved))


class Comparison(Part, frozen=True, kw_only=True):
    """A run beside the one it is compared with. ``saving`` = 1 − total / the other's, None where no saving is claimed.

    ``same_work``: the delivered shares differ by at most ``SAME_WORK``.
    """

    total: float
    per_accelerator_h: float | None
    per_core_h: float | None
    share: float
    same_work: bool
    saving: float | None


def compare(scores: Sequence[Score], against: int = 0) -> list[Comparison]:
    """Each score beside ``scores[against]``, in order. No saving is claimed on other work or a total of 0 or less."""
    other = scores[against]
    result = []
    for one in scores:
        same = abs(one.delivered.share - other.delivered.share) <= SAME_WORK
        claimed = same and other.cost.total > 0
        result.append(
            Comparison(
                total=one.cost.total,
                per_accelerator_h=one.unit_cost.accelerator_h,
                per_core_h=one.unit_cost.core_h,
                share=one.delivered.share,
                same_work=same,
                saving=1 - one.cost.total / other.cost.total if claimed else None,
            )
        )
    return result
