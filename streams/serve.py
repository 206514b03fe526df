"""Runs a Faust app as the whole of a process: started, watched, stopped by SIGTERM or Ctrl-C, and otherwise crash-only."""

import asyncio
import logging
import os
import signal

import faust
import structlog

from streams.exits import Exit, die
from streams.preflight import InstanceName, preflight
from streams.settings import Settings
from streams.store.base import FencedError

STOP_TIMEOUT_S = 20.0
log = structlog.get_logger()


def serve(app: faust.App, settings: Settings, group: str) -> None:
    """Run ``app`` until it is told to stop; does not return when it fails.

    Raises:
        ConfigError: it cannot be started as things are.
    """
    asyncio.run(_serve(app, settings, group))


async def _serve(app: faust.App, settings: Settings, group: str) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    stopped: asyncio.Task[object] = asyncio.create_task(stop.wait())
    await preflight(settings)
    name = InstanceName(settings, group) if settings.instance else None
    if name:
        await name.take()
    log.info("starting", app=app.conf.id, instance=settings.instance, broker=settings.bootstrap)
    start = asyncio.create_task(app.start())
    await asyncio.wait([start, stopped], return_when=asyncio.FIRST_COMPLETED)
    if start.done() and (error := start.exception()) is not None:
        die(Exit.FAUST, f"could not start: {error!r}")
    ended = (app._crashed, app._stopped)  # noqa: SLF001  # Faust has no other way to tell
    ends: list[asyncio.Task[object]] = [stopped, *(asyncio.create_task(event.wait()) for event in ended)]
    if name:
        ends.append(asyncio.create_task(name.keep()))
    done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        if isinstance(error := task.exception(), FencedError):
            die(Exit.FENCED, str(error))
    if not stop.is_set():
        die(Exit.FAUST, f"Faust ended by itself: {app._crash_reason!r}")  # noqa: SLF001
    try:
        await asyncio.wait_for(app.stop(), STOP_TIMEOUT_S)  # writes what is in hand, commits, leaves the group
    except TimeoutError:
        die(Exit.FAUST, f"did not stop within {STOP_TIMEOUT_S:g} s")
    log.info("stopped", app=app.conf.id)
    logging.shutdown()
    os._exit(0)  # what threads of libraries still wait for is of no more use
