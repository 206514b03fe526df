"""Provinces, sites and what is published of them."""

import csv
from pathlib import Path

import pytest

from producers.scenario import Scenario, tables
from producers.scenario.places import make_map
from twin import events as ev

CSV_NAMES = {
    "Zhangjiakou": "zhangjiakou",
    "YRD Demonstration Zone": "yangtze-delta",
    "Wuhu": "wuhu",
    "Shaoguan": "shaoguan",
}
CSV_NAMES |= {"Tianfu": "tianfu", "Chongqing": "chongqing", "Gui'an": "guian", "Helinger": "horinger"}
CSV_NAMES |= {"Qingyang": "qingyang", "Zhongwei": "zhongwei"}


def clusters(scenario: Scenario) -> list[ev.ClusterRegistered]:
    return [e for e in scenario.events if isinstance(e, ev.ClusterRegistered)]


def test_the_national_tier_is_the_eight_hubs_with_their_ten_clusters(edwc: Scenario) -> None:
    national = [c for c in clusters(edwc) if c.tier == "national"]
    assert len(national) == 10
    assert len({c.hub for c in national}) == 8
    assert {c.zone_id for c in national if c.hub == "Chengdu-Chongqing"} == {"CN-SC", "CN-CQ"}


def test_every_province_has_an_edge_cluster_and_all_stand_in_china(edwc: Scenario) -> None:
    edge = [c for c in clusters(edwc) if c.tier == "edge"]
    assert len({c.zone_id for c in edge}) == 31
    for c in clusters(edwc):
        assert c.lat is not None
        assert c.lon is not None
        assert 18 < c.lat < 54
        assert 73 < c.lon < 135


def test_provinces_are_the_31_of_the_standard_and_stand_once() -> None:
    ids = [p.id for p in tables.places().provinces]
    assert len(ids) == len(set(ids)) == 31
    assert {zone.id for zone in tables.power().zones} == set(ids)
    sites = tables.places().sites
    assert len({s.id for s in sites}) == len(sites)
    assert {s.province for s in sites} <= set(ids)


def test_western_hubs_are_built_to_a_lower_pue_than_eastern_ones(edwc: Scenario) -> None:
    west = {"CN-GZ", "CN-NM", "CN-GS", "CN-NX"}
    for c in clusters(edwc):
        if c.tier == "national":
            assert c.pue is not None
            assert c.pue.a == (1.20 if c.zone_id in west else 1.25)


def test_pools_name_vendor_and_domestic_and_have_a_power_for_every_device(scenario: Scenario) -> None:
    models = set()
    for c in clusters(scenario):
        assert c.pools
        for pool in c.pools:
            assert pool.w_per_core is not None
            if pool.accelerator is None:
                continue
            models.add((pool.accelerator.model, pool.accelerator.domestic))
            assert pool.accelerator.vendor
            assert pool.w_per_accelerator is not None
            assert 0 < pool.w_per_accelerator.idle < 0.25 * pool.w_per_accelerator.max
    assert {domestic for _, domestic in models} == {True, False}
    assert len(models) >= 5


def test_a_power_cap_lies_between_idle_and_full_power(edwc: Scenario) -> None:
    capped = [c for c in clusters(edwc) if c.power_cap_kw is not None]
    assert 2 <= len(capped) <= 20
    for c in capped:
        assert c.power_cap_kw is not None
        assert c.pue is not None
        idle = full = 0.0
        for pool in c.pools:
            devices = pool.nodes * pool.accelerators_per_node
            for count, watts in ((devices, pool.w_per_accelerator), (pool.cpu_cores, pool.w_per_core)):
                if watts is not None:
                    idle += count * watts.idle / 1000
                    full += count * watts.max / 1000
        assert c.pue.a * idle < c.power_cap_kw < c.pue.a * full
        assert c.grid_connection_kw is not None
        assert c.grid_connection_kw > c.pue.a * full


def test_more_edge_sites_than_cities_become_further_districts_nearby() -> None:
    preset = tables.preset("edge-heavy")
    place = make_map(preset, tables.places())
    edge = {s.id: s for s in place.sites if s.tier == "edge"}
    assert len(edge) == preset.edge == 48
    second = edge["edge-bj-2"]
    assert second.node == ""
    assert 0 < abs(second.lat - edge["edge-bj"].lat) < 0.2
    assert second.lon == edge["edge-bj"].lon


def test_only_inference_models_serve_and_none_beyond_their_memory(edwc: Scenario) -> None:
    rates: dict[str, dict[str, float]] = {}
    for c in clusters(edwc):
        for pool in c.pools:
            if pool.accelerator is not None:
                rates[pool.accelerator.model] = pool.tokens_per_s
    assert set(rates["H20"]) == {"llm-70b", "code-32b", "vision-8b"}
    assert set(rates["L20"]) == {"code-32b", "vision-8b"}
    assert rates["H800"] == rates["A800"] == rates["Ascend-910B"] == {}
    assert rates["H20"]["llm-70b"] > rates["Atlas-300I-Duo"]["llm-70b"] > 0


@pytest.mark.published
def test_coordinates_and_pue_of_the_ten_clusters_are_the_published_ones(data_dir: Path) -> None:
    sites = {s.id: s for s in tables.places().sites}
    with (data_dir / "reference" / "edwc_hubs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["cluster"] for row in rows} == set(CSV_NAMES)
    for row in rows:
        site = sites[CSV_NAMES[row["cluster"]]]
        assert (site.lat, site.lon) == (float(row["lat_approx"]), float(row["lon_approx"]))
        assert site.pue == float(row["pue_target"])
        assert site.name_zh == row["cluster_zh"]
