"""Which topics the state belongs to: how many partitions they have, and that they are still the same ones.

An entity's state is where its key was hashed to, so a topic that was given more partitions later would have its entities
twice. And a position says nothing of a topic that was deleted and made anew under the old name: what is before it there
would never be folded.
"""

import asyncio
from typing import Any

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from kafka import KafkaAdminClient  # aiokafka's has no ids of topics
from kafka.errors import KafkaError as AdminError

from streams.settings import Settings
from streams.store.base import TwinStore
from twin.errors import AwayError, ConfigError

MARK = "partitions"
IDS_MARK = "topics"
_LASTING = ("decisions", "windows", "carry")
"""Out-topics that a dispatcher goes on from; letters and notices may be thrown away at any time."""


async def in_partitions(settings: Settings) -> dict[str, int]:
    """Partitions of each in-topic, by its short name, as the broker has them.

    Raises:
        AwayError: no broker.
        ConfigError: a topic is missing.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    try:
        await admin.start()
        described = await admin.describe_topics(list(settings.in_topics.values()))
    except KafkaError as error:
        raise AwayError(f"no broker at {settings.bootstrap} ({error}): start it, or set CPN_BOOTSTRAP") from error
    finally:
        await admin.close()
    counts = {settings.short(topic["topic"]): len(topic["partitions"]) for topic in described}
    found = {short: counts.get(short, 0) for short in settings.in_topics}
    if missing := [settings.topic(short) for short, n in found.items() if not n]:
        raise ConfigError(f"no topic {', '.join(missing)} at {settings.bootstrap}: make them with `cpn topics create`")
    return found


async def agree_on_partitions(store: TwinStore, partitions: dict[str, int]) -> None:
    """Note the partition counts in the store, or hold them against those that are noted there.

    Raises:
        ConfigError: the topics have other partitions than when the state was made.
    """
    before = await noted_partitions(store)
    if not before:
        await store.set_mark(MARK, msgspec.json.encode(partitions))
    elif before != partitions:
        changed = [f"{t} had {before.get(t)}, has {n}" for t, n in partitions.items() if before.get(t) != n]
        raise ConfigError(
            f"partitions have changed ({'; '.join(changed)}): keys now go elsewhere than their state is. Make the topics "
            "as they were, or use a new CPN_NAMESPACE with topics and Redis of its own"
        )


async def topic_ids(settings: Settings) -> dict[str, str]:
    """What the broker calls each topic inside, by its short name: another one when it was made anew.

    Raises:
        AwayError: no broker.
    """
    names = [*settings.in_topics.values(), *map(settings.topic, _LASTING)]
    try:
        described = await asyncio.to_thread(_describe, settings.bootstrap, names)
    except AdminError as error:
        raise AwayError(f"no broker at {settings.bootstrap} ({error}): start it, or set CPN_BOOTSTRAP") from error
    return {settings.short(topic["name"]): str(topic["topic_id"]) for topic in described if not topic["error_code"]}


def _describe(bootstrap: str, names: list[str]) -> list[dict[str, Any]]:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","))
    try:
        found: list[dict[str, Any]] = admin.describe_topics(names)
        return found
    finally:
        admin.close()


async def agree_on_topics(store: TwinStore, ids: dict[str, str]) -> None:
    """Note the topics in the store, or hold them against those that are noted there.

    Raises:
        ConfigError: a topic was made anew since.
    """
    noted = await store.get_mark(IDS_MARK)
    before = msgspec.json.decode(noted, type=dict[str, str]) if noted else {}
    if anew := sorted(short for short, known in before.items() if short in ids and ids[short] != known):
        raise ConfigError(
            f"{', '.join(anew)}: deleted and made anew, and the state in Redis belongs to what was there before. Use a new "
            "CPN_NAMESPACE; or make decisions, windows and carry anew as well, and empty Redis, to fold the log from its start"
        )
    if before != ids:
        await store.set_mark(IDS_MARK, msgspec.json.encode(before | ids))


async def noted_partitions(store: TwinStore) -> dict[str, int]:
    """The partition counts noted in the store, by the topic's short name; empty where there is no twin."""
    noted = await store.get_mark(MARK)
    return msgspec.json.decode(noted, type=dict[str, int]) if noted else {}
