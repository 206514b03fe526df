"""Parts of an event log that are being written, and what is kept of a log so that its writing can be gone on with.

A *saved state* says how much of each part is whole on the disk. It is written after that much of every part is, so whatever
ends the writer, the parts cut to the sizes in it are a log's beginning: each ends with a whole gzip member.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from producers.log_lines import LinesPart
from producers.log_manifest import MANIFEST, FileFormat, Part, part_file, read_manifest, sha256_of
from producers.log_parquet import ParquetPart
from twin.errors import ConfigError, TwinBug
from twin.records import Records

UNFINISHED = "unfinished.json"


class SavedPart(msgspec.Struct, frozen=True, kw_only=True):
    """How far a part is: bytes on the disk, records in them, and what the manifest would say of them."""

    topic: str
    partition: int
    size: int
    records: int
    first_offset: int | None
    next_offset: int
    first_t: int | None
    last_t: int | None


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """How far a log is."""

    topics: dict[str, int]
    parts: list[SavedPart]
    meta: dict[str, Any]


class _PartWriter(Protocol):
    def write(self, records: Records) -> None: ...
    def close(self) -> None: ...
    def abandon(self) -> None: ...


class OpenPart:
    """A part being written, with what its line of the manifest will say."""

    def __init__(
        self, folder: Path, topic: str, partition: int, files: FileFormat, level: int, *, saved: SavedPart | None = None
    ) -> None:
        self.path = folder / part_file(topic, partition, files)
        self.topic, self.partition = topic, partition
        self.records = saved.records if saved else 0
        self.first_offset = saved.first_offset if saved else None
        self.next = saved.next_offset if saved else 0
        self.first_t = saved.first_t if saved else None
        self.last_t = saved.last_t if saved else None
        self.held = Records(self.next, self.next)
        self.writer: _PartWriter = (
            LinesPart(self.path, level, saved.size if saved else 0)
            if files == "jsonl"
            else ParquetPart(self.path, level)
        )

    def flush(self) -> None:
        """Hand what is held to the file."""
        held = self.held
        if not held.values:
            return
        low, high = min(held.times), max(held.times)
        self.first_t = low if self.first_t is None else min(self.first_t, low)
        self.last_t = high if self.last_t is None else max(self.last_t, high)
        self.first_offset = held.offsets[0] if self.first_offset is None else self.first_offset
        self.records += len(held)
        self.held = Records(self.next, self.next)
        self.writer.write(held)

    def save(self) -> SavedPart:
        """Bring everything to the disk and return how far the part is.

        Raises:
            TwinBug: not a part of lines.
        """
        self.flush()
        if not isinstance(self.writer, LinesPart):
            raise TwinBug(f"{self.path}: only parts of lines can be saved half written")
        return SavedPart(
            topic=self.topic,
            partition=self.partition,
            size=self.writer.sync(),
            records=self.records,
            first_offset=self.first_offset,
            next_offset=self.next,
            first_t=self.first_t,
            last_t=self.last_t,
        )

    def entry(self) -> Part:
        """The line of the manifest."""
        first = self.next if self.first_offset is None else self.first_offset
        return Part(
            file=self.path.name,
            topic=self.topic,
            partition=self.partition,
            records=self.records,
            first_offset=first,
            next_offset=self.next,
            first_t=self.first_t,
            last_t=self.last_t,
            sha256=sha256_of(self.path),
        )


def write_saved(folder: Path, saved: Saved) -> None:
    """Write how far a log is, whole or not at all."""
    draft = folder / (UNFINISHED + ".tmp")
    with draft.open("wb") as file:
        file.write(msgspec.json.encode(saved))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / UNFINISHED)


def read_saved(folder: Path) -> Saved | None:
    """Return how far the log in a folder is, finished or not; None where there is none. A finished one goes before.

    Raises:
        ConfigError: the log cannot be gone on with: it is damaged, or not of lines.
    """
    if (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        if manifest.files != "jsonl":
            raise ConfigError(f"{folder}: a log in {manifest.files} cannot be gone on with; write another")
        parts = [
            SavedPart(
                topic=part.topic,
                partition=part.partition,
                size=(folder / part.file).stat().st_size,
                records=part.records,
                first_offset=part.first_offset if part.records else None,
                next_offset=part.next_offset,
                first_t=part.first_t,
                last_t=part.last_t,
            )
            for part in manifest.parts
        ]
        return Saved(topics=manifest.topics, parts=parts, meta=manifest.meta)
    path = folder / UNFINISHED
    if not path.exists():
        return None
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=Saved)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: says not how far the log is: {error}; write another log") from error
    for part in saved.parts:
        file = folder / part_file(part.topic, part.partition, "jsonl")
        have = file.stat().st_size if file.exists() else 0
        if have < part.size:
            raise ConfigError(f"{file}: {have} bytes where {part.size} were written: it is damaged; write another log")
    return saved


def make_room(folder: Path, *, overwrite: bool) -> None:
    """Take an older log away, its manifest first, so that its parts are never taken for a log of ours.

    Raises:
        ConfigError: there is one, and ``overwrite`` is not set.
    """
    if not (folder / MANIFEST).exists() and not (folder / UNFINISHED).exists():
        return
    if not overwrite:
        what = "an event log" if (folder / MANIFEST).exists() else "an unfinished event log"
        raise ConfigError(f"{folder}: there is {what} here already; choose another folder, or --overwrite it")
    old: list[str] = []
    with suppress(ConfigError):  # not a log we know the parts of: ours take their places
        saved = read_saved(folder)
        old = [part_file(p.topic, p.partition, "jsonl") for p in saved.parts] if saved else []
    with suppress(ConfigError):
        old += [part.file for part in read_manifest(folder).parts]
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / UNFINISHED).unlink(missing_ok=True)
    for name in old:
        (folder / name).unlink(missing_ok=True)
