"""A log whose writer was ended in any way is gone on with, and nobody sees the difference."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from producers.log import LogReader, LogWriter
from producers.log_check import validate
from producers.log_manifest import MANIFEST
from producers.log_part import UNFINISHED
from twin.errors import ConfigError, StoreError, TwinBug
from twin.records import Record

COUNTS = {"tasks": 2, "power": 1}


def write(log: LogWriter, start: int, end: int) -> None:
    for i in range(start, end):
        headers = (("n", b"\xff%d" % i),) if i % 3 == 0 else ()
        log.append("tasks", i % 2, t=1000 + i, key=b"k%d" % i, value=b"{broken %d" % i, headers=headers, offset=2 * i)


def held(folder: Path) -> list[Record]:
    log = LogReader(folder)
    chunks = [records for topic, p in log.partitions() for records in log.read(topic, p)]
    return [records.record(i) for records in chunks for i in range(len(records))]


@pytest.fixture
def whole(tmp_path: Path) -> list[Record]:
    with LogWriter(tmp_path / "whole", COUNTS) as log:
        write(log, 0, 40)
    return held(tmp_path / "whole")


@pytest.mark.parametrize("lost", [0, 1, 7, 10**6])
def test_a_writer_goes_on_from_what_was_saved_whatever_came_after(
    tmp_path: Path, whole: list[Record], lost: int
) -> None:
    path = tmp_path / "log"
    log = LogWriter(path, COUNTS, meta={"name": "x"})
    write(log, 0, 10)
    log.save()
    write(log, 10, 20)
    log.save()
    saved = (path / UNFINISHED).read_bytes()
    write(log, 20, 30)
    log.save()
    log.abandon()
    (path / UNFINISHED).write_bytes(saved)  # as if the third had not got so far
    part = path / "tasks-01.jsonl.gz"
    (size,) = [p["size"] for p in msgspec.json.decode(saved)["parts"] if (p["topic"], p["partition"]) == ("tasks", 1)]
    part.write_bytes(part.read_bytes()[: max(size, part.stat().st_size - lost)])
    with LogWriter(path, COUNTS, resume=True) as log:
        assert log.positions == {("tasks", 0): 37, ("tasks", 1): 39, ("power", 0): 0}
        assert not (path / MANIFEST).exists()
        write(log, 20, 40)
    assert held(path) == whole
    assert LogReader(path).meta == {"name": "x"}
    assert not [p for p in validate(LogReader(path)).problems if "no clock" not in p]
    assert not (path / UNFINISHED).exists()


def test_a_finished_log_is_gone_on_with_and_is_none_until_it_is_finished_again(
    tmp_path: Path, whole: list[Record]
) -> None:
    path = tmp_path / "log"
    with LogWriter(path, COUNTS) as log:
        write(log, 0, 25)
    log = LogWriter(path, COUNTS, resume=True)
    with pytest.raises(ConfigError, match="no event log here"):
        LogReader(path)
    log.abandon()
    with LogWriter(path, COUNTS, resume=True) as log:
        write(log, 25, 40)
    assert held(path) == whole


WRITER = """
import sys
from pathlib import Path
from producers.log import LogWriter
log = LogWriter(Path(sys.argv[1]), {"tasks": 1}, resume=True)
first = log.positions["tasks", 0]
for i in range(first, 10**9):
    log.append("tasks", 0, t=i, key=None, value=b'{"i":%d}' % (i * 7919 % 10007))
    if i % 700 == 0:
        log.save()
        print(i, flush=True)
"""


def test_a_writer_that_is_killed_again_and_again_leaves_out_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    path, seen = tmp_path / "log", 0
    for _ in range(4):
        writer = subprocess.Popen(  # killed in the middle of its work
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(5):
            line = writer.stdout.readline()
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert int(line) > seen
        seen = int(line)
    LogWriter(path, {"tasks": 1}, resume=True).close()
    records = held(path)
    assert len(records) > seen
    assert [record.t for record in records] == list(range(len(records)))
    assert all(record.value == b'{"i":%d}' % (record.t * 7919 % 10007) for record in records)


def test_a_log_is_not_gone_on_with_unasked_or_with_other_partitions(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, COUNTS)
    log.save()
    log.abandon()
    with pytest.raises(ConfigError, match="an unfinished event log here already"):
        LogWriter(tmp_path, COUNTS)
    with pytest.raises(ConfigError, match="has the partitions"):
        LogWriter(tmp_path, {"tasks": 3}, resume=True)
    with LogWriter(tmp_path, {"tasks": 3}, overwrite=True):
        pass
    assert not (tmp_path / UNFINISHED).exists()
    assert LogReader(tmp_path).manifest.topics == {"tasks": 3}


def test_a_part_that_is_shorter_than_was_saved_is_named(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, COUNTS)
    write(log, 0, 10)
    log.save()
    log.abandon()
    (tmp_path / "tasks-01.jsonl.gz").write_bytes(b"\x1f\x8b")
    with pytest.raises(ConfigError, match=r"tasks-01\.jsonl\.gz: 2 bytes where \d+ were written"):
        LogWriter(tmp_path, COUNTS, resume=True)


def test_a_note_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).write_bytes(b"{}")
    with pytest.raises(ConfigError, match="says not how far the log is"):
        LogWriter(tmp_path, COUNTS, resume=True)


def test_a_full_disk_at_a_save_is_named(tmp_path: Path) -> None:
    log = LogWriter(tmp_path, COUNTS)
    (tmp_path / (UNFINISHED + ".tmp")).symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"unfinished\.json: No space left on device"):
        log.save()


def test_columns_are_not_saved_half_written(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    log = LogWriter(tmp_path, COUNTS, format="parquet")
    with pytest.raises(TwinBug, match="only parts of lines"):
        log.save()
    log.close()
    with pytest.raises(ConfigError, match="a log in parquet cannot be gone on with"):
        LogWriter(tmp_path, COUNTS, resume=True)


def test_what_was_not_saved_is_cut_off_even_if_nothing_follows(tmp_path: Path, whole: list[Record]) -> None:
    log = LogWriter(tmp_path / "log", COUNTS)
    write(log, 0, 20)
    log.save()
    saved = (tmp_path / "log" / UNFINISHED).read_bytes()
    write(log, 20, 40)
    log.save()
    log.abandon()
    (tmp_path / "log" / UNFINISHED).write_bytes(saved)
    LogWriter(tmp_path / "log", COUNTS, resume=True).close()
    assert held(tmp_path / "log") == [record for record in whole if record.t < 1020]
