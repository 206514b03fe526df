"""The benchmarks measure what they say: whole logs, folded to the same state whatever the file format."""

import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from ops.bench import __main__ as bench
from ops.bench import logs, measure
from producers.log import LogReader
from producers.log_manifest import FileFormat


@pytest.mark.parametrize("body", [logs.flat_body, logs.pools_body])
def test_a_telemetry_log_is_folded_whole_and_to_the_same_state_from_both_formats(
    tmp_path: Path, body: logs.Body
) -> None:
    figures = []
    for files in bench.FILES:
        path = tmp_path / files
        stream = logs.write_telemetry(path, files, 2_000, 100, body)
        assert stream.records == 2_001  # the policy is one
        figures.append(measure.replay(path))
    lines, columns = figures
    assert lines["events"] == columns["events"] == 2_001 + 7 * (1 + 4)  # a clock at the start and every five minutes
    assert lines["windows"] == 4
    assert lines["dead"] == lines["violations"] == 0
    assert lines["state_sha256"] == columns["state_sha256"]
    assert lines["cpu_s"] == pytest.approx(sum(lines["cpu_s_by_stage"].values()))


def test_the_flat_record_has_about_153_bytes_and_the_one_of_three_pools_about_490(tmp_path: Path) -> None:
    flat = logs.write_telemetry(tmp_path / "flat", "jsonl", 1_000, 1_000, logs.flat_body)
    pools = logs.write_telemetry(tmp_path / "pools", "jsonl", 1_000, 1_000, logs.pools_body)
    assert flat.bytes / flat.records == pytest.approx(153, abs=3)
    assert pools.bytes / pools.records == pytest.approx(490, abs=15)


def test_one_per_cent_of_the_telemetry_is_out_of_order(tmp_path: Path) -> None:
    rows = [row for block in logs.telemetry(40_000, 1_000, logs.flat_body) for row in block]
    highest: Counter[bytes] = Counter()
    late = 0
    for _, key, body in rows:
        seq = msgspec.json.decode(body)["seq"] + 1
        late += seq < highest[key]
        highest[key] = max(highest[key], seq)
    assert late / len(rows) == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize("files", ["jsonl", "parquet"])
def test_the_plain_loop_sees_the_same_tasks_as_the_twin(tmp_path: Path, files: FileFormat) -> None:
    logs.write_lifecycles(tmp_path / "log", files, 300)
    twin, plain = measure.replay(tmp_path / "log"), measure.plain(tmp_path / "log")
    assert twin["events"] == plain["events"] == LogReader(tmp_path / "log").manifest.records
    assert plain["entities"] >= 100
    assert twin["dead"] == twin["violations"] == 0
    assert twin["total"] > 0


def test_the_benchmark_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--records", "2000", "--entities", "100", "--repeat", "1", "--only", "flat", "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert [(row["kind"], row["files"]) for row in printed["logs"]] == [("flat", "jsonl"), ("flat", "parquet")]
    assert {"read", "decode", "fold", "cut", "dispatch"} <= printed["logs"][0]["cpu_us"].keys()
    assert printed["fortnight"] == []


@pytest.mark.parametrize(
    ("by_wall", "by_cpu", "said"),
    [(True, True, "reached"), (False, True, "by CPU time only"), (False, False, "MISSED")],
)
def test_a_target_that_only_cpu_time_reaches_is_not_called_reached(by_wall: bool, by_cpu: bool, said: str) -> None:
    assert bench.verdict(by_wall, by_cpu) == said
