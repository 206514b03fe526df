"""Dead letters as the workers write them: found, shown once, and sent back."""

import json
import os
import subprocess
import sys

import pytest

from producers.deadletters import REQUEUED, choose, letter_of, read_letters, requeue
from producers.publish import KafkaPublisher
from producers.read import TopicReader
from producers.topics import create_topics, specs
from streams.settings import Settings
from twin.errors import ConfigError
from twin.records import Record

T0 = 1_751_299_200_000
BODY = b'{"type":"task.submitted.v1","t":%d,"seq":"x"}' % T0


@pytest.fixture
def topics(settings: Settings) -> Settings:
    """Three letters, one of them twice, and a record that is no letter."""
    create_topics(settings.bootstrap, specs(settings.namespace, {"tasks": 2}))
    with KafkaPublisher(settings.bootstrap) as publisher:

        def bury(topic: str, p: int, offset: int, reason: str, *, key: bytes | None, value: bytes) -> None:
            said = {
                "reason": reason,
                "detail": "for a reason",
                "topic": topic,
                "partition": str(p),
                "offset": str(offset),
            }
            headers = tuple((name, text.encode()) for name, text in said.items())
            publisher.send_one(
                settings.topic("deadletter"),
                0,
                t=5,
                key=b"%b:%d:%d" % (topic.encode(), p, offset),
                value=value,
                headers=headers if key is None else (*headers, ("key", key)),
            )

        bury("tasks", 1, 7, "type.invalid", key=b"task-1", value=BODY)
        bury("tasks", 1, 9, "json.invalid", key=b"\xff", value=b"\xff\x00")
        bury("tasks", 1, 7, "type.invalid", key=b"task-1", value=BODY)
        bury("power", 0, 3, "seq.too_old", key=None, value=b"")
        publisher.send_one(settings.topic("deadletter"), 0, t=5, key=b"tasks:0:0", value=b"no letter")
        publisher.flush()
    return settings


def test_copies_count_once_and_what_is_no_letter_not_at_all(topics: Settings) -> None:
    with TopicReader(topics.bootstrap) as reader:
        letters = read_letters(reader, topics.namespace)
        assert list(letters) == ["tasks:1:7", "tasks:1:9", "power:0:3"]
        assert list(read_letters(reader, topics.namespace, reason="json.invalid")) == ["tasks:1:9"]
        assert list(read_letters(reader, topics.namespace, reason="seq")) == ["power:0:3"]
        assert list(read_letters(reader, topics.namespace, reason="se")) == []
        assert list(read_letters(reader, topics.namespace, topic="power")) == ["power:0:3"]
    first = letters["tasks:1:7"]
    assert (first.key, first.value, first.reason, first.detail) == (b"task-1", BODY, "type.invalid", "for a reason")
    assert (first.t, letters["tasks:1:9"].t) == (T0, 5)  # of the body, else of the letter
    with pytest.raises(ConfigError, match=r"no dead letter 'tasks:1:8'.* such as tasks:1:7"):
        choose(letters, ["tasks:1:8"])


def test_records_go_back_to_where_they_stood_as_they_were(topics: Settings) -> None:
    with TopicReader(topics.bootstrap) as reader, KafkaPublisher(topics.bootstrap) as publisher:
        letters = read_letters(reader, topics.namespace)
        assert requeue(publisher, topics.namespace, letters.values()) == 3
        at = topics.topic("tasks"), 1
        (chunk,) = reader.read(at, 0, 2)
        assert [chunk.record(i) for i in range(2)] == [
            Record(0, T0, b"task-1", BODY, ((REQUEUED, b"tasks:1:7"),)),
            Record(1, 5, b"\xff", b"\xff\x00", ((REQUEUED, b"tasks:1:9"),)),
        ]
        (chunk,) = reader.read((topics.topic("power"), 0), 0, 1)
        assert (chunk.keys, chunk.values) == ([None], [b""])


def test_a_letter_of_a_topic_that_nobody_reads_sends_nothing(topics: Settings) -> None:
    letter = letter_of(
        Record(
            0,
            0,
            b"x:0:0",
            b"",
            (("topic", b"x"), ("partition", b"0"), ("offset", b"0"), ("reason", b""), ("detail", b"")),
        )
    )
    assert letter is not None
    with KafkaPublisher(topics.bootstrap) as publisher, TopicReader(topics.bootstrap) as reader:
        good = read_letters(reader, topics.namespace)["tasks:1:7"]
        with pytest.raises(ConfigError, match="the twin reads no topic 'x'"):
            requeue(publisher, topics.namespace, [good, letter])
        publisher.flush()
        assert publisher.acknowledged == 0


def cpn(topics: Settings, *words: str, typed: str = "") -> "subprocess.CompletedProcess[str]":
    env = os.environ | {"CPN_BOOTSTRAP": topics.bootstrap, "CPN_NAMESPACE": topics.namespace}
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", "deadletter", *words],
        env=env,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_lists_shows_asks_and_sends_back(topics: Settings) -> None:
    listed = json.loads(cpn(topics, "list", "--topic", "tasks", "--json").stdout)
    assert [(row["id"], row["reason"]) for row in listed] == [
        ("tasks:1:7", "type.invalid"),
        ("tasks:1:9", "json.invalid"),
    ]
    assert "3 dead letters" in cpn(topics, "list").stdout
    shown = json.loads(cpn(topics, "show", "tasks:1:9", "--json").stdout)
    assert (shown["value_hex"], shown["offset"]) == ("ff00", 9)
    refused = cpn(topics, "requeue", "--all", typed="n\n")
    assert (refused.returncode, "nothing sent" in refused.stderr) == (1, True)
    unclear = cpn(topics, "requeue", "tasks:1:7", "--all")
    assert (unclear.returncode, "say which" in unclear.stderr) == (2, True)
    sent = cpn(topics, "requeue", "--reason", "json", "--yes", "--json")
    assert json.loads(sent.stdout) == {"chosen": 1, "requeued": 1}
    assert "2 records sent back" in cpn(topics, "requeue", "tasks:1:7", "power:0:3", typed="y\n").stdout
    with TopicReader(topics.bootstrap) as reader:
        assert reader.ends([(topics.topic("tasks"), 1)])[topics.topic("tasks"), 1] == (0, 2)
