"""What ``info``, ``validate`` and ``cat`` say of a log."""

import gzip
import json
from pathlib import Path

import msgspec
import pytest

from producers.assemble import assemble
from producers.log import DEFAULT_PARTITIONS, LogReader, LogWriter
from producers.log_check import Found, cat, info, validate
from twin import events as ev
from twin.errors import ConfigError

T0 = 1_664_143_200_000
WINDOW = 300_000


def task(i: int) -> ev.TaskSubmitted:
    return ev.TaskSubmitted(
        seq=0, t=T0 + i * 1000, task_id=f"t{i}", origin="NL", request=ev.Request(), est_duration_s=1
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with LogWriter(tmp_path / "log", DEFAULT_PARTITIONS, meta={"name": "small"}) as writer:
        assemble(map(task, range(20)), writer, t0=T0, end=T0 + WINDOW, window_ms=WINDOW, lateness_ms=0, max_ahead_ms=0)
    return tmp_path / "log"


def with_odd_bodies(folder: Path) -> Path:
    deep = b'{"type":"task.cancelled.v1","seq":0,"t":0,"task_id":"a","x":%b%b}' % (b"[" * 5000, b"]" * 5000)
    bodies = [b"", b"{", b'{"a":1}', b'{"type":"task.submitted.v9"}', b'{"type":"power.price.v1"}']
    bodies += [b'{"type":"task.submitted.v1"}', b'{"type":"x.v1"}', b"\xff", deep]
    clock = ev.Clock(seq=0, t=T0, window_ms=WINDOW)
    with LogWriter(folder, {"tasks": 1}) as writer:
        for body in [*bodies, msgspec.json.encode(clock)]:
            writer.append("tasks", 0, t=T0, key=b"k", value=body)
    return folder


def test_info_counts_records_by_topic_and_type(log: Path) -> None:
    told = info(LogReader(log))
    assert told["records"] == 20 + 2 * 10
    assert told["topics"]["tasks"] == {
        "partitions": 4,
        "records": 28,
        "types": {"clock.v1": 8, "task.submitted.v1": 20},
    }
    assert told["topics"]["power"]["types"] == {"clock.v1": 2}
    assert (told["first_t"], told["last_t"], told["meta"]["name"]) == (T0, T0 + WINDOW, "small")
    json.dumps(told)


def test_info_counts_bodies_without_a_type(tmp_path: Path) -> None:
    types = info(LogReader(with_odd_bodies(tmp_path)))["topics"]["tasks"]["types"]
    assert types == {
        "(no type)": 5,
        "clock.v1": 1,
        "power.price.v1": 1,
        "task.submitted.v1": 1,
        "task.submitted.v9": 1,
        "x.v1": 1,
    }


def test_a_log_as_written_is_whole(log: Path) -> None:
    found = validate(LogReader(log))
    assert (found.whole, found.problems, found.undecodable, found.records) == (True, [], {}, 40)


def test_bodies_that_do_not_decode_are_counted_by_reason_and_are_no_problem(tmp_path: Path) -> None:
    found = validate(LogReader(with_odd_bodies(tmp_path)))
    assert found.problems == []
    assert found.undecodable == {
        "tasks value.empty": 1,
        "tasks json.malformed": 2,
        "tasks json.too_deep": 1,
        "tasks type.missing": 1,
        "tasks version.unknown": 1,
        "tasks topic.wrong": 1,
        "tasks body.invalid": 1,
        "tasks type.unknown": 1,
    }


def rewritten(part: Path, old: bytes, new: bytes) -> None:
    text = gzip.decompress(part.read_bytes())
    assert old in text
    part.write_bytes(gzip.compress(text.replace(old, new, 1)))


def test_a_changed_part_is_found_by_its_digest(log: Path) -> None:
    rewritten(log / "tasks-02.jsonl.gz", b'"NL"', b'"FR"')
    found = validate(LogReader(log))
    assert [p.split(": ", 1)[1][:10] for p in found.problems] == ["sha256 is "]
    assert str(log / "tasks-02.jsonl.gz") in found.problems[0]


def test_a_part_that_breaks_off_does_not_keep_the_others_from_being_checked(log: Path) -> None:
    part = log / "inventory-00.jsonl.gz"
    part.write_bytes(part.read_bytes()[:-12])
    rewritten(log / "power-00.jsonl.gz", b'"o":1', b'"o":7')
    text = "\n".join(validate(LogReader(log)).problems)
    assert (
        "inventory-00.jsonl.gz: line 1: the gzip stream ends early" in text
        or "line 2: the gzip" in text
        or "line 3" in text
    )
    assert "power-00.jsonl.gz: next offset: 8, the manifest says 2" in text


def test_clocks_that_go_back_are_missing_or_differ_are_found(tmp_path: Path) -> None:
    encode = msgspec.json.encode
    with LogWriter(tmp_path, {"power": 1, "network": 1, "control": 1}) as writer:
        for t in (T0, T0 - 5):
            writer.append("power", 0, t=T0, key=b"0", value=encode(ev.Clock(seq=0, t=t, window_ms=WINDOW)))
        writer.append("network", 0, t=T0, key=b"0", value=encode(ev.Clock(seq=0, t=T0, partition=3, window_ms=WINDOW)))
    problems = [problem.removeprefix(f"{tmp_path}") for problem in validate(LogReader(tmp_path)).problems]
    assert problems == [
        f"/power-00.jsonl.gz: offset 1: a clock at {T0 - 5} after one at {T0}: clocks must not go back",
        "/network-00.jsonl.gz: offset 0: a clock of partition 3 in partition 0",
        "/control-00.jsonl.gz: no clock: no window of this partition would ever end",
        f": the last clocks of the partitions differ: {T0 - 5}, {T0}",
    ]


def ids(found: list[Found]) -> list[str]:
    return [json.loads(f.record.value)["task_id"] for f in found]


def test_cat_filters_by_topic_partition_type_key_and_time(log: Path) -> None:
    reader = LogReader(log)
    assert len(list(cat(reader))) == 40
    assert len(list(cat(reader, topic="tasks"))) == 28
    assert len(list(cat(reader, partition=3))) < 28
    tasks = list(cat(reader, type="task.submitted.v1"))
    assert sorted(ids(tasks), key=lambda name: int(name[1:])) == [f"t{i}" for i in range(20)]
    assert ids(list(cat(reader, key="t7"))) == ["t7"]
    between = ids(list(cat(reader, topic="tasks", type="task.submitted.v1", start=T0 + 3000, end=T0 + 6000)))
    assert sorted(between) == ["t3", "t4", "t5"]
    (one,) = cat(reader, key="t7")
    assert one == Found(
        "tasks", one.partition, LogReader(log).read("tasks", one.partition).__next__().record(one.record.offset)
    )


def test_cat_names_the_topics_there_are(log: Path) -> None:
    with pytest.raises(ConfigError, match=r"no partition clouds-0; the log has inventory \(1\), telemetry"):
        list(cat(LogReader(log), topic="clouds"))
    with pytest.raises(ConfigError, match=r"no partition power-4"):
        list(cat(LogReader(log), topic="power", partition=4))
