"""The plant as a process without a twin: its options, what it tells, and why it does not start."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from streams.exits import Exit
from streams.settings import Settings
from tests.broker import twins
from tests.broker.plants import PATIENCE_S, PlantProcess, Topics, answers_of
from twin import events as ev
from twin.assembler import Partition
from twin.plant.answers import SOURCE
from twin.topics import IN_TOPICS

HOUR_MS = 3_600_000
CLUSTER = ev.ClusterRegistered(
    seq=0, t=0, cluster_id="c", node_id="n", zone_id="z", role="general", tier="regional", idle_kw=10.0,
    pools=[ev.Pool(pool_id="p", nodes=1, accelerators_per_node=8, cpu_cores=64, mem_gib=512)],
)  # fmt: skip
AT = ("telemetry", 0)


async def tick(topics: Topics, *times: int) -> None:
    """Clocks at ``times`` s in every partition; they close no window."""
    for t in times:
        clock = ev.Clock(seq=t, t=t * 1000, partition=0, window_ms=HOUR_MS, lateness_ms=0, max_ahead_ms=HOUR_MS)
        for topic in IN_TOPICS:
            await topics.send((topic, 0), [(clock.t, b"0", msgspec.json.encode(clock))])
    await topics.flush()


async def opened(settings: Settings) -> Topics:
    await twins.make_topics(settings, dict.fromkeys(IN_TOPICS, 1))
    return Topics(settings, [(topic, 0) for topic in IN_TOPICS])


def ends_of(*, clocks: int, readings: int) -> dict[Partition, int]:
    """How long the topics are with so many clocks in each, the cluster and so many readings."""
    return dict.fromkeys(((topic, 0) for topic in IN_TOPICS), clocks) | {
        ("inventory", 0): clocks + 1,
        AT: clocks + readings,
    }


async def test_meters_are_read_as_often_as_asked_for(settings: Settings, tmp_path: Path) -> None:
    plant = PlantProcess(settings, tmp_path, "--telemetry-every", "10s")
    async with await opened(settings) as topics:
        await topics.send(("inventory", 0), [(0, b"c", msgspec.json.encode(CLUSTER))])
        with twins.running([plant]):
            await tick(topics, 1, 5, 9, 12, 19, 35)
            await topics.grow_to(ends_of(clocks=6, readings=3), [plant])
            rows = answers_of((await topics.read())[AT])
    assert [row[0] for row in rows] == [999, 11_999, 34_999]


async def test_while_a_window_is_not_decided_its_time_stands(settings: Settings, tmp_path: Path) -> None:
    plant = PlantProcess(settings, tmp_path, "--telemetry-every", "30m")
    hour_s = HOUR_MS // 1000
    async with await opened(settings) as topics:
        await topics.send(("inventory", 0), [(0, b"c", msgspec.json.encode(CLUSTER))])
        with twins.running([plant]):
            await tick(topics, 1, hour_s, hour_s + 1800, 2 * hour_s)
            await topics.grow_to(ends_of(clocks=4, readings=2), [plant])
            until = time.monotonic() + PATIENCE_S
            while not plant.said("plant.waits_for_dispatcher"):
                assert time.monotonic() < until
                await asyncio.sleep(0.05)
            assert await topics.ends() == ends_of(clocks=4, readings=2)
            [waits] = plant.said("plant.waits_for_dispatcher")
            assert waits["window"] == HOUR_MS
            plant.stop()
    assert plant.exits == [0]


async def test_other_options_than_before_end_the_process(settings: Settings, tmp_path: Path) -> None:
    before, after = (PlantProcess(settings, tmp_path, "--telemetry-every", every) for every in ("2s", "3s"))
    async with await opened(settings) as topics:
        await topics.send(("inventory", 0), [(0, b"c", msgspec.json.encode(CLUSTER))])
        with twins.running([before]):
            await tick(topics, 1, 2, 3, 4)
            await topics.grow_to(ends_of(clocks=4, readings=3), [before])
        with twins.running([after]):
            code = await asyncio.to_thread(after._popen.wait, 30)
            ends = await topics.ends()
    assert code == Exit.CONTRADICTION
    [end] = after.said("process.ends")
    assert "--telemetry-every" in end["reason"]
    assert ends[AT] == 7


@pytest.mark.parametrize(("source", "told"), [(SOURCE, "plant.second_plant"), ("slurm", "plant.other_answers")])
async def test_answers_of_others_are_told_of_once(settings: Settings, tmp_path: Path, source: str, told: str) -> None:
    plant = PlantProcess(settings, tmp_path)
    reading = ev.ClusterTelemetry(seq=9, t=1500, source=source, cluster_id="c", it_kw=1.0, pools=[])
    async with await opened(settings) as topics:
        await topics.send(("inventory", 0), [(0, b"c", msgspec.json.encode(CLUSTER))])
        with twins.running([plant]):
            await tick(topics, 1)
            await topics.grow_to(ends_of(clocks=1, readings=1), [plant])
            await topics.send(AT, [(1500, b"c", msgspec.json.encode(reading))] * 2)
            await tick(topics, 2)
            until = time.monotonic() + PATIENCE_S
            while not plant.said(told) and time.monotonic() < until:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
            assert [(row["topic"], row["offset"]) for row in plant.said(told)] == [("telemetry", 2)]
            assert len([row for row in plant.log.read_text().splitlines() if "warning" in row]) == 1
            plant.signal(signal.SIGINT)
            assert await asyncio.to_thread(plant._popen.wait, 30) == 0


# ------------------------------------------------------------------------------------------------------ not startable


@pytest.mark.parametrize("nowhere", [True, False])
def test_without_a_broker_or_its_topics_it_says_so_and_ends(settings: Settings, tmp_path: Path, nowhere: bool) -> None:
    env = os.environ | {
        "CPN_BOOTSTRAP": "127.0.0.1:1" if nowhere else settings.bootstrap,
        "CPN_NAMESPACE": settings.namespace,
    }
    argv = [str(Path(sys.executable).with_name("cpn")), "plant"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (Exit.AWAY if nowhere else Exit.CONFIG)
    assert ("no broker at 127.0.0.1:1" if nowhere else f"no topic {settings.namespace}.inventory") in done.stderr
    assert "Traceback" not in done.stderr
