"""The depth of a chunk's bodies is looked at together; the answer is that of counting each one."""

from hypothesis import given
from hypothesis import strategies as st

from twin.columns import _TOGETHER, MAX_DEPTH, _many_brackets

PIECES = st.sampled_from([b"", b"{}", b"[", b"{", b'"text"', b"[" * MAX_DEPTH, b"{[" * 33, b"x" * 200, b"\xdb\xfb{"])
VALUES = st.lists(st.lists(PIECES, max_size=4).map(b"".join), max_size=12)


@given(VALUES, st.sampled_from([1, 30, _TOGETHER]))
def test_many_brackets_are_found_in_any_chunk(values: list[bytes], times: int) -> None:
    chunk = values * times
    assert _many_brackets(chunk) == any(v.count(b"{") + v.count(b"[") > MAX_DEPTH for v in chunk)


def test_brackets_of_neighbours_are_not_added_up() -> None:
    assert not _many_brackets([b"[" * MAX_DEPTH] * 3)
    assert _many_brackets([b"[" * MAX_DEPTH, b"[" * (MAX_DEPTH + 1)])
