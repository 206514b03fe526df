"""One log gives the same bytes: twice, by other chunks, open loop from its run log, and with other CPU features."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from producers.log import LogReader
from streams.cli.replay import plan
from streams.cli.runs import execute
from tests.golden import replays
from tests.golden.replays import FAULTY
from tests.unit.cpu import FEATURES, WITHOUT_AVX2, WITHOUT_AVX512, told
from twin.errors import ConfigError

HASHES = ("state_sha256", "decisions_sha256")
CASES: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("tiny", "price", {}),
    ("tiny", "stay", {}),
    ("tiny", "round-robin", FAULTY),
    ("tiny", "carbon-greedy", {"silent": 0.3}),
    ("islands", "price", FAULTY),
    ("islands", "cost-greedy", {}),
)


@dataclass(frozen=True)
class Played:
    """A closed-loop run."""

    events: Path
    folder: Path
    policy: str
    plant: dict[str, float]
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("events")
    return {
        "tiny": replays.events_of("tiny", folder / "tiny"),
        "islands": replays.events_of("islands", folder / "islands", hours=4),
    }


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([*case[:2], *case[2]]))
def played(
    request: pytest.FixtureRequest, scenario: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Played:
    preset, policy, plant = request.param
    folder = tmp_path_factory.mktemp("run") / "run"
    summary = replays.run(scenario[preset], policy, folder, plant=plant)
    return Played(scenario[preset], folder, policy, plant, summary)


@pytest.fixture(scope="module")
def rejected(scenario: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Played:
    """A run in which clusters reject, keep silent and start late."""
    folder = tmp_path_factory.mktemp("faulty") / "run"
    summary = replays.run(scenario["tiny"], "price", folder, plant=FAULTY)
    return Played(scenario["tiny"], folder, "price", FAULTY, summary)


def test_the_open_loop_of_a_run_log_decides_the_same_in_every_window(played: Played, tmp_path: Path) -> None:
    again = replays.run(played.folder / "log", played.policy, tmp_path / "again", closed=False)
    assert replays.windows(tmp_path / "again") == replays.windows(played.folder)
    assert replays.decisions(tmp_path / "again") == replays.decisions(played.folder)
    measured = {"wall_s", "events_per_s", "seconds"}
    assert {k: v for k, v in again.items() if k not in measured} == {
        k: v for k, v in played.summary.items() if k not in measured
    }
    assert played.summary["tasks"]["finished"] > 100
    assert played.summary["violations"] == 0


@pytest.mark.parametrize(
    ("clocks", "window_ms", "plant"),
    [
        ({"lateness_ms": 120_000, "partitions": 1, "files": "jsonl"}, None, {}),
        ({"lateness_ms": 900_000, "partitions": 3, "files": "jsonl"}, None, FAULTY),
        ({"lateness_ms": 90_000, "partitions": 1, "files": "jsonl"}, 420_000, FAULTY),
        ({"lateness_ms": 0, "partitions": 1, "files": "jsonl"}, 60_000, {}),
        ({"lateness_ms": 0, "partitions": 2, "files": "parquet"}, 10_800_000, {}),
    ],
    ids=["late", "late-by-windows", "odd-windows", "short-windows", "long-windows-parquet"],
)
def test_windows_lateness_and_partitions_of_any_kind_replay_alike(
    tmp_path: Path, clocks: dict[str, Any], window_ms: int | None, plant: dict[str, float]
) -> None:
    if clocks["files"] == "parquet":
        pytest.importorskip("pyarrow")
    events = replays.late_events(tmp_path / "log", **clocks)
    first = replays.run(events, "price", tmp_path / "run", plant=plant, window_ms=window_ms)
    again = replays.run(tmp_path / "run" / "log", "price", tmp_path / "again", closed=False)
    assert replays.windows(tmp_path / "again") == replays.windows(tmp_path / "run")
    assert replays.decisions(tmp_path / "again") == replays.decisions(tmp_path / "run")
    for part in ("energy_kwh", "cost", "tasks", "delivered", "wait_s"):
        assert again[part] == first[part]
    assert first["tasks"]["finished"] > 50


def test_clusters_that_refuse_and_keep_silent_cost_time_and_lose_no_task(rejected: Played) -> None:
    counts, tasks = replays.windows(rejected.folder)[-1]["counts"], rejected.summary["tasks"]
    open_ = sum(counts[state] for state in ("waiting", "assigned", "running", "moving"))
    assert tasks["submitted"] == tasks["finished"] + tasks["cancelled"] + open_
    assert tasks["finished"] > 100
    assert rejected.summary["decisions"] > tasks["started"] + 10


def test_a_second_run_gives_the_same_bytes(rejected: Played, tmp_path: Path) -> None:
    again = replays.run(rejected.events, rejected.policy, tmp_path / "again", plant=rejected.plant)
    assert [again[name] for name in HASHES] == [rejected.summary[name] for name in HASHES]
    assert replays.windows(tmp_path / "again") == replays.windows(rejected.folder)
    assert replays.decisions(tmp_path / "again") == replays.decisions(rejected.folder)
    for part in LogReader(tmp_path / "again" / "log").manifest.parts:
        assert part in LogReader(rejected.folder / "log").manifest.parts  # the run logs are the same files


@pytest.mark.parametrize("closed", [True, False])
def test_other_chunks_give_the_same_hashes(rejected: Played, tmp_path: Path, *, closed: bool) -> None:
    log = rejected.events if closed else rejected.folder / "log"
    replays.run(log, rejected.policy, tmp_path / "again", closed=closed, chunk=37, plant=rejected.plant)
    assert replays.windows(tmp_path / "again") == replays.windows(rejected.folder)
    assert replays.decisions(tmp_path / "again") == replays.decisions(rejected.folder)


# --------------------------------------------------------------------------------------------------------- faults


def test_repeats_broken_and_late_records_in_a_run_log_change_no_decision(rejected: Played, tmp_path: Path) -> None:
    faults = replays.spoil(rejected.folder / "log", tmp_path / "log", repeats=0.01, broken=0.001, late=0.02)
    assert all(faults.values())
    summary = replays.run(tmp_path / "log", rejected.policy, tmp_path / "again", closed=False)
    assert replays.decisions(tmp_path / "again") == replays.decisions(rejected.folder)
    assert summary["records"]["repeats"] == faults["repeats"]
    assert sum(summary["dead_letters"].values()) == faults["broken"]
    assert (tmp_path / "again" / "deadletters.jsonl").read_bytes().count(b"\n") == faults["broken"]
    for part in ("energy_kwh", "cost", "delivered", "tasks", "carbon_kg"):
        assert summary[part] == rejected.summary[part]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_log_in_disorder_is_billed_the_same(rejected: Played, tmp_path: Path, seed: int) -> None:
    """Tasks that come in another order stand in other rows, so that a tie may be decided otherwise; the bill may not."""
    much = {"repeats": 0.05, "broken": 0.02, "late": 0.3}
    faults = replays.spoil(rejected.folder / "log", tmp_path / "log", seed=seed, any_late=True, **much)
    assert faults["late"] > 300
    summary = replays.run(tmp_path / "log", rejected.policy, tmp_path / "again", closed=False)
    assert summary["windows"] == rejected.summary["windows"]
    for part in ("energy_kwh", "idle_kwh", "tasks"):
        assert summary[part] == rejected.summary[part]
    for part in ("cost", "delivered", "carbon_kg"):
        assert summary[part] == pytest.approx(rejected.summary[part])


# ------------------------------------------------------------------------------------------- what a replay means


def test_the_recorded_policy_means_an_open_loop_and_another_one_a_closed_loop(rejected: Played) -> None:
    assert not plan(rejected.folder, None).closed
    assert not plan(rejected.folder, "price").closed
    assert plan(rejected.folder, "price:carbon=0.1").closed
    assert plan(rejected.folder, "stay").closed
    assert plan(rejected.events, "price").closed
    assert plan(rejected.events, None).closed


def test_another_policy_on_a_run_log_leaves_the_answers_out(scenario: dict[str, Path], tmp_path: Path) -> None:
    replays.run(scenario["tiny"], "price", tmp_path / "run")
    from_events = execute(plan(scenario["tiny"], "cost-greedy", folder=tmp_path / "a"))
    from_answers = execute(plan(tmp_path / "run", "cost-greedy", folder=tmp_path / "b"))
    assert [from_answers[name] for name in HASHES] == [from_events[name] for name in HASHES]
    assert replays.answers_in(tmp_path / "a" / "log") == replays.answers_in(tmp_path / "b" / "log")
    assert LogReader(tmp_path / "b" / "log").meta["run"]["policy"] == "cost-greedy"


def test_an_open_loop_keeps_its_windows(rejected: Played) -> None:
    with pytest.raises(ConfigError, match="keeps the recorded windows"):
        plan(rejected.folder, None, window="15m")


def test_until_cuts_a_replay_short_and_not_otherwise(rejected: Played, tmp_path: Path) -> None:
    rows = replays.windows(rejected.folder)
    execute(plan(rejected.folder, None, until=str(rows[9]["end"]), folder=tmp_path / "short"))
    assert replays.windows(tmp_path / "short") == rows[:10]


# ---------------------------------------------------------------------------------------------------- CPU features

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from tests.golden import replays

features = np._core._multiarray_umath.__cpu_features__
assert not [name for name in sys.argv[4:] if features[name]], "these are still on"
summary = replays.run(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), closed=False)
print(summary["state_sha256"], summary["decisions_sha256"])
"""


@pytest.mark.skipif(not FEATURES.get("X86_V4"), reason="this CPU has no AVX-512 to switch off")
@pytest.mark.parametrize("disabled", [WITHOUT_AVX512, WITHOUT_AVX2], ids=["no-avx512", "no-avx2"])
def test_other_cpu_features_give_the_same_state_and_decisions(
    rejected: Played, repository: Path, tmp_path: Path, disabled: str
) -> None:
    again = tmp_path / "again"
    said = told(PROGRAM, repository, disabled, str(rejected.folder / "log"), rejected.policy, str(again))
    assert said.split() == [rejected.summary[name] for name in HASHES]
    assert replays.decisions(again) == replays.decisions(rejected.folder)
