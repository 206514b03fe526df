"""``cpn produce``: write an event log, or a built-in scenario, into Kafka."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from producers.clocks import ClockFollower
from producers.log import LogReader
from producers.pace import Pace
from producers.produce import Tap, already_there, check_counts
from producers.produce import produce as produce_log
from producers.publish import BatchPublisher, KafkaPublisher
from producers.read import TopicReader
from producers.scenario import generate, preset_names
from streams.cli.demo import write_log
from streams.cli.kafka import Bootstrap, Interruptible, Namespace, broker_settings
from streams.cli.output import JsonFlag, command, err, out, print_json, progress, window_length_ms
from streams.cli.runs import log_folder
from twin.errors import ConfigError


@command
def produce(
    log: Annotated[Path | None, typer.Argument(metavar="[LOG]", help="Folder of an event log, or of a run.")] = None,
    scenario: Annotated[
        str | None, typer.Option(help="Instead of LOG, a built-in scenario: " + ", ".join(preset_names()) + ".")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the scenario.")] = 1,
    hours: Annotated[int | None, typer.Option(help="Length of the scenario; default: its own.")] = None,
    window: Annotated[str, typer.Option(help="Length of the windows of the scenario.")] = "15m",
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    speed: Annotated[str, typer.Option(help="max, or a factor such as 60x: an hour of the log in a minute.")] = "max",
    follow_clock: Annotated[
        bool,
        typer.Option(
            "--follow-clock",
            help="At the pace of `cpn clock`. Clocks and answers of the log are left out: others write them.",
        ),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run ended; without it the topics have to be empty.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write LOG into Kafka: the same bytes at the same offsets of the same partitions, malformed ones included.

    Examples:
      cpn produce logs/europe --namespace europe --speed 60x

      cpn produce --scenario edwc --seed 3 --follow-clock
    """
    settings = broker_settings(bootstrap, namespace)
    if follow_clock and speed != "max":
        raise ConfigError("--speed: with --follow-clock the clock sets the pace (`cpn clock --speed`)")
    pace = Pace(speed)
    begun = time.monotonic()
    with ExitStack() as stack:
        if (log is None) == (scenario is None):
            raise ConfigError("give either LOG or --scenario")
        path = log_folder(log) if log else stack.enter_context(_made(scenario or "", seed, hours, window))
        reader = LogReader(path)
        tap = Tap(reader, events_only=follow_clock)
        check_counts(reader, settings.bootstrap, settings.namespace)
        topics = stack.enter_context(TopicReader(settings.bootstrap))
        there = already_there(tap, topics, settings.namespace)
        if there and not resume:
            name, count = next(iter(there.items()))
            raise ConfigError(
                f"{name[0]} holds {count:,} records already: go on with --resume, or use another --namespace"
            )
        steps = stack.enter_context(Interruptible())
        waits = (
            ClockFollower(topics, settings.namespace, begins=_begins(reader), on_wait=steps.check)
            if follow_clock
            else None
        )
        pace = Pace(speed, sleep=steps.sleep)
        fast = pace.factor is None and not follow_clock
        publisher = BatchPublisher(settings.bootstrap) if fast else KafkaPublisher(settings.bootstrap)
        stack.callback(publisher.close)
        bar = stack.enter_context(progress(quiet=as_json))
        task = bar.add_task("produce", total=reader.manifest.records - sum(there.values()))

        def on_sent(count: int) -> None:
            bar.advance(task, count)
            steps.check()

        try:
            produce_log(tap, publisher, waits or pace, namespace=settings.namespace, start=there, on_sent=on_sent)
        except KeyboardInterrupt:
            publisher.flush()
            err.print(f"{publisher.acknowledged:,} records written; --resume goes on from there")
            raise
        written, failed = publisher.acknowledged, publisher.failed
    result: dict[str, Any] = {
        "log": str(path) if log else None,
        "scenario": scenario,
        "namespace": settings.namespace,
        "already_there": sum(there.values()),
        "written": written,
        "failed": failed,
        "wall_s": round(time.monotonic() - begun, 3),
    }
    if as_json:
        print_json(result)
    else:
        out.print(
            f"{written:,} records written to {escape(settings.namespace)}.* in {result['wall_s']:,.1f} s",
            soft_wrap=True,
        )


def _begins(reader: LogReader) -> int | None:
    """Event time (ms) of the first clock of a log that `cpn import` or a scenario made."""
    t0 = reader.meta.get("t0")
    return t0 if isinstance(t0, int) else None


@contextmanager
def _made(scenario: str, seed: int, hours: int | None, window: str) -> Iterator[Path]:
    """The log of a scenario, in a folder that goes away."""
    made = generate(scenario, seed=seed, hours=hours, window_ms=window_length_ms(window))
    with tempfile.TemporaryDirectory(prefix="cpn-produce-") as folder:
        write_log(made, Path(folder) / "events")
        yield Path(folder) / "events"
