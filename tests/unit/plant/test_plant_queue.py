from types import SimpleNamespace

import pytest

from twin import events as ev
from twin.errors import TwinBug
from twin.plant import Plant
from twin.plant.floor import PATIENCE_MS

W = SimpleNamespace


def test_a_placed_task_starts_when_the_decision_takes_effect_and_ends_after_its_duration(w: W) -> None:
    answers = w.tell(w.cluster(), w.task(lasts=90, cores=4), w.place("x", t=300))
    assert w.story(answers) == [(300, "started", "x", 1, "a"), (390, "finished", "x", 1, "a")]
    start, end = answers
    assert (start.pool_id, start.decision_id, start.done_share, start.energy_wh) == ("p", "x#1", 0.0, 0.0)
    assert (end.pool_id, end.decision_id, end.done_share) == ("p", "x#1", 1.0)
    assert start.seq < end.seq


def test_nothing_is_answered_at_or_after_the_end_of_the_call(w: W) -> None:
    plant = Plant()
    plant.feed([w.cluster(), w.task(lasts=90)])
    plant.decide([w.place("x", t=300)])
    assert plant.advance(300_000) == []
    assert w.story(plant.advance(300_001)) == [(300, "started", "x", 1, "a")]
    assert plant.advance(390_000) == []
    assert w.story(plant.advance(390_001)) == [(390, "finished", "x", 1, "a")]


def test_a_task_waits_until_what_it_needs_is_given_back(w: W) -> None:
    told = [w.cluster(), w.task("x", lasts=100, cores=10), w.task("y", lasts=50, cores=10)]
    assert w.story(w.tell(*told, w.place("x", t=0), w.place("y", t=10))) == [
        (0, "started", "x", 1, "a"), (100, "finished", "x", 1, "a"), (100, "started", "y", 1, "a"), (150, "finished", "y", 1, "a"),
    ]  # fmt: skip


@pytest.mark.parametrize("need", [{"cores": 9}, {"gpus": 5}, {"mem": 33.5}])
def test_each_resource_alone_can_make_a_task_wait(w: W, need: dict[str, float]) -> None:
    answers = w.tell(w.cluster(), w.task("x", **need), w.task("y", **need), w.place("x", t=0), w.place("y", t=0))
    assert [line[:3] for line in w.story(answers) if line[1] == "started"] == [
        (0, "started", "x"),
        (100, "started", "y"),
    ]


def test_who_came_first_starts_first_and_who_matters_more_before(w: W) -> None:
    names = {"first": 0, "second": 0, "late but urgent": 2, "late": 1}
    told = [w.task(name, lasts=10, cores=16, priority=p) for name, p in names.items()]
    orders = [w.place(name, t=1 + i) for i, name in enumerate(names)]
    answers = w.tell(w.cluster(), w.task("now", lasts=50, cores=16), *told, w.place("now", t=0), *orders)
    started = [line[2] for line in w.story(answers) if line[1] == "started"]
    assert started == ["now", "late but urgent", "late", "first", "second"]


def test_what_has_no_room_is_passed_by_what_has(w: W) -> None:
    told = [w.task("now", lasts=50, cores=10), w.task("large", lasts=10, cores=16), w.task("small", lasts=10, cores=6)]
    answers = w.tell(w.cluster(), *told, w.place("now", t=0), w.place("large", t=1), w.place("small", t=2))
    assert [line[:3] for line in w.story(answers) if line[1] == "started"] == [
        (0, "started", "now"), (2, "started", "small"), (50, "started", "large"),
    ]  # fmt: skip


def test_order_holds_between_tasks_that_need_different_things(w: W) -> None:
    needs = {"low": (0, 9), "first": (1, 10), "second": (1, 11), "high": (2, 12)}
    told = [w.task(name, lasts=10, cores=cores, priority=p) for name, (p, cores) in needs.items()]
    places = [w.place(name, t=1 + i) for i, name in enumerate(needs)]
    answers = w.tell(w.cluster(), w.task("now", lasts=50, cores=16), *told, w.place("now", t=0), *places)
    started = [line[:3:2] for line in w.story(answers) if line[1] == "started"]
    assert started == [(0, "now"), (50, "high"), (60, "first"), (70, "second"), (80, "low")]


def small_ones(w: W, n: int) -> list[object]:
    """One task of 8 cores every 30 s for 60 s each: two always run."""
    names = [f"s{i}" for i in range(n)]
    return [w.task(name, lasts=60, cores=8) for name in names] + [
        w.place(name, t=30 * i) for i, name in enumerate(names)
    ]


def test_a_large_task_is_not_passed_for_ever(w: W) -> None:
    large = [w.task("large", lasts=10, cores=16), w.place("large", t=15)]
    start = next(line for line in w.story(w.tell(w.cluster(), *small_ones(w, 100), *large)) if line[2] == "large")
    patience_s = PATIENCE_MS / 1000
    assert 15 + patience_s <= start[0] <= 15 + patience_s + 90


def test_a_task_that_services_leave_no_room_for_keeps_none(w: W) -> None:
    site = w.cluster(pools=[w.pool(tokens_per_s={"m": 100.0})])
    asked = ev.ServiceDemand(seq=0, t=0, service="s", origin="o", start=0, end=1, tokens_out_per_s=1, model="m")
    large = [w.task("large", gpus=7), w.place("large", t=15)]
    story = w.story(w.tell(site, asked, w.split("s@o", {"a": 200.0}, t=0), *small_ones(w, 40), *large))
    assert "large" not in {line[2] for line in story}
    assert sum(line[1] == "finished" for line in story) == 40


def test_what_waited_behind_kept_room_starts_when_its_keeper_leaves(w: W) -> None:
    patience_s = PATIENCE_MS // 1000
    told = [w.task("now", lasts=2000, cores=10), w.task("large", cores=16), w.task("small", lasts=10, cores=6)]
    places = [w.place("now", t=0), w.place("large", t=1), w.place("small", t=patience_s + 50)]
    cancelled = ev.TaskCancelled(seq=1, t=(patience_s + 70) * 1000, task_id="large")
    answers = w.tell(w.cluster(), *told, *places, cancelled)
    assert w.story(answers)[1][:3] == (patience_s + 70, "started", "small")


def test_power_is_kept_for_a_patient_task_in_all_pools_of_its_cluster(w: W) -> None:
    patience_s = PATIENCE_MS // 1000
    site = w.cluster(pools=[w.pool("p"), w.pool("q")], power_cap_kw=2.0)
    told = [
        w.task("now", lasts=2000, power_w=1500),
        w.task("large", lasts=10, power_w=1000),
        w.task("small", power_w=500),
    ]
    places = [w.place("now", "a/p", t=0), w.place("large", "a/p", t=1), w.place("small", "a/q", t=patience_s + 50)]
    assert [line[:3] for line in w.story(w.tell(site, *told, *places)) if line[1] == "started"] == [
        (0, "started", "now"),
        (2000, "started", "large"),
        (2000, "started", "small"),
    ]


def test_earliest_start_and_the_decision_hold_a_task_back(w: W) -> None:
    told = [w.cluster(), w.task("x", earliest_start=70_000), w.task("y")]
    answers = w.tell(*told, w.place("x", t=10), w.place("y", t=10, start_at=90_000))
    assert [line[:3] for line in w.story(answers)][:2] == [(70, "started", "x"), (90, "started", "y")]


def test_a_plant_with_a_delay_starts_that_much_later(w: W) -> None:
    assert w.story(w.tell(w.cluster(), w.task(), w.place("x", t=10), delay_s=2.5))[0][:2] == (12.5, "started")


@pytest.mark.parametrize("to", ["nowhere", "a/q"])
def test_a_place_that_does_not_exist_is_refused(w: W, to: str) -> None:
    answers = w.tell(w.cluster(), w.task(), w.place("x", to, t=10, attempt=3))
    assert w.story(answers) == [(10, "failed", "x", 3, to[:1] if "/" in to else to)]
    assert (answers[0].reason, answers[0].decision_id) == ("rejected", "x#3")


@pytest.mark.parametrize("need", [{"cores": 17}, {"gpus": 9}, {"mem": 64.5}, {"power_w": 2001}])
def test_a_task_that_the_empty_pool_would_not_hold_is_refused(w: W, need: dict[str, float]) -> None:
    answers = w.tell(w.cluster(power_cap_kw=3.0, idle_kw=1.0), w.task(**need), w.place("x", t=10))
    assert [(a.t, a.reason) for a in answers] == [(10_000, "rejected")]


def test_a_refused_task_may_be_placed_again(w: W) -> None:
    answers = w.tell(w.cluster(), w.task(), w.place("x", "b", t=10), w.place("x", "a", t=20, attempt=2))
    assert [line[:2] for line in w.story(answers)] == [(10, "failed"), (20, "started"), (120, "finished")]
    assert [a.seq for a in answers] == sorted({a.seq for a in answers})


def test_a_share_of_places_is_refused_and_always_the_same(w: W) -> None:
    names = [f"t{i}" for i in range(1000)]
    told = [w.cluster(), *(w.task(n, lasts=1) for n in names), *(w.place(n, t=10) for n in names)]
    refused = [
        {a.task_id for a in w.tell(*told, reject=share) if isinstance(a, ev.TaskFailed)}
        for share in (0.0, 0.1, 0.1, 0.3, 1.0)
    ]
    assert refused[0] == set()
    assert refused[1] == refused[2]
    assert 60 < len(refused[1]) < 140
    assert refused[1] < refused[3]
    assert refused[4] == set(names)


def test_a_share_of_places_is_lost_without_a_word(w: W) -> None:
    names = [f"t{i}" for i in range(1000)]
    told = [w.cluster(), *(w.task(n, lasts=1) for n in names), *(w.place(n, t=10) for n in names)]
    heard = {a.task_id for a in w.tell(*told, silent=0.2)}
    assert 740 < len(heard) < 860


def test_advice_is_not_followed(w: W) -> None:
    assert w.tell(w.cluster(), w.task(), w.place("x", t=10, advice=True)) == []


def test_a_decision_on_a_task_that_is_over_or_unknown_changes_nothing(w: W) -> None:
    told = [
        w.cluster(),
        w.cluster("b"),
        w.task(lasts=10),
        w.place("x", t=0),
        w.move("x", "b", t=20),
        w.place("ghost", t=5),
    ]
    assert w.story(w.tell(*told)) == [(0, "started", "x", 1, "a"), (10, "finished", "x", 1, "a")]


def test_a_place_without_a_target_is_a_bug(w: W) -> None:
    with pytest.raises(TwinBug, match="x!place"):
        w.tell(w.cluster(), w.task(), w.order("place", "x", t=10))


def test_a_task_of_no_duration_starts_and_ends_at_once(w: W) -> None:
    answers = w.tell(w.cluster(), w.task(lasts=0), w.place("x", t=10))
    assert [line[:2] for line in w.story(answers)] == [(10, "started"), (10, "finished")]
    assert answers[1].done_share == 1.0


def test_a_cancelled_task_leaves_its_queue_without_a_word(w: W) -> None:
    told = [w.task("now", lasts=50, cores=16), w.task("x", cores=16), w.task("y", lasts=1, cores=16)]
    orders = [w.place("now", t=0), w.place("x", t=1), w.place("y", t=2)]
    answers = w.tell(w.cluster(), *told, *orders, ev.TaskCancelled(seq=1, t=20_000, task_id="x"))
    assert "x" not in {a.task_id for a in answers}
    assert w.story(answers)[-2][:3] == (50, "started", "y")


def test_a_cancelled_task_that_runs_is_released(w: W) -> None:
    answers = w.tell(w.cluster(), w.task(), w.place("x", t=0), ev.TaskCancelled(seq=1, t=20_000, task_id="x"))
    assert w.story(answers) == [(0, "started", "x", 1, "a"), (20, "released", "x", 1, "a")]
    assert (answers[1].done_share, answers[1].reason) == (0.2, "cancelled")


def test_preempted_work_is_kept_only_if_the_task_may_be_interrupted(w: W) -> None:
    for interruptible, share, ends in ((True, 0.3, 170), (False, 0.0, 200)):
        told = [w.cluster(), w.task(interruptible=interruptible), w.place("x", t=0), w.order("preempt", "x", t=30)]
        answers = w.tell(*told, w.place("x", t=100, attempt=2))
        assert w.story(answers) == [
            (0, "started", "x", 1, "a"), (30, "released", "x", 1, "a"), (100, "started", "x", 2, "a"), (ends, "finished", "x", 2, "a"),
        ]  # fmt: skip
        assert answers[1].done_share == answers[2].done_share == share
        assert answers[1].decision_id == "x!preempt"


@pytest.mark.parametrize("action", ["preempt", "defer", "reject"])
def test_taking_a_place_back_empties_the_queue_of_it(w: W, action: str) -> None:
    told = [w.cluster(), w.task("now", cores=16), w.task("x", cores=16), w.place("now", t=0), w.place("x", t=1)]
    assert "x" not in {a.task_id for a in w.tell(*told, w.order(action, "x", t=50))}


@pytest.mark.parametrize("action", ["defer", "reject"])
def test_deferring_does_not_stop_what_runs(w: W, action: str) -> None:
    assert w.story(w.tell(w.cluster(), w.task(), w.place("x", t=0), w.order(action, "x", t=50)))[-1][:2] == (
        100,
        "finished",
    )


def test_a_new_place_of_a_waiting_task_takes_it_out_of_the_old_queue(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), w.task("now", cores=16), w.task("x", lasts=10, cores=16), w.place("now", t=0)]
    answers = w.tell(*told, w.place("x", t=1), w.place("x", "b", t=50, attempt=2))
    assert [line for line in w.story(answers) if line[2] == "x"] == [
        (50, "started", "x", 2, "b"),
        (60, "finished", "x", 2, "b"),
    ]


def test_energy_is_power_times_time(w: W) -> None:
    given = w.tell(w.cluster(), w.task(lasts=1800, power_w=500), w.place("x", t=0))
    assert given[1].energy_wh == 250.0
    devices = w.pool(w_per_accelerator=ev.IdleMax(idle=60, max=400), w_per_core=ev.IdleMax(idle=1, max=6))
    derived = w.tell(w.cluster(pools=[devices]), w.task(lasts=3600, gpus=2, cores=4), w.place("x", t=0))
    assert derived[1].energy_wh == 2 * 340 + 4 * 5


def test_a_power_cap_counts_idle_power_and_overhead(w: W) -> None:
    # 1.25 * (0.6 + 1.0) = 2.0: one task of 1 kW fits under the cap, two do not, whichever pools they are in
    site = w.cluster(pools=[w.pool("p"), w.pool("q")], power_cap_kw=2.0, idle_kw=0.6, pue=ev.PueCurve(a=1.25))
    told = [w.task(n, lasts=10, power_w=1000) for n in "xyz"]
    answers = w.tell(site, *told, w.place("x", "a/q", t=0), w.place("y", "a/p", t=1), w.place("z", "a/q", t=2))
    started = [line[:3] for line in w.story(answers) if line[1] == "started"]
    assert started == [(0, "started", "x"), (10, "started", "y"), (20, "started", "z")]


def test_idle_power_is_that_of_the_devices_unless_given(w: W) -> None:
    devices = w.pool(w_per_accelerator=ev.IdleMax(idle=60, max=400), w_per_core=ev.IdleMax(idle=2.5, max=6))
    idle_kw = (8 * 60 + 16 * 2.5) / 1000
    for spare_w, starts in ((100.0, True), (99.9, False)):
        site = w.cluster(pools=[devices], power_cap_kw=idle_kw + spare_w / 1000)
        first = w.story(w.tell(site, w.task(power_w=100), w.place("x", t=0)))[0]
        assert first[1] == ("started" if starts else "failed")


def test_a_task_asked_for_again_runs_as_the_newer_word_says(w: W) -> None:
    told = [w.cluster(), w.task(lasts=100), w.task(lasts=30, seq=2), w.task(lasts=70, seq=1), w.place("x", t=10)]
    assert w.story(w.tell(*told))[-1][:2] == (40, "finished")


def test_a_plant_is_busy_while_anything_runs_waits_or_is_to_come(w: W) -> None:
    plant = Plant()
    assert not plant.busy
    plant.feed([w.cluster(), w.task("x", cores=16), w.task("y", cores=16, earliest_start=250_000)])
    plant.advance(1)
    assert not plant.busy  # nobody has placed them yet
    plant.decide([w.place("x", t=10), w.place("y", t=10)])
    busy = []
    for t in (5, 15, 115, 240, 260, 351):
        plant.advance(t * 1000)
        busy.append(plant.busy)
    assert busy == [True, True, True, True, True, False]
