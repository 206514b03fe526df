"""The published fortnight through Kafka and Redis: the same windows as embedded, and the published bill in their sums."""

from pathlib import Path

import pytest

from producers.importers import import_dataset
from producers.log import LogReader
from streams.settings import Settings
from tests.broker import twins
from tests.broker.twins import Process
from tests.golden import bills
from tests.golden.replays import run

pytestmark = [pytest.mark.slow, pytest.mark.published]


async def test_the_published_bill_comes_out_of_kafka(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    import_dataset(bills.reference_folder(data_dir), tmp_path / "events")
    run(tmp_path / "events", "pinned:NL", tmp_path / "run", until=bills.HORIZON)
    log = tmp_path / "run" / "log"
    reference = twins.embedded(log)
    await twins.make_topics(settings, dict(LogReader(log).manifest.topics))
    await twins.Sender(settings, log).send()
    processes = [
        Process(settings, "worker", "w1", tmp_path),
        Process(settings, "worker", "w2", tmp_path),
        Process(settings, "dispatcher", "d1", tmp_path),
    ]
    with twins.running(processes):
        found = await twins.wait_for_windows(settings, len(reference.records), processes, within_s=600)
    assert found == reference.records
    assert sum(record["totals"]["energy_cost"] for record in found) == pytest.approx(1947.41, rel=1e-4)
    assert len(found) == 336 * 12
