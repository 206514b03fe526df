"""Runs of the built-in scenarios with a run log, their open-loop replays, and faults put into a finished log."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from producers.assemble import assemble
from producers.log import LogReader, LogWriter
from producers.log_manifest import FileFormat
from producers.scenario import generate
from streams.cli.demo import write_log
from streams.cli.runs import RunFolder, RunRequest, route, summarise
from streams.embedded import Options, Run
from twin import events as ev
from twin.dispatch.policy import Policy
from twin.plant import Plant
from twin.records import Records
from twin.topics import IN_TOPICS, TYPES, Role

MEASURED = {"solve_ms", "numerics"}
FAULTY: dict[str, float] = {"reject": 0.1, "silent": 0.05, "delay_s": 30}


def events_of(preset: str, path: Path, *, hours: int | None = None, window_ms: int = 900_000, seed: int = 1) -> Path:
    write_log(generate(preset, seed=seed, hours=hours, window_ms=window_ms), path)
    return path


def late_events(path: Path, *, lateness_ms: int, partitions: int, files: FileFormat) -> Path:
    """The tiny scenario with clocks that wait ``lateness_ms`` for what is late, every topic in so many partitions."""
    made = generate("tiny", seed=2, hours=3, window_ms=300_000)
    with LogWriter(path, dict.fromkeys(IN_TOPICS, partitions), format=files, meta=made.meta) as writer:
        assemble(
            made.events,
            writer,
            t0=made.t0,
            end=made.end,
            window_ms=300_000,
            lateness_ms=lateness_ms,
            max_ahead_ms=made.max_ahead_ms,
        )
    return path


class Chunked:
    """A log that is read by chunks of another size."""

    def __init__(self, log: LogReader, chunk: int) -> None:
        self._log, self._chunk = log, chunk

    def partitions(self) -> list[tuple[str, int]]:
        return self._log.partitions()

    def read(self, topic: str, partition: int) -> Iterator[Records]:
        return self._log.read(topic, partition, chunk=self._chunk)


def run(
    log: Path,
    policy: str,
    out: Path,
    *,
    closed: bool = True,
    chunk: int | None = None,
    plant: dict[str, float] | None = None,
    until: int | None = None,
    window_ms: int | None = None,
) -> dict[str, Any]:
    """What ``cpn replay`` does, with knobs of the plant; returns the summary."""
    reader = LogReader(log)
    chosen = Policy.parse(policy)
    request = RunRequest(log=log, policy=chosen, closed=closed, out=out)
    meta = reader.meta | {"run": {"answers": True, "policy": chosen.label(), "seed": 0}}
    folder = RunFolder(request, out, dict(reader.manifest.topics), meta)
    source = reader if chunk is None else Chunked(reader, chunk)
    if closed and plant and until is None:
        until = reader.meta["end"] + 3_600_000  # clusters that never take a task would keep the loop going for days
    options = Options(route=route, policy=chosen, closed=closed, until=until, window_ms=window_ms)
    result = Run(source, options, plant=Plant(**(plant or {})), sink=folder).run()
    summary = summarise(result, chosen.label())
    folder.finish(summary)
    return summary


def windows(run_folder: Path) -> list[dict[str, Any]]:
    """The window records, without what was measured on the machine."""
    rows = [msgspec.json.decode(line) for line in (run_folder / "windows.jsonl").read_bytes().splitlines()]
    return [{key: value for key, value in row.items() if key not in MEASURED} for row in rows]


def decisions(run_folder: Path) -> bytes:
    return (run_folder / "decisions.jsonl").read_bytes()


# ------------------------------------------------------------------------------------------------------- faults

Row = tuple[int, bytes | None, bytes]
ANSWERS = tuple(f'"type":"{info.tag}"'.encode() for info in TYPES.values() if info.role is Role.ANSWER)


def spoil(
    log: Path,
    out: Path,
    *,
    seed: int = 1,
    repeats: float = 0.0,
    broken: float = 0.0,
    late: float = 0.0,
    any_late: bool = False,
) -> dict[str, int]:
    """Put faults into a finished log, each within its window: repeats and late records stand between the same clocks.

    Late are answers only, or anything if ``any_late``. Returns how many faults of each kind there are.
    """
    dice, done = random.Random(seed), {"repeats": 0, "broken": 0, "late": 0}
    reader = LogReader(log)
    with LogWriter(out, reader.manifest.topics, meta=reader.meta) as writer:
        for topic, partition in reader.partitions():
            segment: list[Row] = []
            for records in reader.read(topic, partition):
                for row in zip(records.times, records.keys, records.values, strict=True):
                    if b'"type":"clock.v1"' not in row[2]:
                        segment.append(row)
                        continue
                    _spoil(segment, dice, done, repeats=repeats, broken=broken, late=late, any_late=any_late)
                    for t, key, value in [*segment, row]:
                        writer.append(topic, partition, t=t, key=key, value=value)
                    segment = []
    return done


def _spoil(
    rows: list[Row],
    dice: random.Random,
    done: dict[str, int],
    *,
    repeats: float,
    broken: float,
    late: float,
    any_late: bool,
) -> None:
    for row in list(rows):
        at = rows.index(row)
        if dice.random() < late and (any_late or any(tag in row[2] for tag in ANSWERS)):
            rows.pop(at)
            rows.insert(dice.randint(at, len(rows)), row)
            done["late"] += 1
        if dice.random() < repeats:
            rows.insert(dice.randint(rows.index(row) + 1, len(rows)), row)
            done["repeats"] += 1
        if dice.random() < broken:
            nonsense = [row[2][: len(row[2]) // 2], b"", b"\xff\xfe", b'{"type":"no.such.v1"}', b"[1,2]"]
            rows.insert(dice.randint(0, len(rows)), (row[0], row[1], dice.choice(nonsense)))
            done["broken"] += 1


def answers_in(log: Path) -> int:
    """How many answers of tasks a log holds."""
    reader = LogReader(log)
    parts = [p for topic, p in reader.partitions() if topic == "tasks"]
    kinds = ev.TaskAnswer.__subclasses__()
    tags = [f'"type":"{kind.__struct_config__.tag}"'.encode() for kind in kinds]
    return sum(
        any(tag in value for tag in tags) for p in parts for chunk in reader.read("tasks", p) for value in chunk.values
    )
