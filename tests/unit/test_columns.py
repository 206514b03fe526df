"""Bad input at the decoder: a dead letter with a reason, and the next record still counts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.feeding import feed, records
from tests.oracle.shard import Item
from twin.columns import BAD, CLOCK, MAX_DEPTH, NOT_FOLDED, Decoder
from twin.events import Clock, ClusterTelemetry
from twin.records import Records
from twin.shards.shard import Shard

GOOD: dict[str, dict[str, Any]] = {
    "inventory": {"type": "cluster.registered.v1", "cluster_id": "c", "tier": "edge", "zone_id": "z", "node_id": "n", "pools": []},
    "telemetry": {"type": "cluster.telemetry.v1", "cluster_id": "c", "it_kw": 5},
    "tasks": {"type": "task.submitted.v1", "task_id": "a", "origin": "n", "request": {}, "est_duration_s": 60},
    "services": {
        "type": "service.demand.v1", "service": "s", "origin": "n", "model": "m", "start": 0, "end": 5, "tokens_out_per_s": 1
    },
    "power": {
        "type": "power.price.v1", "zone_id": "z", "start": 0, "end": 5, "market": "retail", "price_per_mwh": 1, "currency": "EUR"
    },
    "network": {"type": "network.link.v1", "src": "a", "dst": "b", "rtt_ms": {"p50": 1}},
    "control": {"type": "dispatch.pause.v1"},
}  # fmt: skip


def body(topic: str, **changes: Any) -> bytes:
    """A good body of ``topic`` with some fields changed."""
    return json.dumps(GOOD[topic] | {"seq": 1, "t": 5} | changes).encode()


def raw(topic: str, field: str, text: bytes) -> bytes:
    """A good body in which the value of ``field`` is ``text``, JSON or not."""
    marked = body(topic, **{field: "MARK"})
    assert marked.count(b'"MARK"') == 1
    return marked.replace(b'"MARK"', text)


def refused(topic: str, value: bytes) -> tuple[str, str]:
    """Feed ``value`` between two good records; the reason and detail of its dead letter."""
    shard = Shard(topic, 0)
    _, dead = feed(shard, [Item(body(topic), {}), Item(value, None), Item(body(topic, seq=2), {})])
    assert shard.counts == {"folded": 2, "dead": 1}
    assert [(letter.offset, letter.value) for letter in dead] == [(1, value)]
    assert len(dead[0].detail) <= 300
    return dead[0].reason, dead[0].detail


@pytest.mark.parametrize("topic", sorted(GOOD))
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "value.empty"),
        (b"null", "type.missing"),
        (b"5", "type.missing"),
        (b'"text"', "type.missing"),
        (b"[]", "type.missing"),
        (b"{}", "type.missing"),
        (b'{"type": 5}', "type.missing"),
        (b'{"type": null}', "type.missing"),
        (b" ", "json.malformed"),
        (b"{", "json.malformed"),
        (b'{"type": "clock.v1"} x', "json.malformed"),
        (b"\xff\xfe{}", "json.malformed"),
        (b"\x00" * 100, "json.malformed"),
        (b'{"type": "no.such.v1"}', "type.unknown"),
        (b'{"type": ""}', "type.unknown"),
        (b'{"type": "' + b"x" * 1_000_000 + b'"}', "type.unknown"),
        (b'{"type": "clock.v2"}', "version.unknown"),
        (b'{"type": "clock.v1"}', "body.invalid"),
        (b'{"type": "clock.v1", "seq": 1, "t": 5, "window_ms": 0}', "body.invalid"),
        (b"[" * 100_000, "json.too_deep"),
        (b'{"a": ' * 100_000, "json.too_deep"),
    ],
)
def test_what_no_topic_takes_is_dead_lettered_and_the_next_record_still_counts(
    topic: str, value: bytes, reason: str
) -> None:
    assert refused(topic, value)[0] == reason


@pytest.mark.parametrize("topic", sorted(GOOD))
def test_a_type_of_another_topic_and_a_newer_version_say_so(topic: str) -> None:
    tag = GOOD[topic]["type"]
    assert refused(topic, body(topic, type=tag.replace(".v1", ".v2"))) == (
        "version.unknown",
        f"this reader knows {tag}, not {tag.replace('.v1', '.v2')}",
    )
    other = next(name for name in GOOD if name != topic)
    assert refused(topic, body(other)) == ("topic.wrong", f"{GOOD[other]['type']} belongs on {other}")


@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e400",
        b"-1e400",
        b"-1",
        b"1" + b"0" * 400,
        b'"5"',
        b"null",
        b"true",
        b"[5]",
        b"{}",
    ],
)
def test_a_power_reading_is_a_finite_number_from_zero_up(text: bytes) -> None:
    assert refused("telemetry", raw("telemetry", "it_kw", text))[0] in {"body.invalid", "json.malformed"}


@pytest.mark.parametrize(
    "text", [b"9223372036854775808", b"-1", b"1.5", b"1e3", b"1" + b"0" * 400, b"9007199254740993", b'"1"']
)
@pytest.mark.parametrize("field", ["seq", "t"])
def test_sequence_numbers_and_times_are_bounded_integers(field: str, text: bytes) -> None:
    if (field, text) == ("t", b"9007199254740993"):
        text = b"253402300800000"  # a year past 9999
    assert refused("telemetry", raw("telemetry", field, text)) [0] == "body.invalid"  # fmt: skip


@pytest.mark.parametrize(
    ("topic", "changes", "names"),
    [
        ("inventory", {"power_cap_kw": -1}, "power_cap_kw"),
        ("inventory", {"pools": [{"pool_id": "p", "nodes": -4}]}, "nodes"),
        ("inventory", {"pools": [{"pool_id": "p", "nodes": 1, "cpu_cores": -64}]}, "cpu_cores"),
        ("inventory", {"pools": [{"pool_id": "", "nodes": 1}]}, "pool_id"),
        ("inventory", {"pools": [{"pool_id": "p", "nodes": 1}] * 257}, "pools"),
        ("inventory", {"lat": 90.5}, "lat"),
        ("inventory", {"pue": {"a": 0.9}}, "pue"),
        ("inventory", {"name": "x" * 1_000_000}, "name"),
        ("inventory", {"tier": "continental"}, "tier"),
        ("telemetry", {"cluster_id": "x" * 1_000_000}, "cluster_id"),
        ("telemetry", {"pools": [{"pool_id": "p", "allocated": 1, "util": 1.5}]}, "util"),
        ("tasks", {"request": {"accelerators": -8}}, "accelerators"),
        ("tasks", {"request": {"cpu_cores": 1e300}}, "cpu_cores"),
        ("tasks", {"priority": 3}, "priority"),
        ("tasks", {"est_duration_s": -1}, "est_duration_s"),
        ("tasks", {"type": "task.started.v1", "attempt": 0, "cluster_id": "c"}, "attempt"),
        ("services", {"tokens_out_per_s": -1}, "tokens_out_per_s"),
        ("power", {"currency": "euro"}, "currency"),
        ("power", {"price_per_mwh": 1e9}, "price_per_mwh"),
        ("network", {"rtt_ms": {"p50": -1}}, "rtt_ms"),
        ("control", {"type": "fx.rate.v1", "name": "EUR", "to": "CNY", "rate": 0}, "rate"),
        ("control", {"type": "policy.set.v1", "name": "dispatch", "params": {"a": [1]}}, "params"),
    ],
)  # fmt: skip
def test_a_value_out_of_bounds_is_refused_and_named(topic: str, changes: dict[str, Any], names: str) -> None:
    reason, detail = refused(topic, body(topic, **changes))
    assert reason == "body.invalid"
    assert names in detail


INTERVALS: list[tuple[str, dict[str, Any]]] = [
    ("power", {}),
    ("power", {"type": "power.carbon.v1", "gco2e_per_kwh": 5}),
    ("power", {"type": "power.generation.v1"}),
    ("power", {"type": "power.transfer.v1", "to_zone": "y"}),
    ("power", {"type": "power.alert.v1", "kind": "outage"}),
    ("services", {}),
]


@pytest.mark.parametrize(("topic", "changes"), INTERVALS)
@pytest.mark.parametrize("end", [100, 99, 0])
def test_an_interval_without_time_is_refused(topic: str, changes: dict[str, Any], end: int) -> None:
    assert refused(topic, body(topic, **changes, start=100, end=end)) == (
        "body.invalid",
        f"end {end} must be after start 100",
    )


def test_a_contract_profile_without_time_is_refused() -> None:
    contract = {"type": "power.contract.v1", "contract_id": "k", "clusters": [], "kind": "mid_long"}
    reason, detail = refused("power", body("power", **contract, profile_mw=[{"start": 5, "end": 5, "mw": 1}]))
    assert (reason, detail) == ("body.invalid", "end 5 must be after start 5 - at `$.profile_mw[0]`")


@pytest.mark.parametrize(
    "text", [b'"\xff"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\x00"', b'"a\nb"']
)
def test_text_is_utf8_without_lone_surrogates(text: bytes) -> None:
    assert refused("telemetry", raw("telemetry", "cluster_id", text))[0] in {"body.invalid", "json.malformed"}


def test_nesting_is_bounded_by_our_own_number_and_brackets_in_texts_do_not_count() -> None:
    def nested(depth: int) -> bytes:
        return raw("telemetry", "unknown", b"[" * depth + b"]" * depth)

    shard = Shard("telemetry", 0)
    texts = raw("telemetry", "unknown", b'"' + b'\\"[{' * 5000 + b'"')
    wide = raw("telemetry", "unknown", b"[" + b"[]," * 5000 + b"[]]")
    _, dead = feed(shard, [Item(value, {}) for value in (nested(MAX_DEPTH - 1), texts, wide)])
    assert dead == []
    assert refused("telemetry", nested(MAX_DEPTH)) == ("json.too_deep", "nested more than 64 deep")
    assert refused("telemetry", nested(10_000))[0] == "json.too_deep"
    for depth in (MAX_DEPTH, 10_000):
        _, dead = feed(Shard("telemetry", 0), [Item(nested(depth), None), *[Item(b"", None)] * 20_000])
        assert [letter.reason for letter in dead] == ["json.too_deep"] + ["value.empty"] * 20_000


@given(value=st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["type", "seq", "t", "it_kw", "pools"]), inner),
    max_leaves=8,
).map(lambda made: json.dumps(made).encode()))  # fmt: skip
def test_no_bytes_stop_the_decoder(value: bytes) -> None:
    columns = Decoder("telemetry").decode(records([Item(value, None)]))
    assert columns.group.tolist() == [BAD]
    assert columns.events == [None]
    assert list(columns.bad) == [0]


def test_a_chunk_is_columns_in_log_order() -> None:
    values = [body("telemetry"), b"{", b'{"type":"clock.v1","seq":0,"t":9,"window_ms":5}', body("telemetry", t=7)]
    decoder = Decoder("telemetry")
    columns = decoder.decode(records([Item(value, None) for value in values], 40))
    telemetry = decoder.folds.index("telemetry")
    assert columns.group.tolist() == [telemetry, BAD, CLOCK, telemetry]
    assert columns.t.tolist() == [5, 0, 9, 7]
    assert columns.clocks.tolist() == [2]
    assert [type(event) for event in columns.events] == [ClusterTelemetry, type(None), Clock, ClusterTelemetry]
    assert list(columns.bad) == [1]
    assert decoder.code(ClusterTelemetry) == telemetry
    assert Decoder("power").decode(records([Item(body("power", type="power.tariff.v1"), None)])).group.tolist() == [
        NOT_FOLDED
    ]


def _at(t: int) -> bytes:
    return json.dumps({"type": "clock.v1", "seq": 0, "t": t, "window_ms": 5}).encode()


@pytest.mark.parametrize(("until", "left"), [(9, 0), (10, 2), (19, 2), (20, 5), (29, 5), (30, 8), (99, 8)])
def test_a_chunk_up_to_a_time_ends_with_the_last_clock_before_a_later_one(until: int, left: int) -> None:
    values = [b"{", _at(10), body("telemetry"), _at(20), _at(15), body("telemetry", t=500), _at(30), b"{"]
    columns = Decoder("telemetry").decode(records([Item(value, None) for value in values]))
    part = columns.until(until)
    assert len(part) == len(part.group) == len(part.t) == left
    assert part.clocks.tolist() == [at for at in (1, 3, 4, 6) if at < left]
    assert set(part.bad) == {at for at in (0, 7) if at < left}


def test_an_empty_chunk_is_empty_columns() -> None:
    columns = Decoder("tasks").decode(Records(0, 0))
    assert len(columns) == len(columns.group) == len(columns.t) == len(columns.clocks) == 0
    assert Shard("tasks", 0).feed(columns).position == 0
