"""The policy table as HTML: complete and readable without a script, which only adds sorting."""

from collections.abc import Callable, Iterable, Sequence
from html import escape

import msgspec

from streams.report import format as fmt
from streams.report.compare import same_work
from streams.report.summary import Number, Row, Spread


class Column(msgspec.Struct, frozen=True):
    """A figure of a policy: how to get and print it, and which end is better (-1 low, 1 high, 0 neither).

    ``text`` is also told the largest figure of the column, so that all of them have the same decimals.
    """

    group: str
    label: str
    unit: str
    get: Callable[[Row], Number]
    text: Callable[[Number, float], str]
    better: int = -1
    hint: str = ""


def columns(currency: str) -> list[Column]:
    """Return the columns of the comparison in reading order."""
    per_h = f"{currency}/h"
    return [
        Column("Cost", "Total", currency, lambda r: r.summary.cost.total, _amount, -1,
               "energy + network + moves + penalty for undelivered work"),
        Column("Cost", "Energy", currency, lambda r: r.summary.cost.energy, _amount),
        Column("Cost", "Network", currency, lambda r: r.summary.cost.network, _amount),
        Column("Cost", "Moves", currency, lambda r: r.summary.cost.moves, _amount),
        Column("Cost", "Penalty", currency, lambda r: r.summary.cost.penalty, _amount),
        Column("Cost per delivered", "Accel.-hour", per_h, lambda r: r.summary.unit_cost.accelerator_h, _plain, -1,
               "energy, network and moves of work on accelerators, per hour of one"),
        Column("Cost per delivered", "Core-hour", per_h, lambda r: r.summary.unit_cost.core_h, _plain, -1,
               "energy, network and moves of work without accelerators, per core-hour"),
        Column("Delivered", "Share", "%", lambda r: r.summary.delivered.share, _share, 1,
               "of the work asked for; policies are compared only where shares differ by at most 0.1 %"),
        Column("Delivered", "Missed", "deadlines", lambda r: r.summary.tasks.missed_deadline, _count),
        Column("Delivered", "Unplaced", "tasks", lambda r: r.summary.tasks.unplaced, _count),
        Column("Energy and carbon", "Energy", "kWh", lambda r: r.summary.energy_kwh, _plain),
        Column("Energy and carbon", "Location", "kg CO₂", lambda r: r.summary.carbon_kg.location, _plain, -1,
               "carbon by the grid of the place"),
        Column("Energy and carbon", "Market", "kg CO₂", lambda r: r.summary.carbon_kg.market, _plain, -1,
               "carbon by contracts and certificates"),
        Column("Latency", "RTT p50", "ms", lambda r: r.summary.rtt_ms.p50, _plain, -1, "weighted by task-hours"),
        Column("Latency", "RTT p95", "ms", lambda r: r.summary.rtt_ms.p95, _plain, -1, "weighted by task-hours"),
        Column("Latency", "In limit", "%", lambda r: r.summary.slo, _share, 1,
               "SLO: task-hours within their latency limit, of all task-hours with a limit"),
        Column("Wait", "p50", "", lambda r: r.summary.wait_s.p50, _wait, -1, "submitted to started"),
        Column("Wait", "p95", "", lambda r: r.summary.wait_s.p95, _wait, -1, "submitted to started"),
        Column("Moves", "Count", "tasks", lambda r: r.summary.moves, _count, 0),
    ]  # fmt: skip


def _share(value: Number, _largest: float) -> str:
    return fmt.percent(value, 2)


def _amount(value: Number, largest: float) -> str:
    return fmt.number(value, 0 if largest >= 10_000 or value == 0 else 2)


def _plain(value: Number, largest: float) -> str:
    return fmt.number(value, fmt.digits(largest))


def _count(value: Number, _largest: float) -> str:
    return fmt.count(value)


def _wait(value: Number, _largest: float) -> str:
    return fmt.duration(value)


def policy_table(rows: Sequence[Row], main: Row, currency: str) -> str:
    """Return the comparison as a table; the best known figure among equal work is marked in each column.

    Cheapest first, unknown costs last.
    """
    cols = columns(currency)
    body = "".join(_row(row, main, rows, cols) for row in sorted(rows, key=_by_total))
    return (
        '<table class="grid sortable" id="policy-table"><caption class="sr">Policies on the same events</caption>'
        f'<thead>{_groups(cols)}<tr><th scope="col" class="first">{_sort_button("Policy", "")}</th>'
        f"{''.join(_head(i, cols) for i in range(len(cols)))}</tr></thead><tbody>{body}</tbody></table>"
    )


def _by_total(row: Row) -> float:
    return float("inf") if row.summary.cost.total is None else row.summary.cost.total


def _groups(cols: Sequence[Column]) -> str:
    cells = ['<td class="first"></td>']
    for i, col in enumerate(cols):
        if _opens(i, cols):
            width = sum(other.group == col.group for other in cols)
            cells.append(f'<th scope="colgroup" colspan="{width}" class="open">{escape(col.group)}</th>')
    return f'<tr class="groups">{"".join(cells)}</tr>'


def _opens(i: int, cols: Sequence[Column]) -> bool:
    return i == 0 or cols[i - 1].group != cols[i].group


def _head(i: int, cols: Sequence[Column]) -> str:
    col = cols[i]
    hint = f' title="{escape(col.hint)}"' if col.hint else ""
    sort = ' aria-sort="ascending"' if i == 0 else ""
    return f'<th scope="col" class="num{_open_class(i, cols)}"{hint}{sort}>{_sort_button(col.label, col.unit)}</th>'


def _open_class(i: int, cols: Sequence[Column]) -> str:
    return " open" if _opens(i, cols) else ""


def _sort_button(label: str, unit: str) -> str:
    small = f"<small>{escape(unit)}</small>" if unit else ""
    return f'<button type="button"><span>{escape(label)}</span>{small}</button>'


def _row(row: Row, main: Row, rows: Sequence[Row], cols: Sequence[Column]) -> str:
    equal = row is main or same_work(main, row)
    tags = '<span class="tag">this run</span>' if row is main else ""
    if not equal:
        tags += '<span class="tag warn">other share</span>'
    kind = ' class="main"' if row is main else "" if equal else ' class="unequal"'
    cells = "".join(_cell(row, main, rows, i, cols) for i in range(len(cols)))
    return (
        f'<tr{kind}><th scope="row" class="first" data-v="{escape(row.name)}">{label(row.name)}{tags}</th>{cells}</tr>'
    )


def label(name: str) -> str:
    """Return a name, allowed to break where it would widen the column too much."""
    kind = ' class="long"' if len(name) > 24 else ""
    return f"<span{kind}>{escape(name)}</span>"


def _cell(row: Row, main: Row, rows: Sequence[Row], i: int, cols: Sequence[Column]) -> str:
    col, value = cols[i], cols[i].get(row)
    if value is None:
        return f'<td class="num unknown{_open_class(i, cols)}" data-v="">{fmt.UNKNOWN}</td>'
    largest = max(abs(v) for v in map(col.get, rows) if v is not None)
    best = _best(col, [other for other in rows if other is main or same_work(main, other)])
    mark = " best" if best is not None and value == best and (row is main or same_work(main, row)) else ""
    return f'<td class="num{mark}{_open_class(i, cols)}" data-v="{value!r}">{escape(col.text(value, largest))}</td>'


def _best(col: Column, equal: Iterable[Row]) -> Number:
    """Return the best figure where it says something: known for two or more, and not shared by most."""
    values = [value for value in map(col.get, equal) if value is not None]
    if col.better == 0 or len(values) < 2:
        return None
    best = min(values) if col.better < 0 else max(values)
    return best if values.count(best) <= len(values) / 2 else None


def wait_table(rows: Sequence[Row]) -> str:
    """Return waits by kind of task, one row a policy; empty where no kind is known."""
    kinds = sorted({kind for row in rows for kind in row.summary.wait_s.by_kind})
    if not kinds:
        return ""
    top = "".join(f'<th scope="colgroup" colspan="2" class="open">{escape(kind)}</th>' for kind in kinds)
    sub = '<th scope="col" class="num open">p50</th><th scope="col" class="num">p95</th>' * len(kinds)
    body = "".join(_wait_row(row, kinds) for row in rows)
    return (
        '<table class="grid"><caption class="sr">Wait from submitted to started, by kind of task</caption><thead>'
        f'<tr><td class="first"></td>{top}</tr><tr><th scope="col" class="first">Policy</th>{sub}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )


def _wait_row(row: Row, kinds: Sequence[str]) -> str:
    cells = ""
    for kind in kinds:
        spread = row.summary.wait_s.by_kind.get(kind, Spread())
        cells += f'<td class="num open">{fmt.duration(spread.p50)}</td><td class="num">{fmt.duration(spread.p95)}</td>'
    return f'<tr><th scope="row" class="first">{label(row.name)}</th>{cells}</tr>'
