"""One measurement in a process of its own, on one core; prints one JSON object.

``replay LOG`` replays LOG open loop through the twin; ``plain LOG`` reads it with the simplest loop that keeps entities
current; ``closed LOG POLICY`` runs it in closed loop.
"""

import gzip
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from producers.log import LogReader
from producers.log_parquet import arrow
from streams.cli.runs import route
from streams.embedded import STAGES, Options, Run
from twin.dispatch.policy import Policy
from twin.topics import TYPES

Figures = dict[str, Any]


def stay_on_one_core() -> None:
    """Pin this process to the last of its cores, where the system can do that: helper threads then share it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def rss_mb() -> float:
    """The most memory this process has held, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if platform.system() == "Darwin" else 1 << 10)


class Meter:
    """Wall clock and CPU time (all threads of the process) from its making to ``figures``, s."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figures(self, events: int) -> Figures:
        """What ``events`` took."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {
            "events": events,
            "wall_s": wall,
            "cpu_s": cpu,
            "events_per_s": events / wall,
            "events_per_cpu_s": events / cpu,
            "rss_mb": rss_mb(),
        }


def replay(path: Path) -> Figures:
    """Open loop: reader, decoder, fold, cuts, mirror, dispatcher, with the policy that the log holds."""
    return _run(path, Options(route=route, closed=False))


def closed(path: Path, policy: str) -> Figures:
    """Closed loop under ``policy``, with the plant's answers."""
    return _run(path, Options(route=route, policy=Policy.parse(policy), closed=True))


def _run(path: Path, options: Options) -> Figures:
    """CPU time by stage, s; ``other`` is what no stage holds (the run's bookkeeping, start and score)."""
    meter = Meter()
    result = Run(LogReader(path), options, stage_clock=time.process_time).run()
    figures = meter.figures(result.events)
    stages = {stage: result.seconds[stage] for stage in STAGES}
    stages["other"] = figures["cpu_s"] - sum(stages.values())
    return figures | {
        "windows": result.windows,
        "cpu_s_by_stage": stages,
        "dead": sum(result.dead.values()),
        "violations": len(result.violations),
        "total": result.score.cost.total if result.score else None,
        "state_sha256": result.state_sha256,
    }


def plain(path: Path) -> Figures:
    """The plain baseline: ``json.loads`` of every record, a dict per entity that keeps the newest record of each type."""
    meter = Meter()
    state: dict[str, dict[str, Any]] = {}
    events = 0
    for body in _bodies(LogReader(path)):
        events += 1
        tag = body["type"]
        if tag == "clock.v1":
            continue
        entity = state.setdefault("|".join(str(body[name]) for name in TYPES[tag].key_fields), {})
        known = entity.get(tag)
        if known is None or body["seq"] > known["seq"]:
            entity[tag] = body
    return meter.figures(events) | {"entities": len(state)}


def _bodies(log: LogReader) -> Iterator[dict[str, Any]]:
    for topic, partition in log.partitions():
        path = log.path / log.part(topic, partition).file
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as lines:
                yield from (json.loads(line)["v"] for line in lines)
        else:
            with arrow()[1].ParquetFile(path) as file:
                for batch in file.iter_batches(columns=["v"]):
                    yield from map(json.loads, batch.column("v").to_pylist())


def main(arguments: list[str]) -> None:
    """Measure what ``arguments`` say."""
    what, path, *rest = arguments
    stay_on_one_core()
    kinds: dict[str, Callable[..., Figures]] = {"replay": replay, "plain": plain, "closed": closed}
    print(json.dumps(kinds[what](Path(path), *rest)))


if __name__ == "__main__":
    main(sys.argv[1:])
