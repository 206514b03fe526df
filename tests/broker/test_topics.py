"""Topics on a real broker: made once, checked against what would lose records."""

import socket
import time
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from producers import broker
from producers.topics import Problem, check_topics, counts_of, create_topics, list_topics, specs
from streams.local import free_port
from streams.settings import Settings
from tests.broker.reader import until
from twin.errors import ConfigError
from twin.topics import IN_TOPICS, OUT_TOPICS


async def set_up(settings: Settings, short: str, config: dict[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic(short), config)])
    finally:
        await admin.close()


def test_topics_are_made_once_and_pass_the_check(settings: Settings) -> None:
    missing = check_topics(settings.bootstrap, settings.namespace)
    assert [p.what for p in missing] == ["it is missing"] * 12
    made = create_topics(settings.bootstrap, specs(settings.namespace, {"tasks": 3}))
    assert made.created == tuple(f"{settings.namespace}.{short}" for short in (*IN_TOPICS, *OUT_TOPICS))
    again = create_topics(settings.bootstrap, specs(settings.namespace))
    assert (again.created, again.existing) == ((), made.created)
    assert check_topics(settings.bootstrap, settings.namespace) == []
    assert counts_of(settings.bootstrap, settings.namespace) == dict.fromkeys(IN_TOPICS, 1) | {"tasks": 3}
    found = list_topics(settings.bootstrap, settings.namespace)
    assert [topic.name for topic in found] == list(made.created)
    assert [topic.config["cleanup.policy"] for topic in found if topic.name.endswith(".carry")] == ["compact"]
    assert len({topic.id for topic in found}) == 12


def test_other_partitions_than_expected_are_a_problem(settings: Settings) -> None:
    create_topics(settings.bootstrap, specs(settings.namespace, {"tasks": 3}))
    (problem,) = check_topics(settings.bootstrap, settings.namespace, {"tasks": 4})
    assert (problem.topic, problem.what) == (settings.topic("tasks"), "3 partitions where 4 are expected")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retention.ms", "604800000"),
        ("retention.bytes", "1000000"),
        ("message.timestamp.after.max.ms", "3600000"),
        ("message.timestamp.before.max.ms", "3600000"),
        ("message.timestamp.type", "LogAppendTime"),
        ("cleanup.policy", "compact"),
    ],
)
async def test_a_topic_that_would_lose_records_is_a_problem(settings: Settings, name: str, value: str) -> None:
    create_topics(settings.bootstrap, specs(settings.namespace))
    await set_up(settings, "tasks", {name: value})
    found: list[Problem] = []

    def seen() -> bool:  # the broker hears of it from its controller
        found[:] = check_topics(settings.bootstrap, settings.namespace)
        return bool(found)

    await until(seen)
    (problem,) = found
    assert (problem.topic, problem.what) == (settings.topic("tasks"), f"{name} is {value}")
    assert f"--add-config {name}=" in problem.do


def test_too_few_brokers_for_the_copies_are_said_so(settings: Settings) -> None:
    with pytest.raises(ConfigError, match=r"does not make the topic .*replicat"):
        create_topics(settings.bootstrap, specs(settings.namespace), replication=3)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:no", "127.0.0.1:99999", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="no broker address: write it as HOST:PORT"):
        check_topics(address, "x")


def test_a_broker_that_is_not_there_is_said_at_once() -> None:
    begun = time.monotonic()
    with pytest.raises(ConfigError, match=r"no broker at .*refused.*: start one, or say where it is with --bootstrap"):
        check_topics(f"127.0.0.1:{free_port()}", "x")
    assert time.monotonic() - begun < 2


def test_a_package_that_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(broker.importlib, "import_module", gone)
    with pytest.raises(ConfigError, match=r"kafka is not installed: pip install 'cpn-twin\[stream\]'"):
        broker.client_library()


@pytest.fixture
def deaf() -> Any:
    """Listens and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kafka-python leaves its sockets there
def test_what_listens_and_is_no_broker_is_given_up_on_in_time(deaf: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = time.monotonic()
    with pytest.raises(ConfigError, match="no Kafka broker answers"):
        check_topics(deaf, "x")
    assert time.monotonic() - begun < 12
