"""Recorded requests as service demand: means over windows, shared out over origins, repeated by the hour if wished."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from producers.importers.config import Config, RequestDefaults
from producers.importers.places import Places
from producers.importers.tables import Row, Table
from twin import events as ev
from twin.errors import ConfigError

_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000


@dataclass(slots=True)
class Load:
    """Sums of some requests: how many, their input and their output tokens."""

    requests: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0

    def add(self, other: "Load", weight: float) -> None:
        """Add ``weight`` times ``other``."""
        self.requests += other.requests * weight
        self.tokens_in += other.tokens_in * weight
        self.tokens_out += other.tokens_out * weight


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request: ms after the start of the recording, application, where it came from (None: not said), its load."""

    at_ms: int
    app: str
    origin: str | None
    load: Load


Stream = tuple[str, str | None]  # application and origin


@dataclass(slots=True)
class Requests:
    """The requests of all tables."""

    recorded: list[Recorded] = field(default_factory=list)

    @property
    def apps(self) -> list[str]:
        """The applications asked for, in order of name."""
        return sorted({r.app for r in self.recorded})

    @property
    def end_ms(self) -> int:
        """First ms after the last request."""
        return max((r.at_ms for r in self.recorded), default=-1) + 1

    def summed(self, step_ms: int, shift_ms: int = 0) -> dict[Stream, dict[int, Load]]:
        """Loads by stream and step number, step ``i`` being [i, i + 1) · ``step_ms`` of (at_ms + ``shift_ms``)."""
        sums: dict[Stream, dict[int, Load]] = {}
        for r in self.recorded:
            steps = sums.setdefault((r.app, r.origin), {})
            steps.setdefault((r.at_ms + shift_ms) // step_ms, Load()).add(r.load, 1.0)
        return sums


def read_requests(tables: Iterable[Table], config: Config, places: Places) -> Requests:
    """Return the rows of the request tables: request_id, submit_s, tokens_in, tokens_out [, app, origin].

    Raises:
        ConfigError: no row says an origin and ``[request_defaults]`` has neither origin nor origin_shares, or names a node
            that does not exist.
    """
    d = config.request_defaults
    for node in (*d.origin_shares, *([d.origin] if d.origin else [])):
        if node not in places.nodes:
            raise ConfigError(f"dataset {config.name}: request_defaults: there is no node {node!r} to be an origin")
    with_default = bool(d.origin or d.origin_shares)

    def read(row: Row) -> Recorded:
        row.need("request_id", row.name("request_id"), "an id")
        origin = row.name("origin")
        if origin is None and not with_default:
            raise row.wrong("origin", "a node")
        seconds = row.need("submit_s", row.number("submit_s", 0, 1e9), "seconds after the start of the recording")
        tokens = [float(row.need(c, row.integer(c, 0, 10**9), "tokens")) for c in ("tokens_in", "tokens_out")]
        known = None if origin is None else places.check_node(row, "origin", origin)
        return Recorded(round(seconds * 1000), row.name("app") or d.app, known, Load(1.0, *tokens))

    requests = Requests()
    for table in tables:
        table.need("request_id", "submit_s", "tokens_in", "tokens_out", *([] if with_default else ["origin"]))
        requests.recorded += table.each(read)
    return requests


def shares(origin: str | None, d: RequestDefaults) -> dict[str, float]:
    """Return who asks, and for which share: the origin that a request names, else the defaults."""
    if origin is not None:
        return {origin: 1.0}
    return d.origin_shares or ({d.origin: 1.0} if d.origin else {})


def hour_pattern(steps: dict[int, Load], minutes: int) -> list[Load]:
    """Return 60 minutes of load: the first ``minutes`` of a recording, over and over until the hour is full."""
    return [steps.get(m % minutes, Load()) for m in range(60)]


def _repeated(pattern: list[Load], weights: list[float], since: int, until: int) -> Load:
    """The load in [since, until), both in ms after t0: the pattern of the hour, weighted by the hour."""
    total = Load()
    for minute in range(since // _MINUTE_MS, -(-until // _MINUTE_MS)):
        begin = minute * _MINUTE_MS
        part = (min(until, begin + _MINUTE_MS) - max(since, begin)) / _MINUTE_MS
        total.add(pattern[minute % 60], weights[minute // 60 % 24] * part)
    return total


def _windows(requests: Requests, config: Config, until: int) -> Iterator[tuple[Stream, int, Load]]:
    """Yield (stream, window start in ms, load in it) without holes from the first window with demand to the last."""
    d, t0, window = config.request_defaults, config.t0_ms, config.window.length_ms
    begin = t0 + round(d.start_s * 1000)
    if d.repeat_hourly_weights is None:
        for stream, steps in requests.summed(window, begin).items():
            for i in range(min(steps), max(steps) + 1):
                yield stream, i * window, steps.get(i, Load())
        return
    minutes = -(-requests.end_ms // _MINUTE_MS)
    if minutes > 60:
        raise ConfigError(
            f"dataset {config.name}: request_defaults.repeat_hourly_weights repeats one hour; the recording has {minutes} minutes"
        )
    for stream, steps in requests.summed(_MINUTE_MS).items():
        pattern = hour_pattern(steps, minutes)
        for start in range(begin // window * window, until, window):
            since = max(start, begin) - t0
            yield stream, start, _repeated(pattern, d.repeat_hourly_weights, since, start + window - t0)


def demand_end(requests: Requests, config: Config) -> int:
    """Return the end (ms) of the recorded demand; repeated demand has none of its own: its first hour."""
    d = config.request_defaults
    begin = config.t0_ms + round(d.start_s * 1000)
    if not requests.recorded:
        return config.t0_ms
    return begin + (_HOUR_MS if d.repeat_hourly_weights is not None else requests.end_ms)


def demand_events(requests: Requests, config: Config, earliest: int, until: int) -> list[ev.ServiceDemand]:
    """Return the mean demand per application, origin and window.

    It is published one window before it begins, never before ``earliest``: decisions for a window are made when it begins.
    Repeated demand goes on to ``until``. Its hour is the hour after t0, so hour 0 of the weights begins at t0. All in ms.
    """
    d, window = config.request_defaults, config.window.length_ms
    seconds = window / 1000
    events: list[ev.ServiceDemand] = []
    for (app, origin), start, load in _windows(requests, config, until):
        for node, share in shares(origin, d).items():
            rate = d.scale * share / seconds
            events.append(
                ev.ServiceDemand(
                    seq=0,
                    t=max(start - window, earliest),
                    source=config.name,
                    service=app,
                    origin=node,
                    start=start,
                    end=start + window,
                    requests_per_s=load.requests * rate,
                    tokens_in_per_s=load.tokens_in * rate,
                    tokens_out_per_s=load.tokens_out * rate,
                    latency_ms=d.latency_ms,
                    model=app,
                )
            )
    return events
