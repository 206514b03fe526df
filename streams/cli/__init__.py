"""The command line ``cpn``: the only place that knows every part."""

import typer

app = typer.Typer(name="cpn", no_args_is_help=True, add_completion=False)


@app.callback()
def _root() -> None:
    """Run the digital twin of the computing power network."""


def main() -> None:
    """Run the command line."""
    app()
