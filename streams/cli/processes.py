"""``cpn worker`` and ``cpn dispatcher``: the processes of the distributed twin.

They end when something is wrong; start them under something that starts them again.
"""

import importlib
import os
from typing import Annotated

import typer

from streams.cli.output import command
from streams.settings import load_settings
from twin.errors import ConfigError

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
      CPN_BOOTSTRAP=127.0.0.1:9092 CPN_REDIS_URL=redis://127.0.0.1:6379 cpn worker --instance w1
    """
    _run("streams.worker", "ingest", instance)


@command
def dispatcher(instance: Instance = None) -> None:
    """Decide at every window and publish decisions; a second one stands by. Settings come from CPN_… variables.

    Example:
      cpn dispatcher --instance d1
    """
    _run("streams.dispatcher", "dispatch", instance)


def _run(module: str, group: str, instance: str | None) -> None:
    if instance is not None:
        os.environ["CPN_INSTANCE"] = instance  # the module makes its app from the environment
    settings = load_settings()
    try:
        app = importlib.import_module(module).app
        serve = importlib.import_module("streams.serve").serve
        logs, exits = importlib.import_module("streams.logs"), importlib.import_module("streams.exits")
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'cpn-twin[stream]'") from error
    logs.configure(settings.log_level, settings.log_format)
    try:
        serve(app, settings, group)
        return
    except ConfigError as error:
        wrong = str(error)
    exits.die(exits.Exit.CONFIG, wrong)  # in the log, where whoever supervises it looks
