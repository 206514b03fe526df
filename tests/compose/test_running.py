"""What docker-compose.yml starts, on a real engine: ``pytest -m compose tests/compose``.

The command is ``docker compose``, or what COMPOSE says. The project, its ports and its data are the test's own.
"""

import asyncio
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.compose.reader import read
from tests.compose.test_compose import filled, text_of

UP_S = 900  # the image may have to be built, the others to be fetched
SOON_S = 120.0
CPN = Path(sys.executable).with_name("cpn")
COMMAND = shlex.split(os.environ.get("COMPOSE", "docker compose"))

pytestmark = [pytest.mark.compose, pytest.mark.slow]


def run(*arguments: str, cwd: Path, env: dict[str, str] | None = None, timeout: float = 60) -> Any:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env={**os.environ, **(env or {})},
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def command(repository: Path) -> None:
    """Skip where there is no compose command; one that COMPOSE names has to be there."""
    given = "COMPOSE" in os.environ
    found = shutil.which(COMMAND[0]) is not None and run("version", cwd=repository).returncode == 0
    if not found and not given:
        pytest.skip("no docker compose on this machine: install it, or name a command with COMPOSE")
    assert found, f"COMPOSE={os.environ.get('COMPOSE')} does not answer"


@pytest.fixture(scope="module")
def engine(command: None, repository: Path) -> None:
    """Skip where compose has no engine to talk to."""
    asked = run("ls", cwd=repository)
    if asked.returncode and "COMPOSE" not in os.environ:
        pytest.skip(f"no engine answers docker compose: {asked.stderr.strip().splitlines()[-1]}")
    assert asked.returncode == 0, asked.stderr


@dataclass(frozen=True)
class Running:
    """The project as it runs."""

    folder: Path
    env: dict[str, str]
    broker: str
    redis: str

    def __call__(self, *arguments: str, timeout: float = 60) -> str:
        done = run(*arguments, cwd=self.folder, env=self.env, timeout=timeout)
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return str(done.stdout)

    def of(self, service: str) -> dict[str, Any]:
        """What ``ps`` says of a service."""
        said: dict[str, Any] = json.loads(self("ps", "--all", "--format", "json", service).splitlines()[0])
        return said

    def inside(self, service: str, page: str) -> str:
        """A page that a process shows to its network."""
        script = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000{page}').read().decode())"
        return self("exec", "-T", service, "python", "-c", script)


@contextmanager
def project(repository: Path, **settings: str) -> Iterator[Running]:
    """A project of its own name, ports and data, which goes away with all of them."""
    from streams.local import free_port

    ports = {name: str(free_port()) for name in ("CPN_KAFKA_PORT", "CPN_REDIS_PORT", "CPN_PROMETHEUS_PORT")}
    env = {"COMPOSE_PROJECT_NAME": f"cpn-test-{uuid.uuid4().hex[:8]}", **ports, **settings}
    here = "127.0.0.1:"
    try:
        yield Running(repository, env, here + ports["CPN_KAFKA_PORT"], f"redis://{here}{ports['CPN_REDIS_PORT']}/0")
    finally:
        run("down", "--volumes", "--timeout", "5", cwd=repository, env=env, timeout=120)


@pytest.fixture(scope="module", params=["redis:8-alpine", "valkey/valkey:8-alpine"])
def running(engine: None, repository: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    """The live demo as it comes, with each of the stores."""
    with project(repository, CPN_REDIS_IMAGE=request.param) as started:
        up = run("up", "--build", "--wait", cwd=repository, env=started.env, timeout=UP_S)
        if up.returncode:
            pytest.fail(f"it did not come up\n{up.stderr[-3000:]}\n{started('logs', '--tail', '30')[-6000:]}")
        yield started


def first(broker: str, topic: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first record that ``fits`` of a topic of one partition, read from its beginning within bounded time."""
    return asyncio.run(_first(broker, topic, fits))


async def _first(broker: str, topic: str, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=broker, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        async with asyncio.timeout(SOON_S):
            async for record in consumer:
                body: dict[str, Any] = json.loads(record.value)
                if fits(body):
                    return body
    finally:
        await consumer.stop()
    raise AssertionError("unreachable")


def first_place(broker: str) -> dict[str, Any]:
    """The first decision that places a task."""
    return first(broker, "cpn.decisions", lambda decision: decision["action"] == "place")


def eventually(fits: Callable[[], bool]) -> None:
    """Wait until ``fits``, for a bounded time."""
    end = time.monotonic() + SOON_S
    while not fits():
        assert time.monotonic() < end, f"not within {SOON_S:g} s"
        time.sleep(1)


# -------------------------------------------------------------------------------------------------------- the file

COMPARED = ("command", "user", "image", "cap_drop", "security_opt", "read_only", "tmpfs", "restart", "profiles", "init")


@pytest.mark.usefixtures("command")
def test_compose_reads_in_the_file_what_our_reader_reads(repository: Path) -> None:
    ours = read(filled(text_of(repository)))["services"]
    profiles = sorted({profile for service in ours.values() for profile in service.get("profiles", [])})
    options = [word for profile in profiles for word in ("--profile", profile)]
    said = run(*options, "config", "--format", "json", cwd=repository)
    assert said.returncode == 0, said.stderr
    theirs = json.loads(said.stdout)["services"]
    assert theirs.keys() == ours.keys()
    for name, service in ours.items():
        for key in COMPARED:
            assert theirs[name].get(key) == service.get(key), f"{name}: {key}"
        assert theirs[name].get("environment", {}) == {k: str(v) for k, v in service.get("environment", {}).items()}
        assert theirs[name].get("healthcheck", {}).get("test") == service.get("healthcheck", {}).get("test")
        waits = {other: wait["condition"] for other, wait in theirs[name].get("depends_on", {}).items()}
        assert waits == {other: wait["condition"] for other, wait in service.get("depends_on", {}).items()}


# ----------------------------------------------------------------------------------------------------- what it starts


def test_decisions_arrive_on_their_topic(running: Running) -> None:
    placed = first_place(running.broker)
    assert placed["task_id"]
    assert placed["window"] > 0


def total(running: Running, service: str, metric: str) -> float:
    """A counter of a process, summed over its labels."""
    lines = running.inside(service, "/metrics").splitlines()
    return sum(
        float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{metric}_total{{", f"{metric}_total "))
    )


def test_a_worker_that_is_killed_comes_back_and_windows_go_on(running: Running) -> None:
    container, starts = running.of("worker-1")["ID"], running("logs", "worker-1").count("starting")
    running("exec", "-T", "worker-1", "sh", "-c", "kill -9 -1")
    eventually(lambda: running("logs", "worker-1").count("starting") == starts + 1)
    eventually(lambda: running.of("worker-1")["Health"] == "healthy")
    assert running.of("worker-1")["ID"] == container, "started again, not made again"
    windows = total(running, "dispatcher", "cpn_windows")
    eventually(lambda: total(running, "worker-1", "cpn_cuts") > 0)
    eventually(lambda: total(running, "dispatcher", "cpn_windows") >= windows + 2)


def test_the_state_is_there_for_whoever_asks_on_this_machine(running: Running, tmp_path: Path) -> None:
    placed = first_place(running.broker)
    cluster = placed["to"]["cluster_id"]
    done = subprocess.run(
        [CPN, "state", "cluster", cluster, "--redis", running.redis, "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)
    assert state["cluster"]["id"] == cluster
    assert state["pools"]
    assert state["reported"], "the plant's meters"


def test_no_process_may_write_beside_its_volumes(running: Running) -> None:
    for service in ("kafka", "redis", "worker-1", "dispatcher", "plant"):
        said = running("exec", "-T", service, "sh", "-c", "id -u; touch /opt/here 2>&1 || true").split("\n", 1)
        assert said[0] != "0"
        assert "Read-only file system" in said[1]


@pytest.mark.usefixtures("engine")
def test_a_log_of_ones_own_is_decided_as_without_docker(repository: Path, tmp_path: Path) -> None:
    demo = ["demo", "--preset", "tiny", "--baseline", "stay", "--out", str(tmp_path / "demo"), "--json"]
    subprocess.run([CPN, *demo], cwd=tmp_path, capture_output=True, timeout=120, check=True)
    log = tmp_path / "demo" / "run"
    summary = json.loads((log / "summary.json").read_text("utf-8"))
    last = json.loads((log / "windows.jsonl").read_text("utf-8").splitlines()[-1])
    with project(repository, CPN_LOG=str(log)) as started:
        started("build", timeout=UP_S)
        started("run", "--rm", "replay", timeout=UP_S)
        window = first(started.broker, "cpn.windows", lambda window: window["window"] == last["window"])
        services = set(started("ps", "--format", "{{.Service}}").split())
    assert window["decisions_sha256"] == summary["decisions_sha256"]
    assert window["state_sha256"] == summary["state_sha256"]
    assert services == {"kafka", "redis", "worker-1", "worker-2", "dispatcher"}
