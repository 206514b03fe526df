"""Topics into an event log: exactly what they hold, also when the recorder is killed in between and started again.

Every few seconds what was read is brought to the disk with its positions (``LogWriter.save``); a recorder that goes on cuts
its files back to the last such state and reads on from its positions. Offsets stay as they are, holes (markers of
transactions) included.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from producers.clocks import clock_in
from producers.log import LogWriter
from producers.log_check import type_of
from producers.read import TopicReader, slice_of
from producers.topics import list_topics
from twin.decisions import WindowRecord
from twin.dispatch.policy import Policy
from twin.dispatcher import DEFAULT_POLICY
from twin.errors import ConfigError
from twin.records import Record, Records
from twin.topics import IN_TOPICS, TYPES, Role

_POLL_S = 0.25
_SAVE_S = 5.0
_ANSWERS = frozenset(tag for tag, info in TYPES.items() if info.role is Role.ANSWER)
_window = msgspec.json.Decoder(WindowRecord).decode

Part = tuple[str, int]


def open_log(
    folder: Path, bootstrap: str, namespace: str, *, resume: bool = False, overwrite: bool = False
) -> LogWriter:
    """Begin the log of the in-topics of ``namespace``, or go on with the one in ``folder``.

    Raises:
        ConfigError: no broker, a topic is missing, a log is there already, or it is one of other topics.
    """
    names = {f"{namespace}.{short}": short for short in IN_TOPICS}
    found = [topic for topic in list_topics(bootstrap, namespace) if topic.name in names]
    if missing := names.keys() - {topic.name for topic in found}:
        raise ConfigError(f"no topic {', '.join(sorted(missing))} at {bootstrap}: cpn topics create")
    topics = {names[topic.name]: topic.id for topic in found}
    counts = {names[topic.name]: topic.partitions for topic in found}
    writer = LogWriter(
        folder, counts, meta={"name": namespace, "recorded": {"topics": topics}}, resume=resume, overwrite=overwrite
    )
    before = writer.meta.get("recorded", {}).get("topics")
    if before != topics:
        writer.abandon()
        raise ConfigError(
            f"{folder}: this log was not recorded from the topics of {namespace!r} at {bootstrap}, or they were made anew "
            "since: record into another folder"
        )
    return writer


class Recorder:
    """Reads the in-topics of ``namespace`` into ``writer``, from where that is.

    Args:
        reader: reads from now on what the recorder needs.
        writer: of ``open_log``; the caller closes it.
        namespace: of the topics.
        until: leave a partition after its first clock at or after this event time (ms); None: never.
    """

    def __init__(self, reader: TopicReader, writer: LogWriter, namespace: str, *, until: int | None = None) -> None:
        self.records = 0
        self._reader, self._writer, self._prefix, self._until = reader, writer, f"{namespace}.", until
        self._said: dict[str, Any] = writer.meta["recorded"]
        self._said.setdefault("clocks", {})
        self._open = {at for at in writer.positions if not self._is_over(at)}
        ends = reader.ends([self._kafka(at) for at in writer.positions])
        reader.seek({self._kafka(at): writer.positions[at] or ends[self._kafka(at)][0] for at in self._open})

    def run(
        self,
        *,
        idle_s: float | None = None,
        stop: Callable[[], bool] = lambda: False,
        on_records: Callable[[int], None] = lambda _count: None,
    ) -> None:
        """Record until every partition is at ``until``, or until nothing has come for ``idle_s``; else for ever.

        Args:
            idle_s: None: wait as long as it takes.
            stop: asked several times a second whether to end.
            on_records: called with the number of records since the last call.

        Raises:
            ConfigError: the topics were made anew, or records were deleted before they were read.
            StoreError: the broker or the disk fails.
        """
        news = saved = time.monotonic()
        unsaved = False
        while self._open and not stop():
            for (topic, p), records in self._reader.poll(_POLL_S).items():
                count = self._take((topic.removeprefix(self._prefix), p), records)
                if count:
                    news, unsaved = time.monotonic(), True
                    on_records(count)
            now = time.monotonic()
            if unsaved and now - saved >= _SAVE_S:
                self._writer.save()
                saved, unsaved = now, False
            if idle_s is not None and now - news >= idle_s:
                return

    def finish(self) -> None:
        """Say in the log what it is: windows as its clocks have them, and by which policy the twin decided on it."""
        record = self._reader.last((f"{self._prefix}windows", 0), _window_in)
        if record is not None or self._said.get("answers"):
            policy = record and Policy.of(
                record.policy["name"], {k: v for k, v in record.policy["params"].items() if v is not None}
            )
            self._writer.meta["run"] = {
                "answers": True,
                "policy": policy.label() if policy else DEFAULT_POLICY,
                "seed": record.seed if record else 0,
            }

    def _take(self, at: Part, records: Records) -> int:
        if at not in self._open:
            return 0
        for i, value in enumerate(records.values):
            clock = clock_in(value)
            if clock is None:
                self._said["answers"] = self._said.get("answers") or type_of(value) in _ANSWERS
                continue
            name = f"{at[0]}-{at[1]}"
            self._said["clocks"][name] = max(clock.t, self._said["clocks"].get(name, clock.t))
            meta = self._writer.meta
            meta["t0"] = min(clock.t, meta.get("t0", clock.t))
            meta |= {
                "window_ms": clock.window_ms,
                "lateness_ms": clock.lateness_ms,
                "max_ahead_ms": clock.max_ahead_ms,
            }
            if self._is_over(at):
                self._open.discard(at)
                records = slice_of(records, 0, i + 1)
                break
        self._writer.extend(*at, records, keep_offsets=True)
        self.records += len(records)
        return len(records)

    def _is_over(self, at: Part) -> bool:
        reached = self._said["clocks"].get(f"{at[0]}-{at[1]}")
        return self._until is not None and reached is not None and reached >= self._until

    def _kafka(self, at: Part) -> Part:
        return f"{self._prefix}{at[0]}", at[1]


def _window_in(record: Record) -> WindowRecord | None:
    try:
        return _window(record.value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
