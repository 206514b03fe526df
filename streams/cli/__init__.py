"""The command line ``cpn``: the only place that knows every part."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from streams.cli.clock import clock
from streams.cli.deadletter import deadletter
from streams.cli.demo import demo
from streams.cli.doctor import doctor
from streams.cli.importing import import_dataset
from streams.cli.logs import logs
from streams.cli.output import out
from streams.cli.processes import dispatcher, plant, worker
from streams.cli.produce import produce
from streams.cli.record import record
from streams.cli.replay import replay
from streams.cli.state import state
from streams.cli.topics import topics
from streams.cli.up import up

app = typer.Typer(
    name="cpn",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="The digital twin of the computing power network: events in, a current twin, a decision at every window.",
)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"cpn-twin {version('cpn-twin')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    """The digital twin of the computing power network: events in, a current twin, a decision at every window."""
    del show_version


app.command("demo")(demo)
app.command("import")(import_dataset)
app.command("replay")(replay)
app.command("state")(state)
app.add_typer(logs, name="log")
app.command("up")(up)
app.command("worker")(worker)
app.command("dispatcher")(dispatcher)
app.command("plant")(plant)
app.add_typer(topics, name="topics")
app.command("produce")(produce)
app.command("record")(record)
app.command("clock")(clock)
app.add_typer(deadletter, name="deadletter")
app.command("doctor")(doctor)


def main() -> None:
    """Run the command line."""
    sys.exit(app())
