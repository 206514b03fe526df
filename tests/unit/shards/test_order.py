"""Which records count, against the scalar rule and against sets."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.book import Seen
from twin.shards.order import Outcome, admit, admit_one, newest

NAMES = {"folded": Outcome.NEW, "older": Outcome.OLDER, "repeats": Outcome.REPEAT, "seq.too_old": Outcome.TOO_OLD}

seqs = st.one_of(st.integers(0, 12), st.sampled_from([60, 62, 63, 64, 65, 66, 127, 128, 129, 200, 2**53]))
records = st.lists(st.tuples(st.integers(0, 4), seqs), max_size=40)


@settings(max_examples=400)
@given(chunks=st.lists(records, max_size=3))
def test_admit_is_the_scalar_rule_and_the_scalar_rule_is_a_set(chunks: list[list[tuple[int, int]]]) -> None:
    high, seen = np.zeros(5, np.int64), np.zeros(5, np.uint64)
    sets = [Seen() for _ in range(5)]
    slow = [(0, 0)] * 5
    for chunk in chunks:
        rows, seq = (np.array([pair[k] for pair in chunk], np.int64) for k in (0, 1))
        outcome = admit(rows, seq, high, seen)
        expected = []
        for row, number in chunk:
            one, h, s = admit_one(*slow[row], number)
            slow[row] = h, s
            assert one == NAMES[sets[row].judge(number)]
            expected.append(int(one))
        assert outcome.tolist() == expected
        assert list(zip(high.tolist(), seen.tolist(), strict=True)) == slow
        assert slow == [(each.high, each.mask) for each in sets]


@given(rising=st.lists(st.sampled_from([1, 1, 1, 2, 3, 62, 63, 64, 65, 200]), min_size=1, max_size=30))
def test_numbers_that_only_rise_are_all_new(rising: list[int]) -> None:
    seq = np.cumsum(rising)
    high, seen = np.zeros(1, np.int64), np.zeros(1, np.uint64)
    assert not admit(np.zeros(len(seq), np.int64), seq, high, seen).any()
    each = Seen()
    for number in seq.tolist():
        each.judge(number)
    assert (int(high[0]), int(seen[0])) == (each.high, each.mask)


def test_disorder_inside_the_mask_counts_once_and_beyond_it_not_at_all() -> None:
    high, seen = np.zeros(1, np.int64), np.zeros(1, np.uint64)

    def outcome(*numbers: int) -> list[int]:
        return admit(np.zeros(len(numbers), np.int64), np.array(numbers, np.int64), high, seen).tolist()

    assert outcome(100) == [Outcome.NEW]
    assert outcome(37, 36) == [Outcome.OLDER, Outcome.TOO_OLD]
    assert outcome(37) == [Outcome.REPEAT]
    assert outcome(101, 37, 38, 38) == [Outcome.NEW, Outcome.TOO_OLD, Outcome.OLDER, Outcome.REPEAT]
    assert outcome(100, 101, 102) == [Outcome.REPEAT, Outcome.REPEAT, Outcome.NEW]


def test_a_field_of_structured_rows_is_folded_in_place() -> None:
    rows = np.zeros(3, [("pad", "<i4"), ("high", "<i8"), ("seen", "<u8")])
    admit(np.array([2, 0, 2]), np.array([5, 1, 6]), rows["high"], rows["seen"])
    assert rows["high"].tolist() == [2, 0, 7]
    assert rows["seen"].tolist() == [1, 0, 3]


@pytest.mark.parametrize("keys", [1, 2])
@given(data=st.data())
def test_newest_is_the_greatest_key_of_each_row_and_of_equal_ones_the_last(keys: int, data: st.DataObject) -> None:
    small = st.integers(0, 3)
    drawn = data.draw(st.lists(st.tuples(small, *[small] * keys), min_size=1, max_size=12))
    best: dict[int, int] = {}
    for i, (row, *key) in enumerate(drawn):
        if row not in best or key >= list(drawn[best[row]][1:]):
            best[row] = i
    columns = [np.array(column, np.int64) for column in zip(*drawn, strict=True)]
    assert newest(*columns).tolist() == [best[row] for row in sorted(best)]
