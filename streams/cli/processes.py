"""``cpn worker``, ``cpn dispatcher`` and ``cpn plant``: the processes of the distributed twin.

They end when something is wrong; start them under something that starts them again.
"""

import importlib
import os
from collections.abc import Callable
from typing import Annotated

import typer

from producers.topics import check_topics
from streams.cli.output import command, duration_ms
from streams.cli.runs import route
from streams.settings import Settings, load_settings
from twin.errors import ConfigError, StoreError
from twin.plant import Plant

Instance = Annotated[
    str | None,
    typer.Option(
        help="Name of its own for this process: with it, a quick restart keeps its partitions. Never give it to two."
    ),
]


@command
def worker(instance: Instance = None) -> None:
    """Fold events from Kafka into the twin in Redis. Settings come from CPN_… variables.

    Example:
      cpn worker --instance w1
    """
    _name(instance)
    _run(lambda settings: _serve_app("streams.worker", settings, "ingest"))


@command
def dispatcher(instance: Instance = None) -> None:
    """Decide at every window and publish decisions; a second one stands by. Settings come from CPN_… variables.

    Example:
      cpn dispatcher --instance d1
    """
    _name(instance)
    _run(lambda settings: _serve_app("streams.dispatcher", settings, "dispatch"))


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
    _run(
        lambda settings: importlib.import_module("streams.plant.process").serve(
            settings, made, route=route, telemetry_every_ms=every_ms
        )
    )


def _name(instance: str | None) -> None:
    if instance is not None:
        os.environ["CPN_INSTANCE"] = instance  # the module of an app makes it from the environment


def _serve_app(module: str, settings: Settings, group: str) -> None:
    if problems := check_topics(settings.bootstrap, settings.namespace):
        first = "; ".join(f"{problem.topic}: {problem.what} → {problem.do}" for problem in problems[:3])
        more = f" (and {len(problems) - 3} more: cpn topics check)" if len(problems) > 3 else ""
        raise ConfigError(f"the topics are not as they have to be: {first}{more}")
    importlib.import_module("streams.serve").serve(importlib.import_module(module).app, settings, group)


def _run(serve: Callable[[Settings], None]) -> None:
    """Serve until told to stop. What has to be changed is said in the log, where whoever supervises it looks."""
    settings = load_settings()
    logs, exits = importlib.import_module("streams.logs"), importlib.import_module("streams.exits")
    logs.configure(settings.log_level, settings.log_format)
    try:
        serve(settings)
        return
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'cpn-twin[stream]'") from error
    except ConfigError as error:
        code, wrong = exits.Exit.of(error), str(error)
    except StoreError as error:
        code, wrong = exits.Exit.AWAY, str(error)
    exits.die(code, wrong)
