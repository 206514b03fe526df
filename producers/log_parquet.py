"""Parts of an event log as Parquet, for those who want to query a log; needs the extra ``parquet``.

The columns are those of a line: o, t, k, kb, h, hb, v, b, of which v and k are text and the ``b`` ones bytes.
"""

# ruff: noqa: ANN401 - pyarrow ships no types

import operator
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from producers.log_lines import is_json_line
from twin.errors import ConfigError, StoreError
from twin.records import Headers, Records


def arrow() -> tuple[Any, Any]:
    """Return pyarrow and its Parquet module.

    Raises:
        ImportError: it is not installed; says what to install.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional
        import pyarrow.parquet as pq  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError("Parquet files need pyarrow: pip install 'cpn-twin[parquet]'") from error
    return pa, pq


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _schema(pa: Any) -> Any:
    pairs = pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))
    return pa.schema(
        [
            ("o", pa.int64()),
            ("t", pa.int64()),
            ("k", pa.string()),
            ("kb", pa.binary()),
            ("h", pairs),
            ("v", pa.string()),
            ("b", pa.binary()),
        ]
    )


class ParquetPart:
    """Writes one part, a row group for each ``write``."""

    def __init__(self, path: Path, level: int) -> None:
        self._pa, pq = arrow()
        self._schema = _schema(self._pa)
        self._file = path.open("wb")
        options = {
            "compression": "zstd",
            "compression_level": level,
            "use_dictionary": False,
            "write_statistics": ["o", "t"],
        }
        self._writer = pq.ParquetWriter(self._file, self._schema, **options)

    def write(self, records: Records) -> None:
        """Add ``records``."""
        pa = self._pa
        text = [key is None or _is_text(key) for key in records.keys]
        json = list(map(is_json_line, records.values))
        heads = records.headers or [()] * len(records)
        columns = [
            pa.array(records.offsets, pa.int64()),
            pa.array(records.times, pa.int64()),
            pa.array([key if ok else None for key, ok in zip(records.keys, text, strict=True)], pa.binary()).cast(
                pa.string()
            ),
            pa.array([None if ok else key for key, ok in zip(records.keys, text, strict=True)], pa.binary()),
            pa.array(
                [[{"name": n, "value": v} for n, v in pairs] or None for pairs in heads], self._schema.field("h").type
            ),
            pa.array([v if ok else None for v, ok in zip(records.values, json, strict=True)], pa.binary()).cast(
                pa.string()
            ),
            pa.array([None if ok else v for v, ok in zip(records.values, json, strict=True)], pa.binary()),
        ]
        self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))

    def close(self) -> None:
        """Write what is left and close the file."""
        try:
            self._writer.close()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close the file as it is: without a footer it is no Parquet file."""
        self._writer.is_open = False  # or it would write a footer when it is collected
        with suppress(OSError):  # a full disk refuses the last buffer too
            self._file.close()


def _merged(batch: Any, text: str, binary: str, pa: Any) -> list[bytes | None]:
    """The bytes of two columns of which at most one is present in each row."""
    plain = batch.column(text).cast(pa.binary()).to_numpy(zero_copy_only=False).tolist()
    if batch.column(binary).null_count < len(plain):
        other = batch.column(binary).to_pylist()
        plain = [b if a is None else a for a, b in zip(plain, other, strict=True)]
    return plain  # type: ignore[no-any-return]


def _head(pairs: list[dict[str, Any]] | None) -> Headers:
    return tuple((pair["name"], pair["value"]) for pair in pairs or ())


def _columns(batch: Any, pa: Any, base: int) -> Records:
    offsets = batch.column("o").to_numpy().tolist()
    times = batch.column("t").to_numpy().tolist()
    values = [value or b"" for value in _merged(batch, "v", "b", pa)]
    heads = batch.column("h")
    headers = list(map(_head, heads.to_pylist())) if heads.null_count < len(offsets) else []
    first = offsets[0] if base < 0 else base
    return Records(first, offsets[-1] + 1, offsets, times, _merged(batch, "k", "kb", pa), values, headers)


def _not_rising(records: Records) -> tuple[int, str] | None:
    """The first record whose offset is not above the one before it, and what is wrong; None where there is none."""
    offsets = records.offsets
    before = [records.base - 1, *offsets]
    if not any(map(operator.ge, before, offsets)):
        return None
    i = next(i for i, offset in enumerate(offsets) if before[i] >= offset)
    return i, f"offset {offsets[i]} after offset {before[i]}: offsets must rise"


def read_parquet(path: Path, chunk: int) -> Iterator[Records]:
    """Yield the records of one part, ``chunk`` at a time.

    Raises:
        ConfigError: not a Parquet file of an event log, or offsets that do not rise.
        StoreError: the file cannot be read.
    """
    pa, pq = arrow()
    base, count = -1, 0
    try:
        with pq.ParquetFile(path) as file:
            if not file.schema_arrow.equals(_schema(pa)):
                raise ConfigError(f"{path}: expected the columns o, t, k, kb, h, v, b of an event log")
            # columns of short texts: handing them to threads costs more than it saves
            for batch in file.iter_batches(chunk, use_threads=False):
                records = _columns(batch, pa, base)
                fault = _not_rising(records)
                if fault is not None:
                    raise ConfigError(f"{path}: {fault[1]} ({count + fault[0]} whole records before it)")
                count += len(records)
                base = records.next
                yield records
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{path}: not readable as Parquet: {error} ({count} whole records before it)") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
