import pytest

from twin.dispatch import POLICIES, Policy
from twin.errors import ConfigError


def test_a_name_alone_is_a_policy_with_all_defaults() -> None:
    policy = Policy.parse("price")
    assert policy.number("break_even_h") == 3.0
    assert policy.number("hysteresis") == 0.5
    assert policy.number("carbon") == 0.0
    assert policy.label() == "price"


def test_parameters_are_read_from_text_and_the_label_says_what_was_given() -> None:
    policy = Policy.parse("price:break_even_h=2,carbon=0.1")
    assert policy.number("break_even_h") == 2.0
    assert policy.number("carbon") == 0.1
    assert policy.label() == "price:break_even_h=2,carbon=0.1"
    assert Policy.parse(policy.label()) == policy


def test_pinned_takes_its_place_without_a_name() -> None:
    assert Policy.parse("pinned:DE-LU").text("place") == "DE-LU"
    assert Policy.parse("pinned:place=DE-LU") == Policy.parse("pinned:DE-LU")
    assert Policy.parse("pinned:DE-LU").label() == "pinned:DE-LU"


@pytest.mark.parametrize("name", [n for n in POLICIES if n != "pinned"])
def test_every_policy_parses_by_its_name_and_back(name: str) -> None:
    assert Policy.parse(Policy.parse(name).label()) == Policy.of(name)


def test_a_mapping_may_hold_parameters_beside_the_name_or_in_a_table() -> None:
    want = Policy.parse("price:break_even_h=2")
    assert Policy.from_mapping({"policy": "price", "break_even_h": 2}) == want
    assert Policy.from_mapping({"name": "price", "params": {"break_even_h": 2.0}}) == want
    assert Policy.from_mapping({"name": "dispatch", "policy": "price", "params": {"break_even_h": "2"}}) == want


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cheapest", "price, cost-greedy"),
        ("", "price, cost-greedy"),
        ("price:break_even=2", "break_even_h"),
        ("price:2", "KEY=VALUE"),
        ("price:break_even_h=soon", "number from 0"),
        ("price:break_even_h=nan", "number from 0"),
        ("price:break_even_h=-1", "number from 0"),
        ("price:iterations=1.5", "whole number"),
        ("price:carbon=1,carbon=2", "given twice"),
        ("first-fit:carbon=1", "first-fit has no parameters"),
        ("pinned", "pinned:PLACE"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Policy.parse(text)


def test_wrong_types_in_a_mapping_are_refused() -> None:
    for table in ({}, {"policy": 3}, {"policy": "price", "params": 3}, {"policy": "price", "carbon": True}):
        with pytest.raises(ConfigError):
            Policy.from_mapping(table)
    with pytest.raises(ConfigError, match="must be text"):
        Policy.of("pinned", {"place": 3})


def test_a_place_that_is_not_there_is_refused_with_those_that_are() -> None:
    Policy.parse("pinned:z1").require_place(["c1"], ["z1"])
    Policy.parse("pinned:c1").require_place(["c1"], ["z1"])
    Policy.parse("price").require_place([], [])
    with pytest.raises(ConfigError, match="zones: z1, z2; clusters: c1"):
        Policy.parse("pinned:NL").require_place(["c1"], ["z2", "z1"])
