"""Rows by id and codes by text, assigned in log order."""

from hypothesis import given
from hypothesis import strategies as st

from twin.ids import ZERO_SHA, Ids, Texts

names = st.lists(st.sampled_from("abcdefg"), max_size=6)


def test_rows_are_assigned_in_order_and_stay() -> None:
    ids = Ids()
    assert ids.rows(["b", "a", "b"]) == [0, 1, 0]
    assert ids.rows(["a", "c"]) == [1, 2]
    assert len(ids) == 3
    assert ids.rows([]) == []


def test_the_lowest_free_row_is_used_first() -> None:
    ids = Ids()
    ids.rows(list("abcde"))
    ids.release([3, 1])
    assert ids.rows(["x", "y", "z"]) == [1, 3, 5]
    assert ids.names == ["a", "x", "c", "y", "e", "z"]


def test_releasing_a_free_row_changes_nothing() -> None:
    ids = Ids()
    ids.rows(["a"])
    ids.release([0])
    sha = ids.sha
    ids.release([0])
    assert ids.sha == sha
    assert ids.rows(["b", "c"]) == [0, 1]


@given(steps=st.lists(st.tuples(names, st.sets(st.integers(0, 7))), max_size=8))
def test_ids_are_those_of_a_plain_list_and_a_follower_has_the_same(steps: list[tuple[list[str], set[int]]]) -> None:
    ids, follower, slots = Ids(), Ids(), []
    for wanted, freed in steps:
        for name in wanted:
            if name not in slots:
                free = slots.index(None) if None in slots else len(slots)
                slots[free : free + 1] = [name]
        assert ids.rows(wanted) == [slots.index(name) for name in wanted]
        for row in sorted(row for row in freed if row < len(slots)):
            slots[row] = None
        ids.release(sorted(row for row in freed if row < len(ids.names)))
        assert ids.names == slots
        follower.apply(ids.take_changes(), ids.sha)
        assert (follower.names, follower.row_of, follower.sha) == (ids.names, ids.row_of, ids.sha)
    from_nothing = Ids()
    from_nothing.apply(ids.assignments(), ids.sha)
    assert from_nothing.row_of == ids.row_of


def test_the_running_hash_knows_order_and_releases() -> None:
    ab, ba, released = Ids(), Ids(), Ids()
    assert ab.sha == ZERO_SHA
    ab.rows(["a", "b"])
    ba.rows(["b", "a"])
    released.rows(["a", "b"])
    released.release([1])
    assert len({ab.sha, ba.sha, released.sha, ZERO_SHA}) == 4
    one_by_one = Ids()
    one_by_one.rows(["a"])
    one_by_one.rows(["b"])
    assert one_by_one.sha == ab.sha


def test_code_zero_is_the_empty_text() -> None:
    texts = Texts()
    assert list(texts.codes(["", "x", "", "y", "x"])) == [0, 1, 0, 2, 1]
    assert texts.names == ["", "x", "y"]


@given(chunks=st.lists(names, max_size=6))
def test_codes_do_not_depend_on_chunks_and_a_follower_has_the_same(chunks: list[list[str]]) -> None:
    texts, whole, follower = Texts(), Texts(), Texts()
    for chunk in chunks:
        codes = texts.codes(chunk)
        assert [texts.names[code] for code in codes] == chunk
        follower.apply(texts.take_new(), texts.sha)
    whole.codes([text for chunk in chunks for text in chunk])
    for other in (whole, follower):
        assert (other.names, other.code_of, other.sha) == (texts.names, texts.code_of, texts.sha)
