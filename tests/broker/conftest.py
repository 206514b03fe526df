"""Every test here needs the broker. The servers are fixtures of tests/conftest.py; topics are made here."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.settings import Settings

HERE = Path(__file__).parent
MakeTopics = Callable[..., Awaitable[None]]
FOREVER = {"retention.ms": "-1", "message.timestamp.after.max.ms": str(2**63 - 1)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:  # of the whole run
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.broker)


@pytest.fixture
async def make_topics(settings: Settings) -> AsyncIterator[MakeTopics]:
    """Make topics of this test's namespace: ``await make_topics({"tasks": 4, "power": 1})``."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    await admin.start()

    async def make(counts: Mapping[str, int], configs: Mapping[str, str] = FOREVER) -> None:
        topics = [NewTopic(settings.topic(short), n, 1, topic_configs=configs) for short, n in counts.items()]
        answer = await admin.create_topics(topics)
        assert not [error for _, error, *_ in answer.topic_errors if error], answer

    yield make
    await admin.close()
