"""The plant as a process: it answers a running twin, and killed at any moment it leaves out nothing and says nothing twice."""

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from producers.log import LogReader
from streams.settings import Settings
from tests.broker import twins
from tests.broker.plants import PATIENCE_S, PlantProcess, Topics, answers_of, others_of, trailing_run
from tests.broker.twins import Process
from tests.golden.replays import events_of, late_events, run
from twin import events as ev
from twin.plant import Plant
from twin.topics import decoder


@pytest.mark.parametrize("kills", [0, 5])
async def test_a_plant_that_is_killed_gives_the_answers_of_the_embedded_run_each_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    log = LogReader(late_events(tmp_path / "events", lateness_ms=60_000, partitions=2, files="jsonl"))
    sink = trailing_run(log, Plant(reject=0.1, delay_s=30), monkeypatch)
    windows = len(sink.reference.records)
    assert windows > 30
    await twins.make_topics(settings, dict(Counter(topic for topic, _ in sink.rows)))
    worker, dispatcher = Process(settings, "worker", "w1", tmp_path), Process(settings, "dispatcher", "d1", tmp_path)
    plant = PlantProcess(settings, tmp_path, "--reject", "0.1", "--delay", "30s")
    processes = [worker, dispatcher, plant]
    at_steps = [windows * (k + 1) // (kills + 1) for k in range(kills)]
    sent, halves = dict.fromkeys(sink.rows, 0), 0
    async with Topics(settings, sink.rows) as topics:
        with twins.running(processes):
            for step in range(windows + 2):  # the opening, the windows, and what is said last
                for at, steps in sink.rows.items():
                    sent[at] += len(answers_of(steps[step]))
                await topics.grow_to(sent, processes)
                half_way = step in at_steps[::2]
                if half_way:
                    plant.kill()
                for at, steps in sink.rows.items():
                    others = others_of(steps[step])
                    await topics.send(at, others)
                    sent[at] += len(others)
                if half_way:  # what is left of one that was killed while it wrote
                    for at, steps in sink.rows.items():
                        said = answers_of(steps[step + 1])
                        await topics.send(at, said[: (len(said) + 1) // 2])
                        halves += len(said) > 1
                await topics.flush()
                if step in at_steps[1::2]:
                    plant.kill()
                if step in at_steps:
                    plant.start()
            await twins.wait_until(lambda: twins.windows(settings), sink.reference.records)
            await twins.wait_until(lambda: twins.decisions(settings), sink.reference.decisions)
            found = await topics.read()
            assert plant.exits == [-signal.SIGKILL] * kills
            assert not plant.said("plant.second_plant")
            plant.stop()
            assert plant.exits[-1] == 0
    wanted = {at: [row for rows in of_windows for row in rows] for at, of_windows in sink.rows.items()}
    assert sum(map(len, map(answers_of, wanted.values()))) > 500
    assert found == wanted
    assert halves >= kills


async def test_a_plant_goes_on_where_the_answers_in_a_run_log_end(settings: Settings, tmp_path: Path) -> None:
    """The run log of an embedded run without the answers of its second half, which then follow, each partition in its order."""
    events = late_events(tmp_path / "events", lateness_ms=60_000, partitions=2, files="jsonl")
    run(events, "price", tmp_path / "run", plant={"reject": 0.1, "silent": 0.05})
    log = LogReader(tmp_path / "run" / "log")
    rows = {
        at: [row for read in log.read(*at) for row in zip(read.times, read.keys, read.values, strict=True)]
        for at in log.partitions()
    }
    half = sorted(row[0] for row in rows["tasks", 0])[len(rows["tasks", 0]) // 2]
    missing = {at: [row for row in answers_of(some) if row[0] > half] for at, some in rows.items()}
    assert sum(map(len, missing.values())) > 200
    await twins.make_topics(settings, dict(Counter(topic for topic, _ in rows)))
    async with Topics(settings, [*rows, ("windows", 0), ("decisions", 0)]) as topics:
        for at, some in rows.items():
            await topics.send(at, [row for row in some if row not in missing[at]])
        for out in ("windows", "decisions"):
            lines = (tmp_path / "run" / f"{out}.jsonl").read_bytes().splitlines()
            await topics.send((out, 0), [(0, None, line) for line in lines])
        await topics.flush()
        before = await topics.ends()
        plant = PlantProcess(settings, tmp_path, "--reject", "0.1", "--silent", "0.05")
        with twins.running([plant]):
            await topics.grow_to({at: end + len(missing.get(at, ())) for at, end in before.items()}, [plant])
        found = await topics.read()
    assert {at: found[at][before[at] :] for at in rows} == missing


async def test_all_tasks_finish_when_nobody_waits_for_decisions_or_answers(settings: Settings, tmp_path: Path) -> None:
    log = LogReader(events_of("tiny", tmp_path / "events", hours=3, window_ms=300_000))
    partitions = log.partitions()
    await twins.make_topics(settings, dict(Counter(topic for topic, _ in partitions)))
    processes = [
        Process(settings, "worker", "w1", tmp_path),
        Process(settings, "dispatcher", "d1", tmp_path),
        PlantProcess(settings, tmp_path),
    ]
    read = decoder("tasks").decode
    async with Topics(settings, partitions) as topics:
        with twins.running(processes):
            sender = twins.Sender(settings, log.path)
            clock = await _send_by_window(sender, log)
            finished: Counter[str] = Counter()
            submitted = set[str]()
            until = time.monotonic() + PATIENCE_S
            while not submitted or finished.keys() != submitted:
                assert time.monotonic() < until, (len(finished), len(submitted), processes[2].tail())
                assert all(process.alive() for process in processes), [process.tail() for process in processes]
                for _ in range(4):
                    clock = msgspec.structs.replace(clock, t=clock.t + clock.window_ms, seq=clock.seq + 1)
                    for topic, p in partitions:
                        body = msgspec.json.encode(msgspec.structs.replace(clock, partition=p))
                        await topics.send((topic, p), [(clock.t, str(p).encode(), body)])
                    await topics.flush()
                    await asyncio.sleep(0.05)
                events = [
                    read(row[2]) for at, rows in (await topics.read()).items() if at[0] == "tasks" for row in rows
                ]
                submitted = {event.task_id for event in events if isinstance(event, ev.TaskSubmitted)}
                finished = Counter(event.task_id for event in events if isinstance(event, ev.TaskFinished))
    assert len(submitted) > 30
    assert set(finished.values()) == {1}
    answers = [event for event in events if isinstance(event, ev.TaskAnswer)]
    begun = Counter((a.task_id, a.attempt) for a in answers if isinstance(a, ev.TaskStarted))
    over = Counter(
        (a.task_id, a.attempt)
        for a in answers
        if isinstance(a, ev.TaskFinished | ev.TaskReleased) or (isinstance(a, ev.TaskFailed) and a.reason != "rejected")
    )
    assert set(begun.values()) == {1}
    assert begun == over, "every attempt that started has ended, once"


async def _send_by_window(sender: twins.Sender, log: LogReader) -> ev.Clock:
    """Send all, window by window, a tenth of a second each; the last clock."""
    [clocks] = [
        [event for event in map(decoder("power").decode, values) if isinstance(event, ev.Clock)]
        for values in [[value for records in log.read("power", 0) for value in records.values]]
    ]
    for window in range(len(clocks)):
        await sender.send(window)
        await asyncio.sleep(0.1)
    await sender.send()
    return clocks[-1]
