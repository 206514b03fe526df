"""What a report is made of: the structs a runtime fills and :func:`streams.report.render` reads.

Times are milliseconds since the epoch (UTC), power is kW at the facility, money is in the run's currency.
``None`` means unknown and is shown as unknown, never as 0.
"""

from typing import Any, Literal

import msgspec


class PolicyResult(msgspec.Struct, frozen=True, kw_only=True):
    """One policy on the same events; ``summary`` is the JSON object of ``cpn replay --json``."""

    name: str
    summary: dict[str, Any]


class ZoneSeries(msgspec.Struct, frozen=True, kw_only=True):
    """A price zone over the run; every list is (W,), one value a window.

    ``price`` is in currency per MWh, ``load_kw`` the mean facility power of our work in the zone, ``carbon`` the
    grid's g/kWh.
    """

    zone: str
    name: str
    price: list[float | None]
    load_kw: list[float]
    carbon: list[float | None]


class RunSeries(msgspec.Struct, frozen=True, kw_only=True):
    """The main policy's run; every list is (W,), ``t_ms`` holds the ends of the windows.

    ``running``, ``waiting`` and ``moving`` count tasks at the end of the window; ``placed``, ``moves`` and
    ``unplaced`` count decisions of the window; ``gap`` is the certified distance to the optimum as a fraction.
    """

    t_ms: list[int]
    zones: list[ZoneSeries]
    running: list[int]
    waiting: list[int]
    moving: list[int]
    placed: list[int]
    moves: list[int]
    unplaced: list[int]
    cost_energy: list[float]
    cost_network: list[float]
    cost_moves: list[float]
    gap: list[float | None]


class ClusterResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one cluster did under the main policy; ``lat`` and ``lon`` in degrees, ``mean_price`` per MWh."""

    cluster_id: str
    name: str
    tier: str
    zone: str
    lat: float | None
    lon: float | None
    accelerators: float
    cpu_cores: float
    energy_kwh: float
    cost_energy: float
    carbon_kg: float | None
    task_h: float
    accelerator_h: float
    core_h: float
    tasks_started: int
    moves_in: int
    moves_out: int
    mean_price: float | None


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """Work that went from an origin to a cluster (``serve``) or from cluster to cluster (``move``)."""

    kind: Literal["serve", "move"]
    src: str
    dst: str
    src_lat: float | None
    src_lon: float | None
    dst_lat: float | None
    dst_lon: float | None
    tasks: int
    hours: float
    gb: float


class ReportData(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a report shows.

    The main policy, whose ``run``, ``clusters`` and ``flows`` these are, is the first of ``policies``. ``timezone_offset_min`` is for labels: 480 is UTC+08:00.
    """

    title: str
    scenario: str
    currency: str
    t0_ms: int
    end_ms: int
    window_ms: int
    timezone_offset_min: int
    seed: int
    generated_by: str
    policies: list[PolicyResult]
    run: RunSeries
    clusters: list[ClusterResult]
    flows: list[Flow]
