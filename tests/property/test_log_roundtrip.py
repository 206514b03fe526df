"""What goes into a log comes out of it, byte for byte, whatever it is."""

import json
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.log import LogReader, LogWriter
from producers.log_lines import encode_lines, is_json_line
from twin.records import Record, Records

ODD = [
    b"",
    b" ",
    b"{}",
    b" {}",
    b"{} ",
    b"{}{}",
    b"1 2",
    b"NaN",
    b"1e999",
    b'{"a":',
    b'"\xff"',
    b"\n",
    b'{"a":1}\n',
    b'"\r"',
]
ODD += [b"[" * 900 + b"]" * 900, b"\xef\xbb\xbf{}", b"1" * 400, b"null", b'"\\ud800"', b"\xe2\x80\xa8"]

texts = st.text(max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
bodies = st.one_of(
    st.binary(max_size=30),
    json_values.map(lambda value: json.dumps(value).encode()),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")),
    st.sampled_from(ODD),
)
keys = st.none() | st.binary(max_size=10) | texts.map(lambda text: text.encode("utf-8", "replace"))
names = texts.map(lambda text: text.encode("utf-8", "replace").decode())
headers = st.lists(st.tuples(names, st.binary(max_size=6)), max_size=2).map(tuple)
records = st.builds(Record, st.just(0), st.integers(-(2**63), 2**63 - 1), keys, bodies, st.just(()) | headers)


def read_all(folder: Path, chunk: int) -> tuple[list[Record], list[Records]]:
    chunks = list(LogReader(folder).read("tasks", 0, chunk))
    return [records.record(i) for records in chunks for i in range(len(records))], chunks


@pytest.mark.parametrize("files", ["jsonl", "parquet"])
@given(written=st.lists(records, max_size=12), chunk=st.integers(1, 5), gaps=st.lists(st.integers(0, 3), min_size=12))
def test_any_bytes_come_back_as_they_went_in(files: str, written: list[Record], chunk: int, gaps: list[int]) -> None:
    if files == "parquet":
        pytest.importorskip("pyarrow")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "log"
        offset, expected = 0, []
        with LogWriter(folder, {"tasks": 1}, format=files) as log:
            for (_, t, key, value, head), gap in zip(written, gaps, strict=False):
                offset += gap
                log.append("tasks", 0, t=t, key=key, value=value, headers=head, offset=offset)
                expected.append(Record(offset, t, key, value, head))
                offset += 1
        got, chunks = read_all(folder, chunk)
        assert got == expected
        assert all(len(records) == chunk for records in chunks[:-1])
        assert all(a.next == b.base for a, b in pairwise(chunks))
        assert all(records.next == records.offsets[-1] + 1 for records in chunks)


@given(st.lists(bodies, min_size=1, max_size=8))
def test_records_written_together_give_the_lines_of_records_written_one_by_one(values: list[bytes]) -> None:
    def lines(part: list[bytes], first: int) -> bytes:
        n = len(part)
        return encode_lines(Records(first, first + n, list(range(first, first + n)), [0] * n, [None] * n, part))

    assert lines(values, 0) == b"".join(lines([value], i) for i, value in enumerate(values))


@given(json_values)
def test_a_body_of_json_is_readable_in_the_line(value: object) -> None:
    body = json.dumps(value).encode()
    if b"\\ud" not in body:  # half a surrogate pair is no Unicode text
        assert is_json_line(body)
        line = encode_lines(Records(0, 1, [3], [7], [b"k"], [body]))
        assert json.loads(line) == {"o": 3, "t": 7, "k": "k", "v": value}
