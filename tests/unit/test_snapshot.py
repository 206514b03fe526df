"""A snapshot as a view: what is free, what is allowed and what tasks and services are, counted by plain loops."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.energy.worlds import HOUR, T0
from tests.unit.placement_desk import WINDOW, Desk, Move
from twin import events as ev
from twin.energy.curves import Curves
from twin.snapshot import FAR, ViewBuilder
from twin.view import Action, Rates, View


def gpu_pool(**more: Any) -> ev.Pool:
    body = {
        "pool_id": "cpu",
        "accelerator": ev.Accelerator(model="H20"),
        "nodes": 4,
        "accelerators_per_node": 8,
        "cpu_cores": 512.0,
        "mem_gib": 2048.0,
        "w_per_accelerator": ev.IdleMax(idle=50, max=450),
        "w_per_core": ev.IdleMax(idle=0, max=4),
        "tokens_per_s": {"m": 100.0},
    }
    return ev.Pool(**(body | more))


CLUSTERS: dict[str, dict[str, Any]] = {
    "here": {
        "pools": (gpu_pool(),),
        "power_cap_kw": 50.0,
        "pue": ev.PueCurve(a=1.25),
        "idle_kw": 3.0,
        "province": "Guizhou",
    },
    "there": {"pools": (gpu_pool(accelerator=ev.Accelerator(model="910B")),), "labels": ["green"]},
    "yonder": {"pools": (ev.Pool(pool_id="cpu", nodes=10, cpu_cores=1000.0, mem_gib=1000.0),)},
}


def desk() -> Desk:
    made = Desk(register=())
    for name, body in CLUSTERS.items():
        made.register(name, **body)
    made.window()
    return made


def one_task(**more: Any) -> tuple[Desk, View]:
    made = desk()
    made.submit("x", **more)
    made.window()
    return made, made.view()


# ----------------------------------------------------------------------------------------------------------- tasks


def test_a_task_is_what_was_asked_for() -> None:
    at, view = one_task(
        request=ev.Request(accelerators=8, cpu_cores=16.0, mem_gib=64.0),
        power_w=None,
        latency_ms=12.0,
        priority=2,
        kind="training",
        earliest_start=T0 + HOUR,
        deadline=T0 + 9 * HOUR,
        est_duration_s=7200.0,
        data_in_gb=5.0,
        data_rate_gbph=1.5,
        state_gb=20.0,
        movable=True,
        interruptible=True,
        checkpoint_s=600.0,
    )
    t = view.tasks
    assert t.ids == ["x"]
    assert t.request.tolist() == [[8.0, 16.0, 64.0]]
    assert np.isnan(t.power_w).all()
    for column, value in {
        "latency_ms": 12.0, "priority": 2, "kind": 0, "earliest_start": T0 + HOUR, "deadline": T0 + 9 * HOUR,
        "remaining_s": 7200.0, "data_in_gb": 5.0, "data_rate_gbph": 1.5, "state_gb": 20.0, "movable": True,
        "interruptible": True, "checkpoint_s": 600.0, "occupancy": 1.0, "attempt": 0, "desired": -1, "reported": -1,
        "submitted_at": at.now - WINDOW,
    }.items():  # fmt: skip
        assert getattr(t, column).tolist() == [value], column
    assert view.network.nodes[int(t.origin[0])] == "NL"
    assert t.barred.tolist() == [[-1, -1]]


def test_what_was_not_asked_for_is_no_limit() -> None:
    _, view = one_task()
    assert view.tasks.latency_ms.tolist() == [math.inf]
    assert view.tasks.deadline.tolist() == [FAR]
    assert view.tasks.earliest_start.tolist() == [0]
    assert np.isnan(view.tasks.checkpoint_s).all()


@pytest.mark.parametrize(
    ("duration_s", "occupancy"), [(0.0, 1 / 1024), (0.1, 1 / 1024), (30.0, 0.1), (300.0, 1.0), (1e6, 1.0)]
)
def test_a_short_task_takes_its_share_of_a_window(duration_s: float, occupancy: float) -> None:
    _, view = one_task(est_duration_s=duration_s)
    assert view.tasks.occupancy.tolist() == [occupancy]


def test_a_newer_word_on_a_task_replaces_what_was_asked_for() -> None:
    at, _ = one_task(request=ev.Request(cpu_cores=1.0), seq=1)
    at.submit("x", request=ev.Request(cpu_cores=2.0), seq=3)
    at.submit("x", request=ev.Request(cpu_cores=9.0), seq=2)
    at.window()
    assert at.view().tasks.request.tolist() == [[0.0, 2.0, 0.0]]


@pytest.mark.parametrize(
    ("request_", "residency", "pools"),
    [
        (ev.Request(cpu_cores=1.0), [], {"here", "there", "yonder"}),
        (ev.Request(accelerators=1), [], {"here", "there"}),
        (ev.Request(accelerators=1, compatible=["H20"]), [], {"here"}),
        (ev.Request(accelerators=1, compatible=["H20", "910B"]), [], {"here", "there"}),
        (ev.Request(accelerators=1, compatible=["none such"]), [], set()),
        (ev.Request(cpu_cores=1.0), ["Guizhou"], {"here"}),
        (ev.Request(cpu_cores=1.0), ["green"], {"there"}),
        (ev.Request(cpu_cores=1.0), ["NL"], {"here", "there", "yonder"}),
        (ev.Request(cpu_cores=1.0), ["green", "Guizhou"], {"here", "there"}),
        (ev.Request(accelerators=1, compatible=["910B"]), ["Guizhou"], set()),
        (ev.Request(cpu_cores=1.0), ["Mars"], set()),
    ],
)
def test_where_a_task_may_run(request_: ev.Request, residency: list[str], pools: set[str]) -> None:
    at, view = one_task(request=request_, residency=residency)
    allowed = view.allowed[int(view.tasks.shape[0])]
    assert {name for name, ok in zip(at.pools(), allowed.tolist(), strict=True) if ok} == pools


def test_where_a_task_may_run_follows_the_inventory() -> None:
    at, _ = one_task(request=ev.Request(accelerators=1, compatible=["B300"]))
    at.register("new", pools=(gpu_pool(accelerator=ev.Accelerator(model="B300")),))
    at.window()
    view = at.view()
    assert view.allowed[int(view.tasks.shape[0])].tolist() == [False, False, False, True]


# ------------------------------------------------------------------------------------------------------ what is free


@dataclass
class Plain:
    """A task as the loop knows it."""

    accelerators: int
    cores: float
    power_w: float | None
    duration_s: float
    places: set[str] = field(default_factory=set)  # pools that it is wanted at or runs at
    runs_at: set[str] = field(default_factory=set)


def watts(task: Plain, pool: str) -> float:
    if task.power_w is not None:
        return task.power_w
    spec = CLUSTERS[pool]["pools"][0]
    return (task.accelerators * 400 + task.cores * 4) if spec.accelerator is not None else 0.0


plain_tasks = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 8]),
        st.sampled_from([1.0, 16.0, 40.0]),
        st.sampled_from([None, 700.0]),
        st.sampled_from([30.0, 150.0, 300.0, 9000.0]),
        st.sampled_from(["waiting", "assigned", "running", "moving", "leaving"]),
    ),
    max_size=9,
)
readings = st.dictionaries(st.sampled_from(["here", "there"]), st.integers(0, 40))


@given(plain_tasks, readings)
def test_what_is_free_is_what_a_plain_loop_leaves(
    rows: list[tuple[int, float, float | None, float, str]], allocated: dict[str, int]
) -> None:
    at, tasks = desk(), {}
    for i, (accelerators, cores, power_w, duration_s, _) in enumerate(rows):
        tasks[f"t{i}"] = Plain(accelerators, cores, power_w, duration_s)
        request = ev.Request(accelerators=accelerators, cpu_cores=cores)
        at.submit(f"t{i}", request=request, power_w=power_w, est_duration_s=duration_s, movable=True)
    at.window()
    fates = dict(zip(tasks, (row[-1] for row in rows), strict=True))
    at.decide(
        *(Move(name, Action.PLACE, "here") for name, fate in fates.items() if fate not in {"waiting", "assigned"})
    )
    for name, fate in fates.items():
        if fate in {"running", "moving", "leaving"}:
            at.say(name, "started", 1, "here")
    at.window()
    goes = {"assigned": (Action.PLACE, "here"), "moving": (Action.MOVE, "there"), "leaving": (Action.MOVE, "there")}
    at.decide(*(Move(name, *goes[fate]) for name, fate in fates.items() if fate in goes))
    for name, fate in fates.items():
        if fate == "leaving":
            at.say(name, "started", 2, "there")
        tasks[name].places = {"waiting": set(), "moving": {"here", "there"}, "leaving": {"here", "there"}}.get(
            fate, {"here"}
        )
        tasks[name].runs_at = {"running": {"here"}, "moving": {"here"}, "leaving": {"here", "there"}}.get(fate, set())
    for name, n in allocated.items():
        use = [ev.PoolUse(pool_id="cpu", allocated=float(n))]
        at.world.send(ev.ClusterTelemetry, cluster_id=name, it_kw=1.0, t=at.now, pools=use)
    at.window()
    view = at.view()
    for i, pool in enumerate(at.pools()):
        mine = [task for task in tasks.values() if pool in task.places]
        share = [min(1.0, max(task.duration_s / 300, 1 / 1024)) for task in mine]
        used = sum(task.accelerators * s for task, s in zip(mine, share, strict=True))
        running = sum(task.accelerators for task in tasks.values() if pool in task.runs_at)
        foreign = max(0, allocated[pool] - running) if pool in allocated else 0
        cores = sum(task.cores * s for task, s in zip(mine, share, strict=True))
        whole = CLUSTERS[pool]["pools"][0]
        assert view.pools.free[i, 0] == pytest.approx(whole.nodes * whole.accelerators_per_node - used - foreign)
        assert view.pools.free[i, 1] == pytest.approx(whole.cpu_cores - cores)
        kw = sum(watts(task, pool) * s for task, s in zip(mine, share, strict=True)) / 1000
        cap = {"here": 50.0 / 1.25 - 3.0}.get(pool, math.inf)
        assert view.clusters.power_free_kw[i] == pytest.approx(cap - kw) or cap == math.inf


# ---------------------------------------------------------------------------------------------------------- services


def with_splits(at: Desk, splits: dict[str, list[float]]) -> View:
    return ViewBuilder(at.sites).build(
        at.world.mirror,
        at.placement,
        at.live,
        Curves("EUR", "day_ahead"),
        {key: np.array(values) for key, values in splits.items()},
        window=at.now,
        effective_at=at.now,
        window_ms=WINDOW,
        market="day_ahead",
        rates=Rates(),
    )


def demand(at: Desk, service: str, origin: str, tokens: float, *, start: int, end: int, **more: Any) -> None:
    at.world.send(
        ev.ServiceDemand,
        service=service,
        origin=origin,
        t=at.now,
        start=start,
        end=end,
        tokens_out_per_s=tokens,
        **({"model": "m"} | more),
    )


def test_services_are_what_is_demanded_when_the_decisions_take_effect() -> None:
    at = desk()
    now = at.now + WINDOW
    demand(at, "chat", "NL", 700.0, start=now - HOUR, end=now + 1, latency_ms=15.0)
    demand(at, "chat", "FR", 500.0, start=now, end=now + HOUR, model="other")
    demand(at, "past", "NL", 1.0, start=now - HOUR, end=now)
    demand(at, "later", "NL", 1.0, start=now + 1, end=now + HOUR)
    at.window()
    s = with_splits(at, {"chat@NL": [100.0, 50.0, 0.0], "past@NL": [9.0, 9.0, 9.0]}).services
    assert s.keys == ("chat@FR", "chat@NL")
    assert s.tokens_per_s.tolist() == [500.0, 700.0]
    assert s.latency_ms.tolist() == [math.inf, 15.0]
    assert [s.models[k] for k in s.model] == ["other", "m"]
    assert s.split.tolist() == [[0.0, 0.0, 0.0], [100.0, 50.0, 0.0]]
    nodes = at.view().network.nodes
    assert [nodes[o] for o in s.origin] == ["FR", "NL"]


def test_the_standing_split_takes_accelerators_and_power_and_is_not_foreign() -> None:
    at = desk()
    demand(at, "chat", "NL", 700.0, start=T0, end=T0 + HOUR)
    at.window()
    use = [ev.PoolUse(pool_id="cpu", allocated=5.0)]
    at.world.send(ev.ClusterTelemetry, cluster_id="here", it_kw=1.0, t=at.now, pools=use)
    at.window()
    before, view = with_splits(at, {}), with_splits(at, {"chat@NL": [300.0, 0.0, 0.0]})
    assert before.pools.free[:, 0].tolist() == [32.0 - 5, 32.0, 0.0]
    assert view.pools.free[:, 0].tolist() == [32.0 - 3 - 2, 32.0, 0.0]
    taken_kw = before.clusters.power_free_kw[0] - view.clusters.power_free_kw[0]
    assert taken_kw == pytest.approx(3 * 0.4)
    assert view.pools.tokens_per_s.tolist() == [[100.0], [100.0], [0.0]]


def test_a_split_from_before_a_pool_was_registered_has_nothing_there() -> None:
    at = desk()
    demand(at, "chat", "NL", 700.0, start=T0, end=T0 + HOUR)
    at.register("new", pools=(gpu_pool(),))
    at.window()
    assert with_splits(at, {"chat@NL": [1.0, 2.0, 0.0]}).services.split.tolist() == [[1.0, 2.0, 0.0, 0.0]]


# ------------------------------------------------------------------------------------------------------------ money


def test_a_price_that_never_was_is_guessed_and_said_to_be_unknown() -> None:
    at = desk()
    at.register("far")  # in NL as the others
    at.world.cluster("alone", "XX", t=at.now)
    at.window()
    view = at.view()
    assert view.clusters.zone == ("NL", "NL", "NL", "NL", "XX")
    assert view.clusters.price_known.tolist() == [False] * 5
    assert view.clusters.price_per_mwh.tolist() == [0.0] * 5
    assert np.isnan(view.clusters.carbon_g_per_kwh).all()


def test_two_looks_at_the_same_state_are_the_same_view() -> None:
    at, first = one_task(latency_ms=3.0, residency=["green"])
    second = at.view()
    for part in ("pools", "clusters", "tasks", "network", "services"):
        for name in getattr(first, part).__slots__:
            one, two = getattr(getattr(first, part), name), getattr(getattr(second, part), name)
            same = (
                np.array_equal(one, two, equal_nan=one.dtype.kind == "f") if isinstance(one, np.ndarray) else one == two
            )
            assert same, (part, name)


def test_windows_in_a_row_keep_the_order_of_tasks() -> None:
    at = desk()
    for i in range(200):
        at.submit(f"t{i}")
    at.window()
    first = list(at.view().tasks.ids)
    for name in first[50:60]:
        at.cancel(name)
    at.submit("late")
    at.window()
    second = at.view().tasks.ids
    assert [name for name in second if name != "late"] == [*first[:50], *first[60:]]
