import pytest

from producers.topics import Found, TopicSpec, _problems, default_partitions, specs
from twin.errors import ConfigError
from twin.topics import IN_TOPICS, OUT_TOPICS

FOREVER = str(2**63 - 1)


def by_name(found: list[TopicSpec]) -> dict[str, TopicSpec]:
    return {spec.name: spec for spec in found}


def test_every_topic_of_the_twin_is_made_under_its_namespace() -> None:
    assert [spec.name for spec in specs("lab")] == [f"lab.{short}" for short in (*IN_TOPICS, *OUT_TOPICS)]


def test_only_tasks_have_four_partitions_unless_asked_for() -> None:
    assert {n: c for n, c in default_partitions().items() if c != 1} == {"tasks": 4}
    assert by_name(specs("cpn", {"tasks": 2, "power": 3}))["cpn.power"].partitions == 3
    assert by_name(specs("cpn", {"tasks": 2}))["cpn.tasks"].partitions == 2


def test_events_of_any_age_are_kept_and_events_of_any_future_are_taken() -> None:
    for name, spec in by_name(specs("cpn")).items():
        assert spec.config["message.timestamp.after.max.ms"] == FOREVER
        assert spec.config["message.timestamp.before.max.ms"] == FOREVER
        assert spec.config["retention.ms"] == "-1" or name == "cpn.cuts"
        assert spec.config["cleanup.policy"] == ("compact" if name == "cpn.carry" else "delete")


def test_only_hints_are_deleted_and_by_the_clock_of_the_broker_alone() -> None:
    assert by_name(specs("cpn"))["cpn.cuts"].config["message.timestamp.type"] == "LogAppendTime"


@pytest.mark.parametrize(
    ("partitions", "said"),
    [
        ({"jobs": 1}, "there is no topic 'jobs'"),
        ({"tasks": 0}, "tasks: 0 partitions; give at least 1"),
        ({"cuts": 2}, "cuts: 2 partitions; give 1"),
        ({"decisions": 2}, "decisions: 2 partitions; give 1"),
    ],
)
def test_counts_that_cannot_be_are_refused(partitions: dict[str, int], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        specs("cpn", partitions)


def test_each_setting_that_would_lose_records_is_a_problem_that_says_what_to_do() -> None:
    spec = by_name(specs("cpn"))["cpn.tasks"]
    as_wanted = Found(spec.name, 4, 1, spec.config)
    assert list(_problems(spec, as_wanted, counted=True)) == []
    for name in spec.config:
        other = Found(spec.name, 4, 1, spec.config | {name: "604800000"})
        (problem,) = _problems(spec, other, counted=True)
        assert problem.what == f"{name} is 604800000"
        assert f"--add-config {name}={spec.config[name]}" in problem.do


def test_another_partition_count_is_a_problem_only_where_one_is_expected() -> None:
    spec = by_name(specs("cpn"))["cpn.tasks"]
    two = Found(spec.name, 2, 1, spec.config)
    assert [p.what for p in _problems(spec, two, counted=True)] == ["2 partitions where 4 are expected"]
    assert list(_problems(spec, two, counted=False)) == []


@pytest.mark.parametrize(("kept_ms", "good"), [("-1", True), ("86400001", True), ("60000", False)])
def test_hints_may_be_kept_longer_but_not_shorter(kept_ms: str, good: bool) -> None:
    spec = by_name(specs("cpn"))["cpn.cuts"]
    found = Found(spec.name, 1, 1, spec.config | {"retention.ms": kept_ms})
    assert (list(_problems(spec, found, counted=True)) == []) is good
