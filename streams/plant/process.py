"""The simulated clusters as a process: they see the logs and the decisions, and their answers go back into the logs.

It keeps nothing. What it does is a function of the in-topics and of what the dispatcher published, so a plant that starts
again reads everything from the beginning, computes in silence what stands in the log, and goes on behind it.

A step, at a clock: what happened before it reaches the plant → the plant's answers are written and acknowledged → the
windows that the clock closes are waited for → their decisions reach the plant.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.exits import Exit, die
from streams.partitions import in_partitions
from streams.plant.answers import ContradictionError, Standing
from streams.plant.logs import InLogs
from streams.plant.steps import Step, Steps
from streams.plant.writer import AnswerWriter, Route
from streams.settings import Settings
from streams.windows import DecidedWindow, WindowReader
from twin.errors import ConfigError
from twin.plant import Plant
from twin.topics import IN_TOPICS

START_S = 30.0
"""How long the broker may take to answer at the start."""
SAY_WAITING_S = 5.0
SAY_PROGRESS_S = 60.0

log = structlog.get_logger()


def serve(settings: Settings, plant: Plant, *, route: Route, telemetry_every_ms: int | None = None) -> None:
    """Run ``plant``, which has seen nothing yet, until SIGTERM or Ctrl-C; does not return when it fails.

    Args:
        settings: where the broker is.
        plant: answers the decisions.
        route: partitions of its answers: what producers use.
        telemetry_every_ms: meters are read at the first clock of each such span of event time; None: at the first clock of
            all and at each that closes a window.

    Raises:
        ConfigError: it cannot be started as things are.
    """
    contradiction = ""
    try:
        asyncio.run(_serve(settings, plant, route, telemetry_every_ms))
    except ConfigError:
        raise
    except ContradictionError as error:
        contradiction = str(error)
    except Exception as error:  # noqa: BLE001 - the main of a process
        die(Exit.HANDLER, f"the plant failed: {error!r}")
    if contradiction:
        die(Exit.CONTRADICTION, contradiction)


async def _serve(settings: Settings, plant: Plant, route: Route, telemetry_every_ms: int | None) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    stopped = asyncio.create_task(stop.wait())
    runs = asyncio.create_task(_run(settings, plant, route, telemetry_every_ms))
    await asyncio.wait([runs, stopped], return_when=asyncio.FIRST_COMPLETED)
    if runs.done():
        stopped.cancel()
        await runs
    runs.cancel()
    await asyncio.gather(runs, return_exceptions=True)
    log.info("stopped", app=f"{settings.namespace}-plant")


async def _run(settings: Settings, plant: Plant, route: Route, telemetry_every_ms: int | None) -> None:
    async with _connected(settings) as (logs, windows, producer):
        began = time.monotonic()
        standing = Standing(await logs.last_answers())
        log.info(
            "starting", app=f"{settings.namespace}-plant", broker=settings.bootstrap, records=sum(logs.ends.values())
        )
        log.debug("plant.log_searched", seconds=round(time.monotonic() - began, 1))
        answers = AnswerWriter(settings, producer, route, standing, logs.ends)
        await PlantProcess(plant, logs, windows, answers, telemetry_every_ms).run()


@asynccontextmanager
async def _connected(
    settings: Settings,
) -> AsyncIterator[tuple[InLogs, WindowReader, AIOKafkaProducer]]:
    """Readers and a producer that have found the broker.

    Raises:
        ConfigError: there is none, or it does not answer, or topics are missing.
    """
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(START_S):
                counts = await in_partitions(settings)
                partitions = [(topic, p) for topic in IN_TOPICS for p in range(counts[topic])]
                logs = await stack.enter_async_context(InLogs(settings, partitions))
                windows = await stack.enter_async_context(WindowReader(settings))
                producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap, enable_idempotence=True, acks="all")
                stack.push_async_callback(producer.stop)
                await producer.start()
        except (KafkaError, TimeoutError) as error:
            raise ConfigError(
                f"the broker at {settings.bootstrap} does not answer ({error!r}): look at it, or set CPN_BOOTSTRAP"
            ) from error
        yield logs, windows, producer


class PlantProcess:
    """Takes steps for ever. ``telemetry_every_ms`` as in ``serve``."""

    def __init__(
        self, plant: Plant, logs: InLogs, windows: WindowReader, answers: AnswerWriter, telemetry_every_ms: int | None
    ) -> None:
        self._plant, self._logs, self._windows, self._answers = plant, logs, windows, answers
        self._every_ms = telemetry_every_ms
        self._steps = Steps(logs.ends)
        self._clock = self._window = 0
        self._said = time.monotonic()

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            ContradictionError: what stands in the topics does not follow from the logs.
            StoreError: the broker did not take an answer.
        """
        while True:
            while (step := self._steps.next()) is not None:
                await self._take(step)
            for at, columns in (await self._logs.read(self._steps.missing())).items():
                self._answers.look(at, columns)
                self._steps.take(at, columns)
            self._say_progress()

    async def _take(self, step: Step) -> None:
        self._plant.feed(step.events)
        answers = self._plant.advance(step.t, telemetry=self._meters_are_read(step))
        await self._answers.write(answers, step.t)
        self._clock = step.t
        for window in step.windows:
            decided = await self._decided(window)
            self._plant.decide(decided.decisions)
            self._window = window
            log.debug("plant.window", window=window, decisions=len(decided.decisions), written=self._answers.written)
        self._say_progress()
        await asyncio.sleep(0)

    def _meters_are_read(self, step: Step) -> bool:
        if self._every_ms is None:
            return step.first or bool(step.windows)
        return step.first or step.t // self._every_ms > self._clock // self._every_ms

    async def _decided(self, window: int) -> DecidedWindow:
        """Wait for what the dispatcher decides of ``window``; decisions take effect then, so time stands until it comes."""
        began, published = time.monotonic(), asyncio.create_task(self._windows.next())
        try:
            while not (await asyncio.wait([published], timeout=SAY_WAITING_S))[0]:
                log.warning("plant.waits_for_dispatcher", window=window, seconds=round(time.monotonic() - began))
        finally:
            published.cancel()
        decided = await published
        if decided.record.window != window:
            raise ContradictionError(
                f"by the clocks window {window} was to be decided, and {decided.record.window} was: are in-topics and "
                "windows of one twin?"
            )
        return decided

    def _say_progress(self) -> None:
        if time.monotonic() < self._said + SAY_PROGRESS_S:
            return
        self._said = time.monotonic()
        answers = self._answers
        log.info(
            "plant.progress",
            clock=self._clock,
            window=self._window,
            written=answers.written,
            stood=answers.stood,
            busy=self._plant.busy,
        )
