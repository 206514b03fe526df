"""Distances, RTT circles and fees."""

import math

import pytest

from producers.scenario import Scenario, tables
from producers.scenario.draw import rng_of
from producers.scenario.network import distances_km, fees_per_gb, rtts_ms
from producers.scenario.places import Map, make_map
from twin import events as ev


@pytest.fixture
def place() -> Map:
    return make_map(tables.preset("edwc"), tables.places())


def rtt_of(scenario: Scenario) -> dict[tuple[str, str], float]:
    links = [e for e in scenario.events if isinstance(e, ev.NetworkLink)]
    both = {(e.src, e.dst): e.rtt_ms.p50 for e in links}
    return both | {(dst, src): rtt for (src, dst), rtt in both.items()}


def test_distances_agree_with_the_law_of_cosines_node_by_node(place: Map) -> None:
    km = distances_km(place)
    for i in range(0, len(place.nodes), 7):
        for j in range(0, len(place.nodes), 5):
            a, b = place.nodes[i], place.nodes[j]
            la, lb, d = math.radians(a.lat), math.radians(b.lat), math.radians(a.lon - b.lon)
            cosine = math.sin(la) * math.sin(lb) + math.cos(la) * math.cos(lb) * math.cos(d)
            assert km[i, j] == pytest.approx(6371 * math.acos(min(1.0, cosine)), abs=0.2)


def test_rtt_follows_the_stated_formula_within_the_detour_of_a_route(place: Map) -> None:
    km = distances_km(place)
    rtt = rtts_ms(place, km, rng_of(1, "routes"))
    access = {"edge": 0.4, "regional": 0.9, "national": 1.5}
    for i, a in enumerate(place.nodes):
        for j, b in enumerate(place.nodes):
            least = access[a.tier] + access[b.tier] + 0.014 * km[i, j]
            assert least - 0.01 <= rtt[i, j] <= least + 0.08 * 0.014 * km[i, j] + 0.01
            assert rtt[i, j] == rtt[j, i]


def test_the_circles_of_1_5_and_20_ms_hold_a_city_its_region_and_a_part_of_the_country(edwc: Scenario) -> None:
    rtt = rtt_of(edwc)
    clusters = [e for e in edwc.events if isinstance(e, ev.ClusterRegistered)]
    origins = sorted({c.zone_id for c in clusters})
    within = {ms: {o: [c for c in clusters if rtt[o, c.node_id] <= ms] for o in origins} for ms in (1, 5, 20)}
    for o in origins:
        assert {c.zone_id for c in within[1][o]} == {o}
        assert {c.tier for c in within[1][o]} == {"edge"}
        assert len(within[5][o]) < 20
    sizes = sorted(len(v) for v in within[20].values())
    assert sizes[0] < 10
    assert 20 < sizes[len(sizes) // 2] < len(clusters)
    assert "national" in {c.tier for c in within[5]["CN-SC"]}


def test_each_pair_has_one_link_and_one_fee_and_a_city_only_a_link(edwc: Scenario) -> None:
    links = [(e.src, e.dst) for e in edwc.events if isinstance(e, ev.NetworkLink)]
    fees = [(e.src, e.dst) for e in edwc.events if isinstance(e, ev.NetworkFee)]
    nodes = {a for a, _ in links}
    assert len(links) == len(nodes) * (len(nodes) + 1) // 2 == len({frozenset(pair) for pair in links})
    assert set(fees) == {(a, b) for a, b in links if a != b}


def test_fees_grow_with_distance_and_are_in_the_scenarios_currency(edwc: Scenario, place: Map) -> None:
    km = distances_km(place)
    fee = fees_per_gb(km)
    assert (fee.diagonal() == 0).all()
    i, near, far = 0, int(km[0].argsort()[1]), int(km[0].argmax())
    assert 0 < fee[i, near] < fee[i, far] < 0.2
    assert {e.currency for e in edwc.events if isinstance(e, ev.NetworkFee)} == {"CNY"}


def test_links_say_what_bandwidth_a_transfer_can_count_on(edwc: Scenario) -> None:
    mbps = {(e.src, e.dst): e.available_mbps for e in edwc.events if isinstance(e, ev.NetworkLink)}
    assert mbps["zhangjiakou", "zhongwei"] == 100_000
    assert mbps["CN-BJ", "zhongwei"] == 10_000
    assert all(p50 is not None and p50 >= 10_000 for p50 in mbps.values())
