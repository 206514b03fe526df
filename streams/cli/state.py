"""``cpn state``: what the twin knows of one cluster, task, zone or service, now or at a past time."""

import asyncio
from collections.abc import Iterator
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape

from producers.log import LogReader
from streams.cli.output import JsonFlag, command, instant_ms, iso, out, print_json
from streams.cli.runs import log_folder
from streams.settings import load_settings
from twin import lookup
from twin.columns import Decoder
from twin.errors import ConfigError, StoreError
from twin.records import Records
from twin.shards import control
from twin.shards.shard import Shard
from twin.shards.table import Table


class Entity(StrEnum):
    """What can be asked for."""

    CLUSTER = "cluster"
    TASK = "task"
    ZONE = "zone"
    SERVICE = "service"


@command
def state(
    entity: Annotated[Entity, typer.Argument(help="What kind of thing.")],
    name: Annotated[str, typer.Argument(metavar="ID", help="Its id; a service is SERVICE or SERVICE@ORIGIN.")],
    log: Annotated[
        Path | None,
        typer.Option("--log", help="Folder of an event log, or of a run; without it: the running twin in Redis."),
    ] = None,
    redis: Annotated[str | None, typer.Option(help="Redis of the running twin; default CPN_REDIS_URL.")] = None,
    at: Annotated[str | None, typer.Option("--at", help="As of the last clock at or before this time.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the state of one cluster, task, zone or service: of the running twin, or folded from an event log.

    Examples:
      cpn state cluster NL

      cpn state task surf-2062109 --log runs/price --at 2022-09-26T12:00:00Z --json
    """
    source = _source(log, redis, at)
    found = {
        Entity.CLUSTER: _cluster,
        Entity.TASK: _task,
        Entity.ZONE: _zone,
        Entity.SERVICE: _service,
    }[entity](source, name)
    if entity is Entity.TASK and log is not None and (log / "decisions.jsonl").exists():
        found["decisions"] = list(_decisions(log / "decisions.jsonl", name, source.at))
    found = {"as_of": iso(source.time), **found}
    if as_json:
        print_json(found)
    else:
        _show(found)


def _source(log: Path | None, redis: str | None, at: str | None) -> "_Source":
    if log is not None:
        return _Log(LogReader(log_folder(log)), instant_ms(at) if at else None)
    if at is not None:
        raise ConfigError("--at needs --log: Redis has the state of now; `cpn record` makes a log of the topics")
    return _Store(redis)


class _Source:
    """Where shards come from; ``time`` is the latest clock among those that were asked for, ms."""

    def __init__(self) -> None:
        self.time = 0
        self.at: int | None = None

    def shards(self, topic: str) -> list[Shard]:
        """All shards of a topic."""
        shards = self._shards(topic)
        self.time = max([self.time, *(shard.clock.time for shard in shards)])
        return shards

    def _shards(self, topic: str) -> list[Shard]:
        raise NotImplementedError

    def rows(self, shards: list[Shard], table: str, ids: str, *, prefix: bool = False) -> list[dict[str, Any]]:
        """The rows named ``ids``, or whose name starts so."""
        found = []
        for shard in shards:
            t = shard.tables[table]
            for name, row in t.ids.row_of.items():
                if name == ids or (prefix and name.startswith(ids)):
                    found.append({"id": name, **lookup.row_json(shard.topic, t, row)})
        return found


class _Log(_Source):
    """Folds the shards that an answer needs out of an event log, up to a time."""

    def __init__(self, reader: LogReader, at: int | None) -> None:
        super().__init__()
        self._reader, self.at = reader, at

    def _shards(self, topic: str) -> list[Shard]:
        return [self._fold(topic, partition) for name, partition in self._reader.partitions() if name == topic]

    def _fold(self, topic: str, partition: int) -> Shard:
        columns = Decoder(topic).decode(_whole(self._reader.read(topic, partition)))
        if self.at is not None:
            columns = columns.until(self.at)
        shard, position = Shard(topic, partition), 0
        while position < len(columns):
            position = shard.feed(columns, position).position
        return shard


class _Store(_Source):
    """Reads the shards of the running twin, each as of one moment."""

    def __init__(self, url: str | None) -> None:
        super().__init__()
        self._settings = load_settings(redis_url=url)

    def _shards(self, topic: str) -> list[Shard]:
        return asyncio.run(self._read(topic))

    async def _read(self, topic: str) -> list[Shard]:
        try:
            from streams.partitions import noted_partitions  # noqa: PLC0415  # an extra, not needed for logs
            from streams.store.redis import RedisStore  # noqa: PLC0415
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{error.name} is not installed: pip install 'cpn-twin[stream]', or name a log with --log"
            ) from error
        store = RedisStore(self._settings.redis_url, self._settings.namespace)
        try:
            counts = await noted_partitions(store)
            found = [(p, await store.read(topic, p)) for p in range(counts.get(topic, 0))]
        except StoreError as error:
            raise ConfigError(
                f"{error}: start it, or say where it is with --redis; or name a log with --log"
            ) from error
        finally:
            await store.close()
        if not counts:
            raise ConfigError(
                f"no twin of namespace {self._settings.namespace!r} in Redis: start it with `cpn up`, or name a log with --log"
            )
        return [Shard.load(topic, p, claim.stored) for p, claim in found if claim and claim.stored]


def _whole(chunks: Iterator[Records]) -> Records:
    whole = Records(0, 0)
    for chunk in chunks:
        whole.offsets += chunk.offsets
        whole.times += chunk.times
        whole.keys += chunk.keys
        whole.values += chunk.values
        whole.next = chunk.next
    return whole


def _cluster(source: _Source, name: str) -> dict[str, Any]:
    inventory, telemetry = source.shards("inventory"), source.shards("telemetry")
    registered = source.rows(inventory, "clusters", name)
    reported = source.rows(telemetry, "clusters", name)
    if not registered and not reported:
        _missing("cluster", name, [shard.tables["clusters"] for shard in inventory])
    commands = [control.command(s.tables["commands"], f"cluster|{name}") for s in source.shards("control")]
    return {
        "cluster": registered[0] if registered else {"id": name, "registration": "unregistered"},
        "pools": source.rows(inventory, "pools", f"{name}|", prefix=True),
        "reported": reported[0] if reported else None,
        "reported_pools": source.rows(telemetry, "pools", f"{name}|", prefix=True),
        "command": next((type(said).__struct_config__.tag for said in commands if said is not None), None),
    }


def _task(source: _Source, name: str) -> dict[str, Any]:
    shards = source.shards("tasks")
    rows = source.rows(shards, "tasks", name)
    if not rows:
        _missing("task", name, [shard.tables["tasks"] for shard in shards])
    return {"task": rows[0]}


def _zone(source: _Source, name: str) -> dict[str, Any]:
    shards = source.shards("power")
    prices, carbon = (
        source.rows(shards, "prices", f"{name}|", prefix=True),
        source.rows(shards, "carbon", f"{name}|", prefix=True),
    )
    clusters = [
        row for row in source.rows(source.shards("inventory"), "clusters", "", prefix=True) if row["zone_id"] == name
    ]
    if not prices and not carbon and not clusters:
        zones = sorted({zone.split("|")[0] for shard in shards for zone in shard.tables["prices"].ids.row_of})
        raise ConfigError(f"no zone {name!r} at {iso(source.time)}; zones with prices: {', '.join(zones) or 'none'}")
    now = source.time
    return {
        "zone": name,
        "prices": [row for row in prices if row["start"] <= now < row["end"]],
        "prices_ahead": sorted((row for row in prices if row["start"] > now), key=lambda row: row["start"]),
        "carbon": [row for row in carbon if row["start"] <= now < row["end"]],
        "clusters": [row["id"] for row in clusters],
    }


def _service(source: _Source, name: str) -> dict[str, Any]:
    shards = source.shards("services")
    prefix = f"{name}|" if "@" in name else f"{name}@"
    demand = source.rows(shards, "demand", prefix, prefix=True)
    serving = [
        row for row in source.rows(shards, "serving", "", prefix=True) if row["service"] == name.partition("@")[0]
    ]
    if not demand and not serving:
        known = sorted({key.partition("@")[0] for shard in shards for key in shard.tables["demand"].ids.row_of})
        raise ConfigError(f"no service {name!r} at {iso(source.time)}; services: {', '.join(known) or 'none'}")
    now = source.time
    return {
        "service": name,
        "demand": [row for row in demand if row["start"] <= now < row["end"]],
        "serving": [row for row in serving if row["tokens_per_s"]],
    }


def _missing(kind: str, name: str, tables: list[Table]) -> None:
    known = sorted(known for table in tables for known in table.ids.row_of)
    close = [other for other in known if name.lower() in other.lower()][:5]
    close = close or get_close_matches(name, known, n=5, cutoff=0.75) or known[:5]
    hint = f"; for example {', '.join(close)}" if close else ""
    message = f"no {kind} {name!r} in the state at that time ({len(known):,} are known{hint})"
    raise ConfigError(message)


def _decisions(path: Path, task: str, at: int | None) -> Iterator[dict[str, Any]]:
    needle = orjson.dumps(task)
    with path.open("rb") as file:
        for line in file:
            if needle in line:
                decision = orjson.loads(line)
                if decision["task_id"] == task and (at is None or decision["window"] <= at):
                    yield decision


def _show(found: dict[str, Any], indent: int = 0) -> None:
    pad = "  " * indent
    for name, value in found.items():
        if isinstance(value, dict):
            out.print(f"{pad}[bold]{name}[/]")
            _show(value, indent + 1)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            out.print(f"{pad}[bold]{name}[/] ({len(value)})")
            for item in value[:12]:
                _show(item, indent + 1)
                out.print()
            if len(value) > 12:
                out.print(f"{pad}  … {len(value) - 12} more; --json shows all")
        else:
            is_time = name.endswith("_at") or name in {"start", "end", "last_t", "deadline", "earliest_start", "since"}
            shown = iso(value) if is_time and isinstance(value, int) else value
            out.print(f"{pad}[dim]{name}[/] {'unknown' if shown is None else escape(str(shown))}")
