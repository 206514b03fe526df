"""A few stories of a shard, told whole."""

from typing import Any

import pytest

from tests.oracle.feeding import WAYS, feed, few
from tests.oracle.logs import HOUR, START, WINDOW, clock, item
from tests.oracle.read import row
from tests.oracle.shard import Item
from twin.events import ClusterDrain, DispatchPause
from twin.shards.control import command
from twin.shards.shard import Shard


def registered(seq: int, t: int, cluster: str = "a", **more: Any) -> Item:
    pools = [{"pool_id": "p", "nodes": 4}]
    given = {
        "type": "cluster.registered.v1",
        "cluster_id": cluster,
        "tier": "edge",
        "zone_id": "z",
        "node_id": "n",
        "pools": pools,
    }
    return item(given | {"seq": seq, "t": t} | more)


def retired(seq: int, t: int, cluster: str = "a") -> Item:
    return item({"type": "cluster.retired.v1", "cluster_id": cluster, "seq": seq, "t": t})


def submitted(task: str, seq: int, t: int) -> Item:
    return item(
        {
            "type": "task.submitted.v1",
            "task_id": task,
            "origin": "n",
            "request": {},
            "est_duration_s": 60,
            "seq": seq,
            "t": t,
        }
    )


def answered(task: str, what: str, seq: int, t: int, **more: Any) -> Item:
    given = {"type": f"task.{what}.v1", "task_id": task, "attempt": 1, "cluster_id": "c", "seq": seq, "t": t}
    return item(given | more)


def test_a_row_is_freed_a_day_after_the_last_event_of_a_finished_task_and_used_again() -> None:
    shard = Shard("tasks", 0)
    start = [clock(START), submitted("a", 0, START), submitted("b", 0, START), answered("a", "finished", 0, START + 1)]
    feed(shard, [*start, clock(START + 24 * HOUR)])
    assert shard.tables["tasks"].ids.names == ["a", "b"]
    cuts, _ = feed(shard, [clock(START + 28 * HOUR), submitted("c", 0, START + 28 * HOUR)])
    assert cuts[-1].tables["tasks"].ids == [(0, None)]
    assert cuts[-1].tables["tasks"].rows.tobytes().strip(b"\0") == b""
    assert shard.tables["tasks"].ids.names == ["c", "b"]


def test_a_task_that_is_not_done_is_kept_however_old() -> None:
    shard = Shard("tasks", 0)
    events = [submitted("a", 0, START), answered("b", "failed", 0, START, reason="oom"), submitted("b", 0, START)]
    feed(shard, [clock(START), *events, clock(START + 1000 * HOUR)])
    assert shard.tables["tasks"].ids.names == ["a", "b"]


def test_an_event_of_a_day_ago_is_too_late_for_a_task_and_not_for_a_cluster() -> None:
    old = START - 24 * HOUR
    tasks, inventory = Shard("tasks", 0), Shard("inventory", 0)
    _, dead = feed(tasks, [submitted("a", 0, old), clock(START), submitted("b", 0, old), submitted("c", 0, old + 1)])
    assert [(letter.offset, letter.reason) for letter in dead] == [(2, "time.past")]
    _, dead = feed(inventory, [clock(START), registered(0, old)])
    assert dead == []


def test_an_event_too_far_ahead_of_the_clock_is_refused_by_the_limit_of_that_clock() -> None:
    shard = Shard("tasks", 0)
    near = item({"type": "clock.v1", "seq": 0, "t": START, "window_ms": WINDOW, "max_ahead_ms": HOUR})
    _, dead = feed(shard, [near, submitted("a", 0, START + HOUR), submitted("b", 0, START + HOUR + 1)])
    assert [(letter.offset, letter.reason) for letter in dead] == [(2, "time.future")]
    assert dead[0].detail == f"t {START + HOUR + 1} is more than {HOUR} ms ahead of the clock {START}"


def test_a_cluster_that_comes_back_within_a_day_keeps_its_row() -> None:
    shard = Shard("inventory", 0)
    feed(
        shard,
        [clock(START), registered(0, START), retired(1, START), registered(2, START + HOUR), clock(START + 48 * HOUR)],
    )
    assert row(shard.tables["clusters"], 0)["registered"] == 3
    assert shard.tables["pools"].ids.names == ["a|p"]


def test_a_cluster_retired_for_a_day_leaves_with_its_pools_and_may_come_back_as_new() -> None:
    shard = Shard("inventory", 0)
    feed(shard, [clock(START), registered(0, START, "a"), registered(0, START, "b"), retired(7, START, "a")])
    feed(shard, [clock(START + 24 * HOUR)])
    assert shard.tables["clusters"].ids.names == [None, "b"]
    assert shard.tables["pools"].ids.names == [None, "b|p"]
    feed(shard, [registered(8, START + 25 * HOUR, "c", name="new")])
    assert row(shard.tables["clusters"], 0)["name"] == "new"
    assert row(shard.tables["pools"], 0)["cluster"] == 0


def test_an_older_registration_names_pools_but_overwrites_nothing() -> None:
    shard = Shard("inventory", 0)
    older = registered(3, START, name="old", pools=[{"pool_id": "p", "nodes": 1}, {"pool_id": "q", "nodes": 2}])
    feed(shard, [registered(5, START, name="new"), older])
    clusters, pools = shard.tables["clusters"], shard.tables["pools"]
    assert (row(clusters, 0)["name"], row(clusters, 0)["registered"]) == ("new", 6)
    assert [(row(pools, i)["nodes"], row(pools, i)["registered"]) for i in range(2)] == [(4, 6), (2, 4)]


def test_attempts_in_any_order_end_in_the_latest_two() -> None:
    shard = Shard("tasks", 0)
    order = [2, 7, 3, 1, 7, 4]
    events = [answered("a", "started", i, START + i, attempt=n, cluster_id=f"c{n}") for i, n in enumerate(order)]
    _, dead = feed(shard, events)
    runs = row(shard.tables["tasks"], 0)["run"]
    assert [(run["attempt"], run["cluster"], run["started_at"]) for run in runs] == [
        (7, "c7", START + 4),
        (4, "c4", START + 5),
    ]
    assert [(letter.offset, letter.reason) for letter in dead] == [(3, "attempt.too_old")]


def test_energy_and_done_share_are_the_greatest_said_and_whole_numbers() -> None:
    shard = Shard("tasks", 0)
    said = [(0.5, 1.0004), (0.25, 2.0006), (None, None)]
    feed(shard, [answered("a", "progress", i, START, done_share=d, energy_wh=e) for i, (d, e) in enumerate(said)])
    run = row(shard.tables["tasks"], 0)["run"][0]
    assert (run["done"], run["energy_mwh"]) == (500_000_000, 2001)


def test_readings_are_summed_once_each() -> None:
    shard = Shard("telemetry", 0)
    readings = [
        item({"type": "cluster.telemetry.v1", "cluster_id": "c", "it_kw": 1.5, "seq": n, "t": START})
        for n in (4, 2, 2, 4, 3)
    ]
    feed(shard, readings)
    cells = row(shard.tables["clusters"], 0)
    assert (cells["readings"], cells["it_w_sum"], cells["meter_seq"]) == (3, 4500, 5)
    assert shard.counts == {"folded": 1, "older": 2, "repeats": 2}


@pytest.mark.parametrize("way", WAYS)
def test_absurd_readings_go_around_the_end_and_stop_nobody(way: int) -> None:
    shard = Shard("telemetry", 0)
    absurd = {"type": "cluster.telemetry.v1", "cluster_id": "c", "it_kw": 1e12, "t": START}
    with few(way):
        for start in range(0, 10_000, 500):
            _, dead = feed(shard, [item(absurd | {"seq": seq}) for seq in range(start, start + 500)])
            assert dead == []
    cells = row(shard.tables["clusters"], 0)
    assert (cells["readings"], cells["it_w_sum"]) == (10_000, 10_000 * 10**15 - 2**64)


def test_the_newest_word_on_a_target_holds_whatever_its_type() -> None:
    shard = Shard("control", 0)
    commands = [("cluster.drain.v1", 9), ("cluster.cordon.v1", 3)]
    events = [item({"type": tag, "id": "a", "seq": seq, "t": START, "by": "ops"}) for tag, seq in commands]
    feed(shard, [*events, item({"type": "dispatch.pause.v1", "seq": 0, "t": START})])
    table = shard.tables["commands"]
    assert command(table, "cluster|a") == ClusterDrain(id="a", seq=9, t=START, by="ops")
    assert command(table, "dispatch|dispatch") == DispatchPause(seq=0, t=START)
    assert command(table, "cluster|b") is None


def test_a_clock_that_closes_nothing_makes_no_cut() -> None:
    shard = Shard("tasks", 0)
    cuts, _ = feed(shard, [clock(START), clock(START + 1), clock(START), clock(START + WINDOW - 1)])
    assert cuts == []
    assert shard.counts == {"clocks": 4}


def test_sums_are_of_the_records_since_the_cut_before() -> None:
    shard = Shard("tasks", 0)
    later = clock(START + WINDOW)
    cuts, _ = feed(
        shard, [clock(START), submitted("a", 0, START), later, submitted("a", 0, START), clock(START + 2 * WINDOW)]
    )
    assert [cut.sums for cut in cuts] == [{"clocks": 2, "folded": 1}, {"clocks": 1, "repeats": 1}]
