"""``cpn replay``: run an event log through the twin, with the recorded answers or with the plant's."""

import tomllib
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from rich.table import Table

from producers.log import LogReader
from producers.pace import Pace
from streams.cli.output import JsonFlag, command, err, instant_ms, iso, out, print_json, progress, window_length_ms
from streams.cli.runs import RunRequest, execute, log_folder
from twin.dispatch.policy import POLICIES, Policy
from twin.dispatcher import DEFAULT_POLICY, Window
from twin.errors import ConfigError

POLICY_HELP = (
    "NAME or NAME:KEY=VALUE,… or a TOML/JSON file. Names: " + ", ".join(POLICIES) + ". "
    "pinned:ZONE_OR_CLUSTER sends everything to one place."
)


@command
def replay(
    log: Annotated[Path, typer.Argument(help="Folder of an event log, or of a run (its log/ is taken).")],
    policy: Annotated[str | None, typer.Option(help=POLICY_HELP)] = None,
    window: Annotated[str | None, typer.Option(help="Length of the windows of a closed loop, such as 5m.")] = None,
    speed: Annotated[str, typer.Option(help="max, or a factor such as 60x: an hour of the log in a minute.")] = "max",
    until: Annotated[str | None, typer.Option(help="Stop at the window that ends here: ISO 8601 or epoch ms.")] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Write run log, decisions, windows, dead letters here.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Handed to dispatch: which way equal shares are rounded.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Replay LOG: fold every event, decide at every window, bill every kWh.

    A log with recorded answers, replayed with its recorded policy (no --policy), runs open loop: the same input, the
    same decisions. Any other policy leaves the answers out and lets the simulated clusters answer.

    Examples:
      cpn replay logs/europe --policy pinned:NL

      cpn replay logs/europe --policy price:break_even_h=2 --window 15m --out runs/price --json
    """
    request = plan(log, policy, window=window, until=until, folder=folder, seed=seed, overwrite=overwrite)
    pace = Pace(speed)
    reader = LogReader(request.log)
    windows = _expected_windows(reader, request)
    with progress(quiet=as_json) as bar:
        task = bar.add_task(f"replay {request.policy.label()}", total=windows)

        def on_window(done: Window) -> None:
            bar.advance(task)
            pace.wait(done.record.end)

        summary = execute(request, on_window=on_window)
    if as_json:
        print_json(summary)
    else:
        show(summary, request)
    for problem in (summary["degraded_windows"] and "windows could not be decided and stayed as they were",):
        if problem:
            err.print(f"[yellow]warning:[/] {summary['degraded_windows']} {problem}; see windows.jsonl in --out")


def plan(
    log: Path,
    policy: str | None,
    *,
    window: str | None = None,
    until: str | None = None,
    folder: Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> RunRequest:
    """Decide what a replay means: which log, open or closed loop, which policy.

    Raises:
        ConfigError: the wishes contradict each other or the log.
    """
    path = log_folder(log)
    reader = LogReader(path)
    recorded: dict[str, Any] = reader.meta.get("run") or {}
    if not isinstance(recorded, dict):
        raise ConfigError(f"{path}: meta.run of the manifest is {recorded!r}: expected an object")
    chosen = read_policy(policy) if policy is not None else None
    answers = bool(recorded.get("answers"))
    same = chosen is None or chosen.label() == recorded.get("policy")
    closed = not (answers and same)
    if not closed and window is not None:
        message = "--window: an open-loop replay keeps the recorded windows; another --policy runs a closed loop"
        raise ConfigError(message)
    if folder is not None and _meet(folder, path):
        raise ConfigError(f"--out {folder} is where the log is read from; choose another folder")
    stop = instant_ms(until) if until else None
    first = reader.manifest.first_t
    if stop is not None and first is not None and stop <= first:
        raise ConfigError(f"--until {until}: the log begins at {iso(first)}")
    return RunRequest(
        log=path,
        policy=chosen or Policy.parse(str(recorded.get("policy", DEFAULT_POLICY)) if answers else DEFAULT_POLICY),
        closed=closed,
        window_ms=window_length_ms(window) if window else None,
        until=stop,
        seed=seed,
        out=folder,
        overwrite=overwrite,
    )


def _meet(folder: Path, log: Path) -> bool:
    """Whether a run in ``folder`` would write, or replace, where ``log`` is read from."""
    place, run = log.resolve(), folder.resolve()
    return place == run or place.is_relative_to(run / "log")


def read_policy(text: str) -> Policy:
    """A policy from its name and parameters, or from a TOML or JSON file.

    Raises:
        ConfigError: no such file, policy or parameter.
    """
    if not text.endswith((".toml", ".json")):
        return Policy.parse(text)
    path = Path(text)
    try:
        raw = path.read_bytes()
        table = tomllib.loads(raw.decode()) if text.endswith(".toml") else orjson.loads(raw)
    except OSError as error:
        raise ConfigError(f"--policy {text}: {error.strerror}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ConfigError(f"--policy {text}: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f'--policy {text}: expected a table with policy = "NAME" and its parameters')
    return Policy.from_mapping(table)


def _expected_windows(reader: LogReader, request: RunRequest) -> int | None:
    first, last = reader.manifest.first_t, reader.manifest.last_t
    length = request.window_ms or reader.meta.get("window_ms")
    if first is None or last is None or not isinstance(length, int) or length <= 0:
        return None
    return max(1, ((request.until or last) - first) // length)


def show(summary: dict[str, Any], request: RunRequest) -> None:
    """Print a run's summary for people."""
    cost, tasks, unit = summary["cost"], summary["tasks"], summary["currency"]
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim")
    table.add_column()
    loop = "closed loop" if request.closed else "open loop"
    table.add_row("policy", escape(f"{summary['policy']} ({loop})"))
    table.add_row(
        "windows", f"{summary['windows']:,}; {summary['events']:,} events; {summary['decisions']:,} decisions"
    )
    table.add_row("tasks", ", ".join(f"{tasks[name]:,} {name.replace('_', ' ')}" for name in tasks))
    table.add_row("delivered", _share(summary))
    unpriced = summary["unpriced_kwh"]
    table.add_row(
        "energy", f"{summary['energy_kwh']:,.2f} kWh" + (f", {unpriced:,.2f} of it without a price" if unpriced else "")
    )
    parts = ", ".join(f"{name} {cost[name]:,.2f}" for name in ("energy", "network", "moves", "penalty"))
    table.add_row("cost", f"{cost['total']:,.2f} {unit}  ({parts}; idle {cost['idle']:,.2f} apart)")
    table.add_row("carbon", _carbon(summary["carbon_kg"]))
    table.add_row("wait", _percentiles(summary["wait_s"], "s"))
    table.add_row("RTT", _percentiles(summary["rtt_ms"], "ms"))
    table.add_row("SLO", "no task has a limit" if summary["slo"] is None else f"{summary['slo']:.2%}")
    table.add_row("violations", f"{summary['violations']}; {sum(summary['dead_letters'].values())} dead letters")
    table.add_row("state", summary["state_sha256"])
    table.add_row("decisions", summary["decisions_sha256"])
    table.add_row("speed", f"{summary['wall_s']:.1f} s, {summary['events_per_s']:,} events/s")
    out.print(table)
    if request.out:
        out.print(f"written to {escape(str(request.out))}", soft_wrap=True)


def _share(summary: dict[str, Any]) -> str:
    done = summary["delivered"]
    share = "nothing was due" if done["share"] is None else f"{done['share']:.3%} of what was due"
    return f"{done['core_h']:,.0f} core-hours, {done['accelerator_h']:,.0f} accelerator-hours; {share}"


def _carbon(carbon: dict[str, Any]) -> str:
    location = "unknown" if carbon["location"] is None else f"{carbon['location']:,.1f} kg CO2e (location-based)"
    return location + (f", {carbon['unknown_kwh']:,.1f} kWh of unknown carbon" if carbon["unknown_kwh"] else "")


def _percentiles(of: dict[str, Any], unit: str) -> str:
    if of["p50"] is None:
        return "none"
    return f"p50 {of['p50']:,.1f} {unit}, p95 {of['p95']:,.1f} {unit}"


__all__ = ["POLICY_HELP", "iso", "plan", "read_policy", "replay", "show"]
