"""The broker and the Redis that the twin starts on this machine: they keep their data, and they do not outlive us."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.local import Broker, RedisServer, free_port
from streams.settings import Settings
from tests.broker.conftest import MakeTopics
from twin.errors import ConfigError

FAR_AHEAD_MS = 4_102_444_800_000  # 2100-01-01
PARENT = """
import sys, time
from pathlib import Path
from streams.local import Broker, RedisServer
servers = [kind(Path(sys.argv[1]) / kind.__name__) for kind in (RedisServer, Broker)]
for server in servers:
    server.start()
print(*(server.pid for server in servers), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def second(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker beside that of the session, to be killed."""
    folder = tmp_path_factory.mktemp("second")
    with Broker(folder, java_options=["-XX:TieredStopAtLevel=1"]) as server:
        yield server


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis to be killed."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


async def make_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def send(bootstrap: str, topic: str, value: bytes, at_ms: int | None = None) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(topic, value, partition=0, timestamp_ms=at_ms)
    finally:
        await producer.stop()


async def first(bootstrap: str, topic: str) -> bytes | None:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        found = await consumer.getmany(timeout_ms=10_000)
        return found[partition][0].value if found else None
    finally:
        await consumer.stop()


async def topics(bootstrap: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return set(await admin.list_topics())
    finally:
        await admin.close()


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return False
    return state != "Z"  # ended, and nobody has asked how


def wait_until_gone(*pids: int, patience_s: float = 10) -> None:
    end = time.monotonic() + patience_s
    while any(runs(pid) for pid in pids):
        assert time.monotonic() < end, [pid for pid in pids if runs(pid)]
        time.sleep(0.05)


async def test_a_record_far_ahead_of_the_wall_clock_comes_back_without_settings_of_its_topic(
    settings: Settings, make_topics: MakeTopics
) -> None:
    await make_topics({"power": 1}, {})
    await send(settings.bootstrap, settings.topic("power"), b"one", FAR_AHEAD_MS)
    assert await first(settings.bootstrap, settings.topic("power")) == b"one"


async def test_a_broker_killed_and_started_again_has_its_records_at_the_same_address(second: Broker) -> None:
    await make_topic(second.bootstrap, "kept")
    await send(second.bootstrap, "kept", b"one")
    address, before = second.bootstrap, second.pid
    second.kill()
    assert not second.alive
    assert second.pid is None
    second.start()
    assert second.pid not in {None, before}
    assert second.bootstrap == address == Broker(second.folder, second.port).bootstrap
    assert await first(second.bootstrap, "kept") == b"one"


async def test_two_brokers_stand_side_by_side(broker: Broker, second: Broker) -> None:
    await make_topic(broker.bootstrap, "here")
    await make_topic(second.bootstrap, "there")
    assert {"here"} == {"here", "there"} & await topics(broker.bootstrap)
    assert {"there"} == {"here", "there"} & await topics(second.bootstrap)


def test_starting_a_server_that_runs_changes_nothing(own_redis: RedisServer) -> None:
    before = own_redis.pid
    own_redis.start()
    assert own_redis.pid == before


@pytest.mark.parametrize("kind", [Broker, RedisServer])
def test_a_taken_port_is_named_and_nothing_is_started(kind: type[Broker | RedisServer], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        server = kind(tmp_path, taken.getsockname()[1])
        with pytest.raises(ConfigError, match=f"127.0.0.1:{server.port}: the port is taken"):
            server.start()
    assert not server.alive


def test_a_folder_serves_one_server_at_a_time(own_redis: RedisServer) -> None:
    with pytest.raises(ConfigError, match="in use by another server"):
        RedisServer(own_redis.folder, free_port()).start()


def test_a_server_that_ends_while_starting_shows_what_it_said(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_text("no such command\n" * 10)
    server = RedisServer(tmp_path)
    with pytest.raises(ConfigError, match=r"Redis ended while starting[\s\S]*Bad file format[\s\S]*start again"):
        server.start()
    assert not server.alive


def test_a_broker_whose_data_is_spoilt_shows_what_it_said(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=7\n")
    with pytest.raises(ConfigError, match=r"Kafka ended while starting[\s\S]*meta.properties[\s\S]*start again"):
        Broker(tmp_path).start()


def test_redis_has_an_acknowledged_write_after_a_kill(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.set("kept", "one")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    time.sleep(1.2)  # its file is synced once a second
    own_redis.kill()
    own_redis.start()
    with redis.Redis.from_url(own_redis.url) as client:
        assert client.get("kept") == b"one"


def test_a_stopped_server_leaves_no_process_behind(own_redis: RedisServer) -> None:
    assert own_redis.pid is not None
    group = own_redis.pid
    assert os.getsid(group) == group != os.getsid(0)  # Ctrl-C in our terminal does not reach it
    own_redis.stop()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("somebody is left in its process group")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
def test_servers_end_with_a_parent_that_was_killed(tmp_path: Path, repository: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(repository)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(runs(pid) for pid in pids)
        parent.kill()
    wait_until_gone(*pids)
