"""Random worlds against plain checks of what the plant answered: no overrun at any instant, no work made or lost."""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twin import events as ev
from twin.decisions import Decision, ShareOut, Target
from twin.plant import Plant

MODEL_SPEED = 100.0
W_ACCELERATOR = ev.IdleMax(idle=50, max=450)
W_CORE = ev.IdleMax(idle=1, max=6)
PLACES = [("a", "p"), ("a", "q"), ("b", "p"), ("c", "p")]
END_MS = 400_000


@dataclass
class World:
    """What a plant is told. ``told`` is in the order of time."""

    clusters: dict[str, ev.ClusterRegistered]
    tasks: dict[str, ev.TaskSubmitted]
    told: list[Any] = field(default_factory=list)


tenths = st.integers(0, 40).map(lambda n: n / 10)
seconds = st.integers(0, 60)
millis = st.one_of(seconds.map(lambda s: s * 1000), st.integers(0, 60_000))


@st.composite
def pools(draw: st.DrawFn, names: list[str]) -> list[ev.Pool]:
    return [
        ev.Pool(
            pool_id=name, nodes=4, accelerators_per_node=draw(st.integers(0, 2)), cpu_cores=draw(st.sampled_from([4.0, 6.4])),
            mem_gib=8.0, w_per_accelerator=W_ACCELERATOR, w_per_core=W_CORE, tokens_per_s={"m": MODEL_SPEED},
        )
        for name in names
    ]  # fmt: skip


@st.composite
def clusters(draw: st.DrawFn) -> dict[str, ev.ClusterRegistered]:
    return {
        name: ev.ClusterRegistered(
            seq=0, t=0, cluster_id=name, tier="edge", zone_id="z", node_id=f"n{name}",
            pools=draw(pools([p for c, p in PLACES if c == name])), idle_kw=draw(st.sampled_from([None, 0.1])),
            pue=draw(st.sampled_from([None, ev.PueCurve(a=1.3)])),
            power_cap_kw=draw(st.sampled_from([None, 0.9, 1.3, 2.0])),
        )
        for name in "abc"
    }  # fmt: skip


@st.composite
def task(draw: st.DrawFn, name: str) -> ev.TaskSubmitted:
    return ev.TaskSubmitted(
        seq=0, t=0, task_id=name, origin="o", priority=draw(st.integers(0, 2)),
        request=ev.Request(accelerators=draw(st.integers(0, 3)), cpu_cores=draw(tenths), mem_gib=draw(tenths)),
        power_w=draw(st.sampled_from([None, None, 0.0, 333.3])), est_duration_s=draw(st.integers(0, 30_000)) / 1000,
        earliest_start=draw(st.none() | millis), state_gb=draw(st.sampled_from([0.0, 0.0, 1.0])),
        interruptible=draw(st.booleans()), checkpoint_s=draw(st.sampled_from([None, None, 3.0])),
    )  # fmt: skip


def place(name: str, number: int, action: str, to: tuple[str, str], *, t: int, start_at: int | None = None) -> Decision:
    target = Target(cluster_id=to[0], pool_id=to[1])
    return Decision(
        task_id=name,
        decision_id=f"d{number}",
        window=t,
        t=t,
        action=action,
        attempt=number,
        to=target,
        start_at=start_at,
    )


@st.composite
def decisions(draw: st.DrawFn, name: str) -> list[Decision]:
    """A place and what follows it, in the order of time, with ascending attempts."""
    result = []
    times = sorted(draw(st.lists(millis, min_size=1, max_size=4)))
    for number, t in enumerate(times, 1):
        action = "place" if number == 1 else draw(st.sampled_from(["move", "move", "move", "preempt", "defer"]))
        if action in {"place", "move"}:
            start_at = draw(st.none() | millis)
            result.append(place(name, number, action, draw(st.sampled_from(PLACES)), t=t, start_at=start_at))
        else:
            result.append(Decision(task_id=name, decision_id=f"d{number}", window=t, t=t, action=action))
    return result


@st.composite
def splits(draw: st.DrawFn) -> list[Any]:
    told: list[Any] = []
    for service in draw(st.lists(st.sampled_from(["s", "u"]), max_size=2, unique=True)):
        told.append(
            ev.ServiceDemand(seq=0, t=0, service=service, origin="o", start=0, end=1, tokens_out_per_s=1, model="m")
        )
        for t in draw(st.lists(millis, max_size=3)):
            shares = [ShareOut(cluster_id=c, pool_id=p, tokens_per_s=draw(st.integers(0, 500))) for c, p in PLACES[:3]]
            told.append(Decision(task_id=f"{service}@o", decision_id="s", window=t, t=t, action="split", shares=shares))
    return told


@st.composite
def states(draw: st.DrawFn) -> list[ev.Event]:
    told = []
    for seq, t in enumerate(sorted(draw(st.lists(millis, max_size=4)))):
        word = draw(st.sampled_from(["up", "degraded", "draining", "down"]))
        healthy = [ev.PoolHealth(pool_id="p", healthy=draw(st.integers(0, 4)))] if word == "degraded" else []
        told.append(ev.ClusterState(seq=seq, t=t, cluster_id=draw(st.sampled_from("abc")), state=word, pools=healthy))
    return told


@st.composite
def worlds(draw: st.DrawFn, *, broken: bool = True, services: bool = True) -> World:
    names = [f"t{i}" for i in range(draw(st.integers(1, 10)))]
    world = World(draw(clusters()), {name: draw(task(name)) for name in names})
    told: list[Any] = [*world.clusters.values(), *world.tasks.values()]
    told.append(ev.NetworkLink(seq=0, t=0, src="na", dst="nb", rtt_ms=ev.Percentiles(p50=1), available_mbps=1600.0))
    for name in names:
        told += draw(decisions(name))
        if draw(st.integers(0, 9)) == 0:
            told.append(ev.TaskCancelled(seq=1, t=draw(millis), task_id=name))
    told += draw(splits()) if services else []
    told += draw(states()) if broken else []
    world.told = sorted(told, key=lambda one: one.t)
    return world


def play(world: World, cuts: tuple[int, ...] = (), **knobs: float) -> list[ev.Event]:
    """All answers; what is told is handed in window by window."""
    plant, answers, at = Plant(**knobs), [], 0
    times = [one.t for one in world.told]
    for to in [*sorted(cuts), END_MS]:
        upto = bisect_right(times, to - 1)
        plant.feed(one for one in world.told[at:upto] if not isinstance(one, Decision))
        plant.decide(one for one in world.told[at:upto] if isinstance(one, Decision))
        at = max(at, upto)
        answers += plant.advance(to)
    return answers


@dataclass
class Interval:
    task: str
    place: tuple[str, str]
    start: int
    end: int
    last: ev.TaskAnswer


def intervals(answers: list[ev.Event]) -> list[Interval]:
    """What ran where and when; also checks that starts and ends of an attempt match."""
    runs: dict[tuple[str, int], Interval] = {}
    ended = set()
    for a in answers:
        if not isinstance(a, ev.TaskAnswer):
            continue
        key, at = (a.task_id, a.attempt), (a.cluster_id, a.pool_id)
        if isinstance(a, ev.TaskStarted):
            assert key not in runs
            runs[key] = Interval(a.task_id, at, a.t, END_MS, a)
        elif a.reason == "rejected":
            assert key not in runs
        else:
            assert key not in ended
            assert runs[key].place == at
            ended.add(key)
            runs[key].end, runs[key].last = a.t, a
    return list(runs.values())


def need(world: World, run: Interval) -> tuple[float, float, float, float]:
    """Accelerators, cores, GiB, IT watts."""
    spec = world.tasks[run.task]
    r = spec.request
    derived = r.accelerators * (W_ACCELERATOR.max - W_ACCELERATOR.idle) + r.cpu_cores * (W_CORE.max - W_CORE.idle)
    return r.accelerators, r.cpu_cores, r.mem_gib, derived if spec.power_w is None else spec.power_w


def serving_at(answers: list[ev.Event], t: int) -> dict[tuple[str, str], float]:
    """Accelerators that serve at ``t``, by place."""
    newest = {
        (a.cluster_id, a.pool_id, a.service): a.replicas
        for a in answers
        if isinstance(a, ev.ServiceServing) and a.t <= t
    }
    use: dict[tuple[str, str], float] = defaultdict(float)
    for (cluster, pool, _), accelerators in newest.items():
        use[cluster, pool] += accelerators
    return use


def check_room(
    world: World,
    runs: list[Interval],
    answers: list[ev.Event],
    *,
    t: int,
    healthy: dict[tuple[str, str], float],
    only: set[str],
) -> None:
    """At ``t`` no pool and no power cap of the clusters ``only`` is overrun by ``runs`` and what ``answers`` say is served."""
    running, serving = [run for run in runs if run.start <= t < run.end], serving_at(answers, t)
    for name in only:
        cluster, watts = world.clusters[name], 0.0
        for pool in cluster.pools:
            at = (name, pool.pool_id)
            uses = [need(world, run) for run in running if run.place == at]
            devices = pool.nodes * pool.accelerators_per_node
            share = healthy.get(at, 1.0)
            for r, capacity in enumerate((devices, pool.cpu_cores, pool.mem_gib)):
                used = sum(use[r] for use in uses) + (serving[at] if r == 0 else 0.0)
                assert used <= capacity * share + 1e-5
            watts += sum(use[3] for use in uses) + serving[at] * (W_ACCELERATOR.max - W_ACCELERATOR.idle)
        idle = sum(
            p.nodes * p.accelerators_per_node * W_ACCELERATOR.idle + p.cpu_cores * W_CORE.idle for p in cluster.pools
        )
        idle = idle if cluster.idle_kw is None else cluster.idle_kw * 1000
        pue = 1.0 if cluster.pue is None else cluster.pue.a
        if cluster.power_cap_kw is not None and watts > 0:
            assert pue * (idle + watts) <= cluster.power_cap_kw * 1000 + 1e-3


@given(worlds(broken=False))
def test_no_pool_and_no_power_cap_is_ever_overrun(world: World) -> None:
    answers = play(world)
    runs = intervals(answers)
    for t in {a.t for a in answers}:
        check_room(world, runs, answers, t=t, healthy={}, only=set(world.clusters))


@given(worlds())
def test_nothing_starts_where_there_is_no_room_for_it_even_when_clusters_break(world: World) -> None:
    answers = play(world)
    said = [one for one in world.told if isinstance(one, ev.ClusterState)]
    runs = intervals(answers)
    for run in runs:
        name = run.place[0]
        words = [one for one in said if one.cluster_id == name and one.t <= run.start]
        newest = words[-1] if words else None
        assert newest is None or newest.state in {"up", "degraded"}
        healthy = {} if newest is None else {(name, p.pool_id): p.healthy / 4 for p in newest.pools}
        check_room(world, runs, answers, t=run.start, healthy=healthy, only={name})
        downs = [one.t for one in said if one.cluster_id == name and one.state == "down" and one.t > run.start]
        assert not downs or run.end <= downs[0]


@given(
    worlds(),
    st.lists(st.integers(0, 100_000), max_size=8).map(tuple),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from([0.0, 1.5]),
)
def test_answers_do_not_depend_on_how_time_is_cut(
    world: World, cuts: tuple[int, ...], share: float, delay_s: float
) -> None:
    whole = play(world, reject=share, silent=share / 2, delay_s=delay_s)
    assert play(world, cuts, reject=share, silent=share / 2, delay_s=delay_s) == whole


@given(worlds())
def test_answers_are_sorted_and_numbered(world: World) -> None:
    answers = play(world)
    assert all(0 <= a.t < END_MS for a in answers)
    keys = [(a.t, a.task_id if isinstance(a, ev.TaskAnswer) else a.cluster_id, a.seq) for a in answers]
    assert keys == sorted(keys)
    numbers: dict[tuple[bool, str], int] = {}
    for a, (_, name, seq) in zip(answers, keys, strict=True):
        role = isinstance(a, ev.TaskAnswer), name
        assert seq > numbers.get(role, -1)
        numbers[role] = seq


@given(worlds())
def test_a_task_is_at_one_place_at_a_time_and_moves_without_a_gap(world: World) -> None:
    runs: dict[str, list[Interval]] = defaultdict(list)
    for run in intervals(play(world)):
        assert run.start <= run.end
        runs[run.task].append(run)
    for mine in runs.values():
        for one, following in pairwise(mine):
            assert one.end <= following.start
            assert one.last.reason != "moved" or one.end == following.start
        assert mine[-1].last.reason != "moved"


@given(worlds())
def test_run_time_adds_up_to_the_duration_where_nothing_is_lost(world: World) -> None:
    runs: dict[str, list[Interval]] = defaultdict(list)
    for run in intervals(play(world)):
        runs[run.task].append(run)
    for name, mine in runs.items():
        spec, ran = world.tasks[name], sum(run.end - run.start for run in mine)
        duration = round(spec.est_duration_s * 1000)
        over = isinstance(mine[-1].last, ev.TaskFinished)
        if spec.interruptible and spec.checkpoint_s is None:
            assert ran == duration if over else ran <= duration or mine[-1].end == END_MS
        assert not over or ran >= duration


@given(worlds())
def test_progress_is_cumulative_and_energy_is_power_times_time(world: World) -> None:
    done: dict[str, float] = {}
    for run in intervals(play(world)):
        spec, last = world.tasks[run.task], run.last
        if isinstance(last, ev.TaskStarted):
            continue
        assert last.done_share is not None
        assert last.energy_wh is not None
        assert abs(last.energy_wh - need(world, run)[3] * (run.end - run.start) / 3.6e6) < 1e-6
        if spec.interruptible:
            assert last.done_share >= done.get(run.task, 0.0)
        done[run.task] = last.done_share
        assert (last.done_share == 1.0) or not isinstance(last, ev.TaskFinished)


@st.composite
def rushes(draw: st.DrawFn) -> tuple[ev.ClusterRegistered, list[ev.TaskSubmitted], list[Decision]]:
    """One pool, many tasks that all would fit alone and hardly fit together, each placed once."""
    site = draw(clusters())["c"]
    tasks, places = [], []
    for i in range(draw(st.integers(4, 14))):
        cores, lasts_s, priority, t = draw(
            st.tuples(st.integers(1, 4), st.integers(5, 30), st.integers(0, 2), st.integers(0, 10))
        )
        request = ev.Request(accelerators=draw(st.integers(0, 1)), cpu_cores=cores, mem_gib=draw(st.integers(0, 4)))
        tasks.append(
            ev.TaskSubmitted(
                seq=0, t=0, task_id=f"t{i}", origin="o", priority=priority, request=request, est_duration_s=lasts_s,
                earliest_start=draw(st.sampled_from([None, None, 5000])), power_w=draw(st.sampled_from([None, 100.0, 300.0])),
            )
        )  # fmt: skip
        places.append(place(f"t{i}", 1, "place", ("c", "p"), t=t * 1000))
    return site, tasks, sorted(places, key=lambda one: one.t)


def oracle(site: ev.ClusterRegistered, tasks: dict[str, ev.TaskSubmitted], places: list[Decision]) -> dict[str, int]:
    """When each task starts, by looking at every millisecond at which anything may change."""
    world, pool = World({"c": site}, tasks), site.pools[0]
    capacity = (pool.nodes * pool.accelerators_per_node, pool.cpu_cores, pool.mem_gib)
    idle = pool.nodes * pool.accelerators_per_node * W_ACCELERATOR.idle + pool.cpu_cores * W_CORE.idle
    idle = idle if site.idle_kw is None else site.idle_kw * 1000
    pue = 1.0 if site.pue is None else site.pue.a
    watts = float("inf") if site.power_cap_kw is None else site.power_cap_kw * 1000 / pue - idle
    uses = {name: need(world, Interval(name, ("c", "p"), 0, 0, None)) for name in tasks}
    ready = {d.task_id: max(d.t, tasks[d.task_id].earliest_start or 0) for d in places}
    order = sorted(
        (i for i, d in enumerate(places) if all(uses[d.task_id][r] <= capacity[r] for r in range(3))),
        key=lambda i: (-tasks[places[i].task_id].priority, ready[places[i].task_id], i),
    )
    begun: dict[str, int] = {}
    agenda = set(ready.values())
    while agenda:
        t = min(agenda)
        agenda.discard(t)
        for name in (places[i].task_id for i in order):
            if name in begun or ready[name] > t:
                continue
            running = [n for n, start in begun.items() if t < start + round(tasks[n].est_duration_s * 1000)]
            room = [c - sum(uses[n][r] for n in running) for r, c in enumerate((*capacity, watts))]
            if all(uses[name][r] <= room[r] + 1e-6 for r in range(4)):
                begun[name] = t
                agenda.add(t + round(tasks[name].est_duration_s * 1000))
    return begun


@given(rushes())
def test_a_queue_starts_what_a_plain_scan_of_it_would_start(
    rush: tuple[Any, list[ev.TaskSubmitted], list[Decision]],
) -> None:
    site, tasks, places = rush
    answers = play(World({"c": site}, {}, [site, *tasks, *places]))
    started = {a.task_id: a.t for a in answers if isinstance(a, ev.TaskStarted)}
    assert started == oracle(site, {one.task_id: one for one in tasks}, places)
