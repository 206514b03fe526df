"""Wire types that the dispatcher writes: decisions and window records."""

from typing import Any

import msgspec

from twin.view import Action

ACTION_NAMES = {action: action.name.lower() for action in Action}


class Target(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A place: a pool of a cluster."""

    cluster_id: str
    pool_id: str


class ShareOut(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a pool is to serve of a service for one origin, in output tokens per second."""

    cluster_id: str
    pool_id: str
    tokens_per_s: float


class Delta(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the decision changes: running cost per hour, one-off cost, gCO2e per hour, RTT. None: unknown."""

    energy_cost: float
    network_cost: float
    move_cost: float
    carbon_g: float | None = None
    rtt_ms: float | None = None


class RunnerUp(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The second best place and what it costs more per hour."""

    cluster_id: str
    pool_id: str
    cost_more: float | None = None


class Decision(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="dispatch.decision.v1"
):
    """What shall become of a task (``task_id``) or of a service (``service@origin`` in ``task_id``, action ``split``).

    ``window`` is the end of the window decided in; ``t`` when it takes effect.
    """

    task_id: str
    decision_id: str
    window: int
    t: int
    action: str
    attempt: int = 0
    advice: bool = False
    from_: Target | None = msgspec.field(name="from", default=None)
    to: Target | None = None
    shares: list[ShareOut] = []
    start_at: int | None = None
    delta: Delta | None = None
    binding: str = ""
    runner_up: RunnerUp | None = None
    assumed: list[str] = []
    policy: str = ""


REFUSED = "policy.set.v1 dispatch: "
"""How the error of a window begins that stayed as it was because of the policy that the log asks for."""


class WindowRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="dispatch.window.v1"):
    """One window as it was decided. ``solve_ms`` and ``numerics`` are outside every hash."""

    window: int
    start: int
    end: int
    skipped: list[int]
    positions: dict[str, int]
    state_sha256: str
    carry_sha256: str
    decisions_sha256: str
    schema: int
    policy: dict[str, Any]
    seed: int
    tier: str
    counts: dict[str, int]
    totals: dict[str, float | None]
    prices: dict[str, float | None]
    lower_bound: float | None
    gap: float | None
    degraded: bool
    error: str
    staleness_ms: dict[str, int | None]
    unplaced: dict[str, int]
    violations: list[str]
    numerics: dict[str, str]
    solve_ms: float

    @property
    def refused(self) -> bool:
        """Whether it stayed as it was because the log asks for a policy that cannot be: the next ``policy.set.v1`` may cure that."""
        return self.error.startswith(REFUSED)
