"""``cpn doctor`` against a real broker and a real Redis: good ones, and ones that would lose the twin."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from producers.topics import TopicSpec, create_topics, specs
from streams.cli.doctor import Finding, look_at_broker, look_at_redis
from streams.local import RedisServer
from streams.settings import Settings


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis to be set up wrong."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


def bad(findings: list[Finding]) -> dict[str, str]:
    return {finding.what: f"{finding.found} → {finding.do}" for finding in findings if finding.status == "bad"}


def test_topics_made_by_the_producers_are_good(settings: Settings) -> None:
    create_topics(settings.bootstrap, specs(settings.namespace))
    findings = look_at_broker(settings.bootstrap, settings.namespace)
    assert [finding.status for finding in findings] == ["ok", "ok"]


def test_a_broker_without_topics_is_one_finding(settings: Settings) -> None:
    findings = look_at_broker(settings.bootstrap, settings.namespace)
    assert [finding.status for finding in findings] == ["ok", "bad"]
    assert all(spec.name in findings[1].what for spec in specs(settings.namespace))
    assert "cpn topics create" in findings[1].do


def test_topics_that_would_lose_records_are_named(settings: Settings) -> None:
    wanted = {spec.name: spec for spec in specs(settings.namespace)}
    name, config = settings.topic("power"), wanted[settings.topic("power")].config
    wrong = {"retention.ms": "604800000", "message.timestamp.after.max.ms": "3600000"}
    wanted[name] = TopicSpec(name, 1, {**config, **wrong})
    create_topics(settings.bootstrap, list(wanted.values()))
    findings = look_at_broker(settings.bootstrap, settings.namespace)[1:]
    assert {finding.what for finding in findings} == {name}
    assert {finding.found for finding in findings} == {f"{key} is {value}" for key, value in wrong.items()}
    assert all(name in finding.do for finding in findings)


def test_our_redis_is_good(redis_server: RedisServer) -> None:
    assert [finding.status for finding in look_at_redis(redis_server.url)] == ["ok"] * 3


def test_a_redis_that_would_lose_the_twin_is_named(own_redis: RedisServer) -> None:
    with redis.Redis.from_url(own_redis.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("appendonly", "no")
    found = bad(look_at_redis(own_redis.url))
    assert set(found) == {"Redis maxmemory-policy", "Redis appendonly"}
    assert "config set maxmemory-policy noeviction" in found["Redis maxmemory-policy"]
    assert "config set appendonly yes" in found["Redis appendonly"]
