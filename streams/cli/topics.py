"""``cpn topics``: make, list and check the Kafka topics of a twin."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from producers.log import LogReader
from producers.topics import check_topics, create_topics, list_topics, specs
from streams.cli.kafka import Bootstrap, Namespace, broker_settings
from streams.cli.output import JsonFlag, command, out, print_json
from streams.cli.runs import log_folder
from twin.errors import ConfigError

topics = typer.Typer(no_args_is_help=True, help="Make, list and check the Kafka topics of a twin.")

LogFolder = Annotated[
    Path | None, typer.Option("--log", help="Take the partitions of the topics from this event log, or run.")
]
Partitions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TOPIC=N", help="Partitions of a topic, such as tasks=8; may be given again. Default: tasks=4."
    ),
]


@topics.command("create")
@command
def create(
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    log: LogFolder = None,
    partitions: Partitions = None,
    replication: Annotated[int, typer.Option(min=1, max=100, help="Copies of each record on as many brokers.")] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Make the topics that are missing, set up to keep events of any time for ever. Those that are there stay as they are.

    Examples:
      cpn topics create --partitions tasks=8 --replication 3

      cpn topics create --log logs/europe --namespace europe
    """
    settings = broker_settings(bootstrap, namespace)
    made = create_topics(settings.bootstrap, specs(settings.namespace, _counts(log, partitions)), replication)
    if as_json:
        print_json({"created": made.created, "existing": made.existing})
        return
    for name in made.created:
        out.print(f"[green]made[/] {escape(name)}")
    if made.existing:
        out.print(f"{len(made.existing)} were there already; `cpn topics check` looks at them")


@topics.command("list")
@command
def list_them(bootstrap: Bootstrap = None, namespace: Namespace = None, as_json: JsonFlag = False) -> None:
    """Show the topics of a twin that the broker has: partitions, copies, how long records are kept.

    Example:
      cpn topics list --bootstrap kafka:9092
    """
    settings = broker_settings(bootstrap, namespace)
    rows: list[dict[str, Any]] = [
        {
            "topic": topic.name,
            "partitions": topic.partitions,
            "replication": topic.replication,
            "cleanup": topic.config.get("cleanup.policy"),
            "retention_ms": int(topic.config.get("retention.ms", "-1")),
        }
        for topic in list_topics(settings.bootstrap, settings.namespace)
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        kept = "for ever" if row["retention_ms"] == -1 else f"for {row['retention_ms'] / 3_600_000:g} h"
        kept = "the newest of each key" if row["cleanup"] == "compact" else kept
        out.print(f"{escape(row['topic'])}: {row['partitions']} partitions, {row['replication']} copies, keeps {kept}")
    if not rows:
        out.print(f"no topics of {escape(settings.namespace)} at {escape(settings.bootstrap)}: cpn topics create")


@topics.command("check")
@command
def check(
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    log: LogFolder = None,
    partitions: Partitions = None,
    as_json: JsonFlag = False,
) -> None:
    """Look whether all topics are there and lose no records. Exit code 1 if not; each problem says what to do.

    Example:
      cpn topics check --partitions tasks=8 --json
    """
    settings = broker_settings(bootstrap, namespace)
    found = check_topics(settings.bootstrap, settings.namespace, _counts(log, partitions) or None)
    if as_json:
        print_json([{"topic": p.topic, "what": p.what, "do": p.do} for p in found])
    else:
        for problem in found:
            out.print(
                f"[red]{escape(problem.topic)}:[/] {escape(problem.what)}  → {escape(problem.do)}", soft_wrap=True
            )
        if not found:
            out.print("[green]all topics are there, and as they have to be[/]")
    if found:
        raise typer.Exit(1)


def _counts(log: Path | None, partitions: list[str] | None) -> dict[str, int]:
    """Partitions by topic: of the log, then as said.

    Raises:
        ConfigError: no log there, or something else than TOPIC=N.
    """
    counts = dict(LogReader(log_folder(log)).manifest.topics) if log is not None else {}
    for text in partitions or []:
        name, _, count = text.partition("=")
        if not count.isdecimal():
            raise ConfigError(f"--partitions {text!r}: write it as TOPIC=N, such as tasks=8")
        counts[name] = int(count)
    return counts
