"""``cpn log cat``: a line an object whatever the log holds, and readers that have had enough."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from producers.log import DEFAULT_PARTITIONS, LogWriter
from tests.unit.cli.conftest import Said

ODD = [
    b'{"type": "pretty",\n  "over": [1,\n 2]}',
    b"no json at all",
    b"\xff\xfe\x00",
    b"",
    b"null",
    b"NaN",
    b"1" * 400,
    b"[" * 2000 + b"]" * 2000,
    '{"text":"\u2028 and 中"}'.encode(),
]


def odd_log(path: Path) -> Path:
    with LogWriter(path, DEFAULT_PARTITIONS) as writer:
        for i, value in enumerate(ODD):
            writer.append("tasks", 0, t=i, key=None if i % 2 else b"\xffkey", value=value)
    return path


def test_whatever_a_record_holds_it_is_one_object_on_one_line(cpn: Callable[..., Said], tmp_path: Path) -> None:
    said = cpn("log", "cat", odd_log(tmp_path / "log"))
    assert said.code == 0, said.err
    rows = [json.loads(line) for line in said.out.split("\n")[:-1]]
    assert [row["offset"] for row in rows] == list(range(len(ODD)))
    assert rows[0]["value"] == {"type": "pretty", "over": [1, 2]}
    assert rows[1]["value"] == "no json at all"


def test_a_reader_that_has_had_enough_is_no_error(process: Callable[..., "subprocess.Popen[bytes]"], log: Path) -> None:
    for command in (["log", "cat", log], ["log", "info", log, "--json"], ["replay", log, "--json"]):
        with process(*command) as reading:
            reading.stdout.read(1)
            reading.stdout.close()
            errors = reading.stderr.read().decode()
        assert "Traceback" not in errors, errors
        assert "Exception ignored" not in errors, errors
        assert reading.returncode in {0, 1}, command


def test_filters_pick_what_they_say(cpn: Callable[..., Said], log: Path) -> None:
    rows = [json.loads(line) for line in cpn("log", "cat", log, "--topic", "tasks").out.splitlines()]
    first = next(row for row in rows if row["value"]["type"] == "task.submitted.v1")
    picked = cpn("log", "cat", log, "--topic", "tasks", "--key", first["key"]).out.splitlines()
    assert [json.loads(line)["key"] for line in picked] == [first["key"]]
    clocks = cpn("log", "cat", log, "--topic", "tasks", "--type", "clock.v1", "--partition", "1").out.splitlines()
    assert {json.loads(line)["value"]["partition"] for line in clocks} == {1}
    start, end = first["t"], first["t"] + 600_000
    inside = cpn("log", "cat", log, "--from", start, "--to", end).out.splitlines()
    assert inside
    assert all(start <= json.loads(line)["t"] < end for line in inside)
