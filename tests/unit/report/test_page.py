"""The page as text: whole, small, closed to the outside, and safe against what names may hold."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from types import ModuleType
from typing import Any

import msgspec
import pytest

from streams.report import PolicyResult, ReportData, render
from streams.report.summary import read_row

Build = Callable[..., dict[str, Any]]
replace = msgspec.structs.replace


class Outline(HTMLParser):
    """Collect tags, addresses, ids, and the text of each element type."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action", "srcset", "poster", "data"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._open:
            self.text.setdefault(self._open[-1], []).append(data)


def outline(html: str) -> Outline:
    found = Outline()
    found.feed(html)
    return found


def embedded(html: str) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


@pytest.fixture(scope="module")
def data(made_up: ModuleType) -> ReportData:
    found: ReportData = made_up.synthetic()
    return found


def test_the_page_is_one_file_that_points_nowhere(data: ReportData) -> None:
    found = outline(render(data))
    assert [address for address in found.addresses if not address.startswith(("#", "data:"))] == []
    assert not {"img", "iframe", "object", "embed"} & set(found.tags)
    style = "".join(found.text["style"])
    assert "url(" not in style
    assert "@import" not in style
    assert len(found.ids) == len(set(found.ids))


def test_a_fortnight_of_five_minute_windows_is_under_three_megabytes(made_up: ModuleType) -> None:
    assert len(render(made_up.synthetic(windows=4_032)).encode()) < 3_000_000


def test_the_same_data_give_the_same_page(data: ReportData, made_up: ModuleType) -> None:
    assert render(data) == render(made_up.synthetic())


def test_the_policy_of_the_page_allows_its_own_script_only(data: ReportData) -> None:
    html = render(data)
    script = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(script) == 1
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert f"script-src 'sha256-{digest}';" in policy[1]
    assert "Permission is hereby granted" in script[0]
    assert "default-src 'none'" in policy[1]


def test_no_name_can_leave_its_place(data: ReportData) -> None:
    bad = "</script><script>alert(1)</script><!--{title}--><b>\u2028&amp;'\""
    hostile = replace(
        data,
        title=bad, scenario=bad, currency=bad, generated_by=bad,
        policies=[replace(policy, name=f"{bad}{k}") for k, policy in enumerate(data.policies)],
        clusters=[replace(cluster, name=bad, tier=bad) for cluster in data.clusters],
    )  # fmt: skip
    html = render(hostile)
    assert outline(html).tags.count("script") == 3
    assert "alert(1)" not in "".join(outline(html).text["script"][-1:])
    assert "<b>\u2028" not in html
    assert embedded(html)["clusters"][0]["name"] == bad
    assert "".join(outline(html).text["title"]) == bad


def test_hashes_seed_version_and_windows_are_on_the_page(data: ReportData) -> None:
    html = render(data)
    for policy in data.policies:
        assert policy.summary["state_sha256"] in html
        assert policy.summary["decisions_sha256"] in html
    facts = outline(html).text["dd"]
    assert "7" in facts
    assert "cpn-twin 0.1.0" in facts
    assert "96 of 15 min" in facts


def test_the_headline_claims_a_saving_on_equal_work(data: ReportData) -> None:
    heading = re.search(r"<h1>(.*?)</h1>", render(data), re.DOTALL)
    assert heading is not None
    words = re.sub(r"<[^>]+>", "", heading[1])
    assert words == "price cost 7.8 % less than the best baseline, for the same work."


def test_without_equal_work_both_results_are_shown_and_nothing_is_claimed(data: ReportData, summary_of: Build) -> None:
    policies = [
        PolicyResult(name="stay", summary=summary_of(90_000.0, 0.95)),
        PolicyResult(name="price", summary=summary_of(80_000.0, 0.99)),
    ]
    html = render(replace(data, policies=policies))
    assert "No saving is claimed" in html
    assert "90,000&nbsp;CNY" in html
    assert "80,000&nbsp;CNY" in html
    assert "less" not in re.sub(r"<[^>]+>", "", html[html.index("<h1>") : html.index("</h1>")])
    assert 'class="delta' not in html
    unknown = PolicyResult(name="stay", summary=summary_of(90_000.0, None))
    assert "is not known for both" in render(replace(data, policies=[unknown, policies[1]]))
    euro = PolicyResult(name="stay", summary=summary_of(90_000.0, 0.99, currency="EUR"))
    assert "were paid in different currencies" in render(replace(data, policies=[euro, policies[1]]))


def test_violations_are_said_beside_the_headline(data: ReportData, summary_of: Build) -> None:
    broken = PolicyResult(name="price", summary=summary_of(80_000.0, 0.99, violations=3))
    assert "3 hard constraints were violated" in render(replace(data, policies=[broken]))
    assert "were violated" not in render(data)


def test_a_dearer_run_and_a_run_alone_say_so(data: ReportData, summary_of: Build) -> None:
    stay = PolicyResult(name="stay", summary=summary_of(50.0, 0.99))
    price = PolicyResult(name="price", summary=summary_of(80.0, 0.99))
    assert '<em class="bad">60.0 % more</em>' in render(replace(data, policies=[price, stay]))
    assert "ran this work for <em>80.00&nbsp;CNY</em>" in render(replace(data, policies=[price]))


def test_unknown_figures_read_unknown_and_sort_as_nothing(data: ReportData) -> None:
    html = render(replace(data, policies=[PolicyResult(name="price", summary={"cost": {"total": None}})]))
    table = html[html.index('id="policy-table"') : html.index("</table>")]
    assert table.count('data-v="">unknown') == 19
    assert ">0<" not in table
    assert "What <b class=policy>price</b> cost is unknown." in html


def test_the_table_opens_with_the_cheapest_and_marks_the_best_of_equal_work_only(data: ReportData) -> None:
    html = render(data)
    table = html[html.index('id="policy-table"') : html.index("</table>")]
    names = re.findall(r'class="first" data-v="([^"]*)"', table)
    totals = {policy.name: policy.summary["cost"]["total"] for policy in data.policies}
    assert names == sorted(totals, key=lambda name: totals[name])
    for row in re.findall(r'<tr class="unequal">.*?</tr>', table, re.DOTALL):
        assert "best" not in row
    assert table.count("other share") == 2


def test_costs_per_hour_are_those_of_the_summary_and_unknown_where_it_has_none() -> None:
    row = read_row(PolicyResult(name="p", summary={"unit_cost": {"accelerator_h": 5.0, "core_h": None}}))
    assert row.summary.unit_cost.accelerator_h == 5.0
    assert row.summary.unit_cost.core_h is None


def test_figures_that_are_not_finite_are_unknown_and_wrong_types_are_named() -> None:
    row = read_row(PolicyResult(name="p", summary={"slo": float("nan"), "cost": {"total": float("inf")}, "more": 1}))
    assert row.summary.slo is None
    assert row.summary.cost.total is None
    with pytest.raises(msgspec.ValidationError, match=r"\$\.cost\.total"):
        read_row(PolicyResult(name="p", summary={"cost": {"total": "much"}}))


def test_without_coordinates_the_land_is_left_out(data: ReportData) -> None:
    nowhere = [replace(cluster, lat=None, lon=None) for cluster in data.clusters]
    assert len(render(data)) - len(render(replace(data, clusters=nowhere))) > 100_000


def test_the_land_outline_names_its_source_and_closes_every_ring() -> None:
    from streams.report.page import asset

    land = json.loads(asset("land.json"))
    assert "Natural Earth" in land["source"]
    for ring in land["rings"]:
        assert sum(ring[2::2]) == 0
        assert sum(ring[3::2]) == 0
        assert max(map(abs, ring[2:])) < 360 * land["per_degree"] / 2
