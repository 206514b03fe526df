"""The command line ``cpn``: the only place that knows every part."""

import sys

import typer

from streams.cli.demo import demo
from streams.cli.doctor import doctor
from streams.cli.importing import import_dataset
from streams.cli.logs import logs
from streams.cli.replay import replay
from streams.cli.state import state

app = typer.Typer(
    name="cpn",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    help="The digital twin of the computing power network: events in, a current twin, a decision at every window.",
)
app.command("demo")(demo)
app.command("import")(import_dataset)
app.command("replay")(replay)
app.command("state")(state)
app.add_typer(logs, name="log")
app.command("doctor")(doctor)


def main() -> None:
    """Run the command line."""
    sys.exit(app())
