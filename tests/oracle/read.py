"""Tables of the twin as the oracle writes them: rows by id in dicts, texts instead of codes."""

import math
from typing import Any

from tests.oracle.book import Book
from twin.shards.table import Table

RUN_TEXTS = ("cluster", "pool", "reason")


def row(table: Table, index: int) -> dict[str, Any]:
    """One row, every column decoded."""
    return {name: _value(table, name, table.rows[index][name]) for name in table.rows.dtype.names or ()}


def _value(table: Table, name: str, value: Any) -> Any:
    if name == "run":
        return [{key: _value(table, key, run[key]) for key in run.dtype.names} for run in value]
    return table.texts[name].names[int(value)] if name in table.texts else value.item()


def _same(mine: Any, expected: Any) -> bool:
    if isinstance(mine, list):
        slots = expected or [{}, {}]
        return all(differences(a, b) == {} for a, b in zip(mine, slots, strict=True))
    if isinstance(mine, float) and math.isnan(mine):
        return isinstance(expected, float) and math.isnan(expected)
    return bool(mine == (type(mine)() if expected is None else expected))


def differences(mine: dict[str, Any], expected: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Columns in which the two differ, with both values. What the oracle does not mention is zero."""
    assert set(expected) <= set(mine), set(expected) - set(mine)
    return {name: (value, expected.get(name)) for name, value in mine.items() if not _same(value, expected.get(name))}


def content(tables: dict[str, Table]) -> dict[str, Any]:
    """Everything that is state in tables, as bytes and texts."""
    return {
        name: (
            table.rows[: table.count].tobytes(),
            table.ids.names,
            table.ids.row_of,
            table.ids.sha,
            {column: (texts.names, texts.code_of, texts.sha) for column, texts in table.texts.items()},
        )
        for name, table in tables.items()
    }


def assert_same_table(table: Table, book: Book) -> None:
    """The table is what the oracle's book says: numbers of rows, dictionaries, every column of every row."""
    assert table.ids.names == book.names
    assert table.ids.row_of == {name: index for index, name in enumerate(book.names) if name is not None}
    for column, texts in table.texts.items():
        assert texts.names == book.texts.get(column, [""]), column
    for index, name in enumerate(book.names):
        expected = {} if name is None else book.rows[name]
        assert differences(row(table, index), expected) == {}, name
    assert not table.rows[len(book.names) :].tobytes().strip(b"\0"), "rows that were never used are zero"
