"""The topics of a twin: which there are, how they have to be set up, and whether those on a broker are so.

All of them keep everything: a record's timestamp is its event time, so Kafka's retention by age would delete a replay of
old data within minutes, and its default of one hour ahead would refuse an accelerated scenario.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from producers.broker import PATIENCE_S, check_broker, client_library, connecting
from producers.log import DEFAULT_PARTITIONS
from twin.errors import ConfigError
from twin.topics import IN_TOPICS, OUT_TOPICS

ANY_TIME = str(2**63 - 1)
_KEEP = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": ANY_TIME,
    "message.timestamp.before.max.ms": ANY_TIME,
}
# Notices that a shard was cut: hints, read from the end only, sent again by every claim. The broker's own clock dates
# them, so that a day of them is kept whatever the event time.
_HINTS = _KEEP | {"message.timestamp.type": "LogAppendTime", "retention.ms": "86400000"}
_LATEST = _KEEP | {"cleanup.policy": "compact"}
_CONFIGS = {"cuts": _HINTS, "carry": _LATEST}
ONE_PARTITION = ("cuts", "carry", "decisions", "windows")
"""Topics whose order is total: the partition of ``cuts`` elects the dispatcher, the others are its outbox."""

_ALREADY_THERE = 36  # Kafka's TOPIC_ALREADY_EXISTS


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it has to be: its Kafka name, partitions, and the settings that matter."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a topic, and what to do about it."""

    topic: str
    what: str
    do: str


@dataclass(frozen=True, slots=True)
class Created:
    """Kafka names of the topics that were made, and of those that were there before."""

    created: tuple[str, ...]
    existing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as the broker has it; ``id`` is another one once it is made anew (empty: the broker does not say)."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]
    id: str = ""


def default_partitions() -> dict[str, int]:
    """Return the number of partitions of every topic, by its short name, where nobody says otherwise."""
    return DEFAULT_PARTITIONS | dict.fromkeys(OUT_TOPICS, 1)


def specs(namespace: str, partitions: Mapping[str, int] | None = None) -> list[TopicSpec]:
    """Return every topic of the twin ``namespace``.

    Args:
        namespace: prefix of the names, ``cpn`` → ``cpn.tasks``.
        partitions: counts by short name where they differ from the defaults, such as those of a log's manifest.

    Raises:
        ConfigError: no such topic, a count below 1, or several partitions where the order has to be total.
    """
    wanted = default_partitions()
    for short, count in (partitions or {}).items():
        if short not in wanted:
            raise ConfigError(f"there is no topic {short!r}: the topics are {', '.join(wanted)}")
        if count < 1 or (count > 1 and short in ONE_PARTITION):
            raise ConfigError(f"{short}: {count} partitions; give {'1' if short in ONE_PARTITION else 'at least 1'}")
        wanted[short] = count
    return [
        TopicSpec(f"{namespace}.{short}", wanted[short], _CONFIGS.get(short, _KEEP))
        for short in (*IN_TOPICS, *OUT_TOPICS)
    ]


def create_topics(bootstrap: str, wanted: Sequence[TopicSpec], replication: int = 1) -> Created:
    """Make the topics that are not there yet, and wait until they can be used. Those that are there stay as they are.

    Raises:
        ConfigError: no broker, or it will not make a topic (too few brokers for ``replication``, no permission).
    """
    with _admin(bootstrap) as admin:
        answer = admin.create_topics(
            {
                spec.name: {
                    "num_partitions": spec.partitions,
                    "replication_factor": replication,
                    "configs": dict(spec.config),
                }
                for spec in wanted
            },
            raise_errors=False,
        )
        codes = {topic["name"]: (topic["error_code"], topic["error_message"]) for topic in answer["topics"]}
        for name, (code, said) in codes.items():
            if code not in {0, _ALREADY_THERE}:
                raise ConfigError(f"broker {bootstrap} does not make the topic {name}: {said or f'error {code}'}")
        admin.wait_for_topics(list(codes))
    made = tuple(spec.name for spec in wanted if not codes[spec.name][0])
    return Created(made, tuple(spec.name for spec in wanted if codes[spec.name][0]))


def list_topics(bootstrap: str, namespace: str) -> list[Found]:
    """Return the topics of ``namespace`` that the broker has, in the order of ``specs``, others of its prefix last.

    Raises:
        ConfigError: no broker.
    """
    order = [spec.name for spec in specs(namespace)]
    with _admin(bootstrap) as admin:
        names = [name for name in admin.list_topics() if name.startswith(f"{namespace}.")]
        return _describe(admin, sorted(names, key=lambda n: (order.index(n) if n in order else len(order), n)))


def check_topics(bootstrap: str, namespace: str, partitions: Mapping[str, int] | None = None) -> list[Problem]:
    """Return what is wrong with the topics of ``namespace``: one missing, or with settings that would lose records.

    Args:
        bootstrap: where the broker is.
        namespace: the twin's.
        partitions: counts by short name that are expected; ``None``: any, but 1 where the order has to be total.

    Raises:
        ConfigError: no broker.
    """
    wanted = specs(namespace, partitions)
    with _admin(bootstrap) as admin:
        found = {topic.name: topic for topic in _describe(admin, [spec.name for spec in wanted])}
    named = {f"{namespace}.{short}" for short in (*(partitions or {}), *ONE_PARTITION)}
    return [problem for spec in wanted for problem in _problems(spec, found.get(spec.name), counted=spec.name in named)]


def counts_of(bootstrap: str, namespace: str) -> dict[str, int]:
    """Return the partitions of the in-topics, by short name, as the broker has them; without those that are missing.

    Raises:
        ConfigError: no broker.
    """
    with _admin(bootstrap) as admin:
        found = _describe(admin, [f"{namespace}.{short}" for short in IN_TOPICS])
    return {topic.name.removeprefix(f"{namespace}."): topic.partitions for topic in found}


def _problems(spec: TopicSpec, found: Found | None, *, counted: bool) -> Iterator[Problem]:
    if found is None:
        yield Problem(spec.name, "it is missing", "cpn topics create")
        return
    if counted and found.partitions != spec.partitions:
        yield Problem(
            spec.name,
            f"{found.partitions} partitions where {spec.partitions} are expected",
            "keys would go elsewhere: delete the topic and make it again with `cpn topics create`, or use another "
            "--namespace",
        )
    for name, value in spec.config.items():
        have = found.config.get(name)
        if not _good_enough(name, have, value):
            yield Problem(
                spec.name,
                f"{name} is {have}",
                f"kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} --add-config {name}={value}",
            )


def _good_enough(name: str, have: str | None, want: str) -> bool:
    """Whether a setting does what the wanted one is there for. Hints may be kept for longer or for ever."""
    if have == want or have is None:  # a broker that does not know a setting does not act on it either
        return True
    return name == "retention.ms" and want != "-1" and (have == "-1" or int(have) >= int(want))


def _describe(admin: Any, names: Iterable[str]) -> list[Found]:  # noqa: ANN401 - kafka-python ships no types
    asked = list(names)
    if not asked:
        return []
    answers = [topic for topic in admin.describe_topics(asked) if not topic["error_code"]]
    there = {topic["name"]: topic["partitions"] for topic in answers}
    ids = {topic["name"]: str(topic["topic_id"] or "") for topic in answers}
    resource = client_library("kafka.admin").ConfigResource
    settings: dict[str, Any] = {}
    if there:
        settings = admin.describe_configs([resource("topic", name) for name in there], config_filter="all")["topic"]
    return [
        Found(
            name,
            len(there[name]),
            min((len(p["replica_nodes"]) for p in there[name]), default=0),
            {key: entry["value"] for key, entry in settings[name].items()},
            ids[name],
        )
        for name in asked
        if name in there
    ]


@contextmanager
def _admin(bootstrap: str) -> Iterator[Any]:
    kafka = client_library()
    check_broker(bootstrap)
    with connecting(bootstrap):
        patience_ms = round(PATIENCE_S * 1000)
        admin = kafka.KafkaAdminClient(bootstrap_servers=bootstrap.split(","), bootstrap_timeout_ms=patience_ms)
        try:
            yield admin
        finally:
            admin.close()
