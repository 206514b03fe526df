"""Room, power, RTT and cluster state hold at every instant of a run, by an audit that reads nothing but the run log."""

from pathlib import Path

import pytest

from tests.golden import bills, replays
from tests.golden.audit import Audit
from tests.golden.bills import HOUR, T0

DAYS = 3


@pytest.fixture(scope="module")
def capacity(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    reference = bills.reference_folder(data_dir)
    out = tmp_path_factory.mktemp("capacity") / "log"
    return bills.imported(reference, out, config=Path("dataset-capacity.toml"), end=T0 + DAYS * 24 * HOUR)


@pytest.mark.published
@pytest.mark.parametrize("policy", ["price", "cost-greedy", "first-fit"])
def test_clusters_that_can_be_full_are_never_overcommitted(capacity: Path, tmp_path: Path, policy: str) -> None:
    summary = replays.run(capacity, policy, tmp_path / "run", until=T0 + DAYS * 24 * HOUR)
    assert summary["violations"] == summary["degraded_windows"] == 0
    assert all(row["violations"] == [] for row in replays.windows(tmp_path / "run"))
    audit = Audit().run(tmp_path / "run" / "log")
    assert audit.found == []
    assert audit.starts > 5_000
    assert audit.servings > 100
    assert audit.peak["cpu_cores"] > 0.9  # it was about something


@pytest.mark.parametrize(("preset", "policy"), [("tiny", "price"), ("islands", "price"), ("islands", "round-robin")])
def test_scenarios_with_failing_clusters_and_nodes_are_never_overcommitted(
    tmp_path: Path, preset: str, policy: str
) -> None:
    log = replays.events_of(preset, tmp_path / "log", hours=6, window_ms=300_000)
    replays.run(log, policy, tmp_path / "run", plant=replays.FAULTY)
    audit = Audit().run(tmp_path / "run" / "log")
    assert audit.found == []
    assert audit.starts > 200


def test_the_audit_finds_what_is_wrong(tmp_path: Path) -> None:
    log = replays.events_of("tiny", tmp_path / "log", hours=6)
    replays.run(log, "price", tmp_path / "run")
    fresh = Audit()
    fresh.run(tmp_path / "run" / "log")
    assert fresh.found == []

    class Smaller(Audit):
        """Clusters are a hundredth of what they are, and every path is a second long."""

        def _cluster_registered(self, body: dict) -> None:  # type: ignore[type-arg]
            pools = [pool | {"cpu_cores": pool["cpu_cores"] / 100, "nodes": pool["nodes"]} for pool in body["pools"]]
            super()._cluster_registered(body | {"pools": pools, "power_cap_kw": 0.001})

        def _network_link(self, body: dict) -> None:  # type: ignore[type-arg]
            super()._network_link(body | {"rtt_ms": {"p50": 1000.0}})

    found = Smaller().run(tmp_path / "run" / "log").found
    for words in ("cpu_cores used", "its cap is", "RTT"):
        assert any(words in line for line in found), words
