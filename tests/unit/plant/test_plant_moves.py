from types import SimpleNamespace

import pytest

from twin import events as ev

W = SimpleNamespace


def link(src: str, dst: str, mbps: float | None, *, t: int = 0) -> ev.NetworkLink:
    return ev.NetworkLink(seq=t, t=t, src=src, dst=dst, rtt_ms=ev.Percentiles(p50=1.0), available_mbps=mbps)


def test_a_task_without_state_moves_at_the_instant_of_the_decision(w: W) -> None:
    answers = w.tell(w.cluster(), w.cluster("b"), w.task(), w.place("x", t=0), w.move("x", "b", t=60))
    assert w.story(answers) == [
        (0, "started", "x", 1, "a"), (60, "released", "x", 1, "a"), (60, "started", "x", 2, "b"), (100, "finished", "x", 2, "b"),
    ]  # fmt: skip
    released, started = answers[1:3]
    assert released.done_share == started.done_share == 0.6
    assert (released.reason, released.decision_id) == ("moved", "x#2")


def test_energy_is_counted_anew_in_each_attempt(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), w.task(lasts=3600, power_w=100), w.place("x", t=0), w.move("x", "b", t=900)]
    answers = w.tell(*told)
    assert [a.energy_wh for a in answers] == [0.0, 25.0, 0.0, 75.0]


@pytest.mark.parametrize("known", [("node-a", "node-b"), ("node-b", "node-a")])
def test_a_task_runs_on_while_its_state_is_carried_over(w: W, known: tuple[str, str]) -> None:
    # 2 GB over 800 Mbit/s take 20 s, whichever direction has been measured
    told = [w.cluster(), w.cluster("b"), link(*known, 800.0), w.task(state_gb=2), w.place("x", t=0)]
    assert w.story(w.tell(*told, w.move("x", "b", t=60)))[1:] == [
        (80, "released", "x", 1, "a"), (80, "started", "x", 2, "b"), (100, "finished", "x", 2, "b"),
    ]  # fmt: skip


def test_unknown_bandwidth_takes_no_time(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), link("node-a", "node-b", None), w.task(state_gb=2), w.place("x", t=0)]
    assert w.story(w.tell(*told, w.move("x", "b", t=60)))[1][:2] == (60, "released")


def test_a_path_without_bandwidth_carries_nothing(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), link("node-a", "node-b", 0.0), w.task(state_gb=2), w.place("x", t=0)]
    assert w.story(w.tell(*told, w.move("x", "b", t=60))) == [
        (0, "started", "x", 1, "a"), (60, "failed", "x", 2, "b"), (100, "finished", "x", 1, "a"),
    ]  # fmt: skip


def test_a_task_that_ends_before_its_state_is_over_does_not_move(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), link("node-a", "node-b", 800.0), w.task(state_gb=5), w.place("x", t=0)]
    assert w.story(w.tell(*told, w.move("x", "b", t=60))) == [
        (0, "started", "x", 1, "a"),
        (100, "finished", "x", 1, "a"),
    ]


def test_a_task_runs_on_until_there_is_room_where_it_goes(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), w.task("y", lasts=80, cores=16), w.task("x", cores=1)]
    answers = w.tell(*told, w.place("y", "b", t=0), w.place("x", t=0), w.move("x", "b", t=60))
    assert [line for line in w.story(answers) if line[2] == "x"] == [
        (0, "started", "x", 1, "a"), (80, "released", "x", 1, "a"), (80, "started", "x", 2, "b"), (100, "finished", "x", 2, "b"),
    ]  # fmt: skip


@pytest.mark.parametrize(("checkpoint_s", "kept"), [(None, 0.65), (0, 0.65), (25, 0.5), (60, 0.6), (66, 0.0)])
def test_what_was_done_since_the_last_checkpoint_is_lost(w: W, checkpoint_s: float | None, kept: float) -> None:
    told = [w.cluster(), w.cluster("b"), w.task(checkpoint_s=checkpoint_s), w.place("x", t=0), w.move("x", "b", t=65)]
    answers = w.tell(*told)
    assert answers[1].done_share == kept
    assert w.story(answers)[-1][:2] == (65 + 100 * (1 - kept), "finished")


def test_checkpoints_are_counted_from_the_start_of_each_attempt(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), w.task(checkpoint_s=20), w.place("x", t=0), w.move("x", "b", t=50)]
    answers = w.tell(*told, w.move("x", "a", t=75, attempt=3))
    assert [a.done_share for a in answers] == [0.0, 0.4, 0.4, 0.6, 0.6, 1.0]
    assert answers[-1].t == (75 + 40) * 1000


def test_the_place_a_move_leaves_is_used_at_the_same_instant(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), w.task("x", cores=16), w.task("y", lasts=10, cores=16)]
    answers = w.tell(*told, w.place("x", t=0), w.place("y", t=1), w.move("x", "b", t=60))
    assert (60, "started", "y", 1, "a") in w.story(answers)


def test_a_task_may_move_within_a_full_cluster(w: W) -> None:
    site = w.cluster(pools=[w.pool("p"), w.pool("q")], power_cap_kw=1.0)
    told = [site, w.task(power_w=1000, cores=16), w.place("x", "a/p", t=0), w.move("x", "a/q", t=60)]
    assert w.story(w.tell(*told))[1:3] == [(60, "released", "x", 1, "a"), (60, "started", "x", 2, "a")]


def test_a_task_may_be_started_anew_in_a_full_pool(w: W) -> None:
    told = [w.cluster(power_cap_kw=1.0), w.task(power_w=1000, cores=16, gpus=8, mem=64), w.place("x", t=0)]
    assert w.story(w.tell(*told, w.move("x", "a", t=60)))[1:] == [
        (60, "released", "x", 1, "a"),
        (60, "started", "x", 2, "a"),
        (100, "finished", "x", 2, "a"),
    ]


def test_a_running_task_keeps_no_room_where_it_goes(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), w.task("x", lasts=5000, cores=10), w.task("now", lasts=2000, cores=10)]
    places = [w.place("x", t=0), w.place("now", "b", t=0), w.move("x", "b", t=1), w.place("late", "b", t=1500)]
    answers = w.tell(*told, w.task("late", cores=6), *places)
    assert (1500, "started", "late", 1, "b") in w.story(answers)


def test_the_earliest_start_is_no_matter_of_a_move(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), w.task(seq=0), w.place("x", t=0), w.move("x", "b", t=60)]
    again = w.task(seq=1, t=30_000, earliest_start=90_000)
    assert w.story(w.tell(*told, again))[1][:2] == (60, "released")


def test_a_newer_move_replaces_one_under_way(w: W) -> None:
    told = [
        w.cluster(),
        w.cluster("b"),
        w.cluster("c"),
        link("node-a", "node-b", 800.0),
        w.task(state_gb=2),
        w.place("x", t=0),
    ]
    answers = w.tell(*told, w.move("x", "b", t=60), w.move("x", "c", t=70, attempt=3))
    assert w.story(answers)[1:3] == [(70, "released", "x", 1, "a"), (70, "started", "x", 3, "c")]
    assert "b" not in {a.cluster_id for a in answers}


def test_preempting_a_moving_task_ends_the_move_and_not_the_run(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), link("node-a", "node-b", 800.0), w.task(state_gb=2), w.place("x", t=0)]
    answers = w.tell(*told, w.move("x", "b", t=60), w.order("preempt", "x", t=70))
    assert w.story(answers) == [(0, "started", "x", 1, "a"), (100, "finished", "x", 1, "a")]


def test_a_refused_move_leaves_the_task_where_it_is(w: W) -> None:
    told = [w.cluster(), w.cluster("b", pools=[w.pool(cpu_cores=2.0)]), w.task(cores=4), w.place("x", t=0)]
    assert w.story(w.tell(*told, w.move("x", "b", t=60))) == [
        (0, "started", "x", 1, "a"), (60, "failed", "x", 2, "b"), (100, "finished", "x", 1, "a"),
    ]  # fmt: skip


def test_a_cancelled_task_does_not_arrive(w: W) -> None:
    told = [w.cluster(), w.cluster("b"), link("node-a", "node-b", 800.0), w.task(state_gb=2), w.place("x", t=0)]
    answers = w.tell(*told, w.move("x", "b", t=60), ev.TaskCancelled(seq=1, t=65_000, task_id="x"))
    assert w.story(answers)[1:] == [(65, "released", "x", 1, "a")]
