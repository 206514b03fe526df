"""Tasks: drawn class by class as columns, then written as events."""

from dataclasses import dataclass, replace

import numpy as np

from producers.scenario.draw import Timeline, draw_submissions
from producers.scenario.racks import nearest_ms
from producers.scenario.shapes import WHOLE_NODE, Shape, sizes_of
from producers.scenario.tables import Province, TaskClass
from producers.scenario.world import World
from twin.arrays import Bool1, Float1, Int1
from twin.errors import ConfigError
from twin.events import TaskSubmitted

QOS = ("economy", "standard", "premium")
PRIORITY_P = (0.50, 0.35, 0.15)
DATA_SIGMA = 1.2
CORES_PER_STATE = 16
"""``state_gb`` of a class without accelerators is for so many cores."""
LARGE_TENANTS, SMALL_TENANTS, LARGE_SHARE = 8, 120, 0.6
SCHEDULED_SHARE = 0.08
"""Of the tasks with a deadline, those that may not start before a given time."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """Columns of tasks in order of submission, N of them.

    Attributes:
        shape: index into the shapes; origin: index of the province, (N,).
        submit_ms: ms; duration_s: true run time; latency_ms: RTT limit, inf where none, (N,).
        deadline_ms, earliest_ms: 0 where none, (N,).
        checkpoint_s: 0 where none; resident: only in the zone of the origin; the others as in the event, (N,).
    """

    shape: Int1
    origin: Int1
    submit_ms: Int1
    duration_s: Float1
    latency_ms: Float1
    deadline_ms: Int1
    earliest_ms: Int1
    priority: Int1
    tenant: Int1
    data_in_gb: Float1
    data_rate_gbph: Float1
    state_gb: Float1
    checkpoint_s: Float1
    resident: Bool1

    def __len__(self) -> int:
        return len(self.shape)


def draw_tasks(world: World, count: int, rng: np.random.Generator) -> Tasks:
    """Draw about ``count`` tasks.

    An RTT limit that no pool can meet is raised to the RTT of the nearest pool that can hold the task, rounded up to a whole
    ms: nobody sells what the network cannot do.

    Raises:
        ConfigError: a shape fits on no pool at all.
    """
    near = nearest_ms(world.fit, world.pool_rtt_ms)
    parts, first = [], 0
    for c in world.workload.classes:
        n = round(count * world.preset.mix.get(c.kind, 0.0) * c.share)
        part = _draw_class(world, c, n, first, rng)
        limit = _limits(world, c, near[part.shape, part.origin], rng)
        # some pool at home must hold it, else it may go anywhere
        home = (world.fit[part.shape] & world.at_home[part.origin]).any(axis=1)
        parts.append(replace(part, latency_ms=limit, resident=part.resident & home))
        first += len(sizes_of(c, world.preset.max_gang)) * len(c.compatible)
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Tasks.__slots__}
    order = np.argsort(columns["submit_ms"], kind="stable")
    return Tasks(**{name: column[order] for name, column in columns.items()})


def _draw_class(world: World, c: TaskClass, n: int, first: int, rng: np.random.Generator) -> Tasks:
    """Draw ``n`` tasks of class ``c``, whose shapes start at index ``first``; without RTT limits yet."""
    sizes = np.array(sizes_of(c, world.preset.max_gang))
    p = np.array(c.p[: len(sizes)])
    size = rng.choice(len(sizes), n, p=p / p.sum())
    weights = origin_weights(world.provinces, world.workload.origin[c.kind])
    submit_ms, done = draw_submissions(
        n, world.workload.profiles[c.profile], world.workload.stock[c.kind], world.time, rng
    )
    gang = sizes[size] > WHOLE_NODE if c.accelerators else np.zeros(n, np.bool_)
    room_s = world.time.room_s(submit_ms, gang)
    duration_s = _durations(c, done, room_s, rng)
    deadline_ms, earliest_ms = _dates(c, submit_ms, duration_s, world.time, rng)
    return Tasks(
        shape=first + rng.integers(0, len(c.compatible), n) * len(sizes) + size,
        origin=rng.choice(len(weights), n, p=weights),
        submit_ms=submit_ms,
        duration_s=duration_s,
        latency_ms=np.full(n, np.inf),
        deadline_ms=deadline_ms,
        earliest_ms=earliest_ms,
        priority=rng.choice(3, n, p=PRIORITY_P) if c.priority is None else np.full(n, c.priority),
        tenant=_tenants(n, rng),
        data_in_gb=_amounts(c.data_in_gb, n, rng),
        data_rate_gbph=_amounts(c.data_rate_gbph, n, rng),
        state_gb=np.round(c.state_gb * sizes[size] / (1 if c.accelerators else CORES_PER_STATE), 1),
        checkpoint_s=rng.choice(np.array(c.checkpoint_s), n) if c.checkpoint_s else np.zeros(n),
        resident=rng.random(n) < c.resident_share,
    )


def _durations(c: TaskClass, done: Float1, room_s: Float1, rng: np.random.Generator) -> Float1:
    """True run time, whole seconds: lognormal, clipped, less what is done, and within the room there is."""
    d = c.duration
    wanted = np.clip(d.median_s * np.exp(d.sigma * rng.standard_normal(len(done))), d.min_s, d.max_s) * (1 - done)
    return np.maximum(np.round(np.minimum(wanted, room_s)), 1.0)


def origin_weights(provinces: tuple[Province, ...], economy: float) -> Float1:
    """Share of each province in what is asked for: gdp^economy x population^(1 - economy), normalised."""
    gdp = np.array([p.gdp_tcny for p in provinces])
    people = np.array([p.population_m for p in provinces])
    weight = (gdp / gdp.sum()) ** economy * (people / people.sum()) ** (1 - economy)
    return np.asarray(weight / weight.sum())


def _limits(world: World, c: TaskClass, near_ms: Float1, rng: np.random.Generator) -> Float1:
    """RTT limits, (n,), inf where there are none; ``near_ms`` is the least each task could have."""
    if not np.all(np.isfinite(near_ms)):
        raise ConfigError(
            f"scenario '{world.preset.name}': no pool can hold a task of class '{c.name}'; add a site with its models"
        )
    if not c.latency_ms:
        return np.full(len(near_ms), np.inf)
    scale = world.preset.latency_scale if c.kind == "edge" else 1.0
    limit = scale * rng.choice(np.array(c.latency_ms), len(near_ms))
    return np.asarray(np.maximum(np.round(limit, 1), np.ceil(near_ms)))


def _dates(
    c: TaskClass, submit_ms: Int1, duration_s: Float1, time: Timeline, rng: np.random.Generator
) -> tuple[Int1, Int1]:
    """Deadline and earliest start, ms, 0 where there is none."""
    n = len(submit_ms)
    if not c.slack_h:
        return np.zeros(n, np.int64), np.zeros(n, np.int64)
    room_s = (time.end - submit_ms) / 1000 - duration_s
    slack_s = np.floor(np.minimum(rng.uniform(c.slack_h[0], c.slack_h[1], n) * 3600, room_s))
    deadline = submit_ms + (1000 * (duration_s + slack_s)).astype(np.int64)
    later = submit_ms + 1000 * np.round(slack_s * 0.5 * rng.random(n)).astype(np.int64)
    scheduled: Bool1 = rng.random(n) < SCHEDULED_SHARE
    return deadline, np.where(scheduled, later, 0)


def _amounts(median: float, n: int, rng: np.random.Generator) -> Float1:
    if median == 0:
        return np.zeros(n)
    return np.asarray(np.round(median * np.minimum(np.exp(DATA_SIGMA * rng.standard_normal(n)), 30.0), 2))


def _tenants(n: int, rng: np.random.Generator) -> Int1:
    """Index of the tenant: a few large ones with most of the work, many small ones."""
    large = 1 / np.arange(1, LARGE_TENANTS + 1)
    small = np.ones(SMALL_TENANTS)
    p = np.concatenate([LARGE_SHARE * large / large.sum(), (1 - LARGE_SHARE) * small / small.sum()])
    return rng.choice(len(p), n, p=p / p.sum())


def tenant_name(index: int) -> str:
    """Name of a tenant."""
    if index < LARGE_TENANTS:
        return f"large-{index + 1:02d}"
    return f"small-{index - LARGE_TENANTS + 1:03d}"


def task_events(tasks: Tasks, shapes: tuple[Shape, ...], provinces: tuple[Province, ...]) -> list[TaskSubmitted]:
    """One submission per task, in order; ids count from 1."""
    requests = [shape.request() for shape in shapes]
    tenants = [tenant_name(i) for i in range(LARGE_TENANTS + SMALL_TENANTS)]
    column = {name: getattr(tasks, name).tolist() for name in Tasks.__slots__}
    events = []
    for i, (s, o) in enumerate(zip(column["shape"], column["origin"], strict=True)):
        c, origin, priority, limit = (
            shapes[s].task_class,
            provinces[o].id,
            column["priority"][i],
            column["latency_ms"][i],
        )
        events.append(
            TaskSubmitted(
                seq=0,
                t=column["submit_ms"][i],
                source="scenario",
                task_id=f"t-{i + 1:06d}",
                tenant=tenants[column["tenant"][i]],
                kind=c.kind,
                scenario=c.scenario or c.name,
                priority=priority,
                qos=QOS[priority],
                origin=origin,
                latency_ms=None if limit == np.inf else limit,
                request=requests[s],
                gang=shapes[s].nodes > 1,
                est_duration_s=column["duration_s"][i],
                earliest_start=column["earliest_ms"][i] or None,
                deadline=column["deadline_ms"][i] or None,
                data_in_gb=column["data_in_gb"][i],
                data_rate_gbph=column["data_rate_gbph"][i],
                state_gb=column["state_gb"][i],
                residency=[origin] if column["resident"][i] else [],
                movable=c.movable,
                interruptible=c.interruptible,
                checkpoint_s=column["checkpoint_s"][i] or None,
            )
        )
    return events
