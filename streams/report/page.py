"""Put a report together: one HTML file with its style, script, land outline and data inside, asking for nothing else."""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

import msgspec

from streams.report import format as fmt
from streams.report import table, words
from streams.report.compare import headline, same_work
from streams.report.data import ReportData
from streams.report.insight import interesting, load_follows_price, zone_figures
from streams.report.summary import Row, read_row
from streams.report.thin import check_run, thin_clusters, thin_flows, thin_run

SCRIPTS = (
    "vendor/uPlot.iife.min.js", "start.js", "time.js", "theme.js", "tip.js", "costs.js", "waits.js", "lines.js",
    "heat.js", "project.js", "map.js", "tables.js", "main.js",
)  # fmt: skip
STYLES = ("vendor/uPlot.min.css", "report.css")


@cache
def asset(name: str) -> str:
    """Return a file of this package's ``assets`` folder."""
    return files("streams.report").joinpath("assets", *name.split("/")).read_text(encoding="utf-8")


def render(data: ReportData) -> str:
    """Return ``data`` as a self-contained HTML page.

    Every string of ``data`` is escaped; the page's content policy runs only the script it was made with and forbids
    any request, so a name in the data can neither break the page nor fetch something.

    Raises:
        msgspec.ValidationError: A summary holds a figure of the wrong type.
        ValueError: A list of the run does not have one value a window.
    """
    check_run(data.run)
    rows = [read_row(policy) for policy in data.policies]
    head = headline(rows)
    main = head.main if head is not None else None
    script = _script()
    empty = '<p class="none">No policy was run.</p>'
    parts = {
        "csp": "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "title": escape(data.title),
        "scenario": escape(data.scenario),
        "span": _span(data),
        "style": "\n".join(asset(name) for name in STYLES),
        "headline": words.headline_html(head, data.currency),
        "tiles": words.key_figures(head.main, head.baseline, data.currency) if head is not None else "",
        "policies": table.policy_table(rows, main, data.currency) if main is not None else empty,
        "waits": table.wait_table(rows),
        "provenance": words.provenance(data, rows),
        "data": _embedded(_payload(data, rows)),
        "land": _embedded_text(asset("land.json")) if _has_places(data) else "null",
        "script": script,
    }
    return re.sub(r"<!--\{(\w+)\}-->", lambda slot: parts[slot[1]], asset("report.html"))


def _script() -> str:
    """Return the page's script in one closure, with the licence of what is not ours."""
    notice = asset("vendor/uPlot-LICENSE.txt")
    parts = "\n".join(asset(name) for name in SCRIPTS)
    return f'/*! uPlot, a part of this script:\n{notice}*/\n(() => {{"use strict";\n{parts}\n}})();'


def _span(data: ReportData) -> str:
    offset = data.timezone_offset_min
    hours = (data.end_ms - data.t0_ms) / 3.6e6
    length = fmt.duration(hours * 3_600)
    return (
        f"{fmt.moment(data.t0_ms, offset)} to {fmt.moment(data.end_ms, offset)} "
        f"({fmt.zone_name(offset)}) · {length} in windows of {fmt.duration(data.window_ms / 1_000)}"
    )


def _has_places(data: ReportData) -> bool:
    return any(cluster.lat is not None and cluster.lon is not None for cluster in data.clusters)


def _payload(data: ReportData, rows: Sequence[Row]) -> dict[str, Any]:
    run, step = thin_run(data.run)
    zones = zone_figures(data.run, data.window_ms)
    main = rows[0] if rows else None
    clusters = thin_clusters(data.clusters)
    return {
        "currency": data.currency,
        "t0_ms": data.t0_ms,
        "end_ms": data.end_ms,
        "step_ms": data.window_ms * step,
        "window_ms": data.window_ms,
        "offset_min": data.timezone_offset_min,
        "offset": fmt.zone_name(data.timezone_offset_min),
        "rows": [_policy(row, main) for row in rows],
        "run": run,
        "zones": zones,
        "picked": interesting(zones),
        "follows": load_follows_price(data.run),
        "clusters": clusters,
        "clusters_left_out": len(data.clusters) - len(clusters),
        "flows": thin_flows(data.flows),
        "flows_given": len(data.flows),
    }


def _policy(row: Row, main: Row | None) -> dict[str, Any]:
    cost = row.summary.cost
    return {
        "name": row.name,
        "main": row is main,
        "equal": main is not None and (row is main or same_work(main, row)),
        "cost": {"energy": cost.energy, "network": cost.network, "moves": cost.moves, "penalty": cost.penalty},
        "total": cost.total,
        "share": row.summary.delivered.share,
        "wait": row.summary.wait_s.by_kind,
    }


def _embedded(payload: dict[str, Any]) -> str:
    return _embedded_text(msgspec.json.encode(payload).decode())


def _embedded_text(text: str) -> str:
    """Return JSON that can stand inside a script element: no character of it can end the element or open a comment."""
    for sign in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
