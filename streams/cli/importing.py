"""``cpn import``: a tidy dataset becomes an event log."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.markup import escape

from producers.importers.tidy import ImportReport
from producers.importers.tidy import import_dataset as import_tidy
from streams.cli.output import JsonFlag, command, err, instant_ms, iso, out, print_json


@command
def import_dataset(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with dataset.toml and its tables.")],
    log: Annotated[Path, typer.Option("--out", help="Folder of the event log to write.")],
    config: Annotated[Path | None, typer.Option("--config", help="Another toml than DIR/dataset.toml.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", help="From when: ISO 8601 or epoch ms. Default: the dataset's t0.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Until when. Default: the end of the data.")] = None,
    on_error: Annotated[Literal["stop", "skip"], typer.Option(help="What to do with a row that is wrong.")] = "stop",
    files: Annotated[Literal["jsonl", "parquet"], typer.Option("--format", help="Of the log.")] = "jsonl",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a log that is there already.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Import the dataset in DIR (dataset.toml and CSV, CSV.gz or Parquet tables) into an event log.

    Examples:
      cpn import data/europe --out logs/europe

      cpn import data/europe --config capacity.toml --out logs/capacity --on-error skip
    """
    report = import_tidy(
        folder,
        log,
        config=config,
        start=instant_ms(start) if start else None,
        end=instant_ms(end) if end else None,
        on_error=on_error,
        format=files,
        overwrite=overwrite,
    )
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        _show(report, log)


def _show(report: ImportReport, log: Path) -> None:
    out.print(
        f"[bold]{escape(report.name)}[/]: {report.records:,} records from {iso(report.start)} to {iso(report.end)} "
        f"in {escape(str(log))}",
        soft_wrap=True,
    )
    for title, numbers in (("rows", report.rows), ("events", report.events), ("outside the span", report.outside)):
        for name, n in numbers.items():
            out.print(f"  [dim]{title}[/] {escape(name)} {n:,}")
    for warning in report.warnings:
        err.print(f"[yellow]warning:[/] {escape(warning)}")
    if report.skipped:
        err.print(f"[yellow]{len(report.skipped):,} rows skipped[/]; --json lists them all. The first:")
        for fault in report.skipped[:10]:
            err.print(f"  {fault}", markup=False)
    out.print(f"next: cpn replay {escape(str(log))}", soft_wrap=True)
