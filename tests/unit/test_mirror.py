"""Page hashes."""

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.mirror import PAGE, Pages
from twin.shards.table import Table

WIDE = np.dtype([("a", "<i8"), ("b", "V1000")])  # rows that lie across pages


def slow_digest(table: Table) -> bytes:
    raw = table.rows[: table.count].tobytes()
    pages = [hashlib.sha256(raw[at : at + PAGE].ljust(PAGE, b"\0")).digest() for at in range(0, len(raw), PAGE)]
    return hashlib.sha256(b"".join(pages)).digest()


few_rows = st.lists(st.integers(0, 40), max_size=5)


@settings(max_examples=60)
@given(steps=st.lists(st.tuples(st.integers(0, 9), few_rows, st.booleans(), st.booleans()), max_size=8))
def test_hashing_only_changed_pages_is_hashing_all(steps: list[tuple[int, list[int], bool, bool]]) -> None:
    table, pages, value = Table("t", WIDE), Pages(), 0
    for more, touched, whole, asked in steps:
        grown = np.arange(table.count, table.count + more)
        table.assign([f"e{i}" for i in grown])
        changed = np.union1d(grown, [row for row in touched if row < table.count]).astype(np.int64)
        for row in changed:
            value += 1
            table.rows["a"][row] = value
        pages.note(changed, whole=whole)
        if asked:
            assert pages.digest(table) == slow_digest(table)
    assert pages.digest(table) == slow_digest(table)


def test_an_empty_table_has_the_hash_of_no_pages() -> None:
    assert Pages().digest(Table("t", WIDE)) == slow_digest(Table("t", WIDE))
