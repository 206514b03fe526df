"""Tables of a dataset, row by row: CSV, CSV.gz and Parquet behind one reader that names file, line and column."""

import csv
import gzip
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from producers.log_parquet import arrow
from twin.errors import ConfigError, StoreError

OnError = Literal["stop", "skip"]
T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_SHOWN = 60  # characters of a wrong cell in a message
_YES, _NO = {"true", "1", "yes"}, {"false", "0", "no"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One row that was refused. ``line`` is the line of a CSV file or the row of a Parquet file, the header being 1."""

    file: str
    line: int
    column: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.file}: line {self.line}, column {self.column}: expected {self.expected}, got {self.got}"


class CellError(Exception):
    """A cell does not hold what its column is for."""

    def __init__(self, column: str, expected: str, got: str) -> None:
        super().__init__(column, expected, got)
        self.column, self.expected, self.got = column, expected, got


@dataclass(slots=True)
class Findings:
    """What an import has to tell: rows read per table, rows refused, and what is odd about the rest.

    With ``on_error`` "stop" the first refused row ends the import.
    """

    on_error: OnError = "stop"
    rows: dict[str, int] = field(default_factory=dict)
    skipped: list[Fault] = field(default_factory=list)
    outside: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def refuse(self, fault: Fault) -> None:
        """Note a refused row.

        Raises:
            ConfigError: rows may not be skipped.
        """
        if self.on_error == "stop":
            raise ConfigError(str(fault))
        self.skipped.append(fault)

    def warn(self, text: str) -> None:
        """Note something odd, once."""
        if text not in self.warnings:
            self.warnings.append(text)


@lru_cache(maxsize=1 << 16)
def epoch_ms(text: str) -> int | None:
    """Return an ISO 8601 time as ms since the epoch (UTC unless it says otherwise), None if it is not one, or before 1970."""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        ms = (time - _EPOCH) // _MS
    except (ValueError, OverflowError):
        return None
    return ms if ms >= 0 else None


class Row:
    """One row. Each method reads a cell as one kind of value; a column that is absent or a cell that is empty is None."""

    __slots__ = ("_cells", "_columns", "line")

    def __init__(self, columns: dict[str, int], line: int, cells: list[str]) -> None:
        self._columns, self.line, self._cells = columns, line, cells

    def cell(self, column: str) -> str | None:
        """The text of a cell without blanks around it."""
        at = self._columns.get(column)
        return None if at is None else self._cells[at].strip() or None

    def wrong(self, column: str, expected: str) -> CellError:
        """An error about a cell, quoting it."""
        text = self.cell(column)
        got = "nothing" if text is None else repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
        return CellError(column, expected, got)

    def need(self, column: str, value: T | None, expected: str) -> T:
        """``value``, which must not be absent."""
        if value is None:
            raise self.wrong(column, expected)
        return value

    def name(self, column: str) -> str | None:
        """A name or an id."""
        text = self.cell(column)
        if text is not None and len(text) > 200:
            raise self.wrong(column, "at most 200 characters")
        return text

    def number(self, column: str, low: float = 0.0, high: float = 1e12) -> float | None:
        """A number in [low, high]."""
        text = self.cell(column)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or "_" in text:
            raise self.wrong(column, f"a number from {low:.15g} to {high:.15g}")
        return value

    def integer(self, column: str, low: int = 0, high: int = 10_000_000) -> int | None:
        """A whole number in [low, high]; ``4.0`` is one."""
        text = self.cell(column)
        if text is None:
            return None
        try:
            value = int(text)
        except ValueError:
            number = self.number(column, low, high)
            value = int(number or 0)
            if value != number:
                raise self.wrong(column, "a whole number") from None
        if not low <= value <= high or "_" in text:
            raise self.wrong(column, f"a whole number from {low} to {high}")
        return value

    def flag(self, column: str) -> bool | None:
        """True or false."""
        text = self.cell(column)
        if text is None:
            return None
        if text.lower() in _YES:
            return True
        if text.lower() in _NO:
            return False
        raise self.wrong(column, "true or false")

    def time(self, column: str) -> int | None:
        """A time in ms since the epoch."""
        text = self.cell(column)
        if text is None:
            return None
        value = epoch_ms(text)
        if value is None:
            raise self.wrong(column, "a UTC time from 1970 on, such as 2022-09-25T22:00:00Z")
        return value

    def choice(self, column: str, options: Sequence[str]) -> str | None:
        """One of ``options``."""
        text = self.cell(column)
        if text is not None and text not in options:
            raise self.wrong(column, "one of " + ", ".join(options))
        return text


class Table:
    """One file of a dataset. Opening it reads the header.

    Raises:
        ConfigError: no such file, an unknown ending, an empty file, a column twice, or a file that breaks off.
    """

    def __init__(self, path: Path, shown: str, findings: Findings) -> None:
        self.file = shown
        self._findings = findings
        self._lines = _lines(path, shown)
        try:
            _, header = next(self._lines)
        except StopIteration:
            raise ConfigError(f"{shown}: the file is empty: expected a header row") from None
        names = [name.strip() for name in header]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ConfigError(f"{shown}: line 1: column {', '.join(sorted(twice))} stands there twice")
        self.columns = {name: i for i, name in enumerate(names)}

    def need(self, *columns: str) -> None:
        """Check that the table has ``columns``; ``a|b`` means either.

        Raises:
            ConfigError: one is missing.
        """
        for wanted in columns:
            if not any(name in self.columns for name in wanted.split("|")):
                has = ", ".join(self.columns)
                raise ConfigError(
                    f"{self.file}: line 1: expected a column {wanted.replace('|', ' or ')}; the header has {has}"
                )

    def has(self, column: str) -> bool:
        """Whether there is such a column."""
        return column in self.columns

    def each(self, read: Callable[[Row], T]) -> Iterator[T]:
        """Yield what ``read`` makes of each row; a row it raises a ``CellError`` about is refused."""
        count = 0
        for line, cells in self._lines:
            if not cells:
                continue  # an empty line
            count += 1
            try:
                made = read(_row(self.columns, line, cells))
            except CellError as error:
                self._findings.refuse(Fault(self.file, line, error.column, error.expected, error.got))
            else:
                yield made
        self._findings.rows[self.file] = count
        if not count:
            self._findings.warn(f"{self.file}: a header and no rows")


def _row(columns: dict[str, int], line: int, cells: list[str]) -> Row:
    if len(cells) != len(columns):
        raise CellError("(all)", f"{len(columns)} cells", f"{len(cells)}")
    return Row(columns, line, cells)


def _lines(path: Path, shown: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of a file, the header first."""
    name = path.name.lower()
    if not path.is_file():
        raise ConfigError(f"{shown}: no such file")
    if name.endswith(".parquet"):
        return _parquet_lines(path, shown)
    if name.endswith((".csv", ".csv.gz")):
        return _csv_lines(path, shown)
    raise ConfigError(f"{shown}: expected a file ending in .csv, .csv.gz or .parquet")


def _csv_lines(path: Path, shown: str) -> Iterator[tuple[int, list[str]]]:
    line = 1
    opened: Any = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for cells in reader:
                yield line, cells
                line = reader.line_num + 1
    except EOFError as error:
        raise ConfigError(f"{shown}: line {line}: the gzip stream ends early") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ConfigError(f"{shown}: line {line}: not readable as gzip: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown}: at or after line {line}: not UTF-8: {error.reason}") from error
    except csv.Error as error:
        raise ConfigError(f"{shown}: line {line}: not readable as CSV: {error}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error


def _as_text(value: object) -> str:
    """A Parquet cell as the text it would have in a CSV file."""
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _parquet_lines(path: Path, shown: str) -> Iterator[tuple[int, list[str]]]:
    pa, pq = arrow()
    line = 1
    try:
        with pq.ParquetFile(path) as file:
            yield line, list(file.schema_arrow.names)
            for batch in file.iter_batches():
                for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    line += 1
                    yield line, list(map(_as_text, cells))
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{shown}: line {line}: not readable as Parquet: {error}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
