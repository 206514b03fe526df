"""What a process tells of itself: /metrics for Prometheus, /livez and /readyz for whoever restarts it.

Counts that the twin keeps anyway are read when somebody asks; what Faust knows (rebalances, commits, sends, full buffers)
comes through its sensor. Served by Faust's own web server.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import faust
from faust.types import TP
from faust.web import Request, Response, View
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.deciding import Deciding
from streams.ingest import Ingest

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
Health = Callable[[], str]
"""Why a process is not in order; empty: it is."""


class Sensor(faust.Sensor):
    """What Faust tells of its consumer and its producer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rebalance = Histogram(
            "cpn_rebalance_seconds", "Time from a change in the group to the seek", registry=registry, buckets=SECONDS
        )
        self._commit = Histogram(
            "cpn_commit_seconds",
            "Commit of the group's offsets, which lag tools read",
            registry=registry,
            buckets=SECONDS,
        )
        self._send = Histogram(
            "cpn_send_seconds", "A dead letter or notice until the broker has it", registry=registry, buckets=SECONDS
        )
        self._errors = Counter("cpn_send_errors_total", "Sends that failed", registry=registry)
        self._full = Counter("cpn_buffer_full_total", "Times a partition waited for the agent", registry=registry)
        super().__init__()

    def on_rebalance_start(self, app: Any) -> dict[str, float]:  # noqa: ANN401  # Faust's signature, here and below
        """Note when it began."""
        return {"at": time.monotonic()}

    def on_rebalance_end(self, app: Any, state: dict[str, float]) -> None:  # noqa: ANN401
        """Note how long it took."""
        self._rebalance.observe(time.monotonic() - state["at"])

    def on_commit_initiated(self, consumer: Any) -> float:  # noqa: ANN401
        """Note when it began."""
        return time.monotonic()

    def on_commit_completed(self, consumer: Any, state: float) -> None:  # noqa: ANN401
        """Note how long it took."""
        self._commit.observe(time.monotonic() - state)

    def on_send_initiated(self, producer: Any, topic: str, message: Any, keysize: int, valsize: int) -> float:  # noqa: ANN401
        """Note when it began."""
        return time.monotonic()

    def on_send_completed(self, producer: Any, state: float, metadata: Any) -> None:  # noqa: ANN401
        """Note how long it took."""
        self._send.observe(time.monotonic() - state)

    def on_send_error(self, producer: Any, exc: BaseException, state: float) -> None:  # noqa: ANN401
        """Count it."""
        self._errors.inc()

    def on_topic_buffer_full(self, tp: TP) -> None:
        """Count it."""
        self._full.inc()


class IngestMetrics(Collector):
    """What a worker has done and where it stands."""

    def __init__(self, ingest: Callable[[], Ingest | None], highwater: Callable[[TP], int | None]) -> None:
        self._ingest, self._highwater = ingest, highwater

    def collect(self) -> Iterator[Metric]:
        """Read the worker."""
        ingest = self._ingest()
        if ingest is None:
            return
        work = ingest.work
        yield _counter("cpn_records", "Records folded", ["topic"], work.records)
        yield _counter("cpn_chunks", "Chunks taken: what one fetch of one partition brought", ["topic"], work.chunks)
        yield _counter("cpn_cuts", "Cuts written", ["topic"], work.cuts)
        yield _counter("cpn_dead_letters", "Records refused", ["topic", "reason"], work.dead)
        yield _counter("cpn_ingest_seconds", "Time spent, by stage", ["stage"], work.seconds)
        yield CounterMetricFamily("cpn_writes", "Writes to the store", value=work.writes)
        yield CounterMetricFamily("cpn_claims", "Partitions claimed", value=work.claims)
        lag = GaugeMetricFamily("cpn_lag_records", "Records behind the log", labels=["topic", "partition"])
        clock = GaugeMetricFamily("cpn_clock_seconds", "Event time of a partition", labels=["topic", "partition"])
        paused = GaugeMetricFamily(
            "cpn_paused", "Whether a partition waits for the dispatcher", labels=["topic", "partition"]
        )
        for part in ingest.parts.values():
            at = [part.shard.topic, str(part.shard.partition)]
            end = self._highwater(part.tp)
            if end is not None:
                lag.add_metric(at, max(0, end - part.written))
            clock.add_metric(at, part.shard.clock.time / 1000)
            paused.add_metric(at, part.paused)
        yield from (lag, clock, paused)


class DispatchMetrics(Collector):
    """What a dispatcher has decided."""

    def __init__(self, deciding: Callable[[], Deciding | None]) -> None:
        self._deciding = deciding

    def collect(self) -> Iterator[Metric]:
        """Read the dispatcher."""
        deciding = self._deciding()
        yield GaugeMetricFamily("cpn_active", "1: decides; 0: stands by", value=deciding is not None)
        if deciding is None:
            return
        done = deciding.done
        yield _counter("cpn_decisions", "Decisions published", ["action"], done.decisions)
        yield _counter("cpn_windows", "Windows decided", ["how"], done.windows)
        yield _counter("cpn_dispatch_seconds", "Time spent, by stage", ["stage"], done.seconds)
        yield GaugeMetricFamily("cpn_window_end_seconds", "End of the newest window decided", value=done.window / 1000)
        yield GaugeMetricFamily("cpn_carry_bytes", "Size of the carry published last", value=done.carry_bytes)


def _counter(name: str, text: str, labels: list[str], values: Mapping[Any, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric([str(part) for part in key] if isinstance(key, tuple) else [str(key)], value)
    return family


def serve_metrics(app: faust.App, collector: Collector, *, live: Health, ready: Health) -> None:
    """Give ``app`` its pages and its sensor."""
    registry = CollectorRegistry()
    registry.register(collector)
    app.sensors.add(Sensor(registry))

    @app.page("/metrics")
    async def metrics(view: View, request: Request) -> Response:
        return view.text(generate_latest(registry).decode(), content_type="text/plain; version=0.0.4")

    @app.page("/livez")
    async def livez(view: View, request: Request) -> Response:
        return _health(view, live())

    @app.page("/readyz")
    async def readyz(view: View, request: Request) -> Response:
        return _health(view, live() or ready())


def _health(view: View, problem: str) -> Response:
    return view.text(problem or "ok", status=503 if problem else 200)
