"""The report in a real browser: whole, quiet, usable on a phone and in the dark."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import msgspec
import pytest

from streams.report import PolicyResult, ReportData, RunSeries, render

pytestmark = pytest.mark.browser
Open = Callable[..., Any]

SECTIONS = ("result", "policies", "follows", "map", "queue", "provenance")

# WCAG 2.2: relative luminance, contrast ratio, and which text counts as large.
CONTRAST = """
const channel = (v) => (v /= 255, v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const parse = (text) => { pen.clearRect(0, 0, 1, 1); pen.fillStyle = text; pen.fillRect(0, 0, 1, 1); return [...pen.getImageData(0, 0, 1, 1).data]; };
const over = (a, b) => [0, 1, 2].map((k) => (a[k] * a[3] + b[k] * (255 - a[3])) / 255);
function ground(node) {
  const layers = [];
  for (; node; node = node.parentElement) {
    const color = parse(getComputedStyle(node).backgroundColor);
    if (color[3] > 0) layers.push(color);
    if (color[3] === 255) break;
  }
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
}
const found = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest("script, .sr, .skip, #tip")) continue;
  const style = getComputedStyle(node), size = parseFloat(style.fontSize);
  const ink = parse(node.closest("svg") ? style.fill : style.color), below = ground(node);
  const [a, b] = [light(over(ink, below)), light(below)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (ratio < (large ? 3 : 4.5)) found.push([walker.currentNode.data.trim().slice(0, 40), node.className, Math.round(ratio * 100) / 100]);
}
return found;
"""


@dataclass(frozen=True)
class Logs:
    console: list[str]
    requests: list[str]


def logs(driver: Any) -> Logs:
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return Logs([entry["message"] for entry in driver.get_log("browser")], asked)


def count(driver: Any, selector: str) -> int:
    return int(driver.execute_script("return document.querySelectorAll(arguments[0]).length", selector))


def text(driver: Any, selector: str) -> str:
    return str(driver.execute_script("return document.querySelector(arguments[0]).innerText", selector))


def empty(data: ReportData) -> ReportData:
    run = RunSeries(
        t_ms=[], zones=[], running=[], waiting=[], moving=[], placed=[], moves=[], unplaced=[],
        cost_energy=[], cost_network=[], cost_moves=[], gap=[],
    )  # fmt: skip
    return msgspec.structs.replace(data, policies=[], run=run, clusters=[], flows=[])


@pytest.fixture(scope="module")
def data(made_up: ModuleType) -> ReportData:
    found: ReportData = made_up.synthetic()
    return found


@pytest.fixture(scope="module")
def page(data: ReportData) -> str:
    return render(data)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_draws_every_section_quietly_and_asks_for_nothing(opened: Open, page: str, dark: bool) -> None:
    driver = opened(page, dark=dark)
    said = logs(driver)
    assert said.console == []
    assert [url for url in said.requests if not url.startswith(("file:", "data:"))] == []
    for section in SECTIONS:
        assert count(driver, f"#{section}") == 1
    assert count(driver, "#costs-chart .cost-row") == 8
    assert count(driver, ".heat canvas") == 2
    assert count(driver, ".uplot") == 6
    assert count(driver, "#map-chart .bubble") == 63
    assert count(driver, "#map-chart .flow") > 100
    assert count(driver, "#waits-chart svg") == 4
    assert count(driver, ".none") == 0
    assert driver.execute_script("return document.documentElement.dataset.theme") == ("dark" if dark else "light")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_all_text_is_readable_against_its_ground(opened: Open, page: str, dark: bool) -> None:
    driver = opened(page, dark=dark)
    driver.execute_script("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    assert driver.execute_script(CONTRAST) == []


def test_the_check_of_contrast_finds_pale_text(opened: Open, page: str) -> None:
    driver = opened(page)
    driver.execute_script("document.querySelector('#policies h2').style.color = '#d8d8d8'")
    assert [found[0] for found in driver.execute_script(CONTRAST)] == ["Policies side by side"]


@pytest.mark.parametrize("width", [390, 768])
def test_a_narrow_screen_has_no_sideways_scroll(opened: Open, page: str, width: int) -> None:
    driver = opened(page, width=width)
    driver.execute_script("document.querySelectorAll('details').forEach((node) => { node.open = true; })")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert logs(driver).console == []


def test_long_names_do_not_widen_a_phone(opened: Open, data: ReportData) -> None:
    long = "price:break_even_h=2,carbon_price_per_t=0.125,hysteresis=0.05"
    change = msgspec.structs.replace
    wordy = change(
        data,
        title="A-very-long-title-without-a-single-space-in-it-that-nobody-would-write",
        scenario="scenario-" * 12,
        policies=[change(policy, name=long + "x" * k) for k, policy in enumerate(data.policies)],
        run=change(data.run, zones=[change(zone, name=zone.zone + "长" * 30) for zone in data.run.zones]),
    )
    driver = opened(render(wordy), width=390)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390


def test_the_policy_table_sorts_both_ways_and_keeps_unknown_last(opened: Open, data: ReportData) -> None:
    unknown = PolicyResult(name="mystery", summary={"currency": "CNY"})
    driver = opened(render(msgspec.structs.replace(data, policies=[unknown, *data.policies])))

    def order(column: int) -> list[str]:
        driver.execute_script(f"document.querySelectorAll('#policy-table th[scope=col] button')[{column}].click()")
        found: list[str] = driver.execute_script(
            "return [...document.querySelectorAll('#policy-table tbody th')].map((cell) => cell.dataset.v)"
        )
        return found

    by_name, by_name_down = order(0), order(0)
    assert by_name == sorted(by_name)
    assert by_name_down == by_name[::-1]
    energy = {policy.name: policy.summary.get("cost", {}).get("energy") for policy in data.policies}
    up, down = order(2), order(2)
    assert up[:-1] == sorted(energy, key=lambda name: energy[name])
    assert down[:-1] == up[:-1][::-1]
    assert up[-1] == down[-1] == "mystery"
    assert driver.execute_script("return document.querySelectorAll('#policy-table [aria-sort=descending]').length") == 1


def test_the_theme_button_repaints_the_plots(opened: Open, page: str) -> None:
    driver = opened(page)
    look = "return [document.documentElement.dataset.theme, document.querySelector('#heat-price canvas').toDataURL()]"
    before, picture = driver.execute_script(look)
    driver.execute_script("document.getElementById('theme').click()")
    after, repainted = driver.execute_script(look)
    assert (before, after) == ("light", "dark")
    assert picture != repainted
    driver.execute_script("document.getElementById('theme').click()")
    assert driver.execute_script(look) == [before, picture]
    assert logs(driver).console == []


def test_printing_is_light_whatever_the_screen_is(opened: Open, page: str) -> None:
    driver = opened(page, dark=True)
    driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert driver.execute_script("return document.querySelector('#prices-chart canvas').clientWidth") < 980
    assert driver.execute_script("return document.documentElement.dataset.theme") == "light"
    driver.execute_script("dispatchEvent(new Event('afterprint'))")
    assert driver.execute_script("return document.documentElement.dataset.theme") == "dark"


def test_zones_are_picked_and_dropped_and_an_empty_pick_says_so(opened: Open, page: str) -> None:
    driver = opened(page)
    pressed = "#prices-pick [aria-pressed=true]"
    assert count(driver, pressed) == 4
    driver.execute_script(f"document.querySelectorAll('{pressed}').forEach((chip) => chip.click())")
    assert text(driver, "#prices-chart") == "Pick a zone."
    driver.execute_script("document.querySelector('#prices-pick button').click()")
    assert count(driver, "#prices-chart .uplot") == 1
    assert logs(driver).console == []


def test_map_switches_hide_tiers_and_flows_and_bubbles_tell_their_figures(opened: Open, page: str) -> None:
    driver = opened(page)
    driver.execute_script("document.querySelector('#map-controls [data-value=edge]').click()")
    assert count(driver, "#map-chart .bubble") < 63
    driver.execute_script("document.querySelector('#map-controls [data-value=move]').click()")
    assert count(driver, "#map-chart .flow.move") == 0
    for choice in ("carbon", "tier", "core"):
        driver.execute_script(f"document.querySelector('#map-controls [data-value={choice}]').click()")
    driver.execute_script(
        "document.querySelector('.bubble:not(.idle)').dispatchEvent("
        "new PointerEvent('pointermove', {bubbles: true, clientX: 400, clientY: 300}))"
    )
    assert "Mean price" in text(driver, "#tip")
    assert logs(driver).console == []


def test_cells_of_a_heat_map_are_read_with_the_arrow_keys(opened: Open, page: str, data: ReportData) -> None:
    driver = opened(page)
    press = (
        "document.querySelector('#heat-load canvas').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
    )
    driver.execute_script(f"{press}; {press}")
    said = text(driver, "#tip")
    assert "1 Jan 00:30 to 00:45" in said
    assert "kW" in said
    assert any(zone.name in said for zone in data.run.zones)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_run_without_anything_says_so_and_breaks_nothing(opened: Open, data: ReportData, dark: bool) -> None:
    driver = opened(render(empty(data)), dark=dark)
    said = logs(driver)
    assert said.console == []
    assert count(driver, ".none") >= 8
    assert "No policy was run" in text(driver, "main")
    assert "NaN" not in text(driver, "body")
    assert "Infinity" not in text(driver, "body")


def test_partly_empty_runs_break_nothing(opened: Open, data: ReportData, made_up: ModuleType) -> None:
    change = msgspec.structs.replace
    nowhere = [change(cluster, lat=None, lon=None, carbon_kg=None, mean_price=None) for cluster in data.clusters]
    blind = [change(z, price=[None] * 96, carbon=[None] * 96, load_kw=[0.0] * 96) for z in data.run.zones]
    variants = [
        change(data, policies=data.policies[:1]),
        change(data, policies=[PolicyResult(name="price", summary={})]),
        change(data, clusters=nowhere),
        change(data, clusters=data.clusters[:1], flows=[]),
        change(data, run=change(data.run, zones=blind, gap=[None] * 96)),
        change(data, run=change(data.run, zones=[])),
        made_up.synthetic(windows=1, zones=1, clusters=1),
    ]
    for variant in variants:
        driver = opened(render(variant))
        assert logs(driver).console == []
        assert "NaN" not in text(driver, "body")
        assert "undefined" not in text(driver, "body")


def test_names_that_look_like_markup_stay_text(opened: Open, data: ReportData) -> None:
    bad = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><!--"
    change = msgspec.structs.replace
    hostile = change(
        data,
        title=bad,
        scenario=bad,
        currency="<b>CNY",
        generated_by=bad,
        policies=[change(policy, name=bad + policy.name) for policy in data.policies],
        run=change(data.run, zones=[change(zone, name=bad + zone.zone) for zone in data.run.zones]),
        clusters=[change(cluster, name=bad, tier="<i>edge", zone=bad) for cluster in data.clusters],
        flows=[change(flow, src=bad) for flow in data.flows],
    )
    driver = opened(render(hostile))
    assert driver.title == bad
    assert count(driver, "img") == 0
    assert count(driver, "script") == 3
    assert bad in text(driver, "#clusters-table") or count(driver, "#clusters-table tbody tr") == 64
    assert logs(driver).console == []
