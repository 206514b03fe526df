"""``cpn record``: write what the topics hold into an event log."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from producers.log import LogReader
from producers.read import TopicReader
from producers.record import Recorder, open_log
from streams.cli.kafka import Bootstrap, Interruptible, Namespace, broker_settings
from streams.cli.output import JsonFlag, command, duration_ms, instant_ms, iso, out, print_json, progress


@command
def record(
    folder: Annotated[Path, typer.Option("--out", help="Folder of the log.")],
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    until: Annotated[
        str | None, typer.Option(help="End with the first clock at or after this event time: ISO 8601 or epoch ms.")
    ] = None,
    idle: Annotated[
        str | None, typer.Option(help="End when nothing, not even a clock, has come for so long, such as 10s.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the log in --out, also after a crash; begin one if there is none."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a log in --out.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Record the in-topics into an event log, from their beginning, byte for byte. Ctrl-C ends the log in good order.

    Such a log replays open loop: what the twin decided is decided again.

    Examples:
      cpn record --out logs/today --resume

      cpn record --out logs/trial --namespace trial --idle 10s --json
    """
    settings = broker_settings(bootstrap, namespace)
    end_ms = instant_ms(until) if until else None
    idle_s = duration_ms(idle) / 1000 if idle else None
    with Interruptible() as steps, TopicReader(settings.bootstrap) as reader:
        writer = open_log(folder, settings.bootstrap, settings.namespace, resume=resume, overwrite=overwrite)
        with writer, progress(quiet=as_json) as bar:
            task = bar.add_task("record", total=None)
            recorder = Recorder(reader, writer, settings.namespace, until=end_ms)
            recorder.run(idle_s=idle_s, stop=lambda: steps.asked, on_records=lambda count: bar.advance(task, count))
            recorder.finish()
        manifest = LogReader(folder).manifest
    if as_json:
        print_json(
            {
                "log": str(folder),
                "namespace": settings.namespace,
                "recorded": recorder.records,
                "records": manifest.records,
                "first_t": manifest.first_t,
                "last_t": manifest.last_t,
            }
        )
    else:
        span = f"{iso(manifest.first_t)} to {iso(manifest.last_t)}" if manifest.records else "empty"
        out.print(
            f"{recorder.records:,} records; {escape(str(folder))} holds {manifest.records:,}, {span}", soft_wrap=True
        )
