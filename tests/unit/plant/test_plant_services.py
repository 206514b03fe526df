from types import SimpleNamespace
from typing import Any

import pytest

from twin import events as ev
from twin.plant import Plant

W = SimpleNamespace
FAST = {"tokens_per_s": {"m": 100.0}, "w_per_accelerator": ev.IdleMax(idle=100, max=600)}


def demand(service: str = "chat", origin: str = "o", *, t: int = 0, model: str = "m") -> ev.ServiceDemand:
    return ev.ServiceDemand(
        seq=t, t=t * 1000, service=service, origin=origin, start=0, end=1, tokens_out_per_s=1, model=model
    )


def served(answers: list[ev.Event]) -> list[tuple[Any, ...]]:
    """(second, service, cluster, tokens per second, accelerators)."""
    return [
        (a.t / 1000, a.service, a.cluster_id, a.tokens_per_s, a.replicas)
        for a in answers
        if isinstance(a, ev.ServiceServing)
    ]


def test_pools_serve_their_shares_from_the_decision_on_until_the_next(w: W) -> None:
    told = [w.cluster(pools=[w.pool(**FAST)]), w.cluster("b", pools=[w.pool(**FAST)]), demand()]
    answers = w.tell(*told, w.split("chat@o", {"a": 300.0, "b": 50.0}, t=10), w.split("chat@o", {"a": 300.0}, t=20))
    assert served(answers) == [(10, "chat", "a", 300.0, 3.0), (10, "chat", "b", 50.0, 0.5), (20, "chat", "b", 0.0, 0.0)]
    assert (answers[0].origin, answers[0].pool_id) == ("o", "p")


def test_the_same_split_again_is_not_news(w: W) -> None:
    told = [w.cluster(pools=[w.pool(**FAST)]), demand()]
    assert len(w.tell(*told, *(w.split("chat@o", {"a": 300.0}, t=t) for t in (10, 20, 30)))) == 1


def test_a_model_without_throughput_is_not_served(w: W) -> None:
    told = [w.cluster(pools=[w.pool(**FAST)]), demand(model="other")]
    assert w.tell(*told, w.split("chat@o", {"a": 300.0}, t=10)) == []


def test_a_service_nobody_has_asked_for_is_served_once_its_model_is_known(w: W) -> None:
    told = [w.cluster(pools=[w.pool(**FAST)]), demand(t=50)]
    assert served(w.tell(*told, w.split("chat@o", {"a": 300.0}, t=10))) == [(50, "chat", "a", 300.0, 3.0)]


def test_services_take_the_room_of_tasks_that_wait(w: W) -> None:
    told = [w.cluster(pools=[w.pool(**FAST)]), demand(), w.task(lasts=10, gpus=6)]
    answers = w.tell(
        *told, w.split("chat@o", {"a": 300.0}, t=10), w.place("x", t=10), w.split("chat@o", {"a": 200.0}, t=20)
    )
    assert [line[:2] for line in w.story(answers)] == [(20, "started"), (30, "finished")]


def test_services_get_what_running_tasks_leave_in_equal_shares_and_the_rest_later(w: W) -> None:
    told = [
        w.cluster(pools=[w.pool(**FAST)]),
        demand("chat"),
        demand("code"),
        w.task(lasts=100, gpus=5),
        w.place("x", t=0),
    ]
    answers = w.tell(*told, w.split("chat@o", {"a": 400.0}, t=10), w.split("code@o", {"a": 200.0}, t=10))
    assert served(answers) == [
        (10, "chat", "a", 200.0, 2.0), (10, "code", "a", 100.0, 1.0), (100, "chat", "a", 400.0, 4.0), (100, "code", "a", 200.0, 2.0),
    ]  # fmt: skip


def test_services_keep_to_the_power_cap(w: W) -> None:
    # 2 kW under the cap, 1 kW of it a task's: two accelerators of 0.5 kW
    site = w.cluster(pools=[w.pool(**FAST)], power_cap_kw=2.0, idle_kw=0.0)
    answers = w.tell(site, demand(), w.task(power_w=1000), w.place("x", t=0), w.split("chat@o", {"a": 400.0}, t=10))
    assert served(answers) == [(10, "chat", "a", 200.0, 2.0), (100, "chat", "a", 400.0, 4.0)]


def test_the_power_of_services_counts_against_tasks(w: W) -> None:
    site = w.cluster(pools=[w.pool(**FAST)], power_cap_kw=2.0, idle_kw=0.0)
    told = [site, demand(), w.task(power_w=1000), w.split("chat@o", {"a": 300.0}, t=10), w.place("x", t=10)]
    assert w.story(w.tell(*told, w.split("chat@o", {}, t=40)))[0][:2] == (40, "started")


def test_a_cluster_that_is_down_serves_nothing_until_it_is_up(w: W) -> None:
    told = [w.cluster(pools=[w.pool(**FAST)]), demand(), w.split("chat@o", {"a": 300.0}, t=10)]
    answers = w.tell(*told, w.state("down", t=20), w.state("up", t=30, seq=1))
    assert [line[3] for line in served(answers)] == [300.0, 0.0, 300.0]
    assert [a.seq for a in answers] == sorted({a.seq for a in answers})


def test_broken_nodes_lower_what_is_served(w: W) -> None:
    told = [w.cluster(pools=[w.pool(**FAST)]), demand(), w.split("chat@o", {"a": 600.0}, t=10)]
    assert [line[3] for line in served(w.tell(*told, w.state("degraded", t=20, healthy=2)))] == [600.0, 400.0]


def readings(plant: Plant, to: int) -> list[ev.ClusterTelemetry]:
    return [a for a in plant.advance(to * 1000, telemetry=True) if isinstance(a, ev.ClusterTelemetry)]


def test_a_meter_reads_the_mean_power_since_the_reading_before(w: W) -> None:
    plant = Plant()
    plant.feed([w.cluster(idle_kw=1.0, pue=ev.PueCurve(a=1.5)), w.task(lasts=150, power_w=2000, gpus=3)])
    plant.decide([w.place("x", t=50)])
    first, second, third = (readings(plant, t)[0] for t in (100, 200, 300))
    assert [r.t for r in (first, second, third)] == [99_999, 199_999, 299_999]
    assert [r.it_kw for r in (first, second, third)] == [2.0, 3.0, 1.0]
    assert first.facility_kw == 3.0
    assert [r.pools for r in (first, third)] == [(ev.PoolUse(pool_id="p", allocated=n),) for n in (3.0, 0.0)]
    assert [r.seq for r in (first, second, third)] == [1, 2, 3]


def test_a_meter_counts_services_and_the_queue(w: W) -> None:
    plant = Plant()
    plant.feed([w.cluster(pools=[w.pool(**FAST)], idle_kw=0.0), demand(), w.task("x", cores=16), w.task("y", cores=16)])
    plant.decide([w.split("chat@o", {"a": 300.0}, t=0), w.place("x", t=0), w.place("y", t=0)])
    (reading,) = readings(plant, 10)
    assert reading.it_kw == pytest.approx(1.5)
    assert reading.pools[0].allocated == 3.0
    assert reading.queue_tasks == 1
    assert reading.facility_kw is None  # without a PUE the facility's power is unknown, not equal


def test_a_cluster_that_is_down_sends_no_reading_and_starts_afresh(w: W) -> None:
    plant = Plant()
    plant.feed(
        [w.cluster(idle_kw=1.0), w.state("down", t=10), w.state("up", t=40, seq=1), w.cluster("b", t=45, idle_kw=2.0)]
    )
    assert readings(plant, 20) == []
    assert [(r.cluster_id, r.it_kw) for r in readings(plant, 50)] == [("a", 1.0), ("b", 2.0)]


def test_a_reading_after_an_outage_holds_nothing_of_before(w: W) -> None:
    plant = Plant()
    plant.feed([w.cluster(idle_kw=1.0), w.task(power_w=9000), w.state("down", t=10), w.state("up", t=40, seq=1)])
    plant.decide([w.place("x", t=0)])
    assert [r.it_kw for r in readings(plant, 50)] == [1.0]


def test_idle_power_that_changes_counts_from_then_on(w: W) -> None:
    plant = Plant()
    plant.feed([w.cluster(idle_kw=1.0), w.cluster(t=25, seq=1, idle_kw=3.0)])
    assert [r.it_kw for r in readings(plant, 100)] == [2.5]


def test_nothing_is_read_unless_asked(w: W) -> None:
    assert w.tell(w.cluster()) == []
