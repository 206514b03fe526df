"""Event logs: what is written, and what is said of a log that is damaged."""

import gzip
import json
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.log import LogReader, LogWriter
from producers.log_manifest import MANIFEST
from twin.errors import ConfigError, StoreError, TwinBug
from twin.records import Records

BODIES = [json.dumps({"i": i}).encode() for i in range(10)]


def write(folder: Path, count: int = 10, **options: object) -> Path:
    with LogWriter(folder, {"tasks": 2, "power": 1}, **options) as log:
        for i in range(count):
            log.append("tasks", 1, t=1000 + i, key=f"k{i}".encode(), value=json.dumps({"i": i}).encode())
    return folder


def values(folder: Path, chunk: int = 3) -> list[bytes]:
    return [value for records in LogReader(folder).read("tasks", 1, chunk) for value in records.values]


def part(folder: Path) -> Path:
    return folder / "tasks-01.jsonl.gz"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write(tmp_path / "log")


def test_a_log_has_one_part_for_each_partition_and_a_manifest_that_counts_them(log: Path) -> None:
    manifest = json.loads((log / MANIFEST).read_text())
    assert manifest["topics"] == {"tasks": 2, "power": 1}
    assert [(p["file"], p["records"]) for p in manifest["parts"]] == [
        ("tasks-00.jsonl.gz", 0),
        ("tasks-01.jsonl.gz", 10),
        ("power-00.jsonl.gz", 0),
    ]
    assert (manifest["first_t"], manifest["last_t"], manifest["records"]) == (1000, 1009, 10)
    assert sorted(f.name for f in log.iterdir()) == sorted([MANIFEST, *(p["file"] for p in manifest["parts"])])


def test_the_lines_of_a_part_are_json_with_the_body_as_it_was(tmp_path: Path) -> None:
    with LogWriter(tmp_path, {"tasks": 1}) as log:
        log.append("tasks", 0, t=5, key=b"a", value=b'{"x": 1}', headers=(("h", b"1"), ("h", b"2")))
        log.append("tasks", 0, t=6, key=None, value=b'{"a":')
        log.append("tasks", 0, t=7, key=b"\xff", value=b"NaN", headers=(("h", b"\xff"),))
    lines = gzip.decompress((tmp_path / "tasks-00.jsonl.gz").read_bytes()).splitlines()
    assert lines[0] == b'{"o":0,"t":5,"k":"a","h":[["h","1"],["h","2"]],"v":{"x": 1}}'
    assert json.loads(lines[1]) == {"o": 1, "t": 6, "b": "eyJhIjo="}
    assert json.loads(lines[2]) == {"o": 2, "t": 7, "kb": "/w==", "hb": [["h", "/w=="]], "b": "TmFO"}


def test_a_line_written_by_hand_may_hold_blanks_and_headers_as_an_object(log: Path) -> None:
    text = b'{ "v" : {"type":"x"} , "k":"k", "h":{"a":"b"}, "o":4, "t":9 }'
    part(log).write_bytes(gzip.compress(b"".join(b'{"o":%d,"t":0,"v":0}\n' % i for i in range(4)) + text))
    manifest = json.loads((log / MANIFEST).read_text())
    manifest["parts"][1]["records"] = 5
    (log / MANIFEST).write_text(json.dumps(manifest))
    (records,) = LogReader(log).read("tasks", 1)
    assert records.record(4) == (4, 9, b"k", b'{"type":"x"}', (("a", b"b"),))
    assert records.headers[0] == ()


def test_records_are_numbered_from_zero_per_partition_unless_an_offset_is_given(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, {"tasks": 2})
    assert [log.append("tasks", 0, t=0, key=None, value=b"1") for _ in range(3)] == [0, 1, 2]
    assert log.append("tasks", 1, t=0, key=None, value=b"1") == 0
    assert log.append("tasks", 0, t=0, key=None, value=b"1", offset=7) == 7
    assert log.append("tasks", 0, t=0, key=None, value=b"1") == 8
    with pytest.raises(TwinBug, match="offset 8 after offset 8"):
        log.append("tasks", 0, t=0, key=None, value=b"1", offset=8)
    with pytest.raises(TwinBug, match="no part tasks-2"):
        log.append("tasks", 2, t=0, key=None, value=b"1")
    log.abandon()


def test_whole_chunks_are_copied_with_new_numbers_or_with_their_own(tmp_path: Path) -> None:
    chunk = Records(5, 9, [5, 8], [1, 2], [b"a", None], [b"{}", b"x"], [(("h", b"1"),), ()])
    bare = Records(9, 10, [9], [3], [b"c"], [b"[]"])
    for keep, offsets in ((False, [0, 1, 2]), (True, [5, 8, 9])):
        folder = tmp_path / str(keep)
        with LogWriter(folder, {"tasks": 1}) as log:
            log.extend("tasks", 0, Records(5, 5), keep_offsets=keep)
            log.extend("tasks", 0, chunk, keep_offsets=keep)
            log.extend("tasks", 0, bare, keep_offsets=keep)
        (records,) = LogReader(folder).read("tasks", 0)
        assert records.offsets == offsets
        assert (records.values, records.keys) == ([b"{}", b"x", b"[]"], [b"a", None, b"c"])
        assert records.headers == [(("h", b"1"),), (), ()]
        assert LogReader(folder).part("tasks", 0).first_offset == offsets[0]


def test_two_logs_of_the_same_records_have_the_same_bytes(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    assert {f.name: f.read_bytes() for f in one.iterdir()} == {f.name: f.read_bytes() for f in two.iterdir()}


def test_a_log_is_larger_than_what_is_held_and_read_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "log", 30_001)
    assert values(folder, 20_000) == [b'{"i": %d}' % i for i in range(30_001)]


@pytest.mark.parametrize("cut", [15, 40, 80, -1])
def test_a_truncated_part_gives_its_whole_records_and_then_an_error_that_counts_them(log: Path, cut: int) -> None:
    part(log).write_bytes(part(log).read_bytes()[:cut])
    got: list[bytes] = []
    with pytest.raises(ConfigError, match=r"tasks-01\.jsonl\.gz: line \d+: the gzip stream ends early") as caught:
        read_into(got, log, 3)
    assert got == BODIES[: len(got)]
    assert f"line {len(got) + 1}: " in str(caught.value)
    assert f"({len(got)} whole records before it)" in str(caught.value)


def test_a_part_with_wrong_bytes_in_the_middle_gives_what_comes_before(tmp_path: Path) -> None:
    folder = write(tmp_path / "log", 4000)
    data = bytearray(part(folder).read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    part(folder).write_bytes(data)
    got: list[bytes] = []
    with pytest.raises(ConfigError, match=r"whole records before it"):
        read_into(got, folder, 20_000)
    assert len(got) > 1000


def read_into(got: list[bytes], folder: Path, chunk: int) -> None:
    for records in LogReader(folder).read("tasks", 1, chunk):
        got += records.values


def put(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(gzip.compress(text))


GOOD = b'{"o":0,"t":0,"v":1}\n'


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b""), r"line 1: the file is empty, not a gzip file \(0 whole"),
        (lambda path: path.write_bytes(b'{"o":0}'), r"line 1: not readable as gzip"),
        (put(GOOD + b"nonsense\n"), r"line 2: not a record of an event log: JSON is malformed.*\(1 whole"),
        (put(GOOD + b"\n" + GOOD), r"line 2: not a record"),
        (put(GOOD + b'{"o":1,"t":0,"v":1} {"o":2,"t":0,"v":1}\n'), r"line 2: not a record"),
        (put(GOOD + b'{"o":"1","t":0,"v":1}'), r"line 2: not a record.*Expected `int`, got `str` - at `\$.o`"),
        (put(GOOD + GOOD), r"line 2: offset 0 after offset 0: offsets must rise \(1 whole"),
        (put(b'{"o":9,"t":0,"v":1}\n' + GOOD), r"line 2: offset 0 after offset 9"),
        (put(GOOD + b'{"o":1,"t":0}'), r"line 2: expected exactly one of 'v' and 'b'"),
        (put(GOOD + b'{"o":1,"t":0,"v":1,"b":""}'), r"line 2: expected exactly one of 'v' and 'b'"),
        (put(GOOD + b'{"o":1,"t":0,"b":"?"}'), r"line 2: not base64"),
        (put(GOOD + b'{"o":1,"t":0,"b":"\xc3\xa9"}'), r"line 2: not base64"),
        (put(GOOD + b'{"o":1,"t":0,"kb":"=","v":1}'), r"line 2: not base64"),
        (put(GOOD + b'{"o":1,"t":0,"v":%b}' % (b"[" * 5000)), r"line 2: not a record"),
        (put(GOOD + b'{"o":1,"t":%d,"v":1}' % 2**63), r"line 2: not a record"),
        (put(GOOD), r"holds 1 records where the manifest says 10"),
    ],
)
def test_a_damaged_part_is_named_with_its_line(log: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(part(log))
    with pytest.raises(ConfigError, match=message) as caught:
        values(log)
    assert str(caught.value).startswith(str(part(log)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "not a manifest of an event log: .*format_version"),
        ("{", "not a manifest"),
        ('{"format_version": 2}', "format version 2; this reader knows version 1"),
        ('{"format_version": 1}', "not a manifest"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(log: Path, text: str, message: str) -> None:
    (log / MANIFEST).write_text(text)
    with pytest.raises(ConfigError, match=message):
        LogReader(log)


def edited(log: Path, edit: Callable[[dict], object]) -> None:
    manifest = json.loads((log / MANIFEST).read_text())
    edit(manifest)
    (log / MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda m: m["parts"].pop(), "parts and topics do not agree on power-0"),
        (lambda m: m["topics"].update(extra=1), "do not agree on extra-0"),
        (lambda m: m["parts"].append(m["parts"][0]), "do not agree on tasks-0"),
        (lambda m: m["parts"][0].update(file="../tasks-00.jsonl.gz"), "is not a file of this folder"),
        (lambda m: m["topics"].update(tasks=0), "not a manifest"),
        (lambda m: m["parts"][0].update(file="gone"), "gone: the manifest names this part, and it is missing"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(log: Path, edit: Callable[[dict], object], message: str) -> None:
    edited(log, edit)
    with pytest.raises(ConfigError, match=message):
        LogReader(log)


def test_a_folder_without_a_log_and_an_unknown_partition_are_told_apart(log: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no event log here \(manifest\.json is missing\)"):
        LogReader(tmp_path)
    with pytest.raises(ConfigError, match=r"no partition tasks-9; the log has tasks \(2\), power \(1\)"):
        list(LogReader(log).read("tasks", 9))


def test_a_log_is_not_overwritten_unless_asked_for(log: Path) -> None:
    with pytest.raises(ConfigError, match="there is an event log here already"):
        LogWriter(log, {"tasks": 1})
    assert values(log) == BODIES
    (log / "notes.txt").write_text("mine")
    with LogWriter(log, {"control": 1}, overwrite=True):
        assert not (log / MANIFEST).exists()
    assert sorted(f.name for f in log.iterdir()) == ["control-00.jsonl.gz", MANIFEST, "notes.txt"]


def test_an_error_while_writing_leaves_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(TwinBug), LogWriter(tmp_path / "log", {"tasks": 1}) as log:
        log.append("tasks", 1, t=0, key=None, value=b"1")
    with pytest.raises(ConfigError, match="no event log here"):
        LogReader(tmp_path / "log")


@pytest.mark.parametrize("files", ["jsonl", "parquet"])
def test_a_full_disk_is_named_with_its_file_and_leaves_no_manifest(tmp_path: Path, files: str) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    if files == "parquet":
        pytest.importorskip("pyarrow")
    name = f"tasks-00.{'jsonl.gz' if files == 'jsonl' else files}"
    (tmp_path / name).symlink_to("/dev/full")
    log = LogWriter(tmp_path, {"tasks": 1}, format=files)
    for i in range(4_000):
        log.append("tasks", 0, t=i, key=None, value=b'{"i":%d}' % (i * 7919 % 10_007))
    with pytest.raises(StoreError, match=f"{name}: No space left on device"):
        log.close()
    assert not (tmp_path / MANIFEST).exists()


def test_a_manifest_that_does_not_fit_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / (MANIFEST + ".tmp")).symlink_to("/dev/full")
    log = LogWriter(tmp_path, {"tasks": 1})
    with pytest.raises(StoreError, match=r"manifest\.json: No space left on device"):
        log.close()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["tasks-00.jsonl.gz"]


def test_a_log_that_needs_more_files_than_may_be_open_is_refused_with_the_reason(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (80, hard))
    try:
        with pytest.raises(StoreError, match="Too many open files"):
            LogWriter(tmp_path, {"tasks": 100})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    with pytest.raises(StoreError, match="File exists"):
        LogWriter(tmp_path / "log", {"tasks": 1})


def test_an_unknown_file_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown log format 'csv': expected one of jsonl, parquet"):
        LogWriter(tmp_path, {"tasks": 1}, format="csv")


def test_what_is_no_parquet_file_of_a_log_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    log = write(tmp_path / "log", files := 10, format="parquet")
    assert values(log) == BODIES[:files]
    path = log / "tasks-01.parquet"
    table = pq.read_table(path)
    pq.write_table(table.take(list(range(9, -1, -1))), path)
    with pytest.raises(ConfigError, match=r"offset 8 after offset 9: offsets must rise \(1 whole"):
        values(log)
    pq.write_table(pa.table({"o": [1]}), path)
    with pytest.raises(ConfigError, match="expected the columns o, t, k, kb, h, v, b"):
        values(log)
    path.write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"tasks-01\.parquet: not readable as Parquet"):
        values(log)


def test_without_pyarrow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'cpn-twin\[parquet\]'"):
        LogWriter(tmp_path, {"tasks": 1}, format="parquet")
