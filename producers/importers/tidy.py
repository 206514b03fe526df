"""A tidy dataset (a folder of tables and a ``dataset.toml``) as an event log."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path

import msgspec

from producers.assemble import assemble, number
from producers.importers.config import Config, load_config
from producers.importers.demand import Requests, demand_end, demand_events, read_requests, shares
from producers.importers.places import Places, read_clusters, read_fees, read_latency, read_sites
from producers.importers.power import read_carbon, read_prices, settlement_market
from producers.importers.tables import Fault, Findings, OnError, Table
from producers.importers.work import read_tasks
from producers.log import DEFAULT_PARTITIONS, LogReader, LogWriter
from producers.log_manifest import FileFormat
from twin import events as ev
from twin.errors import ConfigError
from twin.topics import BY_STRUCT

CONFIG_FILE = "dataset.toml"
MAX_AHEAD_MS = 366 * 86_400_000
_MOST_WINDOWS = 1_000_000


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. Times in ms.

    ``rows`` counts table rows by file, ``events`` records of the log by type (clocks included), ``outside`` what was left out
    because it lies before the start or after the end, by type; ``skipped`` lists every refused row.
    """

    name: str
    folder: str
    start: int
    end: int
    records: int
    rows: dict[str, int]
    events: dict[str, int]
    outside: dict[str, int]
    skipped: list[Fault]
    warnings: list[str]


@dataclass(slots=True)
class _Dataset:
    """The events of a dataset before they are cut to a span of time."""

    places: Places
    static: list[ev.Event]
    prices: list[ev.PowerPrice]
    carbon: list[ev.PowerCarbon]
    tasks: list[ev.TaskSubmitted]
    requests: Requests
    market: ev.Market | None


def import_dataset(
    folder: Path,
    out: Path,
    *,
    config: Path | None = None,
    start: int | None = None,
    end: int | None = None,
    on_error: OnError = "stop",
    format: FileFormat = "jsonl",  # noqa: A002 - the word of the command line
    overwrite: bool = False,
) -> ImportReport:
    """Import the dataset in ``folder`` into an event log at ``out``.

    Args:
        folder: the dataset.
        out: the folder of the log.
        config: another configuration than ``dataset.toml``; a name that is not a path from here is looked for in ``folder``.
        start: from when (ms); by default the dataset's t0. What is over by then is left out.
        end: until when (ms); by default when the last price, carbon value, task or request is.
        on_error: whether a bad row stops the import or is skipped, counted and listed.
        format: ``jsonl`` or ``parquet``.
        overwrite: replace a log at ``out``.

    Raises:
        ConfigError: something in the dataset cannot be: says where and what was expected. Nothing is written then.
        StoreError: a file cannot be read or written.
    """
    settings, unknown = load_config(_config_path(folder, config))
    findings = Findings(on_error)
    for key in unknown:
        findings.warn(f"{CONFIG_FILE if config is None else config.name}: key {key!r} means nothing here")
    begin = settings.t0_ms if start is None else start
    data = _read(folder, settings, begin - 1, findings)
    finish, last = _end(data, settings) if end is None else (end, "the given end")
    _check_span(settings, begin, finish, last)
    timed: list[ev.Event] = [*data.prices, *data.carbon, *data.tasks]
    timed += demand_events(data.requests, settings, begin - 1, finish)
    events = number([*data.static, *_within(timed, begin, finish, findings)])
    _check_coverage(data, settings, findings)
    window = settings.window
    meta = {
        "name": settings.name,
        "currency": settings.currency,
        "settlement_market": data.market,
        "dataset_t0": settings.t0_ms,
    }
    with LogWriter(out, DEFAULT_PARTITIONS, format=format, meta=meta, overwrite=overwrite) as log:
        assemble(
            events,
            log,
            t0=begin,
            end=finish,
            window_ms=window.length_ms,
            lateness_ms=window.lateness_ms,
            max_ahead_ms=MAX_AHEAD_MS,
        )
    manifest = LogReader(out).manifest
    counts = Counter(BY_STRUCT[type(event)].tag for event in events)
    counts["clock.v1"] = manifest.records - len(events)
    return ImportReport(
        name=settings.name,
        folder=str(out),
        start=begin,
        end=finish,
        records=manifest.records,
        rows=findings.rows,
        events=dict(sorted(counts.items())),
        outside=findings.outside,
        skipped=findings.skipped,
        warnings=findings.warnings,
    )


def _config_path(folder: Path, config: Path | None) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder: expected a dataset with a {CONFIG_FILE}")
    if config is None:
        return folder / CONFIG_FILE
    return folder / config if not config.exists() and (folder / config).exists() else config


def _read(folder: Path, config: Config, earliest: int, findings: Findings) -> _Dataset:
    """Read all tables, places first: tasks and requests are checked against the nodes."""

    def tables(name: str) -> list[Table]:
        return [Table(folder / file, file, findings) for file in config.files.of(name)]

    places = Places()
    read_sites(tables("sites"), places)
    read_clusters(tables("clusters"), places, config)
    links = read_latency(tables("latency"), places, config)
    fees = read_fees(tables("fees"), places, config)
    prices = read_prices(tables("prices"), config, earliest)
    carbon = read_carbon(tables("carbon"), config, earliest, findings)
    tasks = read_tasks(tables("tasks"), config, places, findings)
    requests = read_requests(tables("requests"), config, places)
    market = settlement_market(prices, config)
    static = [*_serving(places, requests, config, findings), *links, *fees, _accounting(config, market)]
    at_start = [msgspec.structs.replace(event, t=earliest) for event in static]
    return _Dataset(places, at_start, prices, carbon, tasks, requests, market)


def _serving(places: Places, requests: Requests, config: Config, findings: Findings) -> list[ev.ClusterRegistered]:
    """The clusters, their GPU pools able to serve every application that is asked for."""
    speed = config.request_defaults.tokens_per_s_per_gpu
    if not requests.apps:
        return places.clusters
    if speed is None:
        findings.warn("requests, but no request_defaults.tokens_per_s_per_gpu: no pool can serve them")
        return places.clusters
    tokens = dict.fromkeys(requests.apps, speed)

    def able(pool: ev.Pool) -> ev.Pool:
        return msgspec.structs.replace(pool, tokens_per_s=tokens) if pool.accelerators_per_node else pool

    return [msgspec.structs.replace(cluster, pools=list(map(able, cluster.pools))) for cluster in places.clusters]


def _accounting(config: Config, market: ev.Market | None) -> ev.PolicySet:
    params: dict[str, float | bool | str] = {"currency": config.currency}
    if market is not None:
        params["settlement_market"] = market
    return ev.PolicySet(seq=0, t=0, source=config.name, name="accounting", params=params)


def _end(data: _Dataset, config: Config) -> tuple[int, str]:
    """When the last price interval, submission or recorded demand is over, and what that is. Carbon makes no run longer."""
    last_price = max(data.prices, key=attrgetter("end"), default=None)
    last_task = max(data.tasks, key=attrgetter("t"), default=None)
    ends = [(demand_end(data.requests, config), "a request")]
    if last_price is not None:
        ends.append((last_price.end, f"a price of zone {last_price.zone_id}"))
    if last_task is not None:
        ends.append((last_task.t + 1, f"task {last_task.task_id}"))
    return max(ends)


def _check_span(config: Config, begin: int, finish: int, last: str) -> None:
    span = f"from {utc(begin)} to {utc(finish)}"
    if finish <= begin:
        raise ConfigError(f"dataset {config.name}: nothing {span}: the end must lie after the start")
    windows = (finish - begin) // config.window.length_ms
    if windows > _MOST_WINDOWS:
        raise ConfigError(
            f"dataset {config.name}: {windows} windows {span}, at most {_MOST_WINDOWS}; the last thing is {last}: "
            "is its date wrong? else give an end or longer windows"
        )


def utc(t: int) -> str:
    """Return a time in ms as text."""
    return datetime.fromtimestamp(t / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _within(events: Iterable[ev.Event], begin: int, finish: int, findings: Findings) -> Iterator[ev.Event]:
    """Yield what matters between ``begin`` and ``finish``: submissions in it, and intervals not over by then and known in it."""
    outside: Counter[str] = Counter()
    for event in events:
        over = event.t < begin if isinstance(event, ev.TaskSubmitted) else getattr(event, "end", finish) <= begin
        if over or event.t >= finish:
            outside[BY_STRUCT[type(event)].tag] += 1
        else:
            yield event
    findings.outside |= outside


def _check_coverage(data: _Dataset, config: Config, findings: Findings) -> None:
    """Warn of clusters whose energy nobody can price or account, and of origins without a path to a cluster."""
    zones = sorted({cluster.zone_id for cluster in data.places.clusters})
    priced = {price.zone_id for price in data.prices if price.market == data.market}
    if unpriced := [zone for zone in zones if zone not in priced]:
        findings.warn(
            f"no {data.market or 'energy'} prices for {', '.join(unpriced)}: energy used there will be unpriced"
        )
    known = {carbon.zone_id for carbon in data.carbon}
    if unknown := [zone for zone in zones if zone not in known]:
        findings.warn(f"no carbon intensity for {', '.join(unknown)}: it is unknown there, not zero")
    links = {(link.src, link.dst) for link in data.static if isinstance(link, ev.NetworkLink)}
    origins = {task.origin for task in data.tasks} | {r.origin for r in data.requests.recorded if r.origin is not None}
    if data.requests.recorded:
        origins |= set(shares(None, config.request_defaults))
    nodes = {cluster.node_id for cluster in data.places.clusters}
    apart = sorted((o, n) for o in origins for n in nodes if o != n and not {(o, n), (n, o)} & links)
    if apart:
        findings.warn(f"no RTT for {len(apart)} pairs of origin and cluster node, such as {' and '.join(apart[0])}")
