"""``cpn plant``: simulated clusters that answer a running twin's decisions."""

import importlib
from typing import Annotated

import typer
from pydantic import ValidationError

from streams.cli.output import command, duration_ms
from streams.cli.runs import route
from streams.settings import Settings
from twin.errors import ConfigError
from twin.plant import Plant


@command
def plant(
    reject: Annotated[float, typer.Option(min=0, max=1, help="Share of places that clusters refuse.")] = 0.0,
    silent: Annotated[
        float, typer.Option(min=0, max=1, help="Share of places and moves that get lost without an answer.")
    ] = 0.0,
    delay: Annotated[
        str | None, typer.Option(help="How much later than decided a task is ready to start: 30s, 2m.")
    ] = None,
    telemetry_every: Annotated[
        str | None,
        typer.Option(
            help="Meters are read at the first clock in each span of this length: 1m, 15m. "
            "Without it at each clock that closes a window."
        ),
    ] = None,
) -> None:
    """Simulate the clusters of a running twin: take its decisions, run tasks, answer. Settings come from CPN_… variables.

    Run one beside workers and dispatcher, on topics without recorded answers. It stores nothing: started again, it
    computes everything anew from the topics and goes on where its answers end. Give it the same options then.

    Example:
      cpn plant
      cpn plant --reject 0.1 --delay 30s --telemetry-every 15m
    """
    made = Plant(reject=reject, silent=silent, delay_s=duration_ms(delay) / 1000 if delay else 0.0)
    every_ms = duration_ms(telemetry_every) if telemetry_every else None
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"CPN_{str(first['loc'][0]).upper()}: {first['msg']}, got {first['input']!r}") from error
    try:
        process = importlib.import_module("streams.plant.process")
        logs, exits = importlib.import_module("streams.logs"), importlib.import_module("streams.exits")
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'cpn-twin[stream]'") from error
    logs.configure(settings.log_level, settings.log_format)
    problem = ""
    try:
        process.serve(settings, made, route=route, telemetry_every_ms=every_ms)
    except ConfigError as error:
        problem = str(error)
    if problem:  # in the log, where whoever supervises will look
        exits.die(exits.Exit.CONFIG, problem)
