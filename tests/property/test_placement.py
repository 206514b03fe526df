"""Placement against the table in plain words: whatever is decided, answered, kept silent about or said too late."""

from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.placement import Plain
from tests.unit.placement_desk import POOLS, WINDOW, Desk, Move
from twin.view import Action

TASKS = ("a", "b", "c")
DECIDES = {"place": Action.PLACE, "move": Action.MOVE, "defer": Action.DEFER, "preempt": Action.PREEMPT}
ADMITTED = {
    "waiting": ("place", "defer"),
    "assigned": ("move", "preempt"),
    "running": ("move", "preempt"),
    "moving": ("move", "preempt"),
}
NEXT = {
    None: ("started", "rejected", "failed"),
    "started": ("progress", "paused", "released", "finished", "failed"),
    "ended": (),
}
windows = st.integers(3, 14)


class Executors:
    """Clusters that answer as they please, but each attempt begins at most once and ends at most once."""

    def __init__(self) -> None:
        self.phase: dict[tuple[str, int], str] = {}
        self.place: dict[tuple[str, int], str] = {}

    def answers(self, draw: st.DrawFn, task: str, plain: Plain) -> list[tuple[str, int, str]]:
        said = []
        # an executor that is ahead of every decision speaks alone
        ahead = draw(st.integers(0, 40)) == 0
        news = range(plain.attempt, plain.attempt - 3, -1)
        for attempt in [plain.attempt + 1] if ahead else news:
            odds = 0 if ahead else 2 if attempt == plain.attempt else 5
            if attempt < 1 or draw(st.integers(0, odds)):
                continue
            at = (task, attempt)
            choices = NEXT[self.phase.get(at)]
            if not choices:
                continue
            what = draw(st.sampled_from(choices))
            if at not in self.place:
                elsewhere = draw(st.integers(0, 3)) == 0
                wanted = plain.desired if attempt == plain.attempt and plain.desired else POOLS[0]
                self.place[at] = draw(st.sampled_from(POOLS)) if elsewhere else wanted
            if what in {"started", "progress", "paused"}:
                self.phase[at] = "started"
            else:
                self.phase[at] = "ended"
            said.append((what, attempt, self.place[at]))
        if not draw(st.integers(0, 60)):
            said.append((draw(st.sampled_from(["cancelled", "final"])), max(1, plain.attempt), POOLS[0]))
        return said


def decided(draw: st.DrawFn, name: str, plain: Plain, now: int) -> tuple[str, Move] | None:
    if plain.state == "done" or draw(st.integers(0, 2)):
        return None
    action = draw(st.sampled_from(ADMITTED[plain.state]))
    pool = None
    if action in {"place", "move"}:
        pool = draw(st.sampled_from([pool for pool in POOLS if pool != plain.desired or action == "place"]))
    start_at = now + draw(st.integers(0, 4)) * WINDOW if action in {"place", "defer"} else 0
    transfer_s = float(draw(st.integers(0, 900))) if action == "move" and plain.runs else 0.0
    return action, Move(name, DECIDES[action], pool, start_at, transfer_s)


@st.composite
def stories(draw: st.DrawFn) -> None:
    """Live through some windows with three tasks; after each, the twin has to see what the plain table says."""
    desk, executors = Desk(), Executors()
    plain = {name: Plain() for name in TASKS}
    for name in TASKS:
        desk.submit(name, movable=True)
    log: list[object] = []
    for _ in range(draw(windows)):
        for name in TASKS:
            if plain[name].state == "done":
                continue
            answers = executors.answers(draw, name, plain[name])
            for what, attempt, pool in answers:
                log.append((desk.now, name, what, attempt, pool))
                if what == "cancelled":
                    desk.cancel(name)
                else:
                    desk.say(name, what, attempt, pool)
            for what, attempt, pool in sorted(answers, key=plain[name].turn):
                plain[name].hear(what, attempt, pool, desk.now + WINDOW, WINDOW)
        now = desk.window()
        moves = []
        for task in plain.values():
            task.tick(now, WINDOW)
        assert desk.shown() == expected(plain, now), "\n".join(map(str, log))
        for name, task in plain.items():
            choice = decided(draw, name, task, now)
            if choice is not None:
                action, move = choice
                moves.append(move)
                log.append((now, name, move))
                patience_ms = 2 * WINDOW + round(move.transfer_s * 1000)
                task.decide(action, move.pool, start_at=move.start_at, now=now, patience_ms=patience_ms)
        desk.decide(*moves)
        assert desk.shown() == expected(plain, now), "\n".join(map(str, log))


def expected(plain: dict[str, Plain], now: int) -> dict[str, dict[str, object]]:
    return {
        name: {
            "state": task.state,
            "desired": task.desired,
            "reported": task.reported(),
            "attempt": task.attempt,
            "barred": task.barred(now),
        }
        for name, task in plain.items()
        if task.state != "done"
    }


@given(stories())
def test_a_task_stands_where_the_table_says_whatever_is_decided_and_answered(story: None) -> None:
    assert story is None
