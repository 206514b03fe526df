"""What a window has to decide: the tasks that need a place, with their costs, in the order of precedence."""

from dataclasses import dataclass

import numpy as np

from twin.arrays import Bool1, Bool2, Float1, Float2, Int1
from twin.dispatch.costs import Costs, classes, costs, start_hours
from twin.dispatch.room import Room, Rule, fill
from twin.view import State, View


@dataclass(frozen=True, slots=True)
class Problem:
    """n tasks that need a place, in G classes of equal cost.

    Attributes:
        task: index into the view's tasks, (n,).
        row: class of each, (n,), a row of ``costs``.
        occupancy: share of the window, (n,).
        use: request times occupancy, (n, 3).
        forced: has a place that it has to leave, (n,); the others are waiting.
        order: positions in order of precedence, n of them.
        costs: of the classes, (G, P).
        choice: pools that the policy considers at all, (P,).
        ok: where a class may go: hard constraints and choice, (G, P).
    """

    task: Int1
    row: Int1
    occupancy: Float1
    use: Float2
    forced: Bool1
    order: list[int]
    costs: Costs
    choice: Bool1
    ok: Bool2

    def fill(self, room: Room, rule: Rule) -> Int1:
        """Place the tasks in order by ``rule`` as far as there is ``room``; return a pool for each, -1 for none."""
        return fill(room, rule, self.order, row=self.row, use=self.use, kw=self.costs.kw, occupancy=self.occupancy)


def waiting(view: View) -> Int1:
    """Return the tasks that wait and may start when the decisions take effect."""
    t = view.tasks
    return np.flatnonzero((t.state == State.WAITING) & (t.earliest_start <= view.effective_at))


def stranded(view: View) -> Int1:
    """Return the tasks wanted at a pool that holds no work (down or draining) and that can be moved off it.

    A task that is assigned but has not started has nothing to move, so it always can.
    """
    if view.pools.holds.all():
        return np.zeros(0, np.int64)
    t = view.tasks
    placed = t.desired >= 0
    shut = np.zeros(len(t.state), np.bool_)
    shut[placed] = ~view.pools.holds[t.desired[placed]]
    running = (t.state == State.RUNNING) | (t.state == State.MOVING)
    return np.flatnonzero(shut & ((t.state == State.ASSIGNED) | (running & t.movable)))


def problem(view: View, carbon: float, choice: Bool1, *, evict: bool = True) -> Problem:
    """Return the problem of ``view`` over the pools of ``choice`` (P,).

    Without ``evict`` work stays on pools that hold none.
    """
    new = waiting(view)
    out = stranded(view) if evict else np.zeros(0, np.int64)
    task = np.concatenate([out, new])
    hours = start_hours(view, task)
    member, row = classes(view, task, hours)
    t = view.tasks
    occupancy = t.occupancy[task]
    at = costs(view, task[member], carbon, hours[member])
    return Problem(
        task=task,
        row=row,
        occupancy=occupancy,
        use=t.request[task] * occupancy[:, None],
        forced=np.arange(len(task)) < len(out),
        order=precedence(view, task, len(out)),
        costs=at,
        choice=choice,
        ok=at.ok & choice,
    )


def precedence(view: View, task: Int1, first: int) -> list[int]:
    """Return positions in ``task`` in order: the ``first`` ones before all, then priority, time of submission, id."""
    t = view.tasks
    keys = zip(
        [0] * first + [1] * (len(task) - first),
        (-t.priority[task]).tolist(),
        t.submitted_at[task].tolist(),
        (t.ids[i] for i in task.tolist()),
        strict=True,
    )
    return [i for _, i in sorted((key, i) for i, key in enumerate(keys))]
