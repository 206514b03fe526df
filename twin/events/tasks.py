"""Tasks: what tenants ask for and executors answer."""

from typing import Annotated

from msgspec import Meta

from twin.events.base import (
    Attempt,
    Count,
    EpochMs,
    Event,
    Id,
    Latency,
    NonNegative,
    Part,
    Seconds,
    Share,
    TaskKind,
    Text,
)


class Request(Part, frozen=True, kw_only=True):
    """What a task needs. ``accelerators``, ``cpu_cores`` and ``mem_gib`` are totals over its nodes.

    ``compatible`` lists accelerator models; empty means any.
    """

    accelerators: Count = 0
    compatible: list[Id] = []
    nodes: Count = 1
    cpu_cores: NonNegative = 0.0
    mem_gib: NonNegative = 0.0


class TaskSubmitted(Event, frozen=True, kw_only=True, tag="task.submitted.v1"):
    """A tenant asks for a task to be run."""

    task_id: Id
    tenant: Id = "default"
    kind: TaskKind = "batch"
    scenario: Text = ""
    priority: Annotated[int, Meta(ge=0, le=2)] = 0
    qos: Text = ""
    origin: Id
    latency_ms: Latency | None = None
    request: Request
    power_w: NonNegative | None = None
    gang: bool = False
    replicas: Annotated[int, Meta(ge=1, le=1000)] = 1
    failure_domains: Text = ""
    est_duration_s: Seconds
    earliest_start: EpochMs | None = None
    deadline: EpochMs | None = None
    value_per_h: NonNegative | None = None
    data_in_gb: NonNegative = 0.0
    data_rate_gbph: NonNegative = 0.0
    state_gb: NonNegative = 0.0
    residency: list[Id] = []
    movable: bool = False
    interruptible: bool = False
    checkpoint_s: Seconds | None = None


class TaskCancelled(Event, frozen=True, kw_only=True, tag="task.cancelled.v1"):
    """The tenant does not want the task any more."""

    task_id: Id
    reason: Text = ""


class TaskAnswer(Event, frozen=True, kw_only=True):
    """What an executor says of one attempt of a task. ``done_share`` and ``energy_wh`` are cumulative in the attempt."""

    task_id: Id
    attempt: Attempt
    cluster_id: Id
    pool_id: Id = "default"
    decision_id: Text = ""
    done_share: Share | None = None
    energy_wh: NonNegative | None = None
    reason: Text = ""


class TaskStarted(TaskAnswer, frozen=True, kw_only=True, tag="task.started.v1"):
    """The attempt runs since ``t``."""


class TaskProgress(TaskAnswer, frozen=True, kw_only=True, tag="task.progress.v1"):
    """The attempt has come this far."""


class TaskPaused(TaskAnswer, frozen=True, kw_only=True, tag="task.paused.v1"):
    """The attempt holds its resources and does not run."""


class TaskReleased(TaskAnswer, frozen=True, kw_only=True, tag="task.released.v1"):
    """The attempt gave its place up at ``t`` and is not finished (moved away or preempted)."""


class TaskFinished(TaskAnswer, frozen=True, kw_only=True, tag="task.finished.v1"):
    """The task is done."""


class TaskFailed(TaskAnswer, frozen=True, kw_only=True, tag="task.failed.v1"):
    """The attempt ended without success; ``reason`` is ``rejected``, ``final`` or anything else (will be tried again)."""
