"""``--json`` prints one JSON document on standard output and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Said

REPLAY = {
    "events", "windows", "decisions", "state_sha256", "decisions_sha256", "currency", "energy_kwh", "unpriced_kwh",
    "cost", "carbon_kg", "tasks", "delivered", "wait_s", "rtt_ms", "slo", "violations", "wall_s", "events_per_s",
}  # fmt: skip
TINY = Path(__file__).parents[2] / "data" / "tiny"


def test_replay(cpn: Callable[..., Said], log: Path) -> None:
    said = cpn("replay", log, "--policy", "stay", "--json")
    found = said.json()
    assert said.code == 0
    assert said.err == ""
    assert set(found) >= REPLAY
    assert set(found["cost"]) == {"energy", "network", "moves", "move", "penalty", "idle", "total"} & set(found["cost"])
    assert {"energy", "network", "penalty", "idle", "total"} <= set(found["cost"])
    assert {"location", "market", "unknown_kwh"} <= set(found["carbon_kg"])
    assert {"submitted", "started", "finished", "unplaced", "missed_deadline"} <= set(found["tasks"])
    assert {"core_h", "accelerator_h", "share"} <= set(found["delivered"])
    assert {"p50", "p95"} <= set(found["wait_s"])
    assert {"p50", "p95"} == set(found["rtt_ms"])
    assert len(found["state_sha256"]) == len(found["decisions_sha256"]) == 64


def test_the_summary_of_a_run_folder_is_what_replay_prints(cpn: Callable[..., Said], log: Path, tmp_path: Path) -> None:
    printed = cpn("replay", log, "--policy", "stay", "--out", tmp_path / "run", "--json").json()
    written = json.loads((tmp_path / "run" / "summary.json").read_bytes())
    assert printed == written


def test_import(cpn: Callable[..., Said], tmp_path: Path) -> None:
    said = cpn("import", TINY, "--out", tmp_path / "log", "--json")
    found = said.json()
    assert said.code == 0
    assert found["records"] > 0
    assert set(found) >= {"name", "start", "end", "records", "rows", "events", "outside", "skipped", "warnings"}


def test_log_info_and_validate(cpn: Callable[..., Said], log: Path, run_folder: Path) -> None:
    for folder in (log, run_folder):
        assert cpn("log", "info", folder, "--json").json()["records"] > 0
        whole = cpn("log", "validate", folder, "--json")
        assert (whole.code, whole.json()["problems"]) == (0, [])


def test_log_cat_prints_an_object_a_line(cpn: Callable[..., Said], log: Path) -> None:
    said = cpn("log", "cat", log, "--topic", "inventory", "--limit", "5")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["offset"] for row in rows] == [0, 1, 2, 3, 4]
    assert all(row["topic"] == "inventory" and row["value"]["type"] for row in rows)


def test_doctor(cpn: Callable[..., Said]) -> None:
    said = cpn("doctor", "--json")
    assert said.code in {0, 1}
    assert {row["status"] for row in said.json()} <= {"ok", "optional", "bad"}
    assert all(row["what"] and row["found"] for row in said.json())


@pytest.mark.parametrize("at", [None, "2025-07-01T01:00:00Z"])
@pytest.mark.parametrize("entity", ["cluster", "task", "zone", "service"])
def test_state(cpn: Callable[..., Said], run_folder: Path, entity: str, at: str | None) -> None:
    name = some(cpn, run_folder, entity)
    said = cpn("state", entity, name, "--log", run_folder, "--json", *(["--at", at] if at else []))
    assert said.code == 0, said.err
    assert (said.err, said.json()["as_of"][-1]) == ("", "Z")
    assert name in said.out


def some(cpn: Callable[..., Said], folder: Path, entity: str) -> str:
    """An entity of that kind that the log has from its beginning on."""
    topic, field = {
        "cluster": ("inventory", "cluster_id"),
        "task": ("tasks", "task_id"),
        "zone": ("power", "zone_id"),
        "service": ("services", "service"),
    }[entity]
    lines = cpn("log", "cat", folder, "--topic", topic).out.splitlines()
    return next(str(row["value"][field]) for row in map(json.loads, lines) if field in row["value"])
