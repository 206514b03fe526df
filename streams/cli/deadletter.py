"""``cpn deadletter``: look at the records that the twin refused, and send them back."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from producers.deadletters import Letter, choose, read_letters
from producers.deadletters import requeue as send_back
from producers.publish import KafkaPublisher
from producers.read import TopicReader
from streams.cli.kafka import Bootstrap, Namespace, broker_settings
from streams.cli.output import JsonFlag, command, err, iso, out, print_json
from streams.settings import Settings
from twin.errors import ConfigError

deadletter = typer.Typer(no_args_is_help=True, help="Look at the records that the twin refused, and send them back.")

Reason = Annotated[str | None, typer.Option(help="Only this reason, or all below it: `seq` is also seq.too_old.")]
Topic = Annotated[str | None, typer.Option(help="Only of this topic, such as tasks.")]


@deadletter.command("list")
@command
def list_them(
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    reason: Reason = None,
    topic: Topic = None,
    as_json: JsonFlag = False,
) -> None:
    """List dead letters: where each record stood, why it was refused. Copies of one letter are shown once.

    Example:
      cpn deadletter list --reason json --topic tasks
    """
    letters = _letters(broker_settings(bootstrap, namespace), reason, topic)
    if as_json:
        print_json([_row(letter) for letter in letters.values()])
        return
    for letter in letters.values():
        out.print(
            f"[bold]{escape(letter.id)}[/] {escape(letter.reason)} [dim]{escape(letter.detail)}[/]", soft_wrap=True
        )
    out.print(f"{len(letters):,} dead letters" if letters else "no dead letters")


@deadletter.command("show")
@command
def show(
    letter: Annotated[str, typer.Argument(metavar="KEY", help="Its key, TOPIC:PARTITION:OFFSET as `list` shows it.")],
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    as_json: JsonFlag = False,
) -> None:
    """Show one dead letter with the record's key and bytes.

    Example:
      cpn deadletter show tasks:0:1234
    """
    (found,) = choose(_letters(broker_settings(bootstrap, namespace), None, None), [letter])
    row = _row(found)
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        out.print(f"[bold]{name}[/] {escape(str(value))}", soft_wrap=True)


@deadletter.command("requeue")
@command
def requeue(
    letters: Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys of the letters.")] = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    reason: Reason = None,
    topic: Topic = None,
    everything: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Send refused records back to their topic and partition, key and bytes as they were, at its end.

    A record that is refused again gets a new letter; one that was folded in the meantime is a repeat and changes nothing.

    Examples:
      cpn deadletter requeue tasks:0:1234

      cpn deadletter requeue --reason type.unknown --yes --json
    """
    if sum([bool(letters), bool(reason or topic), everything]) != 1:
        raise ConfigError("say which: KEYs, --reason or --topic, or --all")
    settings = broker_settings(bootstrap, namespace)
    found = _letters(settings, reason, topic)
    chosen = choose(found, letters) if letters else [letter for letter in found.values() if not letter.cut]
    if left := 0 if letters else len(found) - len(chosen):
        err.print(f"{left:,} letters have only the beginning of their record: they are left out", soft_wrap=True)
    if chosen and not yes:
        if as_json:
            raise ConfigError("--json asks nothing: say --yes too")
        if not typer.confirm(f"Send {len(chosen):,} records back to {settings.namespace}.*?", err=True):
            err.print("nothing sent")
            raise typer.Exit(1)
    sent = 0
    if chosen:
        with KafkaPublisher(settings.bootstrap) as publisher:
            sent = send_back(publisher, settings.namespace, chosen)
    if as_json:
        print_json({"chosen": len(chosen), "requeued": sent})
    else:
        out.print(f"{sent:,} records sent back")


def _letters(settings: Settings, reason: str | None, topic: str | None) -> dict[str, Letter]:
    with TopicReader(settings.bootstrap) as reader:
        return read_letters(reader, settings.namespace, reason=reason, topic=topic)


def _row(letter: Letter) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": letter.id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "detail": letter.detail,
        "t": iso(letter.t),
        "key": None if letter.key is None else letter.key.decode(errors="replace"),
        "value": letter.value.decode(errors="replace"),
        **({"cut": letter.cut} if letter.cut else {}),
    }
    try:
        letter.value.decode()
    except UnicodeDecodeError:
        row["value_hex"] = letter.value.hex()
    return row
