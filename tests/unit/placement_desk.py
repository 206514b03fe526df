"""A desk to place tasks from: events and decisions in, windows closed, and the placement read back in names."""

from dataclasses import dataclass

import numpy as np

from tests.unit.energy.worlds import MINUTE, T0, World
from twin import events as ev
from twin.energy.curves import Curves
from twin.placement import Live, Placement
from twin.sites import Sites
from twin.snapshot import ViewBuilder
from twin.view import Action, Decisions, Rates, State, View

WINDOW = 5 * MINUTE
POOLS = ("here", "there", "yonder")
ANSWERS: dict[str, tuple[type[ev.TaskAnswer], str]] = {
    "started": (ev.TaskStarted, ""),
    "progress": (ev.TaskProgress, ""),
    "paused": (ev.TaskPaused, ""),
    "released": (ev.TaskReleased, ""),
    "finished": (ev.TaskFinished, ""),
    "failed": (ev.TaskFailed, "gpu_lost"),
    "rejected": (ev.TaskFailed, "rejected"),
    "final": (ev.TaskFailed, "final"),
}


@dataclass(frozen=True)
class Move:
    """A decision by names."""

    task: str
    action: Action
    pool: str | None = None
    start_at: int = 0
    transfer_s: float = 0.0


def decisions_of(view_ids: list[str], pools: list[str], moves: list[Move]) -> tuple[Decisions, np.ndarray]:
    """The columns of ``moves`` (and their transfer times) over live tasks ``view_ids``."""
    moves = sorted(moves, key=lambda move: view_ids.index(move.task))
    n, nothing = len(moves), np.full(len(moves), np.nan)
    decisions = Decisions(
        task=np.array([view_ids.index(move.task) for move in moves], np.int64),
        action=np.array([move.action for move in moves], np.uint8),
        pool=np.array([-1 if move.pool is None else pools.index(move.pool) for move in moves], np.int64),
        start_at=np.array([move.start_at for move in moves], np.int64),
        runner_up=np.full(n, -1, np.int64),
        runner_up_more=nothing,
        delta_energy=nothing,
        delta_network=nothing,
        delta_move=nothing,
        delta_carbon_g=nothing,
        delta_rtt_ms=nothing,
        binding=np.zeros(n, np.uint8),
        unplaced=np.zeros(len(view_ids), np.uint8),
        split=np.zeros((0, len(pools))),
        unserved=np.zeros(0),
    )
    return decisions, np.array([move.transfer_s for move in moves], np.float64)


class Desk:
    """Placement and sites over a small world; one cluster per pool of ``POOLS``, named like it."""

    def __init__(self, *, task_partitions: int = 2, register: tuple[str, ...] = POOLS) -> None:
        self.world = World(task_partitions=task_partitions, window_ms=WINDOW)
        self.sites = Sites()
        self.placement = Placement(task_partitions)
        self.now = T0
        self.live: list[Live] = []
        self._builder = ViewBuilder(self.sites)
        self.bodies: dict[str, dict[str, object]] = {}
        for name in register:
            self.register(name)
        self.window()

    def register(self, name: str, **more: object) -> None:
        pool = ev.Pool(pool_id="cpu", nodes=10, cpu_cores=1000.0, mem_gib=1000.0)
        self.world.cluster(name, "NL", **({"pools": (pool,), "t": self.now} | more))

    def submit(self, name: str, **more: object) -> None:
        self.world.task(name, t=self.now, **more)

    def say(self, task: str, what: str, attempt: int, pool: str, **more: object) -> None:
        """What an executor says now."""
        kind, reason = ANSWERS[what]
        self.world.send(
            kind, task_id=task, t=self.now, attempt=attempt, cluster_id=pool, pool_id="cpu", reason=reason, **more
        )

    def cancel(self, task: str) -> None:
        self.world.send(ev.TaskCancelled, task_id=task, t=self.now)

    def clock(self) -> int:
        """Let a window pass without looking."""
        self.now += WINDOW
        return self.world.clock(self.now)

    def follow(self) -> None:
        self.sites.refresh(self.world.mirror)
        self.live = self.placement.follow(self.world.mirror, self.sites, effective_at=self.now, window_ms=WINDOW)
        self.world.mirror.read()

    def window(self) -> int:
        """Close a window and look."""
        self.clock()
        self.follow()
        return self.now

    def ids(self) -> list[str]:
        """The live tasks, in the order of the view."""
        names = [(part, part.shard.tables["tasks"].ids.names) for part in self.live]
        return [known[row] for part, known in names for row in part.rows.tolist()]

    def pools(self) -> list[str]:
        return [cluster for cluster, _ in self.sites.refresh(self.world.mirror).pool_ids]

    def decide(self, *moves: Move) -> None:
        decisions, transfer_s = decisions_of(self.ids(), self.pools(), list(moves))
        self.placement.decide(self.live, decisions, effective_at=self.now, window_ms=WINDOW, transfer_s=transfer_s)

    def view(self) -> View:
        return self._builder.build(
            self.world.mirror,
            self.placement,
            self.live,
            Curves("EUR", "day_ahead"),
            {},
            window=self.now,
            effective_at=self.now,
            window_ms=WINDOW,
            market="day_ahead",
            rates=Rates(),
        )

    def shown(self) -> dict[str, dict[str, object]]:
        """The placement of every live task in names, as a view shows it."""
        view, pools = self.view(), [*self.pools(), None]
        tasks = view.tasks
        return {
            name: {
                "state": State(int(tasks.state[i])).name.lower(),
                "desired": pools[int(tasks.desired[i])],
                "reported": pools[int(tasks.reported[i])],
                "attempt": int(tasks.attempt[i]),
                "barred": {pools[p] for p in tasks.barred[i].tolist() if p >= 0},
            }
            for i, name in enumerate(tasks.ids)
        }
