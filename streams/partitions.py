"""How many partitions the in-topics have, and that everybody agrees on it.

An entity's state is where its key was hashed to, so a topic that was given more partitions later would have its entities
twice.
"""

import msgspec
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.settings import Settings
from streams.store.base import TwinStore
from twin.errors import ConfigError

MARK = "partitions"


async def in_partitions(settings: Settings) -> dict[str, int]:
    """Partitions of each in-topic, by its short name, as the broker has them.

    Raises:
        ConfigError: no broker, or a topic is missing.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap)
    try:
        await admin.start()
        described = await admin.describe_topics(list(settings.in_topics.values()))
    except KafkaError as error:
        raise ConfigError(f"no broker at {settings.bootstrap} ({error}): start it, or set CPN_BOOTSTRAP") from error
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


async def noted_partitions(store: TwinStore) -> dict[str, int]:
    """The partition counts noted in the store, by the topic's short name; empty where there is no twin."""
    noted = await store.get_mark(MARK)
    return msgspec.json.decode(noted, type=dict[str, int]) if noted else {}
