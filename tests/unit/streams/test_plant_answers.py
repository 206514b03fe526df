"""A plant that starts again goes on behind the last of its answers that stands in each partition."""

import msgspec
import pytest

from streams.plant.answers import Answer, ContradictionError, Standing, last_answer
from twin import events as ev
from twin.columns import Decoder
from twin.plant.answers import SOURCE
from twin.records import Records

HERE, THERE = ("tasks", 0), ("tasks", 1)


def test_what_stands_is_not_new_and_what_follows_it_is() -> None:
    standing = Standing({HERE: Answer(20, b"b"), THERE: None})
    assert [standing.adds(HERE, value) for value in (b"a", b"b", b"c", b"d")] == [False, False, True, True]
    standing.passed(1000)


def test_partitions_stand_apart() -> None:
    standing = Standing({HERE: Answer(20, b"b"), THERE: None})
    assert standing.adds(THERE, b"a")
    assert not standing.adds(HERE, b"a")


def test_an_answer_that_stands_and_is_never_given_is_a_contradiction() -> None:
    standing = Standing({HERE: Answer(20, b"b")})
    assert not standing.adds(HERE, b"a")
    standing.passed(20)  # its time has not come
    with pytest.raises(ContradictionError, match=r"tasks-0 .*--reject"):
        standing.passed(21)


def test_the_last_answer_of_a_plant_is_found_among_clocks_events_and_answers_of_others() -> None:
    def started(t: int, source: str) -> ev.TaskStarted:
        return ev.TaskStarted(seq=0, t=t, source=source, task_id="a", attempt=1, cluster_id="c", pool_id="p")

    clock = ev.Clock(seq=0, t=9, partition=0, window_ms=1, lateness_ms=0, max_ahead_ms=1)
    cancelled = ev.TaskCancelled(seq=0, t=9, source=SOURCE, task_id="a")
    events = [started(1, SOURCE), started(2, SOURCE), started(3, "slurm"), cancelled, clock]
    values = [*map(msgspec.json.encode, events), b"{"]
    n = len(values)
    read = Decoder("tasks").decode(Records(0, n, list(range(n)), [0] * n, [None] * n, values))
    assert last_answer(read) == Answer(2, values[1])
    assert last_answer(Decoder("tasks").decode(Records(0, 1, [0], [0], [None], values[2:3]))) is None
