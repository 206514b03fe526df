"""The sentences of a report: the headline, the key figures and where the run came from, as escaped HTML."""

from collections.abc import Callable, Sequence
from html import escape

from streams.report import format as fmt
from streams.report import table
from streams.report.compare import Headline, same_work
from streams.report.data import ReportData
from streams.report.summary import Number, Row


def headline_html(head: Headline | None, currency: str) -> str:
    """Return the opening sentence: a saving where work was equal, else both results and no claim."""
    if head is None:
        return "<h1>No policy was run.</h1>"
    return (
        f"<h1>{_claim(head, currency)}</h1>{_support(head, currency)}{_cheaper(head, currency)}{_violated(head.main)}"
    )


def _claim(head: Headline, currency: str) -> str:
    name = _name(head.main)
    total = head.main.summary.cost.total
    if total is None:
        return f"What {name} cost is unknown."
    if head.baseline is None:
        return f"{name} ran this work for <em>{_money(total, currency)}</em>."
    other = _name(head.baseline)
    if head.saving is None:
        return f"No saving is claimed: {_why_not(head.main, head.baseline, name, other)}."
    if head.saving == 0:
        return f"{name} cost <em>the same</em> as the best baseline, {other}."
    size = _money(abs(head.saving), currency) if head.fraction is None else fmt.percent(abs(head.fraction))
    side, tone = ("less", "good") if head.saving > 0 else ("more", "bad")
    return f'{name} cost <em class="{tone}">{size} {side}</em> than the best baseline, for the same work.'


def _why_not(main: Row, baseline: Row, name: str, other: str) -> str:
    if main.summary.currency != baseline.summary.currency:
        return f"{name} and {other} were paid in different currencies"
    if main.summary.delivered.share is None or baseline.summary.delivered.share is None:
        return f"how much of the work {name} and {other} delivered is not known for both"
    return f"{name} and {other} did not deliver the same share of the work"


def _support(head: Headline, currency: str) -> str:
    items = [_result(head.main, currency, "main")]
    if head.baseline is not None:
        label = "best baseline on equal work" if head.saving is not None else "cheapest baseline, other work"
        items.append(_result(head.baseline, currency, "", label))
    return f'<div class="duel">{"".join(items)}</div>'


def _result(row: Row, currency: str, kind: str, label: str = "this run") -> str:
    return (
        f'<p class="{kind}"><span class="who">{_name(row)}<small>{label}</small></span>'
        f"<span class=sum>{_money(row.summary.cost.total, currency)}</span>"
        f"<small>delivered {fmt.percent(row.summary.delivered.share, 2)} of the work</small></p>"
    )


def _cheaper(head: Headline, currency: str) -> str:
    shown = [row for row in head.cheaper if row is not head.baseline]
    if not shown:
        return ""
    parts = ", ".join(
        f"{_name(row)} ({_money(row.summary.cost.total, currency)}, "
        f"{fmt.percent(row.summary.delivered.share, 2)} delivered)"
        for row in shown
    )
    return f'<p class="note">Cheaper, but other work was delivered, so not compared: {parts}.</p>'


def _violated(main: Row) -> str:
    count = main.summary.violations
    if not count:
        return ""
    return f'<p class="note">{fmt.count(count)} hard constraints were violated in this run.</p>'


def _name(row: Row) -> str:
    return f"<b class=policy>{escape(row.name)}</b>"


def _money(value: Number, currency: str) -> str:
    return fmt.UNKNOWN if value is None else f"{fmt.money(value)}&nbsp;{escape(currency)}"


def key_figures(main: Row, baseline: Row | None, currency: str) -> str:
    """Return the main policy's figures as tiles, with their distance to the baseline where work was equal."""
    against = baseline if baseline is not None and same_work(main, baseline) else None
    s = main.summary

    def change(get: Callable[[Row], Number]) -> str:
        return "" if against is None else _delta(get(main), get(against))

    tiles = [
        _tile("Cost per delivered accelerator-hour", _money(main.summary.unit_cost.accelerator_h, currency),
              f"per core-hour {_money(main.summary.unit_cost.core_h, currency)}", change(lambda r: r.summary.unit_cost.accelerator_h)),
        _tile("Energy", fmt.energy(s.energy_kwh), _unpriced(main), change(lambda r: r.summary.energy_kwh)),
        _tile("Carbon, location-based", fmt.mass(s.carbon_kg.location), f"market-based {fmt.mass(s.carbon_kg.market)}",
              change(lambda r: r.summary.carbon_kg.location)),
        _tile("Tasks finished", fmt.count(s.tasks.finished),
              f"of {fmt.count(s.tasks.submitted)}; {fmt.count(s.tasks.missed_deadline)} missed a deadline"),
        _tile("Round trip, 95th percentile", _unit(s.rtt_ms.p95, "ms"), f"median {_unit(s.rtt_ms.p50, 'ms')}",
              change(lambda r: r.summary.rtt_ms.p95)),
        _tile("Within the latency limit", fmt.percent(s.slo, 2), "of task-hours with a limit"),
        _tile("Wait, 95th percentile", fmt.duration(s.wait_s.p95), f"median {fmt.duration(s.wait_s.p50)}",
              change(lambda r: r.summary.wait_s.p95)),
        _tile("Moves", fmt.count(s.moves), f"cost {_money(s.cost.moves, currency)}"),
    ]  # fmt: skip
    note = ""
    if against is not None:
        note = f'<p class="tiles-note">Arrows compare with {_name(against)}, the best baseline on equal work.</p>'
    return f'<dl class="tiles">{"".join(tiles)}</dl>{note}'


def _tile(label: str, value: str, note: str = "", delta: str = "") -> str:
    unknown = ' class="unknown"' if value == fmt.UNKNOWN else ""
    small = f"<dd class=note>{note}</dd>" if note else ""
    return f"<div><dt>{label}</dt><dd{unknown}>{value}{delta}</dd>{small}</div>"


def _delta(mine: Number, other: Number) -> str:
    """Return the distance to the baseline; every figure it is asked for is better when lower."""
    if mine is None or other is None or other <= 0 or mine < 0 or mine == other:
        return ""
    change = mine / other - 1
    tone, arrow, side = ("good", "▼", "less") if change < 0 else ("bad", "▲", "more")
    text = fmt.percent(abs(change))
    return f' <span class="delta {tone}"><span aria-hidden="true">{arrow}</span> {text}<span class="sr"> {side}</span></span>'


def _unpriced(main: Row) -> str:
    unpriced = main.summary.unpriced_kwh
    return f"of it {fmt.energy(unpriced)} outside known prices" if unpriced else ""


def _unit(value: Number, unit: str) -> str:
    return fmt.number(value) if value is None else f"{fmt.number(value)} {unit}"


def provenance(data: ReportData, rows: Sequence[Row]) -> str:
    """Return where the figures came from: scenario, seed, version, windows, and each run's hashes."""
    offset = data.timezone_offset_min
    facts = [
        ("Scenario", escape(data.scenario)),
        ("Generated by", escape(data.generated_by)),
        ("Seed", str(data.seed)),
        ("From", f"{_time(data.t0_ms, offset)} <time>({fmt.zone_name(offset)})</time>"),
        ("To", f"{_time(data.end_ms, offset)} <time>({fmt.zone_name(offset)})</time>"),
        ("In UTC", f"{_time(data.t0_ms, 0)} to {_time(data.end_ms, 0)}"),
        ("Windows", f"{len(data.run.t_ms):,} of {fmt.duration(data.window_ms / 1000)}"),
        ("Currency", escape(data.currency)),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    head = "".join(
        f'<th scope="col" class="{kind}">{name}</th>'
        for name, kind in (
            ("Policy", "first"), ("Events", "num"), ("Windows", "num"), ("Decisions", "num"), ("Violations", "num"),
            ("Took", "num"), ("Events/s", "num"), ("State sha256", ""), ("Decisions sha256", ""),
        )
    )  # fmt: skip
    body = "".join(_origin(row) for row in rows)
    return (
        f'<dl class="facts">{listed}</dl><div class="scroll" tabindex="0" role="region" '
        f'aria-label="Runs and their hashes"><table class="grid"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _time(t_ms: int, offset_min: int) -> str:
    return f"<time>{fmt.moment(t_ms, offset_min)}</time>"


def _origin(row: Row) -> str:
    s = row.summary
    numbers = (fmt.count(s.events), fmt.count(s.windows), fmt.count(s.decisions), fmt.count(s.violations),
               fmt.duration(s.wall_s), fmt.count(s.events_per_s))  # fmt: skip
    cells = "".join(f'<td class="num">{text}</td>' for text in numbers)
    hashes = "".join(
        f"<td><code>{escape(text)}</code></td>" if text else f'<td class="unknown">{fmt.UNKNOWN}</td>'
        for text in (s.state_sha256, s.decisions_sha256)
    )
    return f'<tr><th scope="row" class="first">{table.label(row.name)}</th>{cells}{hashes}</tr>'
