"""A scenario as a whole: what it holds, that it decodes, and that the same arguments make the same events."""

from collections import Counter, defaultdict

import msgspec
import pytest

from producers.scenario import Scenario, generate, preset_names
from twin import events as ev
from twin.errors import ConfigError
from twin.topics import BY_STRUCT, decoder

HOUR_MS = 3_600_000


def bodies(scenario: Scenario) -> list[bytes]:
    encode = msgspec.json.Encoder().encode
    return [encode(event) for event in scenario.events]


def test_the_default_scenario_has_what_it_promises(edwc: Scenario) -> None:
    counts = Counter(type(event) for event in edwc.events)
    assert edwc.end - edwc.t0 == 24 * HOUR_MS
    assert counts[ev.ClusterRegistered] >= 60
    assert counts[ev.TaskSubmitted] >= 20_000
    assert len({e.zone_id for e in edwc.events if isinstance(e, ev.PowerPrice)}) == 31
    assert {e.kind for e in edwc.events if isinstance(e, ev.TaskSubmitted)} == {
        "training",
        "batch",
        "inference",
        "edge",
    }
    scenarios = {e.scenario for e in edwc.events if isinstance(e, ev.TaskSubmitted)}
    assert {"autonomous_driving", "industrial_internet", "telemedicine"} <= scenarios


def test_every_event_decodes_through_its_topic_to_itself(scenario: Scenario) -> None:
    decoders = {info.topic: decoder(info.topic) for info in BY_STRUCT.values()}
    for event, body in zip(scenario.events, bodies(scenario), strict=True):
        assert decoders[BY_STRUCT[type(event)].topic].decode(body) == event


def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(tiny: Scenario) -> None:
    assert bodies(generate("tiny")) == bodies(tiny)
    assert bodies(generate("tiny", seed=2)) != bodies(tiny)


def test_events_come_in_order_of_time_and_within_the_horizon(scenario: Scenario) -> None:
    times = [event.t for event in scenario.events]
    assert times == sorted(times)
    assert times[0] == scenario.t0 - 1
    assert times[-1] < scenario.t0 + (scenario.end - scenario.t0) + scenario.max_ahead_ms
    assert all(e.t < scenario.end for e in scenario.events if not isinstance(e, ev.PowerPrice | ev.PowerCarbon))


def test_seq_counts_up_without_gaps_per_entity_and_role(scenario: Scenario) -> None:
    last: dict[tuple[str, str, str], int] = defaultdict(lambda: -1)
    for event in scenario.events:
        info = BY_STRUCT[type(event)]
        entity = (info.topic, info.fold or info.tag, info.key(event))
        assert event.seq == last[entity] + 1
        last[entity] = event.seq


def test_ids_of_tasks_and_clusters_are_unique(scenario: Scenario) -> None:
    for kind, field in ((ev.TaskSubmitted, "task_id"), (ev.ClusterRegistered, "cluster_id")):
        ids = [getattr(e, field) for e in scenario.events if isinstance(e, kind)]
        assert len(ids) == len(set(ids)) > 0


def test_accounting_names_the_currency_and_market_that_prices_are_in(scenario: Scenario) -> None:
    (accounting,) = [e for e in scenario.events if isinstance(e, ev.PolicySet)]
    assert accounting.name == "accounting"
    assert accounting.t == scenario.t0 - 1
    assert accounting.params == {"currency": "CNY", "settlement_market": "day_ahead"}
    prices = [e for e in scenario.events if isinstance(e, ev.PowerPrice)]
    assert {e.currency for e in prices} == {"CNY"} == {scenario.meta["currency"]}
    assert "day_ahead" in {e.market for e in prices}


def test_every_node_and_zone_that_is_named_is_known(scenario: Scenario) -> None:
    links = [e for e in scenario.events if isinstance(e, ev.NetworkLink)]
    nodes = {e.src for e in links} | {e.dst for e in links}
    clusters = [e for e in scenario.events if isinstance(e, ev.ClusterRegistered)]
    named = {c.node_id for c in clusters}
    named |= {e.origin for e in scenario.events if isinstance(e, ev.TaskSubmitted | ev.ServiceDemand)}
    assert named <= nodes
    for kind in (ev.PowerPrice, ev.PowerCarbon):
        assert {c.zone_id for c in clusters} <= {e.zone_id for e in scenario.events if isinstance(e, kind)}
    states = {e.cluster_id for e in scenario.events if isinstance(e, ev.ClusterState)}
    assert states <= {c.cluster_id for c in clusters}


def test_a_cluster_that_fails_comes_back_with_all_its_nodes(scenario: Scenario) -> None:
    clusters = {e.cluster_id: e for e in scenario.events if isinstance(e, ev.ClusterRegistered)}
    history: dict[str, list[ev.ClusterState]] = defaultdict(list)
    for event in scenario.events:
        if isinstance(event, ev.ClusterState):
            history[event.cluster_id].append(event)
    assert history
    for cluster_id, (hit, back) in history.items():
        assert hit.state in {"down", "degraded"}
        assert back.state == "up"
        assert 0 < back.t - hit.t <= 2 * HOUR_MS
        whole = {pool.pool_id: pool.nodes for pool in clusters[cluster_id].pools}
        assert {pool.pool_id: pool.healthy for pool in back.pools} == whole
        assert all(pool.healthy < whole[pool.pool_id] for pool in hit.pools)


def test_hours_and_scale_change_the_number_of_tasks() -> None:
    def tasks(scenario: Scenario) -> int:
        return sum(isinstance(e, ev.TaskSubmitted) for e in scenario.events)

    assert tasks(generate("tiny", hours=12)) == pytest.approx(600, abs=8)
    assert tasks(generate("tiny", scale=0.5)) == pytest.approx(150, abs=8)


def test_prices_do_not_change_when_only_the_number_of_tasks_does(tiny: Scenario) -> None:
    def prices(scenario: Scenario) -> list[ev.Event]:
        return [e for e in scenario.events if isinstance(e, ev.PowerPrice)]

    assert prices(generate("tiny", scale=2.0)) == prices(tiny)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "atlantis"}, "choose one of: edwc, islands"),
        ({"seed": -1}, "seed is -1"),
        ({"hours": 1}, "hours is 1"),
        ({"hours": 10_000}, "hours is 10000"),
        ({"window_ms": 0}, "window_ms is 0"),
        ({"window_ms": 7_000_000}, "window_ms is 7000000"),
        ({"scale": 0.0}, "scale is 0.0"),
        ({"scale": float("nan")}, "scale is nan"),
        ({"lateness_ms": -1}, "lateness_ms is -1"),
    ],
)
def test_an_argument_out_of_range_is_refused_by_name(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        generate(**{"preset": "tiny", **arguments})  # type: ignore[arg-type]


def test_there_are_at_least_three_other_worlds_and_a_tiny_one() -> None:
    names = preset_names()
    assert names[0] == "edwc"
    assert {"islands", "edge-heavy", "gpu-crunch", "tiny"} <= set(names)
