"""Steps of a plant are a function of the logs: of clocks that lag, skip, repeat, and of records in any chunks."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.plant.steps import Step, Steps
from twin import events as ev
from twin.assembler import Assembler, Partition
from twin.columns import Columns, Decoder
from twin.records import Records
from twin.shards.shard import Shard

WINDOW_MS, LATE_MS, AHEAD_MS = 10_000, 2_000, 60_000
TASKS, POWER, STATES = ("tasks", 0), ("power", 0), ("telemetry", 0)


def columns(at: Partition, events: list[ev.Event]) -> Columns:
    n = len(events)
    values = [msgspec.json.encode(event) for event in events]
    return Decoder(at[0]).decode(Records(0, n, list(range(n)), [event.t for event in events], [None] * n, values))


def clock(t: int, *, ahead_ms: int = AHEAD_MS, window_ms: int = WINDOW_MS) -> ev.Clock:
    return ev.Clock(seq=0, t=t, partition=0, window_ms=window_ms, lateness_ms=LATE_MS, max_ahead_ms=ahead_ms)


def clocks(*times: int) -> list[ev.Event]:
    return [clock(t) for t in times]


def state(t: int, name: str = "c") -> ev.ClusterState:
    return ev.ClusterState(seq=0, t=t, cluster_id=name, state="up")


def cancelled(t: int, name: str) -> ev.TaskCancelled:
    return ev.TaskCancelled(seq=0, t=t, task_id=name)


def drained(steps: Steps) -> list[Step]:
    found = []
    while (step := steps.next()) is not None:
        found.append(step)
    return found


def steps_of(logs: dict[Partition, list[ev.Event]]) -> list[Step]:
    steps = Steps(logs)
    for at, events in logs.items():
        steps.take(at, columns(at, events))
    return drained(steps)


def test_a_step_waits_for_the_clock_of_the_partition_that_lags() -> None:
    steps = Steps([TASKS, POWER])
    steps.take(TASKS, columns(TASKS, [cancelled(900, "a"), *clocks(1000, 2000)]))
    assert steps.next() is None
    assert steps.missing() == [POWER], "the other one can wait"
    steps.take(POWER, columns(POWER, clocks(1000)))
    assert [(step.t, len(step.events), step.first) for step in drained(steps)] == [(1000, 1, True)]
    assert steps.missing() == [POWER]
    steps.take(POWER, columns(POWER, clocks(2000)))
    assert [(step.t, step.first) for step in drained(steps)] == [(2000, False)]
    assert steps.missing() == [TASKS, POWER]


def test_a_clock_that_one_partition_lacks_is_no_step_of_its_own() -> None:
    tasks = [cancelled(500, "a"), clock(1000), cancelled(1500, "b"), clock(2000), cancelled(2500, "c"), clock(3000)]
    found = steps_of({TASKS: tasks, POWER: clocks(1000, 3000)})
    assert [(step.t, [event.task_id for event in step.events]) for step in found] == [(1000, ["a"]), (3000, ["b", "c"])]


def test_partitions_whose_clocks_never_agree_take_steps_all_the_same() -> None:
    found = steps_of({TASKS: clocks(10, 20, 30, 40), POWER: clocks(15, 25, 35)})
    assert [step.t for step in found] == [15, 30]


def test_a_clock_that_is_repeated_or_older_ends_no_batch() -> None:
    tasks = [clock(1000), cancelled(1100, "a"), clock(1000), clock(500), cancelled(1200, "b"), clock(2000)]
    found = steps_of({TASKS: tasks})
    assert [(step.t, [event.t for event in step.events]) for step in found] == [(1000, []), (2000, [1100, 1200])]


def test_events_are_by_time_and_then_by_partition_and_as_in_the_log() -> None:
    logs: dict[Partition, list[ev.Event]] = {
        STATES: [state(700, "s1"), state(600, "s2"), clock(1000)],
        TASKS: [cancelled(600, "t1"), cancelled(600, "t2"), cancelled(500, "t3"), clock(1000)],
    }
    [step] = steps_of(logs)
    names = [getattr(event, "task_id", None) or event.cluster_id for event in step.events]
    assert names == ["t3", "s2", "t1", "t2", "s1"]


def test_answers_prices_and_what_does_not_decode_are_left_out() -> None:
    started = ev.TaskStarted(seq=0, t=100, task_id="a", attempt=1, cluster_id="c", pool_id="p")
    steps, rows = Steps([TASKS]), columns(TASKS, [started, cancelled(200, "b"), clock(1000)])
    bad = Decoder("tasks").decode(Records(0, 1, [0], [0], [None], [b"{"]))
    steps.take(TASKS, bad)
    steps.take(TASKS, rows)
    assert [type(event) for step in drained(steps) for event in step.events] == [ev.TaskCancelled]


def test_what_lies_too_far_ahead_of_the_clock_where_it_stands_never_happens() -> None:
    near, far = 1000 + AHEAD_MS, 1001 + AHEAD_MS
    tasks = [
        clock(1000),
        cancelled(near, "near"),
        cancelled(far, "far"),
        clock(far),
        cancelled(far, "now"),
        clock(2 * far),
    ]
    found = steps_of({TASKS: tasks})
    assert [event.task_id for step in found for event in step.events] == ["near", "now"]


def test_before_the_first_clock_it_is_the_first_clock_that_says_what_is_too_far_ahead() -> None:
    [step] = steps_of({TASKS: [cancelled(1000 + AHEAD_MS, "near"), cancelled(1001 + AHEAD_MS, "far"), clock(1000)]})
    assert [event.task_id for event in step.events] == ["near"]


def test_a_window_is_due_at_the_clock_that_closes_it() -> None:
    found = steps_of(
        {TASKS: clocks(1000, 11_999, 12_000, 13_000, 22_000), POWER: clocks(1000, 11_999, 12_000, 13_000, 22_000)}
    )
    assert [(step.t, step.windows) for step in found] == [
        (1000, []), (11_999, []), (12_000, [10_000]), (13_000, []), (22_000, [20_000]),
    ]  # fmt: skip


def test_of_windows_that_one_clock_closes_the_last_is_due() -> None:
    [_, step] = steps_of({TASKS: clocks(1000, 45_000), POWER: clocks(1000, 12_000, 22_000, 45_000)})
    assert step.windows == [40_000]


lengths = st.sampled_from([5_000, 10_000])
logs_of_three = st.tuples(*[st.lists(st.tuples(st.integers(0, 80), st.booleans(), lengths), max_size=30)] * 3)


@given(logs=logs_of_three, chunk=st.integers(1, 7))
def test_steps_are_the_same_in_any_chunks_and_windows_are_those_of_the_assembler(
    logs: tuple[list[tuple[int, bool, int]], ...], chunk: int
) -> None:
    partitions = [TASKS, ("tasks", 1), STATES]
    events: dict[Partition, list[ev.Event]] = {}
    for at, rows in zip(partitions, logs, strict=True):
        plain = state if at is STATES else cancelled
        drawn = [clock(s * 1000, window_ms=w) if ticks else plain(s * 1000, f"n{s}") for s, ticks, w in rows]
        events[at] = drawn + clocks(90_000, 100_000)
    whole = steps_of(events)

    steps, found, left = Steps(partitions), list[Step](), {at: list(rows) for at, rows in events.items()}
    while wanted := [at for at in steps.missing() if left[at]]:
        at = wanted[-1]
        steps.take(at, columns(at, left[at][:chunk]))
        del left[at][:chunk]
        found += drained(steps)
    assert found == whole
    assert [step.t for step in whole] == sorted({step.t for step in whole})

    assembler, windows = Assembler(partitions), []
    for at, rows in events.items():
        shard, read, position = Shard(*at), columns(at, rows), 0
        while position < len(read):
            fed = shard.feed(read, position)
            position = fed.position
            if fed.cut is not None:
                assembler.offer(fed.cut)
    while (decided := assembler.step()) is not None:
        windows += [decided.window] if decided.window is not None else []
    assert [window for step in whole for window in step.windows] == windows
    assert windows[-1] == 90_000
