"""A small world for the plant: one-line makers of events and decisions. Times are in seconds, to keep sums readable."""

from types import SimpleNamespace
from typing import Any

import pytest

from twin import events as ev
from twin.decisions import Decision, ShareOut, Target
from twin.plant import Plant


def cluster(name: str = "a", *, t: int = 0, seq: int = 0, pools: list[ev.Pool] | None = None, **more: Any) -> ev.Event:
    """A cluster whose one pool ``p`` has 4 nodes of 2 accelerators, 16 cores and 64 GiB in all."""
    if pools is None:
        pools = [pool()]
    known = {"tier": "national", "zone_id": f"zone-{name}", "node_id": f"node-{name}"} | more
    return ev.ClusterRegistered(seq=seq, t=t * 1000, cluster_id=name, pools=pools, **known)


def pool(name: str = "p", **more: Any) -> ev.Pool:
    known = {"nodes": 4, "accelerators_per_node": 2, "cpu_cores": 16.0, "mem_gib": 64.0} | more
    return ev.Pool(pool_id=name, **known)


def state(
    word: str, name: str = "a", *, t: int, seq: int = 0, healthy: int | None = None, cap_kw: float | None = None
) -> ev.Event:
    said = [] if healthy is None else [ev.PoolHealth(pool_id="p", healthy=healthy)]
    return ev.ClusterState(seq=seq, t=t * 1000, cluster_id=name, state=word, pools=said, cap_kw=cap_kw)


def task(
    name: str = "x", *, lasts: float = 100, cores: float = 0, gpus: int = 0, mem: float = 0, **more: Any
) -> ev.Event:
    request = ev.Request(accelerators=gpus, cpu_cores=cores, mem_gib=mem)
    known = {"seq": 0, "t": 0, "origin": "here"} | more
    return ev.TaskSubmitted(task_id=name, request=request, est_duration_s=lasts, **known)


def place(name: str, to: str = "a", *, t: int, attempt: int = 1, action: str = "place", **more: Any) -> Decision:
    """Place ``name`` at cluster ``to`` (or ``cluster/pool``); the decision is called name#attempt."""
    site, _, at = to.partition("/")
    return Decision(
        task_id=name, decision_id=f"{name}#{attempt}", window=t * 1000, t=t * 1000, action=action, attempt=attempt,
        to=Target(cluster_id=site, pool_id=at or "p"), **more,
    )  # fmt: skip


def move(name: str, to: str, *, t: int, attempt: int = 2, **more: Any) -> Decision:
    return place(name, to, t=t, attempt=attempt, action="move", **more)


def order(action: str, name: str, *, t: int) -> Decision:
    """Preempt, defer or reject."""
    return Decision(task_id=name, decision_id=f"{name}!{action}", window=t * 1000, t=t * 1000, action=action)


def split(key: str, shares: dict[str, float], *, t: int) -> Decision:
    parts = [
        ShareOut(cluster_id=c.partition("/")[0], pool_id=c.partition("/")[2] or "p", tokens_per_s=n)
        for c, n in shares.items()
    ]
    return Decision(task_id=key, decision_id="s", window=t * 1000, t=t * 1000, action="split", shares=parts)


def story(answers: list[ev.Event]) -> list[tuple[Any, ...]]:
    """(second, word, task, attempt, cluster) of each answer of a task."""
    return [
        (a.t / 1000, type(a).__name__.removeprefix("Task").lower(), a.task_id, a.attempt, a.cluster_id)
        for a in answers
        if isinstance(a, ev.TaskAnswer)
    ]


def tell(*told: Any, until: int = 10_000, **knobs: Any) -> list[ev.Event]:
    """All answers of a plant that was told events and decisions, up to second ``until``."""
    plant = Plant(**knobs)
    plant.feed([one for one in told if not isinstance(one, Decision)])
    plant.decide([one for one in told if isinstance(one, Decision)])
    return plant.advance(until * 1000)


@pytest.fixture(scope="session")
def w() -> SimpleNamespace:
    """The makers."""
    return SimpleNamespace(
        cluster=cluster,
        pool=pool,
        state=state,
        task=task,
        place=place,
        move=move,
        order=order,
        split=split,
        story=story,
        tell=tell,
    )
