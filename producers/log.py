"""Event logs on disk: exactly what the topics held, one file a topic and partition, and a manifest written last.

Read with ``LogReader``, write with ``LogWriter``; ``log_check`` looks inside one.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from producers.log_lines import read_lines
from producers.log_manifest import (
    FORMAT_VERSION,
    MANIFEST,
    SUFFIXES,
    FileFormat,
    Manifest,
    Part,
    read_manifest,
    write_manifest,
)
from producers.log_parquet import read_parquet
from producers.log_part import UNFINISHED, OpenPart, Saved, make_room, read_saved, write_saved
from twin.errors import ConfigError, StoreError, TwinBug
from twin.records import Headers, Records
from twin.topics import IN_TOPICS

CHUNK = 20_000
_HELD = 5_000  # records of one part held before they are written

DEFAULT_PARTITIONS: dict[str, int] = {topic: 4 if topic == "tasks" else 1 for topic in IN_TOPICS}


class LogWriter:
    """Writes an event log into a folder. Without ``close`` there is no manifest, hence no log.

    As a context manager it closes on success and leaves no manifest after an error.

    Args:
        path: the folder; made if absent.
        partitions: topic → number of partitions; every one gets a part, with or without records.
        level: compression, low for speed (1 to 9 for gzip and zstd alike).
        format: ``jsonl`` (gzip) or ``parquet`` (extra ``parquet``).
        meta: what the manifest should say beyond positions; may be added to until ``close``.
        overwrite: replace a log that is there already.
        resume: go on with a log that is there, finished or saved half written, in place of ``meta`` with its own; begin one
            if there is none.

    Raises:
        ConfigError: the folder holds a log and ``overwrite`` is not set, or the format is unknown.
        StoreError: the file system does not take it (no space, no permission), naming the file.
    """

    def __init__(
        self,
        path: Path,
        partitions: Mapping[str, int],
        *,
        level: int = 1,
        format: FileFormat = "jsonl",  # noqa: A002 - the word of the command line
        meta: Mapping[str, Any] | None = None,
        overwrite: bool = False,
        resume: bool = False,
    ) -> None:
        if format not in SUFFIXES:
            raise ConfigError(f"unknown log format {format!r}: expected one of {', '.join(SUFFIXES)}")
        self.path = path
        self.partitions = dict(partitions)
        self.meta: dict[str, Any] = dict(meta or {})
        self._files: FileFormat = format
        self._parts: dict[tuple[str, int], OpenPart] = {}
        try:
            path.mkdir(parents=True, exist_ok=True)
            saved = read_saved(path) if resume else None
            if saved is None:
                make_room(path, overwrite=overwrite)
            elif saved.topics != self.partitions:
                raise ConfigError(f"{path}: the log has the partitions {saved.topics}, not {self.partitions}")
            else:
                self.meta = dict(saved.meta)
            before = {(part.topic, part.partition): part for part in saved.parts} if saved else {}
            for topic, count in self.partitions.items():
                for p in range(count):
                    self._parts[topic, p] = OpenPart(path, topic, p, format, level, saved=before.get((topic, p)))
            if saved is not None:
                self.save()
                (path / MANIFEST).unlink(missing_ok=True)  # no whole log any more
        except OSError as error:
            self.abandon()
            raise StoreError(f"{error.filename or path}: {error.strerror or error}") from error

    def append(
        self,
        topic: str,
        partition: int,
        *,
        t: int,
        key: bytes | None,
        value: bytes,
        headers: Headers = (),
        offset: int | None = None,
    ) -> int:
        """Add one record and return its offset: the next one unless given, which may leave a hole but not go back."""
        part = self._part(topic, partition)
        held = part.held
        if offset is None:
            offset = part.next
        elif offset < part.next:
            raise TwinBug(f"{part.path}: offset {offset} after offset {part.next - 1}")
        held.offsets.append(offset)
        held.times.append(t)
        held.keys.append(key)
        held.values.append(value)
        if headers or held.headers:
            held.headers += [()] * (len(held.values) - 1 - len(held.headers))
            held.headers.append(headers)
        part.next = offset + 1
        if len(held.values) >= _HELD:
            self._flush(part)
        return offset

    def extend(self, topic: str, partition: int, records: Records, *, keep_offsets: bool = False) -> None:
        """Add ``records``, numbered on from what the part holds, or with their own offsets if ``keep_offsets``."""
        part = self._part(topic, partition)
        count = len(records)
        if not count:
            return
        if keep_offsets and records.offsets[0] < part.next:
            raise TwinBug(f"{part.path}: offset {records.offsets[0]} after offset {part.next - 1}")
        held = part.held
        if records.headers or held.headers:
            held.headers += [()] * (len(held.values) - len(held.headers))
            held.headers += records.headers or [()] * count
        held.offsets += records.offsets if keep_offsets else range(part.next, part.next + count)
        held.times += records.times
        held.keys += records.keys
        held.values += records.values
        part.next = held.offsets[-1] + 1
        if len(held.values) >= _HELD:
            self._flush(part)

    @property
    def positions(self) -> dict[tuple[str, int], int]:
        """The next offset of each part."""
        return {at: part.next for at, part in self._parts.items()}

    def save(self) -> None:
        """Bring what is there to the disk, so that a writer with ``resume`` goes on from here whatever happens to this one.

        Raises:
            StoreError: the file system does not take it.
        """
        parts = []
        for part in self._parts.values():
            try:
                parts.append(part.save())
            except OSError as error:
                raise self._failed(part, error) from error
        try:
            write_saved(self.path, Saved(topics=self.partitions, parts=parts, meta=self.meta))
        except OSError as error:
            self.abandon()
            raise StoreError(f"{self.path / UNFINISHED}: {error.strerror or error}") from error

    def close(self) -> Manifest:
        """Write what is held, then the manifest, and return it.

        Raises:
            StoreError: the file system does not take it; then there is no manifest.
        """
        for part in self._parts.values():
            self._flush(part)
        for part in self._parts.values():
            try:
                part.writer.close()
            except OSError as error:
                raise self._failed(part, error) from error
        entries = [part.entry() for part in self._parts.values()]
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            files=self._files,
            topics=self.partitions,
            first_t=min((e.first_t for e in entries if e.first_t is not None), default=None),
            last_t=max((e.last_t for e in entries if e.last_t is not None), default=None),
            records=sum(e.records for e in entries),
            parts=entries,
            meta=self.meta,
        )
        write_manifest(self.path, manifest)
        (self.path / UNFINISHED).unlink(missing_ok=True)
        return manifest

    def abandon(self) -> None:
        """Close the files and write no manifest."""
        for part in self._parts.values():
            part.writer.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _part(self, topic: str, partition: int) -> OpenPart:
        try:
            return self._parts[topic, partition]
        except KeyError:
            raise TwinBug(f"{self.path}: the log has no part {topic}-{partition}") from None

    def _flush(self, part: OpenPart) -> None:
        try:
            part.flush()
        except OSError as error:
            raise self._failed(part, error) from error

    def _failed(self, part: OpenPart, error: OSError) -> StoreError:
        self.abandon()
        return StoreError(f"{part.path}: {error.strerror or error}; the log is not complete and has no {MANIFEST}")


class LogReader:
    """An event log. Opening it checks the manifest and that all parts are there.

    Raises:
        ConfigError: no log, an unknown format version, a manifest that contradicts itself, or a missing part.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest = read_manifest(path)
        self._parts = {(part.topic, part.partition): part for part in self.manifest.parts}

    @property
    def meta(self) -> dict[str, Any]:
        """What the writer said of the log: name, currency, t0, window_ms …."""
        return self.manifest.meta

    def partitions(self) -> list[tuple[str, int]]:
        """Every (topic, partition), topics in the order of the manifest."""
        return [(topic, p) for topic, count in self.manifest.topics.items() for p in range(count)]

    def part(self, topic: str, partition: int) -> Part:
        """The manifest's entry of a part.

        Raises:
            ConfigError: the log has no such part.
        """
        try:
            return self._parts[topic, partition]
        except KeyError:
            known = ", ".join(f"{name} ({count})" for name, count in self.manifest.topics.items())
            raise ConfigError(f"{self.path}: no partition {topic}-{partition}; the log has {known}") from None

    def read(self, topic: str, partition: int, chunk: int = CHUNK) -> Iterator[Records]:
        """Yield the records of a partition in log order, ``chunk`` at a time, the last chunk smaller.

        Raises:
            ConfigError: a damaged part (file, line and the count of whole records before it, which are yielded first),
                or one that holds fewer records than the manifest says.
        """
        part = self.part(topic, partition)
        path = self.path / part.file
        count = 0
        for records in (read_lines if self.manifest.files == "jsonl" else read_parquet)(path, chunk):
            count += len(records)
            yield records
        if count < part.records:
            raise ConfigError(f"{path}: holds {count} records where the manifest says {part.records}")
