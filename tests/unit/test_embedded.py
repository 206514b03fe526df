"""Runs of small logs: where they end, what they refuse, and that nothing on the way goes by unseen."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from producers.log import LogReader, LogWriter
from tests.unit.embedded_logs import (
    HOUR,
    MINUTE,
    PARTITIONS,
    T0,
    WINDOW,
    Recorder,
    cluster,
    encode,
    price,
    run_log,
    task,
    write_log,
)
from twin import events as ev
from twin.errors import ConfigError
from twin.plant import Plant
from twin.records import Records
from twin.topics import IN_TOPICS

WORLD = (cluster("A"), cluster("B"), price("A", 100, hours=24), price("B", 50, hours=24))
POLICY = ev.PolicySet(seq=0, t=T0 - 1, name="dispatch", policy="price")
TASKS = tuple(task(f"t{i}", at=T0 + i * 3 * MINUTE) for i in range(12))


def placed(recorder: Recorder) -> dict[str, int]:
    """The first window (counted from 1) that each task was placed in."""
    found: dict[str, int] = {}
    for window, name, action, _ in recorder.decided():
        if action == "place":
            found.setdefault(name, (window - T0) // WINDOW)
    return found


# ------------------------------------------------------------------------------------------------- skipped windows


def test_windows_that_a_clock_jumps_over_are_listed_and_not_decided(tmp_path: Path) -> None:
    gap = {(topic, p): (3, 4) for topic, n in PARTITIONS.items() for p in range(n)}
    _, result, recorder = run_log(write_log(tmp_path / "log", [*WORLD, POLICY, *TASKS], without=gap), closed=False)
    assert [(r.end - T0) // WINDOW for r in recorder.windows] == [1, 2, 5, 6, 7, 8, 9, 10, 11, 12]
    assert [[(end - T0) // WINDOW for end in r.skipped] for r in recorder.windows][2] == [3, 4]
    assert result.windows == 10
    assert placed(recorder) == {f"t{i}": w if w not in {3, 4} else 5 for i in range(12) for w in [i * 3 // 5 + 1]}


@pytest.mark.parametrize("ahead", [("tasks", 0), ("tasks", 1), ("control", 0), ("power", 0)])
def test_what_changed_while_one_partition_was_ahead_is_seen_by_all(tmp_path: Path, ahead: tuple[str, int]) -> None:
    log = write_log(tmp_path / "log", [*WORLD, POLICY, *TASKS], without={ahead: (3, 4, 5)})
    _, _, recorder = run_log(log, closed=False)
    assert [(r.end - T0) // WINDOW for r in recorder.windows] == [1, 2, 6, 7, 8, 9, 10, 11, 12]
    assert placed(recorder) == {f"t{i}": w if w not in {3, 4, 5} else 6 for i in range(12) for w in [i * 3 // 5 + 1]}


def test_rows_freed_and_used_again_while_nobody_looked_are_new_tasks(tmp_path: Path) -> None:
    """A day after their end rows are freed; here that happens in cuts that no window looks at."""
    start = ev.TaskStarted(seq=1, t=T0 + 6 * MINUTE, task_id="old", attempt=1, cluster_id="A", pool_id="cpu")
    end = ev.TaskFinished(seq=2, t=T0 + 7 * MINUTE, task_id="old", attempt=1, cluster_id="A", pool_id="cpu")
    day = 24 * 12
    new = task("new", at=T0 + (day + 4) * WINDOW + MINUTE)
    events = [*WORLD, POLICY, task("old", at=T0 + MINUTE), start, end, new]
    one = PARTITIONS | {"tasks": 1}
    log = write_log(
        tmp_path / "log", events, windows=day + 8, partitions=one, without={("control", 0): range(day, day + 6)}
    )
    _, _, recorder = run_log(log, closed=False)
    assert placed(recorder) == {"old": 1, "new": day + 6}


# ----------------------------------------------------------------------------------------------- logs that cannot be


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("events", [(), (*WORLD, *TASKS)], ids=["empty", "records"])
def test_a_log_without_clocks_is_refused(tmp_path: Path, events: tuple[ev.Event, ...], *, closed: bool) -> None:
    with pytest.raises(ConfigError, match=r"no clock records|fewer than two clock records"):
        run_log(write_log(tmp_path / "log", events, clocks=False), closed=closed)


def test_an_open_loop_names_the_partition_that_has_no_clocks(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [*WORLD, *TASKS], without={("power", 0): range(100)})
    with pytest.raises(ConfigError, match="power-0 has fewer than two clock records"):
        run_log(log, closed=False)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("topic", IN_TOPICS)
def test_a_log_without_a_topic_is_refused_by_name(tmp_path: Path, topic: str, *, closed: bool) -> None:
    partitions = {name: n for name, n in PARTITIONS.items() if name != topic}
    with pytest.raises(ConfigError, match=f"no partition of {topic}"):
        run_log(write_log(tmp_path / "log", [], partitions=partitions), closed=closed)


@pytest.mark.parametrize("closed", [True, False])
def test_topics_without_records_are_no_error(tmp_path: Path, *, closed: bool) -> None:
    _, result, recorder = run_log(write_log(tmp_path / "log", []), closed=closed)
    assert result.windows >= 1
    assert result.decisions == 0
    assert result.score is not None
    assert result.score.tasks.submitted == 0
    assert recorder.letters == []


def test_tasks_that_nobody_could_run_are_left_unplaced_and_the_run_ends(tmp_path: Path) -> None:
    _, result, recorder = run_log(write_log(tmp_path / "log", [*WORLD[2:], *TASKS]), closed=True)
    assert recorder.decided() == []
    assert result.score is not None
    assert result.score.tasks.unplaced == len(TASKS)
    assert result.windows < 20


# ------------------------------------------------------------------------------------------------- where a run ends


def test_a_closed_loop_ends_when_all_is_done(tmp_path: Path) -> None:
    _, result, _ = run_log(write_log(tmp_path / "log", [*WORLD, *TASKS]), closed=True)
    assert result.score is not None
    assert result.score.tasks.finished == len(TASKS)
    last_end = T0 + 7 * WINDOW + 20 * MINUTE  # t11 comes in window 7
    assert last_end <= result.last_window <= last_end + 2 * WINDOW


def test_a_closed_loop_waits_for_a_task_that_may_not_start_yet(tmp_path: Path) -> None:
    later = task("later", at=T0 + MINUTE, earliest_start=T0 + 3 * HOUR)
    _, result, recorder = run_log(write_log(tmp_path / "log", [*WORLD, later]), closed=True)
    assert placed(recorder) == {"later": 36}
    assert result.score is not None
    assert result.score.tasks.finished == 1


def test_it_does_not_wait_for_ever(tmp_path: Path) -> None:
    never = task("never", at=T0 + MINUTE, earliest_start=T0 + 400 * 24 * HOUR)
    _, result, _ = run_log(write_log(tmp_path / "log", [*WORLD, never]), closed=True, window_ms=6 * HOUR)
    assert result.last_window <= T0 + 8 * 24 * HOUR


def test_a_task_that_every_cluster_refuses_does_not_keep_the_run_going_for_ever(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [*WORLD, task("unwanted", at=T0 + MINUTE)])
    _, result, recorder = run_log(log, closed=True, window_ms=6 * HOUR, plant=Plant(reject=1.0))
    assert len(recorder.decided()) > 10
    assert result.last_window <= T0 + 8 * 24 * HOUR
    assert result.score is not None
    assert result.score.tasks.unplaced == 1


def test_a_closed_loop_serves_a_service_to_the_end_of_its_demand(tmp_path: Path) -> None:
    pool = ev.Pool(
        pool_id="gpu",
        accelerator=ev.Accelerator(model="H"),
        nodes=2,
        accelerators_per_node=8,
        w_per_accelerator=ev.IdleMax(idle=0, max=500),
        tokens_per_s={"m": 100.0},
    )
    demand = ev.ServiceDemand(
        seq=0, t=T0, service="chat", origin="A", start=T0, end=T0 + HOUR, tokens_out_per_s=500.0, model="m"
    )
    log = write_log(tmp_path / "log", [*WORLD, cluster("G", pools=[pool]), price("G", 70), demand])
    _, result, _ = run_log(log, closed=True)
    assert result.score is not None
    assert result.score.services.demanded_tokens == 500.0 * 3600
    assert result.score.services.served_tokens == 500.0 * (3600 - 300)  # the first window has to pass


@pytest.mark.parametrize("closed", [True, False])
def test_until_stops_at_the_window_that_ends_there_or_the_first_after(tmp_path: Path, *, closed: bool) -> None:
    log = write_log(tmp_path / "log", [*WORLD, POLICY, *TASKS])
    for until in (T0 + 3 * WINDOW, T0 + 2 * WINDOW + 1):
        _, result, recorder = run_log(log, closed=closed, until=until)
        assert result.last_window == T0 + 3 * WINDOW
        assert len(recorder.windows) == 3


def test_an_event_of_the_year_3000_is_a_dead_letter_and_nobody_waits_for_it(tmp_path: Path) -> None:
    far = 32_503_680_000_000
    state = ev.ClusterState(seq=1, t=far, cluster_id="A", state="down")
    cancel = ev.TaskCancelled(seq=7, t=far, task_id="t0")
    raw = [("telemetry", 0, T0 + MINUTE, encode(state)), ("tasks", 0, T0 + MINUTE, encode(cancel))]
    _, result, recorder = run_log(write_log(tmp_path / "log", [*WORLD, *TASKS], raw=raw), closed=True)
    assert [letter.reason for letter in recorder.letters] == ["time.future"] * 2
    assert result.score is not None
    assert result.score.tasks.finished == len(TASKS)


@pytest.mark.parametrize("at", [T0 - 1, T0 + MINUTE, T0 + 12 * WINDOW + MINUTE])
@pytest.mark.parametrize("body_too", [True, False])
def test_a_record_stamped_in_the_year_3000_holds_nothing_back(tmp_path: Path, *, at: int, body_too: bool) -> None:
    far = 32_503_680_000_000
    late = task("late", at=far if body_too else T0 + MINUTE, minutes=5)
    log = write_log(tmp_path / "log", [*WORLD, *TASKS], raw=[("tasks", 0, at, encode(late))])
    log = restamped(log, tmp_path / "stray", encode(late), far)
    _, result, recorder = run_log(log, closed=True)
    assert [letter.reason for letter in recorder.letters] == (["time.future"] if body_too else [])
    assert result.score is not None
    assert result.score.tasks.finished >= len(TASKS)
    assert result.last_window < T0 + 100 * WINDOW


def restamped(log: LogReader, path: Path, value: bytes, t: int) -> LogReader:
    """``log`` with another timestamp on the record that has ``value``."""
    with LogWriter(path, dict(log.manifest.topics), meta=dict(log.meta)) as writer:
        for topic, partition in log.partitions():
            for records in log.read(topic, partition):
                records.times = [t if v == value else old for v, old in zip(records.values, records.times, strict=True)]
                writer.extend(topic, partition, records)
    return LogReader(path)


def test_what_stands_behind_the_last_clock_of_an_open_loop_is_still_checked(tmp_path: Path) -> None:
    late = T0 + 12 * WINDOW + MINUTE
    raw = [(topic, 0, late, b"{broken") for topic in IN_TOPICS]
    log = write_log(tmp_path / "log", [*WORLD, POLICY, *TASKS], raw=raw)
    _, result, recorder = run_log(log, closed=False)
    assert {letter.topic for letter in recorder.letters} == set(IN_TOPICS)
    assert result.events == log.manifest.records


# --------------------------------------------------------------------------------------------------- reading ahead


class Chunked:
    """A log that is read by chunks of another size."""

    def __init__(self, log: Any, chunk: int) -> None:
        self._log, self._chunk = log, chunk

    def partitions(self) -> list[tuple[str, int]]:
        return self._log.partitions()

    def read(self, topic: str, partition: int) -> Iterator[Records]:
        return self._log.read(topic, partition, chunk=self._chunk)


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("chunk", [1, 2, 7])
def test_the_size_of_chunks_does_not_show(tmp_path: Path, chunk: int, *, closed: bool) -> None:
    log = write_log(tmp_path / "log", [*WORLD, POLICY, *TASKS])
    _, _, whole = run_log(log, closed=closed)
    _, _, parts = run_log(Chunked(log, chunk), closed=closed)
    assert parts.hashes() == whole.hashes()
    assert parts.decisions == whole.decisions
    assert parts.folded == whole.folded


# ------------------------------------------------------------------------------------------- places nobody knows


@pytest.mark.parametrize("policy", ["price", "stay", "round-robin", "cost-greedy", "latency-first", "first-fit"])
def test_a_task_that_runs_where_nobody_is_registered_stays_there(tmp_path: Path, policy: str) -> None:
    start = ev.TaskStarted(seq=1, t=T0 + 6 * MINUTE, task_id="t0", attempt=1, cluster_id="ghost", pool_id="cpu")
    said = ev.PolicySet(seq=0, t=T0 - 1, name="dispatch", policy=policy)
    _, result, recorder = run_log(
        write_log(tmp_path / "log", [*WORLD, said, task("t0", at=T0, movable=True), start]), closed=False
    )
    assert [(name, action) for _, name, action, _ in recorder.decided()] == [("t0", "place")]
    assert recorder.windows[-1].counts["running"] == 1
    assert (result.degraded, result.violations) == (0, [])


def test_a_place_that_is_registered_late_holds_what_runs_there(tmp_path: Path) -> None:
    start = ev.TaskStarted(seq=1, t=T0 + 6 * MINUTE, task_id="t0", attempt=1, cluster_id="late", pool_id="cpu")
    late = cluster("late", t=T0 + 16 * MINUTE)
    log = write_log(tmp_path / "log", [*WORLD, POLICY, task("t0", at=T0, minutes=600), start, late])
    run, _, _ = run_log(log, closed=False)
    placement = run.dispatcher.placement.tasks
    pools = {int(row["reported"]) for part in placement for row in part if row["live"]}
    assert pools == {run.dispatcher.sites.pool_index("late", "cpu") + 1}
