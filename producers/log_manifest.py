"""The manifest of an event log: which parts there are and what they must hold. It is written last, so a log has all or none."""

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from twin.errors import ConfigError, StoreError

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
FileFormat = Literal["jsonl", "parquet"]
SUFFIXES: dict[str, str] = {"jsonl": "jsonl.gz", "parquet": "parquet"}

PartitionCount = Annotated[int, Meta(ge=1, le=10_000)]
Position = Annotated[int, Meta(ge=0)]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """One file: a whole topic and partition. Offsets lie in [first_offset, next_offset); times are in ms, None when empty."""

    file: str
    topic: str
    partition: Position
    records: Position
    first_offset: Position
    next_offset: Position
    first_t: int | None
    last_t: int | None
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole log. ``topics`` maps each topic to its partition count; ``meta`` is whatever its writer wanted to say of it."""

    format_version: int
    files: FileFormat
    topics: dict[str, PartitionCount]
    first_t: int | None
    last_t: int | None
    records: Position
    parts: list[Part]
    meta: dict[str, Any] = {}


class _Versioned(msgspec.Struct):
    format_version: int


def part_file(topic: str, partition: int, files: str) -> str:
    """Return the file name of a part, such as ``tasks-03.jsonl.gz``."""
    return f"{topic}-{partition:02d}.{SUFFIXES[files]}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` whole or not at all.

    Raises:
        StoreError: the file cannot be written; no half manifest stays behind.
    """
    draft = folder / (MANIFEST + ".tmp")
    try:
        with draft.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / MANIFEST)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StoreError(f"{folder / MANIFEST}: {error.strerror or error}") from error


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of the log in ``folder``; the parts themselves are only looked for.

    Raises:
        ConfigError: no log there, an unknown format version, a manifest that contradicts itself, or a missing part.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{folder}: no event log here ({MANIFEST} is missing)") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    try:
        version = msgspec.json.decode(text, type=_Versioned).format_version
        if version != FORMAT_VERSION:
            raise ConfigError(f"{path}: format version {version}; this reader knows version {FORMAT_VERSION}")
        manifest = msgspec.json.decode(text, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a manifest of an event log: {error}") from error
    _check_parts(folder, manifest)
    return manifest


def _check_parts(folder: Path, manifest: Manifest) -> None:
    expected = {(topic, p) for topic, count in manifest.topics.items() for p in range(count)}
    named = [(part.topic, part.partition) for part in manifest.parts]
    if len(set(named)) < len(named) or set(named) != expected:
        odd = sorted(set(named) ^ expected) or sorted({name for name in named if named.count(name) > 1})
        raise ConfigError(
            f"{folder / MANIFEST}: parts and topics do not agree on {', '.join(f'{t}-{p}' for t, p in odd)}"
        )
    for part in manifest.parts:
        if Path(part.file).name != part.file:
            raise ConfigError(f"{folder / MANIFEST}: part {part.file!r} is not a file of this folder")
        if not (folder / part.file).is_file():
            raise ConfigError(f"{folder / part.file}: the manifest names this part, and it is missing")
