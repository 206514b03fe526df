"""Packed rows, and the columns of a row as one tuple."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.feeding import WAYS, few
from twin.shards.fold import newest_to_write
from twin.shards.table import Fields, Table

ROW = np.dtype([("a", "<i8"), ("b", "<u8"), ("c", "<i4"), ("d", "<i4"), ("e", "<f8"), ("f", "<i8")])
KEYS = np.dtype([("major", "<i8"), ("minor", "<i8")])


@pytest.mark.parametrize("way", WAYS)
def test_writing_some_columns_leaves_the_others_alone(way: int) -> None:
    table, middle = Table("t", ROW), Fields(ROW, "b", "c", "d", "e")
    rows = table.assign([f"e{i}" for i in range(100)])
    table.rows["a"], table.rows["f"] = -1, -2
    with few(way):
        middle.write(table, rows[10:20], ((2**64 - 1 - i, -i, i, None if i % 2 else i / 8) for i in range(10)))
    assert (table.rows["a"] == -1).all()
    assert (table.rows["f"] == -2).all()
    assert middle.get(table, 12) == (2**64 - 3, -2, 2, 0.25)
    assert table.rows["d"][:21].tolist() == [0] * 10 + list(range(10)) + [0]
    assert np.isnan(table.rows["e"][11:20:2]).all()
    middle.put(table, 12, 5, 6, 7, 8.5)
    assert table.rows[12].item() == (-1, 5, 6, 7, 8.5, -2)


def test_columns_that_are_no_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="'d' does not follow"):
        Fields(ROW, "b", "d")


keyed = st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=10)


@given(chunks=st.lists(keyed, max_size=3), way=st.sampled_from(WAYS))
def test_newest_to_write_is_a_plain_loop(chunks: list[list[tuple[int, int, int]]], way: int) -> None:
    table, order = Table("t", KEYS), Fields(KEYS, "major", "minor")
    table.assign(list("abcd"))
    stored = [(0, 0)] * 4
    for chunk in chunks:
        expected: dict[int, int] = {}
        before = list(stored)
        for i, (row, *key) in enumerate(chunk):
            if tuple(key) > before[row] and tuple(key) >= stored[row]:
                stored[row], expected[row] = (key[0], key[1]), i
        with few(way):
            at, to = newest_to_write(table, order, [c[0] for c in chunk], [c[1] for c in chunk], [c[2] for c in chunk])
        assert dict(zip(to, at, strict=True)) == expected
        assert [tuple(cells) for cells in table.rows[:4].tolist()] == stored


def test_a_table_that_nothing_happened_to_has_an_empty_delta() -> None:
    table = Table("t", ROW, ("x",))
    table.assign(["a"])
    table.touch_one(0)
    table.texts["x"].codes(["new"])
    assert table.delta(whole=True).texts == {"x": ["new"]}
    quiet = table.delta(whole=False)
    assert quiet.empty
    assert (quiet.ids_sha, quiet.count, quiet.texts_sha) == (table.ids.sha, 1, {"x": table.texts["x"].sha})
    table.release(np.array([0]))
    after = table.delta(whole=False)
    assert (after.index.tolist(), after.ids, after.rows.tobytes().strip(b"\0")) == ([0], [(0, None)], b"")


def test_growing_keeps_rows_and_what_changed() -> None:
    table = Table("t", ROW)
    table.assign(["a"])
    table.rows["a"][0] = 7
    table.touch_one(0)
    table.assign([f"e{i}" for i in range(500)])
    assert table.rows["a"][0] == 7
    assert table.delta(whole=False).index.tolist() == [0]
