"""Tasks: the rows of the task tables as submissions."""

from collections.abc import Iterable
from typing import TypeVar, get_args

from producers.importers.config import Config, TaskDefaults
from producers.importers.places import Places
from producers.importers.tables import Findings, Row, Table
from twin import events as ev
from twin.errors import ConfigError

KINDS: tuple[ev.TaskKind, ...] = get_args(ev.TaskKind)
_FAR_S = 1e11  # seconds from t0, either way: what no calendar of a dataset reaches
T = TypeVar("T")


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def power_w(kw: float | None, cpu_cores: float, gpus: int, defaults: TaskDefaults) -> float | None:
    """Return a task's IT power in W: its own, else by its devices, else unknown (None)."""
    if kw is not None:
        return kw * 1000
    per_core, per_gpu = defaults.watts_per_core, defaults.watts_per_gpu
    if (per_core is None and per_gpu is None) or (cpu_cores and per_core is None) or (gpus and per_gpu is None):
        return None
    return (per_core or 0.0) * cpu_cores + (per_gpu or 0.0) * gpus


class _Tasks:
    """Reads task rows; remembers which tasks stood already."""

    def __init__(self, config: Config, places: Places, findings: Findings) -> None:
        self.config, self.places, self.findings = config, places, findings
        self._seen: dict[str, int] = {}

    def _time(self, row: Row, column: str) -> int | None:
        """A column of seconds after t0, in ms since the epoch."""
        seconds = row.number(column, -_FAR_S, _FAR_S)
        if seconds is None:
            return None
        t = self.config.t0_ms + round(seconds * 1000)
        if not 0 <= t <= 253_402_300_799_999:
            raise row.wrong(column, "seconds after t0 that end up between 1970 and 9999")
        return t

    def _kind(self, row: Row) -> ev.TaskKind:
        klass = row.name("klass") or self.config.task_defaults.klass
        kind = next((kind for kind in KINDS if kind == klass), None)
        if kind is None:
            self.findings.warn(f"tasks of klass {klass!r} count as batch; kinds are {', '.join(KINDS)}")
        return kind or "batch"

    def _mem_gib(self, row: Row) -> float:
        mem_mb = row.number("mem_mb")
        return mem_mb / 1024 if mem_mb is not None else _or(row.number("mem_gib"), self.config.task_defaults.mem_gib)

    def read(self, row: Row) -> ev.TaskSubmitted:
        d = self.config.task_defaults
        task_id = row.need("task_id", row.name("task_id"), "an id")
        if task_id in self._seen:
            raise row.wrong("task_id", f"a task that did not stand before; line {self._seen[task_id]} has it")
        cores, gpus = row.need("cpu_cores", row.number("cpu_cores"), "a number of cores"), row.integer("gpus") or 0
        origin = row.need("origin", row.name("origin") or d.origin, "a node")
        task = ev.TaskSubmitted(
            seq=0,
            t=row.need("submit_s", self._time(row, "submit_s"), "seconds after t0"),
            source=self.config.name,
            task_id=task_id,
            tenant=row.name("tenant") or d.tenant,
            kind=self._kind(row),
            priority=_or(row.integer("priority", 0, 2), d.priority),
            origin=self.places.check_node(row, "origin", origin),
            latency_ms=_or(row.number("latency_ms", 0, 3_600_000), d.latency_ms),
            request=ev.Request(
                accelerators=gpus, nodes=_or(row.integer("nodes"), d.nodes), cpu_cores=cores, mem_gib=self._mem_gib(row)
            ),
            power_w=power_w(row.number("kw", 0, 1e9), cores, gpus, d),
            est_duration_s=row.need("duration_s", row.number("duration_s", 0, 1e9), "seconds"),
            earliest_start=self._time(row, "earliest_start_s"),
            deadline=self._time(row, "deadline_s"),
            data_in_gb=_or(row.number("data_gb"), d.data_gb),
            state_gb=_or(row.number("state_gb"), d.state_gb),
            movable=_or(row.flag("movable"), d.movable),
            interruptible=_or(row.flag("interruptible"), d.interruptible),
        )
        self._seen[task_id] = row.line
        return task


def read_tasks(tables: Iterable[Table], config: Config, places: Places, findings: Findings) -> list[ev.TaskSubmitted]:
    """Return the rows of the task tables; cores, GPUs and memory are totals over a task's nodes.

    Columns: task_id, submit_s, duration_s, cpu_cores, gpus [, nodes, mem_mb or mem_gib, klass, kw, origin, latency_ms,
    earliest_start_s, deadline_s, data_gb, state_gb, movable, interruptible, tenant, priority]. Seconds count from t0.
    """
    default_origin = config.task_defaults.origin
    if default_origin is not None and default_origin not in places.nodes:
        raise ConfigError(f"dataset {config.name}: task_defaults.origin = {default_origin!r}: there is no such node")
    reader = _Tasks(config, places, findings)
    tasks: list[ev.TaskSubmitted] = []
    for table in tables:
        table.need("task_id", "submit_s", "duration_s", "cpu_cores", "gpus", *([] if default_origin else ["origin"]))
        tasks += table.each(reader.read)
    unknown = sum(task.power_w is None for task in tasks)
    if unknown:
        findings.warn(
            f"{unknown} tasks without power: no column kw, and task_defaults lacks watts_per_core or watts_per_gpu"
        )
    return tasks
