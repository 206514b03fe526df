from types import SimpleNamespace

import pytest

from twin import events as ev

W = SimpleNamespace


def test_what_runs_on_a_cluster_that_goes_down_fails_and_what_waits_is_turned_away(w: W) -> None:
    told = [w.cluster(), w.task("x", cores=16), w.task("y", cores=16), w.task("z", earliest_start=90_000)]
    orders = [w.place(n, t=0) for n in "xyz"]
    answers = w.tell(*told, *orders, w.state("down", t=40))
    assert w.story(answers)[1:] == [(40, "failed", n, 1, "a") for n in "xyz"]
    assert [a.reason for a in answers[1:]] == ["cluster_down", "rejected", "rejected"]


@pytest.mark.parametrize(("interruptible", "kept"), [(True, 0.4), (False, 0.0)])
def test_a_failed_task_keeps_its_work_only_if_it_may_be_interrupted(w: W, interruptible: bool, kept: float) -> None:
    told = [w.cluster(), w.cluster("b"), w.task(interruptible=interruptible), w.place("x", t=0), w.state("down", t=40)]
    answers = w.tell(*told, w.place("x", "b", t=50, attempt=2))
    assert answers[1].done_share == kept
    assert w.story(answers)[-1][:2] == (50 + 100 * (1 - kept), "finished")


def test_a_task_that_ends_as_its_cluster_goes_down_has_ended(w: W) -> None:
    assert w.story(w.tell(w.cluster(), w.task(), w.place("x", t=0), w.state("down", t=100)))[-1][:2] == (
        100,
        "finished",
    )


@pytest.mark.parametrize("word", ["down", "draining"])
def test_a_cluster_that_is_down_or_draining_takes_nothing_until_it_is_up(w: W, word: str) -> None:
    told = [w.cluster(), w.task("x"), w.task("y"), w.state(word, t=10), w.state("up", t=30, seq=1)]
    answers = w.tell(*told, w.place("x", t=20), w.place("y", t=30))
    assert w.story(answers)[:2] == [(20, "failed", "x", 1, "a"), (30, "started", "y", 1, "a")]
    assert answers[0].reason == "rejected"


def test_a_draining_cluster_lets_run_what_runs_and_turns_away_what_waits(w: W) -> None:
    told = [w.cluster(), w.task("x", cores=16), w.task("y", cores=16), w.place("x", t=0), w.place("y", t=0)]
    assert w.story(w.tell(*told, w.state("draining", t=50)))[1:] == [
        (50, "failed", "y", 1, "a"),
        (100, "finished", "x", 1, "a"),
    ]


def test_what_a_broken_pool_could_not_hold_is_turned_away_and_what_it_could_waits(w: W) -> None:
    told = [w.cluster(), w.task("x", cores=16), w.task("large", cores=9), w.task("small", lasts=10, cores=8)]
    answers = w.tell(*told, *(w.place(n, t=0) for n in ("x", "large", "small")), w.state("degraded", t=50, healthy=2))
    assert w.story(answers)[1:4] == [
        (50, "failed", "large", 1, "a"),
        (100, "started", "small", 1, "a"),
        (100, "finished", "x", 1, "a"),
    ]


def test_a_degraded_cluster_has_the_room_of_its_working_nodes(w: W) -> None:
    told = [w.cluster(), w.state("degraded", t=0, healthy=1), *(w.task(n, lasts=10, gpus=1) for n in "xyz")]
    answers = w.tell(*told, *(w.place(n, t=1) for n in "xyz"))
    assert [line[0] for line in w.story(answers) if line[1] == "started"] == [1, 1, 11]


def test_more_working_nodes_than_there_are_make_no_room(w: W) -> None:
    told = [w.cluster(), w.state("up", t=0, healthy=9), w.task("x", cores=16), w.task("y", cores=1)]
    answers = w.tell(*told, w.place("x", t=1), w.place("y", t=2))
    assert [line[0] for line in w.story(answers) if line[1] == "started"] == [1, 101]


def test_what_runs_goes_on_when_nodes_break_and_nothing_new_starts_above_them(w: W) -> None:
    tasks = [w.task("x", lasts=60, cores=10), w.task("y", lasts=10, cores=3)]
    answers = w.tell(w.cluster(), *tasks, w.place("x", t=0), w.place("y", t=20), w.state("degraded", t=10, healthy=3))
    assert [line[:3] for line in w.story(answers)] == [
        (0, "started", "x"),
        (60, "finished", "x"),
        (60, "started", "y"),
        (70, "finished", "y"),
    ]


def test_the_operator_lowers_the_cap_and_lifts_it_again(w: W) -> None:
    told = [
        w.cluster(power_cap_kw=5.0),
        *(w.task(n, lasts=100, power_w=1000) for n in "xy"),
        w.place("x", t=0),
        w.place("y", t=20),
    ]
    answers = w.tell(*told, w.state("up", t=10, cap_kw=1.5), w.state("up", t=50, seq=1))
    assert [line[:3] for line in w.story(answers) if line[1] == "started"] == [
        (0, "started", "x"),
        (50, "started", "y"),
    ]


def test_a_retired_cluster_is_down_until_it_is_registered_again(w: W) -> None:
    told = [w.cluster(), *(w.task(n) for n in "xyz"), w.place("x", t=0), w.place("y", t=50), w.place("z", t=70)]
    answers = w.tell(*told, ev.ClusterRetired(seq=1, t=40_000, cluster_id="a"), w.cluster(t=60, seq=2))
    assert [(line[:3]) for line in w.story(answers)][1:4] == [
        (40, "failed", "x"),
        (50, "failed", "y"),
        (70, "started", "z"),
    ]


def test_a_cluster_may_grow_and_what_waits_starts(w: W) -> None:
    told = [w.cluster(), w.task("x", cores=16), w.task("y", lasts=10, cores=16), w.place("x", t=0), w.place("y", t=1)]
    answers = w.tell(*told, w.cluster(t=30, seq=1, pools=[w.pool(cpu_cores=32.0)]))
    assert (30, "started", "y", 1, "a") in w.story(answers)


def test_a_pool_that_is_not_named_any_more_turns_away_what_waits_and_lets_run_what_runs(w: W) -> None:
    told = [w.cluster(), w.task("x", cores=16), w.task("y", cores=16), w.place("x", t=0), w.place("y", t=1)]
    answers = w.tell(*told, w.cluster(t=30, seq=1, pools=[w.pool("q")]))
    assert w.story(answers)[1:] == [(30, "failed", "y", 1, "a"), (100, "finished", "x", 1, "a")]


def test_a_pool_that_is_not_named_any_more_takes_not_even_what_needs_nothing(w: W) -> None:
    told = [w.cluster(), w.cluster(t=30, seq=1, pools=[w.pool("q")]), w.task(), w.place("x", t=40)]
    assert w.story(w.tell(*told)) == [(40, "failed", "x", 1, "a")]


def test_a_state_said_before_the_cluster_is_registered_holds(w: W) -> None:
    told = [w.state("down", t=0), w.cluster(t=10), w.task(), w.place("x", t=20)]
    assert w.story(w.tell(*told)) == [(20, "failed", "x", 1, "a")]


def test_a_move_from_a_cluster_that_goes_down_is_off(w: W) -> None:
    carry = ev.NetworkLink(seq=0, t=0, src="node-a", dst="node-b", rtt_ms=ev.Percentiles(p50=1.0), available_mbps=800.0)
    told = [w.cluster(), w.cluster("b"), carry, w.task(state_gb=2), w.place("x", t=0), w.move("x", "b", t=60)]
    assert w.story(w.tell(*told, w.state("down", t=70)))[1:] == [(70, "failed", "x", 1, "a")]


def test_a_move_to_a_cluster_that_goes_down_is_refused_and_the_task_runs_on(w: W) -> None:
    carry = ev.NetworkLink(seq=0, t=0, src="node-a", dst="node-b", rtt_ms=ev.Percentiles(p50=1.0), available_mbps=800.0)
    told = [w.cluster(), w.cluster("b"), carry, w.task(state_gb=2), w.place("x", t=0), w.move("x", "b", t=60)]
    assert w.story(w.tell(*told, w.state("down", "b", t=70)))[1:] == [
        (70, "failed", "x", 2, "b"),
        (100, "finished", "x", 1, "a"),
    ]
