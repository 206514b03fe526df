"""The table of placement, cell by cell: what is decided, what is answered, and where the task then stands."""

from typing import Any

import pytest

from tests.unit.placement_desk import POOLS, WINDOW, Desk, Move
from twin import events as ev
from twin.placement import Placement
from twin.view import ACCELERATORS, CPU_CORES, Action

ATE = 10.0
"""Cores that a task takes."""


def stands(
    state: str, desired: str | None, reported: str | None, attempt: int, barred: set[str] | None = None
) -> dict[str, Any]:
    return {"state": state, "desired": desired, "reported": reported, "attempt": attempt, "barred": barred or set()}


def desk_with(state: str, **more: Any) -> Desk:
    """A desk with task ``x`` waiting, assigned(here), running(here) or moving(here → there)."""
    desk = Desk()
    body = {"movable": True, "interruptible": True, "est_duration_s": 36_000.0, "request": ev.Request(cpu_cores=ATE)}
    desk.submit("x", **(body | more))
    desk.window()
    if state == "waiting":
        return desk
    desk.decide(Move("x", Action.PLACE, "here"))
    if state == "assigned":
        return desk
    desk.say("x", "started", 1, "here")
    desk.window()
    if state == "moving":
        desk.decide(Move("x", Action.MOVE, "there"))
    return desk


def free_cores(desk: Desk) -> dict[str, float]:
    view = desk.view()
    return {pool: float(view.pools.free[i, CPU_CORES]) for i, pool in enumerate(desk.pools())}


STATES = {
    "waiting": stands("waiting", None, None, 0),
    "assigned": stands("assigned", "here", None, 1),
    "running": stands("running", "here", "here", 1),
    "moving": stands("moving", "there", "here", 2),
}


@pytest.mark.parametrize("state", STATES)
def test_a_task_gets_to_each_state(state: str) -> None:
    assert desk_with(state).shown() == {"x": STATES[state]}


# ------------------------------------------------------------------------------------------------------ decisions


@pytest.mark.parametrize(
    ("state", "move", "then"),
    [
        ("waiting", Move("x", Action.PLACE, "there"), stands("assigned", "there", None, 1)),
        ("waiting", Move("x", Action.DEFER, start_at=9), stands("waiting", None, None, 0)),
        ("waiting", Move("x", Action.REJECT), stands("waiting", None, None, 0)),
        ("assigned", Move("x", Action.MOVE, "there"), stands("assigned", "there", None, 2)),
        ("running", Move("x", Action.MOVE, "there"), stands("moving", "there", "here", 2)),
        ("moving", Move("x", Action.MOVE, "yonder"), stands("moving", "yonder", "here", 3)),
        ("assigned", Move("x", Action.PREEMPT), stands("waiting", None, None, 1)),
        ("running", Move("x", Action.PREEMPT), stands("running", "here", "here", 1)),
        ("moving", Move("x", Action.PREEMPT), stands("running", "here", "here", 2)),
    ],
    ids=lambda value: value if isinstance(value, str) else value.action.name if isinstance(value, Move) else "",
)
def test_a_decision_moves_a_task_as_the_table_says(state: str, move: Move, then: dict[str, Any]) -> None:
    desk = desk_with(state)
    desk.decide(move)
    assert desk.shown() == {"x": then}


def test_a_preempted_task_waits_once_it_is_released() -> None:
    desk = desk_with("running")
    desk.decide(Move("x", Action.PREEMPT))
    desk.window()
    assert desk.shown() == {"x": stands("running", "here", "here", 1)}
    desk.say("x", "released", 1, "here")
    desk.window()
    assert desk.shown() == {"x": stands("waiting", None, None, 1)}


def test_a_deferred_task_shows_when_it_may_start_and_forgets_it_when_placed() -> None:
    desk = desk_with("waiting")
    later = desk.now + 7 * WINDOW
    desk.decide(Move("x", Action.DEFER, start_at=later))
    assert desk.view().tasks.earliest_start.tolist() == [later]
    desk.window()
    desk.decide(Move("x", Action.PLACE, "here"))
    assert desk.view().tasks.earliest_start.tolist() == [0]


# -------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("state", "what", "attempt", "pool", "then"),
    [
        ("waiting", "started", 1, "yonder", stands("running", "yonder", "yonder", 1)),
        ("assigned", "started", 1, "here", STATES["running"]),
        ("assigned", "started", 1, "yonder", stands("running", "yonder", "yonder", 1)),
        ("running", "started", 2, "yonder", stands("running", "yonder", "yonder", 2)),
        ("moving", "started", 2, "there", stands("running", "there", "there", 2)),
        ("moving", "started", 2, "yonder", stands("running", "yonder", "yonder", 2)),
        ("assigned", "rejected", 1, "here", stands("waiting", None, None, 1, {"here"})),
        ("moving", "rejected", 2, "there", stands("running", "here", "here", 2, {"there"})),
        ("assigned", "failed", 1, "here", stands("waiting", None, None, 1)),
        ("running", "failed", 1, "here", stands("waiting", None, None, 1)),
        ("moving", "failed", 1, "here", stands("waiting", None, None, 2)),
        ("moving", "failed", 2, "there", stands("running", "here", "here", 2)),
        ("running", "released", 1, "here", stands("waiting", None, None, 1)),
        ("moving", "released", 1, "here", stands("assigned", "there", None, 2)),
        ("running", "rejected", 1, "here", stands("waiting", None, None, 1)),
        ("running", "progress", 1, "here", STATES["running"]),
        ("running", "paused", 1, "here", STATES["running"]),
    ],
)
def test_an_answer_moves_a_task_as_the_table_says(
    state: str, what: str, attempt: int, pool: str, then: dict[str, Any]
) -> None:
    desk = desk_with(state)
    desk.say("x", what, attempt, pool)
    desk.window()
    assert desk.shown() == {"x": then}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("end", ["finished", "final", "cancelled"])
def test_what_is_over_is_over_in_any_state(state: str, end: str) -> None:
    desk = desk_with(state)
    if end == "cancelled":
        desk.cancel("x")
    else:
        desk.say("x", end, max(1, int(state == "moving") + 1), "here")
    desk.window()
    assert desk.shown() == {}
    assert free_cores(desk) == {"here": 1000.0, "there": 1000.0, "yonder": 1000.0}


@pytest.mark.parametrize(
    ("state", "then", "place"),
    [
        ("assigned", stands("waiting", None, None, 1, {"here"}), "here"),
        ("moving", stands("running", "here", "here", 2, {"there"}), "there"),
    ],
)
def test_a_start_that_nobody_reports_is_lost_after_two_windows_and_the_place_barred_for_two(
    state: str, then: dict[str, Any], place: str
) -> None:
    desk = desk_with(state)
    desk.window()
    assert desk.shown() == {"x": STATES[state]}
    desk.window()
    assert desk.shown() == {"x": then}
    desk.window()
    assert desk.shown()["x"]["barred"] == {place}
    desk.window()
    assert desk.shown()["x"]["barred"] == set()


def test_the_transfer_of_a_tasks_state_is_waited_for() -> None:
    desk = desk_with("running")
    desk.decide(Move("x", Action.MOVE, "there", transfer_s=WINDOW / 1000))
    for _ in range(2):
        desk.window()
        assert desk.shown() == {"x": STATES["moving"]}
    desk.window()
    assert desk.shown() == {"x": stands("running", "here", "here", 2, {"there"})}


def test_a_start_that_is_asked_for_later_has_two_windows_from_then_on() -> None:
    desk = desk_with("waiting")
    desk.decide(Move("x", Action.PLACE, "here", start_at=desk.now + 3 * WINDOW))
    for _ in range(4):
        desk.window()
        assert desk.shown() == {"x": STATES["assigned"]}
    desk.window()
    assert desk.shown() == {"x": stands("waiting", None, None, 1, {"here"})}


# ---------------------------------------------------------------------------------------------------- late answers


def test_a_start_that_comes_too_late_counts_while_nothing_newer_is_decided() -> None:
    desk = desk_with("assigned")
    desk.window()
    desk.window()
    desk.say("x", "started", 1, "here")
    desk.window()
    assert desk.shown() == {"x": stands("running", "here", "here", 1, {"here"})}


def test_a_late_start_of_an_older_attempt_is_where_the_task_is_moved_from() -> None:
    desk = desk_with("assigned")
    desk.decide(Move("x", Action.MOVE, "there"))
    desk.say("x", "started", 1, "here")
    desk.window()
    assert desk.shown() == {"x": STATES["moving"]}
    desk.say("x", "released", 1, "here")
    desk.say("x", "started", 2, "there")
    desk.window()
    assert desk.shown() == {"x": stands("running", "there", "there", 2)}


def test_a_place_that_is_left_counts_until_it_is_released() -> None:
    desk = desk_with("moving")
    assert free_cores(desk) == {"here": 1000 - ATE, "there": 1000 - ATE, "yonder": 1000.0}
    desk.say("x", "started", 2, "there")
    desk.window()
    assert desk.shown() == {"x": stands("running", "there", "there", 2)}
    assert free_cores(desk) == {"here": 1000 - ATE, "there": 1000 - ATE, "yonder": 1000.0}
    desk.say("x", "released", 1, "here")
    desk.window()
    assert free_cores(desk) == {"here": 1000.0, "there": 1000 - ATE, "yonder": 1000.0}


def test_all_places_of_a_task_that_is_moved_twice_count() -> None:
    desk = desk_with("moving")
    desk.decide(Move("x", Action.MOVE, "yonder"))
    desk.say("x", "started", 2, "there")
    desk.window()
    assert desk.shown() == {"x": stands("moving", "yonder", "there", 3)}
    assert free_cores(desk) == dict.fromkeys(("here", "there", "yonder"), 1000 - ATE)


def test_a_place_that_is_left_counts_once_it_is_registered() -> None:
    desk = Desk(register=POOLS[:1])
    desk.submit("a", movable=True)
    desk.say("a", "started", 1, "there")
    desk.window()
    desk.say("a", "started", 2, "here")
    desk.window()
    desk.register("there")
    desk.window()
    tasks = [part[part["live"] > 0] for part in desk.placement.tasks]
    pools = [(int(t["reported"][0]) - 1, int(t["leaving"][0]) - 1) for t in tasks if len(t)]
    assert pools == [(desk.pools().index("here"), desk.pools().index("there"))]


def test_two_bars_stand_and_the_oldest_of_three_gives_way() -> None:
    desk = desk_with("waiting")
    for attempt, pool in enumerate(("here", "there", "yonder"), 1):
        desk.decide(Move("x", Action.PLACE, pool))
        desk.say("x", "rejected", attempt, pool)
        desk.window()
    assert desk.shown()["x"]["barred"] == {"there", "yonder"}


def test_a_run_that_a_further_attempt_would_push_out_of_the_row_may_not_be_moved() -> None:
    desk = desk_with("moving")
    desk.say("x", "rejected", 2, "there")
    desk.window()
    assert desk.view().tasks.movable.tolist() == [False]


# ------------------------------------------------------------------------------------------------- what is done


@pytest.mark.parametrize(("interruptible", "remaining_s"), [(True, 18_000.0), (False, 36_000.0)])
def test_a_failure_keeps_what_was_done_only_of_tasks_that_may_be_interrupted(
    interruptible: bool, remaining_s: float
) -> None:
    desk = desk_with("running", interruptible=interruptible)
    desk.say("x", "failed", 1, "here", done_share=0.5)
    desk.window()
    assert desk.view().tasks.remaining_s.tolist() == [remaining_s]


def test_a_move_goes_on_from_what_was_done() -> None:
    desk = desk_with("moving", interruptible=False)
    desk.say("x", "released", 1, "here", done_share=0.25)
    desk.say("x", "started", 2, "there", done_share=0.25)
    desk.window()
    assert desk.view().tasks.remaining_s.tolist() == [27_000.0 - WINDOW / 1000]


def test_progress_that_is_reported_is_not_counted_beside_the_time_that_has_passed() -> None:
    desk = desk_with("running")
    for share in (0.01, 0.02):
        desk.window()
        desk.say("x", "progress", 1, "here", done_share=share)
    desk.window()
    ran_s = 4 * WINDOW / 1000  # since the start
    assert desk.view().tasks.remaining_s.tolist() == [pytest.approx(36_000.0 - ran_s, rel=0.02)]


# ----------------------------------------------------------------------------------------------------- other tasks


def test_one_task_that_changes_leaves_the_others_alone() -> None:
    desk = Desk()
    names = [f"t{i}" for i in range(150)]  # beyond the rows a table begins with
    for name in names:
        desk.submit(name)
    desk.window()
    desk.decide(*(Move(name, Action.PLACE, ("here", "there", "yonder")[i % 3]) for i, name in enumerate(names)))
    before = desk.shown()
    desk.say("t77", "started", 1, "yonder")
    desk.window()
    after = desk.shown()
    assert after.pop("t77") == stands("running", "yonder", "yonder", 1)
    before.pop("t77")
    assert after == before
    assert desk.view().pools.free[:, ACCELERATORS].tolist() == [0.0] * 3


def test_placements_come_back_from_a_carry() -> None:
    desk = Desk()
    for name in "abc":
        desk.submit(name, movable=True)
    desk.window()
    desk.decide(Move("a", Action.PLACE, "there"), Move("b", Action.DEFER, start_at=desk.now + 3 * WINDOW))
    again = Placement(2)
    again.restore(desk.placement.carry(), desk.world.mirror)
    assert again.sha() == desk.placement.sha()
    assert desk.view().tasks.earliest_start.max() == desk.now + 3 * WINDOW
    desk.placement, before = again, desk.view()
    assert desk.view().tasks.earliest_start.tolist() == before.tasks.earliest_start.tolist()


def test_the_hash_of_placement_shows_every_decision_and_answer() -> None:
    desk = desk_with("waiting")
    seen = [desk.placement.sha()]
    for step in (
        lambda: desk.decide(Move("x", Action.PLACE, "here")),
        lambda: (desk.say("x", "started", 1, "here"), desk.window()),
        lambda: desk.decide(Move("x", Action.MOVE, "there")),
        lambda: (desk.say("x", "finished", 1, "here"), desk.window()),
    ):
        step()
        seen.append(desk.placement.sha())
    assert len(set(seen)) == len(seen)
