"""Policies, quotas, rates, operators' commands, and the clock."""

from typing import Annotated

from msgspec import Meta

from twin.events.base import Count, Currency, DurationMs, Event, Id, NonNegative, Text


class PolicySet(Event, frozen=True, kw_only=True, tag="policy.set.v1"):
    """A whole policy under its name: ``dispatch`` (which dispatcher, with parameters) or ``accounting``."""

    name: Id
    policy: Text = ""
    version: Text = ""
    params: dict[Id, float | bool | str] = {}


class TenantQuota(Event, frozen=True, kw_only=True, tag="tenant.quota.v1"):
    """How much of the network a tenant may hold."""

    name: Id
    accelerators: NonNegative | None = None
    accelerator_h: NonNegative | None = None
    weight: NonNegative = 1.0


class FxRate(Event, frozen=True, kw_only=True, tag="fx.rate.v1"):
    """One unit of ``name`` (a currency) in another one."""

    name: Currency
    to: Currency
    rate: Annotated[float, Meta(gt=0, le=1e9)]


class Operator(Event, frozen=True, kw_only=True):
    """A command of an operator, with who gave it and why."""

    by: Text = ""
    reason: Text = ""


class ClusterCordon(Operator, frozen=True, kw_only=True, tag="cluster.cordon.v1"):
    """No new work on the cluster."""

    id: Id


class ClusterUncordon(Operator, frozen=True, kw_only=True, tag="cluster.uncordon.v1"):
    """The cluster takes work again."""

    id: Id


class ClusterDrain(Operator, frozen=True, kw_only=True, tag="cluster.drain.v1"):
    """The cluster is to be emptied."""

    id: Id


class TaskPin(Operator, frozen=True, kw_only=True, tag="task.pin.v1"):
    """The task belongs on one cluster (none: no longer pinned)."""

    id: Id
    cluster_id: Id | None = None


class DispatchPause(Operator, frozen=True, kw_only=True, tag="dispatch.pause.v1"):
    """No new decisions."""

    id: Id = "dispatch"


class DispatchResume(Operator, frozen=True, kw_only=True, tag="dispatch.resume.v1"):
    """Decisions again."""

    id: Id = "dispatch"


class DispatchAdvisory(Operator, frozen=True, kw_only=True, tag="dispatch.advisory.v1"):
    """Decisions are advice from now on."""

    id: Id = "dispatch"


class Clock(Event, frozen=True, kw_only=True, tag="clock.v1"):
    """Time of a partition: nothing before ``t`` is to be waited for, but for ``lateness_ms``."""

    partition: Count = 0
    window_ms: DurationMs
    lateness_ms: Annotated[int, Meta(ge=0, le=366 * 86_400_000)] = 0
    max_ahead_ms: Annotated[int, Meta(ge=0, le=3660 * 86_400_000)] = 366 * 86_400_000
