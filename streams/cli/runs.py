"""A run with its folder: run log, decisions, windows, dead letters and summary. Used by ``replay`` and ``demo``."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import orjson

from producers.log import LogReader, LogWriter
from producers.log_manifest import MANIFEST
from producers.partition import partition_of
from streams.embedded import Options, Result, Run
from twin.columns import DeadLetter
from twin.dispatch.policy import Policy
from twin.dispatcher import Window
from twin.errors import ConfigError, StoreError
from twin.plant import Plant
from twin.records import Records

_encode = msgspec.json.Encoder(order="deterministic").encode


def route(key: str, partitions: int) -> int:
    """Kafka's partition of a key."""
    return partition_of(key.encode(), partitions)


def log_folder(path: Path) -> Path:
    """The event log that ``path`` means: itself, or the run log of a run folder.

    Raises:
        ConfigError: it is a demo's folder, which holds several.
    """
    if (path / "log" / MANIFEST).exists():
        return path / "log"
    if not (path / MANIFEST).exists() and (path / "events" / MANIFEST).exists():
        raise ConfigError(f"{path} is a demo's folder: name {path / 'run'} (its run) or {path / 'events'} (its events)")
    return path


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run: the log, closed or open, under which policy, where to."""

    log: Path
    policy: Policy
    closed: bool
    window_ms: int | None = None
    until: int | None = None
    seed: int = 0
    out: Path | None = None
    overwrite: bool = False
    keep_log: bool = True


class RunFolder:
    """Writes a run's output into a folder; ``finish`` adds the summary and makes the log whole."""

    def __init__(self, request: RunRequest, path: Path, partitions: dict[str, int], meta: dict[str, Any]) -> None:
        self.path = path
        if (path / "summary.json").exists():
            if not request.overwrite:
                raise ConfigError(f"{path} holds a run already; choose another folder, or --overwrite it")
            _unlink(path / "summary.json")  # what is written now is not yet what it says
            shutil.rmtree(path / "log", ignore_errors=True)  # of the run that is replaced
        keeps = request.closed and request.keep_log
        self._log = LogWriter(path / "log", partitions, meta=meta, overwrite=request.overwrite) if keeps else None
        self._files: dict[str, IO[bytes]] = {}
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name in ("decisions", "windows", "deadletters"):
                self._files[name] = (path / f"{name}.jsonl").open("wb")
        except OSError as error:
            self.abandon()
            raise StoreError(f"{error.filename or path}: {error.strerror or error}") from error

    def records(self, topic: str, partition: int, records: Records) -> None:
        """Append to the run log."""
        if self._log:
            self._log.extend(topic, partition, records)

    def dead(self, letters: list[DeadLetter]) -> None:
        """Append dead letters; bytes that are not UTF-8 are shown with replacement and kept in ``value_hex``."""
        self._write("deadletters", [orjson.dumps(dead_letter_json(letter)) for letter in letters])

    def window(self, window: Window) -> None:
        """Append a window's record and its decisions."""
        self._write("windows", [_encode(window.record)])
        self._write("decisions", [_encode(decision) for decision in window.decisions])

    def finish(self, summary: dict[str, Any]) -> None:
        """Close everything and write ``summary.json``."""
        if self._log:
            self._log.close()
        self._close()
        try:
            (self.path / "summary.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2))
        except OSError as error:
            raise StoreError(f"{error.filename or self.path}: {error.strerror or error}") from error

    def abandon(self) -> None:
        """Close the files; the log gets no manifest, so that nobody takes half a run for a whole one."""
        if self._log:
            self._log.abandon()
        for file in self._files.values():
            try:
                file.close()
            except OSError:
                continue  # what could not be written was reported when it failed

    def _write(self, name: str, lines: list[bytes]) -> None:
        if not lines:
            return
        file = self._files[name]
        try:
            file.write(b"\n".join(lines) + b"\n")
        except OSError as error:
            raise StoreError(f"{file.name}: {error.strerror or error}") from error

    def _close(self) -> None:
        for file in self._files.values():
            try:
                file.close()
            except OSError as error:
                raise StoreError(f"{file.name}: {error.strerror or error}") from error


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


def dead_letter_json(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter as JSON; the original bytes are complete in ``value`` or, if they are no UTF-8, in ``value_hex``."""
    row: dict[str, Any] = {
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "detail": letter.detail,
        "key": None if letter.key is None else letter.key.decode(errors="replace"),
        "value": letter.value.decode(errors="replace"),
    }
    try:
        letter.value.decode()
    except UnicodeDecodeError:
        row["value_hex"] = letter.value.hex()
    return row


def execute(
    request: RunRequest,
    *,
    on_window: Callable[[Window], None] = lambda _window: None,
    on_run: Callable[[Run], None] = lambda _run: None,
) -> dict[str, Any]:
    """Run ``request``; returns the summary. ``on_run`` gets the run before it starts and may keep it."""
    reader = LogReader(request.log)
    options = Options(
        route=route,
        policy=request.policy,
        closed=request.closed,
        window_ms=request.window_ms,
        until=request.until,
        seed=request.seed,
    )
    folder = None
    if request.out is not None:
        meta = {key: value for key, value in reader.meta.items() if key != "run"}
        meta["run"] = {"answers": True, "policy": request.policy.label(), "seed": request.seed}
        folder = RunFolder(request, request.out, dict(reader.manifest.topics), meta)
    try:
        run = Run(reader, options, plant=Plant(), sink=folder)
        on_run(run)
        summary = summarise(run.run(on_window), request.policy.label())
        if folder:
            folder.finish(summary)
            folder = None
    finally:
        if folder:  # not finished: whatever ended the run goes on its way
            folder.abandon()
    return summary


def summarise(result: Result, policy: str) -> dict[str, Any]:
    """The JSON object of ``cpn replay --json``."""
    score: dict[str, Any] = msgspec.to_builtins(result.score) if result.score else {}
    moves = score.pop("moves", {"total": 0, "state_gb": 0.0})
    return {
        "policy": policy,
        "events": result.events,
        "windows": result.windows,
        "decisions": result.decisions,
        "state_sha256": result.state_sha256,
        "decisions_sha256": result.decisions_sha256,
        **score,
        "moves": moves["total"],
        "moved_state_gb": moves["state_gb"],
        "violations": len(result.violations),
        "degraded_windows": result.degraded,
        "records": dict(sorted(result.counts.items())),
        "dead_letters": dict(sorted(result.dead.items())),
        "wall_s": round(result.wall_s, 3),
        "events_per_s": round(result.events / result.wall_s) if result.wall_s else 0,
        "seconds": {stage: round(seconds, 3) for stage, seconds in sorted(result.seconds.items())},
    }
