"""How processes of the twin start, refuse to, stand by, tell of themselves, and are watched."""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from producers.topics import create_topics, specs
from streams.exits import Exit
from streams.local import RedisServer, free_port
from streams.settings import Settings
from tests.broker import twins
from tests.broker.twins import Process
from tests.golden.replays import events_of

CPN = str(Path(sys.executable).with_name("cpn"))


def environment(settings: Settings, **more: str) -> dict[str, str]:
    own = {
        "CPN_BOOTSTRAP": settings.bootstrap,
        "CPN_REDIS_URL": settings.redis_url,
        "CPN_NAMESPACE": settings.namespace,
    }
    return os.environ | own | more


def ended(settings: Settings, *argv: str, within_s: float = 60, **more: str) -> tuple[int, str]:
    """Exit code and log of a process that is to end by itself."""
    done = subprocess.run(
        [CPN, *argv], env=environment(settings, **more), capture_output=True, text=True, timeout=within_s, check=False
    )
    return done.returncode, " ".join((done.stdout + done.stderr).split())


def make(settings: Settings, **partitions: int) -> None:
    create_topics(settings.bootstrap, specs(settings.namespace, partitions))


def metrics(port: int, page: str = "metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=5) as answer:
        return answer.read().decode()


async def until(holds: Any, within_s: float = 40) -> None:
    end = time.monotonic() + within_s
    while True:
        try:
            if holds():
                return
        except (OSError, ValueError):
            pass
        assert time.monotonic() < end, "it did not come to that"
        await asyncio.sleep(0.2)


# -------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("command", ["worker", "dispatcher"])
def test_without_a_broker_it_says_where_it_looked(settings: Settings, command: str) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    code, said = ended(settings, command, CPN_BOOTSTRAP=nowhere)
    assert code == Exit.AWAY
    assert nowhere in said
    assert "CPN_BOOTSTRAP" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("command", ["worker", "dispatcher"])
def test_without_redis_it_says_where_it_looked(settings: Settings, command: str) -> None:
    make(settings)
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    code, said = ended(settings, command, CPN_REDIS_URL=nowhere)
    assert code == Exit.AWAY
    assert "CPN_REDIS_URL" in said
    assert "Traceback" not in said


def test_without_topics_it_says_how_to_make_them(settings: Settings) -> None:
    code, said = ended(settings, "worker")
    assert code == Exit.CONFIG
    assert f"{settings.namespace}.inventory" in said
    assert "cpn topics create" in said


async def test_topics_that_would_forget_are_refused(settings: Settings) -> None:
    make(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

        tasks = ConfigResource(ConfigResourceType.TOPIC, settings.topic("tasks"), configs={"retention.ms": "86400000"})
        await admin.alter_configs([tasks])
    finally:
        await admin.close()
    code, said = await asyncio.to_thread(ended, settings, "worker")
    assert code == Exit.CONFIG
    assert f"{settings.namespace}.tasks" in said
    assert "retention.ms" in said


async def test_a_topic_that_was_given_more_partitions_is_refused(settings: Settings, tmp_path: Path) -> None:
    make(settings)
    worker = Process(settings, "worker", "w1", tmp_path)
    with twins.running([worker]):
        await until(lambda: '"claimed"' in worker.log.read_text())
        worker.stop()
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        await admin.create_partitions({settings.topic("tasks"): NewPartitions(total_count=6)})
    finally:
        await admin.close()
    code, said = await asyncio.to_thread(ended, settings, "worker")
    assert code == Exit.CONFIG
    assert "tasks had 4, has 6" in said
    assert "CPN_NAMESPACE" in said


def test_a_redis_that_evicts_is_refused(settings: Settings, redis_server: RedisServer) -> None:
    make(settings)
    client = redis.Redis.from_url(redis_server.url)
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        code, said = ended(settings, "dispatcher")
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.close()
    assert code == Exit.CONFIG
    assert "noeviction" in said


def test_a_setting_out_of_bounds_is_named(settings: Settings) -> None:
    code, said = ended(settings, "worker", CPN_FETCH_BYTES="12")
    assert code == 2
    assert "CPN_FETCH_BYTES" in said


async def test_a_second_process_of_the_same_name_says_so_and_the_first_goes_on(
    settings: Settings, tmp_path: Path
) -> None:
    make(settings)
    first = Process(settings, "worker", "w1", tmp_path)
    with twins.running([first]):
        await until(lambda: '"claimed"' in first.log.read_text())
        code, said = await asyncio.to_thread(ended, settings, "worker", "--instance", "w1")
        assert code == Exit.CONFIG
        assert "instance 'w1'" in said
        assert "--instance" in said
        assert first.alive()
        first.kill()
        first.start()  # of the one that is dead the name is free at once
        await until(lambda: first.log.read_text().count('"claimed"') == 2)


# ------------------------------------------------------------------------------------------------------ in company


async def test_a_dispatcher_that_stands_by_takes_over(settings: Settings, tmp_path: Path) -> None:
    log = events_of("tiny", tmp_path / "events", hours=4)
    reference = twins.embedded(log)
    await twins.make_topics(settings, dict.fromkeys(settings.in_topics, 1) | {"tasks": 4})
    sender = twins.Sender(settings, log)
    processes = [Process(settings, "worker", "w1", tmp_path), Process(settings, "dispatcher", "d1", tmp_path)]
    with twins.running(processes):
        await sender.send(6)
        await twins.wait_for_windows(settings, 5, processes)
        standby = Process(settings, "dispatcher", "d2", tmp_path)
        with twins.running([standby]):
            await until(lambda: '"starting"' in standby.log.read_text())
            processes[1].stop()
            await sender.send()
            found = await twins.wait_for_windows(settings, len(reference.records), [processes[0], standby])
    assert found == reference.records
    await twins.wait_until(lambda: twins.decisions(settings), reference.decisions)


async def test_faust_starts_the_worker_as_its_users_expect(settings: Settings, tmp_path: Path) -> None:
    log = events_of("tiny", tmp_path / "events", hours=2)
    reference = twins.embedded(log)
    await twins.make_topics(settings, dict.fromkeys(settings.in_topics, 1) | {"tasks": 4})
    await twins.Sender(settings, log).send()
    faust = str(Path(sys.executable).with_name("faust"))
    out = (tmp_path / "faust.log").open("wb")
    commands: Sequence[Sequence[str]] = [
        [faust, "-A", f"streams.{app}", "worker", "--without-web", "-l", "warn"] for app in ("worker", "dispatcher")
    ]
    started = [
        subprocess.Popen(argv, env=environment(settings), stdout=out, stderr=out, cwd=tmp_path, start_new_session=True)
        for argv in commands
    ]
    try:
        assert await twins.wait_for_windows(settings, len(reference.records), []) == reference.records
        for process in started:
            process.terminate()
        assert [process.wait(30) for process in started] == [0, 0]
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
        out.close()


async def test_a_worker_tells_of_itself(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(settings)
    ports = [free_port(), free_port()]
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap)
    await producer.start()
    try:
        for value in (b'{"type":"task.cancelled.v1","seq":1,"t":5,"task_id":"x"}', b"nonsense"):
            await producer.send_and_wait(settings.topic("tasks"), value, b"x")
    finally:
        await producer.stop()
    monkeypatch.setenv("CPN_METRICS_PORT", str(ports[0]))
    worker = Process(settings, "worker", "w1", tmp_path)
    monkeypatch.setenv("CPN_METRICS_PORT", str(ports[1]))
    dispatcher = Process(settings, "dispatcher", "d1", tmp_path)
    with twins.running([worker, dispatcher]):
        await until(lambda: 'cpn_dead_letters_total{reason="json.malformed",topic="tasks"} 1.0' in metrics(ports[0]))
        told = metrics(ports[0])
        assert 'cpn_records_total{topic="tasks"} 2.0' in told
        assert 'cpn_lag_records{partition="0",topic="tasks"} 0.0' in told
        await until(lambda: "cpn_active 1.0" in metrics(ports[1]))
        for port in ports:
            names = {line.split()[2] for line in metrics(port).splitlines() if line.startswith("# TYPE cpn_")}
            assert len(names) >= 8
            assert (metrics(port, "livez"), metrics(port, "readyz")) == ("ok", "ok")


async def test_state_shows_the_running_twin(settings: Settings, tmp_path: Path) -> None:
    log = events_of("tiny", tmp_path / "events", hours=2)
    await twins.make_topics(settings, dict.fromkeys(settings.in_topics, 1) | {"tasks": 4})
    await twins.Sender(settings, log).send()
    worker = Process(settings, "worker", "w1", tmp_path)
    with twins.running([worker, Process(settings, "dispatcher", "d1", tmp_path)]):
        await twins.wait_for_windows(settings, len(twins.embedded(log).records), [worker])
    for entity, name in (("cluster", "guian"), ("zone", "CN-SH")):
        said = [
            subprocess.run(
                [CPN, "state", entity, name, "--json", *where],
                env=environment(settings),
                capture_output=True,
                check=True,
            ).stdout
            for where in (["--log", str(log)], [])
        ]
        assert orjson.loads(said[1]) == orjson.loads(said[0])
