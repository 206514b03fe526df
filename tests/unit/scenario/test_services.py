"""Service demand: complete, by day more than by night, and a modest part of what can be served."""

from collections import defaultdict

import pytest

from producers.scenario import Scenario
from twin import events as ev


def demand(scenario: Scenario) -> list[ev.ServiceDemand]:
    return [e for e in scenario.events if isinstance(e, ev.ServiceDemand)]


def test_every_service_has_demand_from_every_origin_in_every_interval(edwc: Scenario) -> None:
    rows = demand(edwc)
    assert len(rows) == 3 * 31 * 96
    keys = {(e.service, e.origin, e.start) for e in rows}
    assert len(keys) == len(rows)
    assert all(e.end == e.start + 900_000 and e.t == e.start - 1 for e in rows)


def test_demand_is_low_at_night(scenario: Scenario) -> None:
    by_hour = defaultdict(float)
    for e in demand(scenario):
        by_hour[(e.start - scenario.t0) // 3_600_000 % 24] += e.tokens_out_per_s
    assert min(by_hour, key=lambda hour: by_hour[hour]) in {2, 3, 4}


def test_someone_within_the_limit_can_serve_each_origin(scenario: Scenario) -> None:
    links = [e for e in scenario.events if isinstance(e, ev.NetworkLink)]
    rtt = {(e.src, e.dst): e.rtt_ms.p50 for e in links}
    rtt |= {(dst, src): value for (src, dst), value in rtt.items()}
    clusters = [e for e in scenario.events if isinstance(e, ev.ClusterRegistered)]
    for e in {(e.service, e.origin): e for e in demand(scenario)}.values():
        assert e.latency_ms is not None
        near = [c for c in clusters if rtt[e.origin, c.node_id] <= e.latency_ms]
        assert any(pool.tokens_per_s.get(e.model, 0) > 0 for c in near for pool in c.pools), e


def test_services_take_about_a_tenth_of_the_accelerators_that_serve(edwc: Scenario) -> None:
    capacity: dict[str, float] = defaultdict(float)
    for c in edwc.events:
        if isinstance(c, ev.ClusterRegistered):
            for pool in c.pools:
                for model, rate in pool.tokens_per_s.items():
                    capacity[model] += rate * pool.nodes * pool.accelerators_per_node
    peak: dict[tuple[str, int], float] = defaultdict(float)
    for e in demand(edwc):
        peak[e.model, e.start] += e.tokens_out_per_s
    share = sum(max(v for (m, _), v in peak.items() if m == model) / capacity[model] for model in capacity)
    assert share == pytest.approx(0.12, abs=0.04)
