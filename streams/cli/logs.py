"""``cpn log``: look into an event log."""

import sys
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.markup import escape

from producers.log import LogReader
from producers.log_check import cat as cat_log
from producers.log_check import info as info_of
from producers.log_check import validate as validate_log
from streams.cli.output import EXIT_RECORD, JsonFlag, command, instant_ms, iso, out, print_json
from streams.cli.runs import log_folder

logs = typer.Typer(no_args_is_help=True, help="Look into an event log: info, cat, validate.")

LogFolder = Annotated[Path, typer.Argument(metavar="LOG", help="Folder of an event log, or of a run.")]


@logs.command("info")
@command
def info(log: LogFolder, as_json: JsonFlag = False) -> None:
    """Show what a log holds: topics, types, times, partitions.

    Example:
      cpn log info logs/europe --json
    """
    found = info_of(LogReader(log_folder(log)))
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if isinstance(value, dict):
            out.print(f"[bold]{name}[/]")
            for key, item in value.items():
                shown = f"{item:,}" if isinstance(item, int) and name != "meta" else str(item)
                out.print(f"  [dim]{escape(key)}[/] {escape(shown)}")
        else:
            is_time = name.endswith("_t") and isinstance(value, int)
            out.print(f"[bold]{name}[/] {escape(str(iso(value) if is_time else value))}")


@logs.command("validate")
@command
def validate(log: LogFolder, as_json: JsonFlag = False) -> None:
    """Check a log: hashes, counts, clocks, bodies that do not decode. Exit code 65 if it is not whole.

    Example:
      cpn log validate logs/europe
    """
    found = validate_log(LogReader(log_folder(log)))
    if as_json:
        print_json({"records": found.records, "problems": found.problems, "undecodable": found.undecodable})
    else:
        out.print(f"{found.records:,} records")
        for problem in found.problems:
            out.print(f"[red]problem:[/] {escape(problem)}", soft_wrap=True)
        for reason, n in found.undecodable.items():
            out.print(f"[yellow]{n:,} undecodable[/] ({reason}): they will be dead letters")
        if found.whole:
            out.print("[green]the log is whole[/]")
    if not found.whole:
        raise typer.Exit(EXIT_RECORD)


@logs.command("cat")
@command
def cat(
    log: LogFolder,
    topic: Annotated[str | None, typer.Option(help="Only this topic, such as tasks.")] = None,
    partition: Annotated[int | None, typer.Option(help="Only this partition.")] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only this type, such as task.submitted.v1.")] = None,
    key: Annotated[str | None, typer.Option(help="Only this key.")] = None,
    start: Annotated[str | None, typer.Option("--from", help="From this event time.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before this event time.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after so many.")] = None,
) -> None:
    """Print records, one JSON object a line, partition by partition.

    Example:
      cpn log cat logs/europe --topic tasks --key surf-2062109
    """
    found = cat_log(
        LogReader(log_folder(log)),
        topic=topic,
        partition=partition,
        type=kind,
        key=key,
        start=instant_ms(start) if start else None,
        end=instant_ms(end) if end else None,
    )
    write = sys.stdout.buffer.write
    try:
        for n, item in enumerate(found, 1):
            record = item.record
            row = {
                "topic": item.topic,
                "partition": item.partition,
                "offset": record.offset,
                "t": record.t,
                "key": None if record.key is None else record.key.decode(errors="replace"),
                "value": _body(record.value),
            }
            write(orjson.dumps(row) + b"\n")
            if n == limit:
                break
        sys.stdout.flush()
    except BrokenPipeError:
        sys.stderr.close()  # the reader (head, less) has had enough; nothing is left to say


def _body(value: bytes) -> object:
    """A body as JSON on one line, as it stands if it does; any other bytes as text."""
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value.decode(errors="replace")
    return body if b"\n" in value or b"\r" in value else orjson.Fragment(value)
