"""``cpn up``: a whole twin on this machine, from packages alone, with one screen that shows what runs and where."""

import asyncio
import contextlib
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.markup import escape

from producers.clock import default_step_ms
from producers.log import LogReader
from producers.pace import speed_factor
from producers.scenario import generate, preset_names
from producers.topics import create_topics, specs
from streams.cli.demo import write_log
from streams.cli.output import command, out
from streams.cli.replay import read_policy
from streams.cli.runs import log_folder, route
from streams.cli.up_screen import screen
from streams.cli.up_twin import LocalTwin
from streams.closed_loop import ClosedLoop
from streams.feed import Feed
from streams.local import Broker, RedisServer
from streams.settings import Settings
from twin.assembler import Partition
from twin.decisions import WindowRecord
from twin.dispatch.policy import Policy
from twin.dispatcher import DEFAULT_POLICY
from twin.errors import ConfigError
from twin.records import Records
from twin.topics import IN_TOPICS

if TYPE_CHECKING:
    from streams.windows import DecidedWindow

LOOK_S = 0.5
ASK_TIMEOUT_S = 1.0
TASK_PARTITIONS = 4
MOST_WORKERS = 32
DEFAULT_SPEED = "180x"
SCENARIO_WINDOW_MS = 900_000


@command
def up(
    workers: Annotated[int, typer.Option(min=1, max=MOST_WORKERS, help="Processes that fold events.")] = 2,
    scenario: Annotated[
        str | None, typer.Option(help="A built-in scenario: " + ", ".join(preset_names()) + ".")
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Send this event log (or run) instead of a scenario.")] = None,
    speed: Annotated[
        str | None, typer.Option(help="max (logs only), or a factor: 180x makes 15 minutes of events pass in 5 s.")
    ] = None,
    in_lockstep: Annotated[
        bool,
        typer.Option("--lockstep", help="Closed loop, each window waiting for the last: as `cpn replay`, bit for bit."),
    ] = False,
    policy: Annotated[
        str | None, typer.Option(help=f"Dispatch policy of a lockstep run; default {DEFAULT_POLICY}.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="Keep data and logs of all servers here; else they are deleted at the end."),
    ] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=1, help="Stop after so many seconds.")] = None,
) -> None:
    """Start Kafka, Redis, workers, dispatcher, clock, producer and plant on this machine; Ctrl-C stops all.

    Needs no Docker and no Java on the machine, but the extras stream and local of the package. What the servers are
    given is deleted at the end, so that each start finds a clean state; --dir keeps it to look at.

    Examples:
      cpn up

      cpn up --workers 4 --scenario islands --speed 300x

      cpn up --log myrun --speed max

      cpn up --lockstep --scenario tiny --policy price
    """
    if policy is not None and not in_lockstep:
        raise ConfigError("--policy is for --lockstep: a scenario or log brings its own in a policy.set.v1 event")
    if speed is not None and in_lockstep:
        raise ConfigError("--speed: in lockstep each window waits for the last, and nothing else sets the pace")
    plan = _Plan(workers, scenario, log, speed, lockstep=read_policy(policy or DEFAULT_POLICY) if in_lockstep else None)
    kept = folder is not None
    place = folder or Path(tempfile.mkdtemp(prefix="cpn-up-"))
    if kept and (place / "redis").exists():
        raise ConfigError(f"--dir {place} holds the state of an earlier run: name a new folder, or delete it first")
    place.mkdir(parents=True, exist_ok=True)
    try:
        _run(plan, place, seconds)
    finally:
        if not kept:
            shutil.rmtree(place, ignore_errors=True)


@dataclass(slots=True)
class _Plan:
    """What is to run."""

    workers: int
    scenario: str | None
    log: Path | None
    speed: str | None
    lockstep: Policy | None = None
    partitions: dict[str, int] = field(default_factory=dict)
    answers: bool = False

    def __post_init__(self) -> None:
        if self.log is not None and self.scenario is not None:
            raise ConfigError("--log and --scenario exclude each other: name one")
        if self.log is None:
            self.scenario = self.scenario or preset_names()[0]
            if self.scenario not in preset_names():
                raise ConfigError(f"no scenario {self.scenario!r}: one of {', '.join(preset_names())}")
            _clock(self.scenario, self.speed or DEFAULT_SPEED)  # says what is wrong before anything starts
            self.partitions = {topic: TASK_PARTITIONS if topic == "tasks" else 1 for topic in IN_TOPICS}
        else:
            self.log = log_folder(self.log)
            reader = LogReader(self.log)
            self.partitions = dict(reader.manifest.topics)
            self.answers = bool((reader.meta.get("run") or {}).get("answers"))

    def processes(self) -> list[tuple[str, list[str], bool]]:
        """Name, arguments of ``cpn``, and whether it has an end of its own."""
        some = [(f"worker-{n}", ["worker", "--instance", f"worker-{n}"], False) for n in range(1, self.workers + 1)]
        some.append(("dispatcher", ["dispatcher", "--instance", "dispatcher"], False))
        if self.lockstep:
            return some  # this process is the conductor: nobody else may write clocks, events or answers
        if not self.answers:
            some.append(("plant", ["plant"], False))
        if self.log is not None:
            some.append(("producer", ["produce", str(self.log), "--speed", self.speed or "max"], True))
        elif self.scenario is not None:
            some.append(("clock", _clock(self.scenario, self.speed or DEFAULT_SPEED), False))
            some.append(("producer", ["produce", "--scenario", self.scenario, "--follow-clock"], True))
        return some


def _clock(scenario: str, speed: str) -> list[str]:
    """The clock of a scenario. It is late by one tick: what clusters answer to a clock stands behind it in the log."""
    factor = speed_factor(speed)
    if factor is None:
        raise ConfigError("--speed max is for logs; a scenario follows a clock: give a factor such as 180x")
    step_s = default_step_ms(SCENARIO_WINDOW_MS, factor) // 1000
    return ["clock", "--scenario", scenario, "--speed", speed, "--lateness", f"{step_s}s"]


def _run(plan: _Plan, place: Path, seconds: float | None) -> None:
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_stopping())
        out.print("starting Kafka and Redis …")
        broker = stack.enter_context(Broker(place / "kafka"))
        server = stack.enter_context(RedisServer(place / "redis"))
        create_topics(broker.bootstrap, specs("cpn", plan.partitions))
        twin = LocalTwin(plan.processes(), broker, server, place)
        stack.callback(twin.stop)
        twin.start()
        until = time.monotonic() + seconds if seconds else None
        conductor = stack.enter_context(_Conductor(plan, broker, place)) if plan.lockstep else None
        with screen(twin) as show:
            while not stop() and (until is None or time.monotonic() < until) and not (conductor and conductor.ended):
                show()
                if wrong := twin.tend():
                    raise ConfigError(wrong)
                time.sleep(LOOK_S)
        if conductor:
            conductor.report()
        out.print("stopping …")


class _Conductor:
    """Runs a closed loop through the broker in lockstep, in a thread of its own."""

    def __init__(self, plan: _Plan, broker: Broker, place: Path) -> None:
        self._plan, self._broker, self._place = plan, broker, place
        self._error: BaseException | None = None
        self._last: WindowRecord | None = None
        self._windows = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None: ...

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return not self._thread.is_alive()

    def report(self) -> None:
        """Print what came of it.

        Raises:
            BaseException: what ended it before its end.
        """
        if self._error is not None:
            raise self._error
        if self._last is not None:
            name = (self._plan.lockstep or Policy.parse(DEFAULT_POLICY)).label()
            out.print(
                f"{'the run is over' if self.ended else 'stopped before its end'}: {self._windows:,} windows of {name}"
            )
            out.print(f"state      {self._last.state_sha256}\ndecisions  {self._last.decisions_sha256}", soft_wrap=True)
            if self._plan.log is not None:
                out.print(f"compare: cpn replay {escape(str(self._plan.log))} --policy {name}", soft_wrap=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._conduct())
        except BaseException as error:  # noqa: BLE001  # told by report(), in the thread that can
            self._error = error

    async def _conduct(self) -> None:
        from producers.publish import BatchPublisher  # noqa: PLC0415  # an extra
        from streams.lockstep import lockstep  # noqa: PLC0415
        from streams.windows import WindowReader  # noqa: PLC0415

        log = LogReader(self._log())
        feeds = {at: Feed(log, *at, {"read": 0.0, "decode": 0.0}) for at in log.partitions()}
        loop = ClosedLoop(feeds, policy=self._plan.lockstep or Policy.parse(DEFAULT_POLICY), route=route)
        settings = Settings(bootstrap=self._broker.bootstrap)
        publisher = await asyncio.to_thread(BatchPublisher, self._broker.bootstrap)

        def publish(window: dict[Partition, Records]) -> None:
            for (topic, partition), records in window.items():
                publisher.send(settings.topic(topic), partition, records)
            publisher.flush()

        async def send(window: dict[Partition, Records]) -> None:
            await asyncio.to_thread(publish, window)

        async with WindowReader(settings) as windows:
            await lockstep(loop, windows, send, on_window=self._note)
        await asyncio.to_thread(publisher.close)

    def _note(self, window: "DecidedWindow") -> None:
        self._windows, self._last = self._windows + 1, window.record

    def _log(self) -> Path:
        if self._plan.log is not None:
            return self._plan.log
        made, path = generate(self._plan.scenario or ""), self._place / "events"
        write_log(made, path)
        return path


@contextlib.contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Whether somebody asked to stop: Ctrl-C and SIGTERM set it, and interrupt nothing, so that all is stopped in order."""
    asked = False

    def ask(*_: object) -> None:
        nonlocal asked
        asked = True

    before = {signum: signal.signal(signum, ask) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
