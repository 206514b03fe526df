"""One table of all topics and types: which type stands where, under which key, in which role, and who folds it."""

from dataclasses import dataclass
from enum import Enum
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from twin import events as ev


class Role(Enum):
    """Where a record comes from: the world outside, an answer to a decision, or an operator."""

    EXOGENOUS = "x"
    ANSWER = "a"
    CONTROL = "c"


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A wire type: its tag, topic (short name), the body fields that make its key, its role, and the fold (None: kept only)."""

    struct: type[ev.Event]
    topic: str
    key_fields: tuple[str, ...]
    role: Role
    fold: str | None

    @property
    def tag(self) -> str:
        """The ``type`` of its bodies, version included."""
        return str(self.struct.__struct_config__.tag)

    def key(self, event: ev.Event) -> str:
        """The Kafka key of ``event``."""
        parts = [str(getattr(event, name)) for name in self.key_fields]
        return ("@" if self.topic == "services" else "|").join(parts)


X, A, C = Role.EXOGENOUS, Role.ANSWER, Role.CONTROL

_ROWS: tuple[tuple[type[ev.Event], str, tuple[str, ...], Role, str | None], ...] = (
    (ev.ClusterRegistered, "inventory", ("cluster_id",), X, "inventory"),
    (ev.ClusterRetired, "inventory", ("cluster_id",), X, "inventory"),
    (ev.ClusterState, "telemetry", ("cluster_id",), X, "state"),
    (ev.ClusterTelemetry, "telemetry", ("cluster_id",), A, "telemetry"),
    (ev.TaskSubmitted, "tasks", ("task_id",), X, "submitter"),
    (ev.TaskCancelled, "tasks", ("task_id",), X, "submitter"),
    (ev.TaskStarted, "tasks", ("task_id",), A, "executor"),
    (ev.TaskProgress, "tasks", ("task_id",), A, "executor"),
    (ev.TaskPaused, "tasks", ("task_id",), A, "executor"),
    (ev.TaskReleased, "tasks", ("task_id",), A, "executor"),
    (ev.TaskFinished, "tasks", ("task_id",), A, "executor"),
    (ev.TaskFailed, "tasks", ("task_id",), A, "executor"),
    (ev.ServiceDemand, "services", ("service", "origin"), X, "demand"),
    (ev.ServiceServing, "services", ("cluster_id",), A, "serving"),
    (ev.PowerPrice, "power", ("zone_id",), X, "price"),
    (ev.PowerCarbon, "power", ("zone_id",), X, "carbon"),
    (ev.PowerGeneration, "power", ("zone_id",), X, None),
    (ev.PowerTariff, "power", ("zone_id",), X, None),
    (ev.PowerTransfer, "power", ("zone_id",), X, None),
    (ev.PowerContract, "power", ("contract_id",), X, None),
    (ev.PowerCertificate, "power", ("cluster_id",), X, None),
    (ev.PowerAlert, "power", ("zone_id",), X, None),
    (ev.NetworkLink, "network", ("src", "dst"), X, "link"),
    (ev.NetworkFee, "network", ("src", "dst"), X, "fee"),
    (ev.PolicySet, "control", ("name",), C, "control"),
    (ev.TenantQuota, "control", ("name",), C, "control"),
    (ev.FxRate, "control", ("name",), C, "control"),
    (ev.ClusterCordon, "control", ("id",), C, "control"),
    (ev.ClusterUncordon, "control", ("id",), C, "control"),
    (ev.ClusterDrain, "control", ("id",), C, "control"),
    (ev.TaskPin, "control", ("id",), C, "control"),
    (ev.DispatchPause, "control", ("id",), C, "control"),
    (ev.DispatchResume, "control", ("id",), C, "control"),
    (ev.DispatchAdvisory, "control", ("id",), C, "control"),
)

TYPES: dict[str, TypeInfo] = {info.tag: info for info in (TypeInfo(*row) for row in _ROWS)}
BY_STRUCT: dict[type[ev.Event], TypeInfo] = {info.struct: info for info in TYPES.values()}

IN_TOPICS: tuple[str, ...] = ("inventory", "telemetry", "tasks", "services", "power", "network", "control")
OUT_TOPICS: tuple[str, ...] = ("decisions", "windows", "carry", "cuts", "deadletter")
PREFIX = "cpn."


def decoder(topic: str) -> msgspec.json.Decoder[Any]:
    """A typed decoder of every type that may stand in ``topic``, clocks included."""
    structs = [info.struct for info in TYPES.values() if info.topic == topic]
    union: Any = reduce(or_, [*structs, ev.Clock])
    return msgspec.json.Decoder(union)


def address(event: ev.Event) -> tuple[str, str]:
    """The (topic, key) an event is written to."""
    info = BY_STRUCT[type(event)]
    return info.topic, info.key(event)
