"""Looking inside an event log: what it holds, whether it is whole, and single records of it."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from producers.log import LogReader
from producers.log_manifest import MANIFEST, sha256_of
from twin.columns import Decoder
from twin.errors import ConfigError, StoreError
from twin.events import Clock
from twin.records import Record, Records
from twin.topics import IN_TOPICS

UNTYPED = "(no type)"


class _Typed(msgspec.Struct):
    type: str


_typed = msgspec.json.Decoder(_Typed).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def type_of(value: bytes) -> str | None:
    """Return the type tag of a body, None if it is no JSON object with one."""
    try:
        return _typed(value).type
    except _UNREADABLE:
        return None


def info(log: LogReader) -> dict[str, Any]:
    """Return what a log holds: meta data, span, and records per topic and type. Reads everything; times in ms.

    Raises:
        ConfigError: a part is damaged.
    """
    topics: dict[str, Any] = {}
    for topic, partition in log.partitions():
        entry = topics.setdefault(topic, {"partitions": 0, "records": 0, "types": Counter()})
        entry["partitions"] += 1
        for records in log.read(topic, partition):
            entry["records"] += len(records)
            entry["types"].update(type_of(value) or UNTYPED for value in records.values)
    for entry in topics.values():
        entry["types"] = dict(sorted(entry["types"].items()))
    manifest = log.manifest
    return {
        "path": str(log.path),
        "files": manifest.files,
        "records": manifest.records,
        "first_t": manifest.first_t,
        "last_t": manifest.last_t,
        "meta": manifest.meta,
        "topics": topics,
    }


@dataclass(slots=True)
class Validation:
    """What is wrong with a log. Bodies that do not decode are no damage: a log holds what its topics held; they are counted.

    ``undecodable`` counts them by "topic reason", the reasons being those of dead letters.
    """

    records: int = 0
    problems: list[str] = field(default_factory=list)
    undecodable: dict[str, int] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


class _Checker:
    """Checks one part against its line of the manifest."""

    def __init__(self, log: LogReader, topic: str, partition: int, found: Validation) -> None:
        self.log, self.topic, self.found = log, topic, found
        self.partition = partition
        self.part = log.part(topic, partition)
        self.path = log.path / self.part.file
        self.decoder = Decoder(topic) if topic in IN_TOPICS else None
        self.clock: Clock | None = None
        self.records, self.first_offset, self.next = 0, self.part.first_offset, self.part.first_offset
        self.low: int | None = None
        self.high: int | None = None

    def problem(self, text: str) -> None:
        self.found.problems.append(f"{self.path}: {text}")

    def run(self) -> None:
        """Read the part and note what is wrong with it."""
        sha = sha256_of(self.path)
        if sha != self.part.sha256:
            self.problem(f"sha256 is {sha[:12]}…, the manifest says {self.part.sha256[:12]}…")
        try:
            for records in self.log.read(self.topic, self.partition):
                self._see(records)
        except ConfigError as error:
            self.found.problems.append(str(error))
        self.found.records += self.records
        seen = (self.records, self.first_offset, self.next, self.low, self.high)
        part = self.part
        said = (part.records, part.first_offset, part.next_offset, part.first_t, part.last_t)
        for name, have, want in zip(
            ("records", "first offset", "next offset", "first t", "last t"), seen, said, strict=True
        ):
            if have != want:
                self.problem(f"{name}: {have}, the manifest says {want}")
        if self.topic in IN_TOPICS and self.clock is None:
            self.problem("no clock: no window of this partition would ever end")

    def _see(self, records: Records) -> None:
        if not self.records:
            self.first_offset = records.offsets[0]
        self.records += len(records)
        self.next = records.next
        low, high = min(records.times), max(records.times)
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)
        if self.decoder is None:
            return
        chunk = self.decoder.decode(records)
        for reason, _ in chunk.bad.values():
            name = f"{self.topic} {reason}"
            self.found.undecodable[name] = self.found.undecodable.get(name, 0) + 1
        for at in chunk.clocks:
            self._tick(records.offsets[at], chunk.events[at])

    def _tick(self, offset: int, clock: Clock) -> None:
        before = self.clock
        if before is not None and clock.t < before.t:
            self.problem(f"offset {offset}: a clock at {clock.t} after one at {before.t}: clocks must not go back")
        if clock.partition != self.partition:
            self.problem(f"offset {offset}: a clock of partition {clock.partition} in partition {self.partition}")
        self.clock = clock


def validate(log: LogReader) -> Validation:
    """Return what is wrong with a log: digests, counts, damaged lines, clocks that go back or are missing.

    A damaged part does not keep the others from being checked.

    Raises:
        StoreError: a file cannot be read at all.
    """
    found = Validation()
    last: set[int] = set()
    for topic, partition in log.partitions():
        checker = _Checker(log, topic, partition, found)
        try:
            checker.run()
        except OSError as error:
            raise StoreError(f"{checker.path}: {error.strerror or error}") from error
        if checker.clock is not None:
            last.add(checker.clock.t)
    _check_totals(log, found)
    if len(last) > 1:
        found.problems.append(
            f"{log.path}: the last clocks of the partitions differ: {', '.join(map(str, sorted(last)))}"
        )
    return found


def _check_totals(log: LogReader, found: Validation) -> None:
    """Check what the manifest says of the whole log against what it says of its parts."""
    manifest = log.manifest
    times = [t for part in manifest.parts for t in (part.first_t, part.last_t) if t is not None]
    total = sum(part.records for part in manifest.parts)
    have = (total, min(times, default=None), max(times, default=None))
    said = (manifest.records, manifest.first_t, manifest.last_t)
    for name, of_parts, of_log in zip(("records", "first t", "last t"), have, said, strict=True):
        if of_parts != of_log:
            found.problems.append(f"{log.path / MANIFEST}: {name}: {of_parts} by its parts, {of_log} by itself")


class Found(NamedTuple):
    """A record and where it stands."""

    topic: str
    partition: int
    record: Record


def cat(
    log: LogReader,
    *,
    topic: str | None = None,
    partition: int | None = None,
    type: str | None = None,  # noqa: A002 - the word of the command line
    key: str | None = None,
    start: int | None = None,
    end: int | None = None,
) -> Iterator[Found]:
    """Yield the records that pass all filters, part by part in log order.

    ``type`` is a tag such as ``task.submitted.v1``, ``key`` the whole key; ``start`` and ``end`` bound the record's time in ms,
    [start, end).

    Raises:
        ConfigError: no such topic or partition, or a damaged part.
    """
    parts = [p for p in log.partitions() if topic in {None, p[0]} and partition in {None, p[1]}]
    if not parts:
        log.part(topic or next(iter(log.manifest.topics), "(any)"), partition or 0)  # says which there are
    wanted_key = None if key is None else key.encode()
    for name, number in parts:
        for records in log.read(name, number):
            for i, t in enumerate(records.times):
                if (
                    (start is None or t >= start)
                    and (end is None or t < end)
                    and (wanted_key is None or records.keys[i] == wanted_key)
                    and (type is None or type_of(records.values[i]) == type)
                ):
                    yield Found(name, number, records.record(i))
