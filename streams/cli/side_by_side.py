"""Several policies on the same log, each in a process of its own, a few at a time."""

import multiprocessing
import queue
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from streams.cli.runs import RunRequest, execute
from streams.embedded import Run
from streams.series import Collector, RunHistory
from twin.dispatch.policy import Policy
from twin.dispatcher import Window
from twin.errors import TwinBug, TwinError


@dataclass(frozen=True, slots=True)
class Job:
    """One run: policy, log, output folder, end. ``main``: keep the run log and gather what a report needs."""

    label: str
    log: Path
    out: Path
    until: int
    main: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """A policy's summary, and what the report needs of its run (of a main job only)."""

    summary: dict[str, Any]
    history: RunHistory | None


def run_one(job: Job, on_window: Callable[[], None] = lambda: None) -> Outcome:
    """Run ``job`` in this process."""
    runs, collector = list[Run](), Collector()
    request = RunRequest(
        log=job.log, policy=Policy.parse(job.label), closed=True, until=job.until, out=job.out, keep_log=job.main
    )

    def decided(window: Window) -> None:
        on_window()
        if job.main:
            collector.add(window)

    summary = execute(request, on_window=decided, on_run=runs.append)
    return Outcome(summary, collector.collect(runs[0]) if job.main else None)


def run_all(jobs: list[Job], *, at_once: int, on_window: Callable[[], None] = lambda: None) -> dict[str, Outcome]:
    """Run ``jobs``, ``at_once`` at a time; outcomes by label, in the order of ``jobs``.

    Raises:
        TwinError: that of the first run that failed; the others are stopped.
    """
    context = multiprocessing.get_context("spawn")
    messages: Any = context.Queue()
    todo, running, outcomes = list(jobs), dict[str, BaseProcess](), dict[str, Outcome]()
    try:
        while todo or running:
            while todo and len(running) < at_once:
                job = todo.pop(0)
                running[job.label] = context.Process(target=_work, args=(job, messages), daemon=True)
                _start(running[job.label])
            label, result = _next(messages, running)
            if result is None:
                on_window()
            elif isinstance(result, TwinError):
                raise result
            else:
                outcomes[label] = result
                running.pop(label).join()
    finally:
        for process in running.values():
            process.terminate()
        messages.cancel_join_thread()
    return {job.label: outcomes[job.label] for job in jobs}


def _next(messages: Any, running: dict[str, BaseProcess]) -> tuple[str, Any]:  # noqa: ANN401 - a queue has no type
    """The next message of a worker: (label, None) for a window, else its outcome or its error."""
    while True:
        try:
            message: tuple[str, Any] = messages.get(timeout=0.5)
        except queue.Empty:
            dead = [label for label, process in running.items() if not process.is_alive()]
            if dead and messages.empty():
                code = running[dead[0]].exitcode
                return dead[0], TwinBug(f"the run of {dead[0]} ended with exit code {code} and no result")
        else:
            return message


def _start(worker: BaseProcess) -> None:
    """Start ``worker`` deaf to Ctrl-C, which is its parent's to handle, from its first instruction on.

    A worker that turned deaf by itself would still have its imports interrupted. A process inherits what is blocked; a
    Ctrl-C that comes meanwhile reaches the parent when it listens again.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _work(job: Job, messages: Any) -> None:  # noqa: ANN401 - a queue has no type
    """A worker's main."""
    try:
        outcome = run_one(job, lambda: messages.put((job.label, None)))
    except TwinError as error:
        messages.put((job.label, error))
    else:
        messages.put((job.label, outcome))
