"""``cpn demo``: the built-in scenario under our policy and the baselines, side by side on the same events."""

import shutil
import webbrowser
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from producers.assemble import assemble
from producers.log import DEFAULT_PARTITIONS, LogWriter
from producers.scenario import Scenario, generate, preset_names
from streams.cli.output import JsonFlag, command, out, print_json, progress, window_length_ms
from streams.cli.side_by_side import Job, run_all
from streams.report import PolicyResult, ReportData, render
from streams.series import RunHistory
from twin.dispatch.policy import Policy
from twin.errors import ConfigError, StoreError

BASELINES = (
    "stay",
    "round-robin",
    "first-fit",
    "latency-first",
    "price-greedy",
    "carbon-greedy",
    "cost-greedy",
)
MARK = ".cpn-demo"
"""A file that says a folder is a demo's and may be replaced by the next demo."""


@command
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the log, the runs and the report.")] = Path(
        "cpn-demo"
    ),
    preset: Annotated[str, typer.Option(help="Built-in scenario: " + ", ".join(preset_names()) + ".")] = "edwc",
    policy: Annotated[str, typer.Option(help="The policy the baselines are held against.")] = "price",
    baseline: Annotated[
        list[str] | None, typer.Option(help="Another baseline; may be given again. Default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the scenario.")] = 1,
    hours: Annotated[int | None, typer.Option(help="Length in simulated hours; default: the scenario's own.")] = None,
    window: Annotated[str, typer.Option(help="Length of a window, such as 5m or 15m.")] = "15m",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 2,
    show: Annotated[bool, typer.Option("--open", help="Open the report in a browser.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Run the built-in day of the computing power network under several policies and write a report.

    Examples:
      cpn demo

      cpn demo --preset tiny --baseline stay --out /tmp/tiny --json
    """
    names = [policy, *(baseline or BASELINES)]
    policies = list({Policy.parse(name).label(): Policy.parse(name) for name in names}.values())
    scenario = generate(preset, seed=seed, hours=hours, window_ms=window_length_ms(window))
    _make_room(folder)
    write_log(scenario, folder / "events")
    windows = len(policies) * ((scenario.end - scenario.t0) // scenario.window_ms)
    with progress(quiet=as_json) as bar:
        task = bar.add_task(f"{len(policies)} policies on the same events", total=windows)
        todo = [_job(folder, chosen, scenario.end, main=chosen is policies[0]) for chosen in policies]
        outcomes = run_all(todo, at_once=jobs, on_window=lambda: bar.advance(task))
    summaries = {label: outcome.summary for label, outcome in outcomes.items()}
    main = outcomes[policies[0].label()]
    report = folder / "report.html"
    result = {"scenario": scenario.name, "seed": seed, "folder": str(folder), "policies": summaries}
    _write(folder / "summary.json", orjson.dumps(result, option=orjson.OPT_INDENT_2))
    if main.history is not None:
        data = report_data(
            scenario, seed, [PolicyResult(name=k, summary=v) for k, v in summaries.items()], main.history
        )
        _write(report, render(data).encode())
    if as_json:
        print_json(result)
    else:
        out.print(*comparison(list(summaries.values())), sep="\n")
        _explain(summaries, policies[0].label())
        out.print(escape(f"report: {report}\nruns, decisions and the run log: {folder}"), soft_wrap=True)
    if show:
        webbrowser.open(report.resolve().as_uri())


def _job(folder: Path, policy: Policy, until: int, *, main: bool) -> Job:
    """The run of one policy; the main one keeps its run log and what the report needs."""
    name = policy.label().replace(":", "-").replace("=", "").replace(",", "-")
    out_folder = folder / "run" if main else folder / "baselines" / name
    return Job(label=policy.label(), log=folder / "events", out=out_folder, until=until, main=main)


def write_log(scenario: Scenario, path: Path) -> None:
    """Write the scenario's events as an event log."""
    meta = {"name": scenario.name, "t0": scenario.t0, "window_ms": scenario.window_ms, **scenario.meta}
    with LogWriter(path, DEFAULT_PARTITIONS, meta=meta) as writer:
        assemble(
            scenario.events,
            writer,
            t0=scenario.t0,
            end=scenario.end,
            window_ms=scenario.window_ms,
            lateness_ms=scenario.lateness_ms,
            max_ahead_ms=scenario.max_ahead_ms,
        )


# ----------------------------------------------------------------------------------------------------- the outcome


def report_data(scenario: Scenario, seed: int, policies: list[PolicyResult], history: RunHistory) -> ReportData:
    """What the report shows."""
    return ReportData(
        title=scenario.meta.get("title", scenario.name),
        scenario=scenario.meta.get("description", scenario.name),
        currency=scenario.meta["currency"],
        t0_ms=scenario.t0,
        end_ms=scenario.end,
        window_ms=scenario.window_ms,
        timezone_offset_min=int(scenario.meta.get("timezone_offset_min", 480)),
        seed=seed,
        generated_by=f"cpn-twin {version('cpn-twin')}",
        policies=policies,
        run=history.run,
        clusters=history.clusters,
        flows=history.flows,
    )


def comparison(summaries: list[dict[str, Any]]) -> list[Table]:
    """Policies side by side, cheapest total first: what they cost, and what they delivered."""
    ranked = sorted(summaries, key=lambda s: float(s["cost"]["total"]))
    unit = summaries[0]["currency"]
    money = _table(
        f"the same events; {unit}, last two per delivered accelerator-hour and core-hour",
        ("total", "energy", "network", "moves", "penalty", "acc-h", "core-h"),
    )
    work = _table(
        "what was delivered for it; RTT is p50/p95 by task-hours",
        ("delivered", "late", "t CO2e", "RTT ms", "SLO", "moved", "viol."),
    )
    for s in ranked:
        cost, carbon, rtt = s["cost"], s["carbon_kg"]["location"], s["rtt_ms"]
        money.add_row(
            s["policy"],
            *(f"{cost[part]:,.0f}" for part in ("total", "energy", "network", "moves", "penalty")),
            _number(s["unit_cost"]["accelerator_h"], 3),
            _number(s["unit_cost"]["core_h"], 4),
        )
        work.add_row(
            s["policy"],
            f"{s['delivered']['share']:.2%}",
            f"{s['tasks']['missed_deadline']:,}",
            _number(None if carbon is None else carbon / 1000, 2),
            f"{_number(rtt['p50'], 1)}/{_number(rtt['p95'], 1)}",
            "–" if s["slo"] is None else f"{s['slo']:.2%}",
            f"{s['moves']:,}",
            f"{s['violations']:,}",
        )
    return [money, work]


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("policy", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def waits(summaries: list[dict[str, Any]]) -> Table:
    """Wait by kind of task, p50 / p95 in minutes."""
    kinds = sorted({kind for s in summaries for kind in s["wait_s"]["by_kind"]})
    table = _table("wait from submission to start, p50 / p95 in minutes", tuple(kinds))
    for s in sorted(summaries, key=lambda s: float(s["cost"]["total"])):
        by_kind = s["wait_s"]["by_kind"]
        table.add_row(s["policy"], *(_minutes(by_kind.get(kind)) for kind in kinds))
    return table


def _minutes(of: dict[str, Any] | None) -> str:
    if not of or of["p50"] is None:
        return "–"
    return f"{of['p50'] / 60:,.1f} / {of['p95'] / 60:,.1f}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _explain(summaries: dict[str, dict[str, Any]], main: str) -> None:
    """Print the waits and one sentence on the saving, if one may be claimed."""
    out.print(waits(list(summaries.values())))
    ours = summaries[main]
    others = {name: s for name, s in summaries.items() if name != main}
    if not others:
        return
    best = min(others, key=lambda name: float(others[name]["cost"]["total"]))
    ours_name, best_name = escape(main), escape(best)
    total, theirs = float(ours["cost"]["total"]), float(others[best]["cost"]["total"])
    shares = ours["delivered"]["share"], others[best]["delivered"]["share"]
    if None not in shares and abs(shares[0] - shares[1]) > 0.001:
        out.print(
            f"{ours_name} delivers {shares[0]:.2%}, {best_name} {shares[1]:.2%} of the work: "
            "not the same work, so no saving is claimed"
        )
    elif theirs:
        word = "below" if total <= theirs else "above"
        out.print(
            f"{ours_name} costs {abs(theirs - total) / abs(theirs):.2%} {word} the best baseline ({best_name}) "
            "for the same work"
        )


def _make_room(folder: Path) -> None:
    """Replace the last demo's folder; refuse to touch anything else."""
    try:
        if folder.exists():
            if any(folder.iterdir()) and not (folder / MARK).exists():
                raise ConfigError(f"{folder} is not empty and no demo's folder; choose another with --out")
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / MARK).touch()
    except OSError as error:
        raise StoreError(f"{error.filename or folder}: {error.strerror or error}") from error


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


__all__ = ["comparison", "demo", "write_log"]
