"""The published fortnight as an event log: every row arrives, every clock stands, and the bytes are the same each time."""

import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from producers.importers import ImportReport, import_dataset
from producers.log import LogReader
from twin import events as ev
from twin.topics import decoder

pytestmark = pytest.mark.published

T0 = 1_664_143_200_000
HOUR = 3_600_000
WINDOWS = 336 * 12


@pytest.fixture(scope="module")
def reference(data_dir: Path) -> Path:
    folder = data_dir / "reference"
    if not (folder / "dataset.toml").is_file():
        pytest.skip(f"no reference data at {folder}")
    return folder


@pytest.fixture(scope="module")
def flat(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ImportReport, LogReader]:
    out = tmp_path_factory.mktemp("flat") / "log"
    return import_dataset(reference, out), LogReader(out)


@pytest.fixture(scope="module")
def capacity(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ImportReport, LogReader]:
    out = tmp_path_factory.mktemp("capacity") / "log"
    return import_dataset(reference, out, config=Path("dataset-capacity.toml")), LogReader(out)


def events(log: LogReader, topic: str) -> list[ev.Event]:
    decode = decoder(topic).decode
    parts = [p for name, p in log.partitions() if name == topic]
    return [decode(value) for p in parts for chunk in log.read(topic, p) for value in chunk.values]


def of(log: LogReader, topic: str, kind: type) -> list:
    return [event for event in events(log, topic) if isinstance(event, kind)]


def test_every_row_of_the_fortnight_is_an_event(flat: tuple[ImportReport, LogReader]) -> None:
    report, _ = flat
    assert report.events == {
        "clock.v1": 10 * (WINDOWS + 1),
        "cluster.registered.v1": 6,
        "network.fee.v1": 15,
        "network.link.v1": 30,
        "policy.set.v1": 1,
        "power.carbon.v1": 3360,
        "power.price.v1": 2352,
        "task.submitted.v1": 30470,
    }
    assert report.rows["tasks_surf.csv.gz"] == 30470
    assert (report.start, report.end) == (T0, T0 + 336 * HOUR)
    assert (report.skipped, report.outside) == ([], {})
    assert report.warnings == ["no carbon intensity for CH, ES: it is unknown there, not zero"]
    assert report.records == sum(report.events.values())


def test_every_partition_has_a_clock_at_t0_and_at_every_window_end(flat: tuple[ImportReport, LogReader]) -> None:
    _, log = flat
    for topic, p in log.partitions():
        clocks = [
            clock
            for chunk in log.read(topic, p)
            for value in chunk.values
            if isinstance(clock := decoder(topic).decode(value), ev.Clock)
        ]
        assert [clock.t for clock in clocks] == [T0 + i * 300_000 for i in range(WINDOWS + 1)]


def test_tasks_keep_their_times_sizes_and_power(flat: tuple[ImportReport, LogReader]) -> None:
    tasks = of(flat[1], "tasks", ev.TaskSubmitted)
    first = next(task for task in tasks if task.task_id == "surf-2062109")
    assert first == ev.TaskSubmitted(
        seq=0,
        t=T0 + 24_306_000,
        source="europe-2022-10",
        task_id="surf-2062109",
        origin="NL",
        latency_ms=1000,
        request=ev.Request(cpu_cores=16, mem_gib=100_000 / 1024),
        power_w=350,
        est_duration_s=63_601,
        movable=True,
    )
    assert sum(task.est_duration_s * task.power_w for task in tasks) / 3.6e6 > 9223


def test_prices_are_known_twelve_hours_ahead_and_zones_without_a_site_are_kept(
    flat: tuple[ImportReport, LogReader],
) -> None:
    prices = of(flat[1], "power", ev.PowerPrice)
    assert Counter(price.zone_id for price in prices) == dict.fromkeys(
        ["AT", "BE", "CH", "DE-LU", "ES", "FR", "NL"], 336
    )
    assert all(price.t == max(price.start - 12 * HOUR, T0 - 1) for price in prices)
    by_zone: dict[str, list[int]] = {}
    for price in prices:
        by_zone.setdefault(price.zone_id, []).append(price.seq)
    assert all(numbers == list(range(336)) for numbers in by_zone.values())


def test_clusters_links_fees_and_accounting_stand_before_the_first_clock(flat: tuple[ImportReport, LogReader]) -> None:
    _, log = flat
    for topic, count in (("inventory", 6), ("network", 45), ("control", 1)):
        assert [event.t for event in events(log, topic)[: count + 1]] == [T0 - 1] * count + [T0]
    (accounting,) = of(log, "control", ev.PolicySet)
    assert accounting.params == {"currency": "EUR", "settlement_market": "day_ahead"}
    cluster = of(log, "inventory", ev.ClusterRegistered)[0]
    assert (cluster.cluster_id, cluster.zone_id, cluster.node_id, cluster.pue) == (
        "DE-LU",
        "DE-LU",
        "DE-LU",
        ev.PueCurve(a=1),
    )
    assert {fee.per_gb for fee in of(log, "network", ev.NetworkFee)} == {0}


def test_clusters_of_the_capacity_dataset_have_their_gpus_caps_and_idle_power(
    capacity: tuple[ImportReport, LogReader],
) -> None:
    clusters = {c.cluster_id: c for c in of(capacity[1], "inventory", ev.ClusterRegistered)}
    assert len(clusters) == 8
    assert clusters["de-fra"] == ev.ClusterRegistered(
        seq=0,
        t=T0 - 1,
        source="europe-2022-10-capacity",
        cluster_id="de-fra",
        name="de-fra",
        tier="national",
        lat=50.11,
        lon=8.68,
        zone_id="DE-LU",
        node_id="DE-LU",
        pools=[
            ev.Pool(
                pool_id="default",
                accelerator=ev.Accelerator(model="A100-SXM4-40GB", kind="gpu"),
                nodes=8,
                accelerators_per_node=4,
                cpu_cores=1024,
                mem_gib=8192,
                w_per_accelerator=ev.IdleMax(max=300),
                w_per_core=ev.IdleMax(max=21.875),
                tokens_per_s={"code": 2400, "conv": 2400},
            )
        ],
        power_cap_kw=30,
        idle_kw=4,
        pue=ev.PueCurve(a=1.22),
    )
    assert clusters["nl-eems"].pools[0].accelerator is None


def test_requests_fill_every_hour_by_its_weight_and_are_shared_over_the_origins(
    reference: Path, capacity: tuple[ImportReport, LogReader]
) -> None:
    demand = of(capacity[1], "services", ev.ServiceDemand)
    assert len(demand) == 2 * 6 * WINDOWS
    tokens = Counter()
    for d in demand:
        tokens[(d.start - T0) // HOUR] += d.tokens_out_per_s * (d.end - d.start) / 1000
    weights = [0.35, 0.28, 0.24, 0.22, 0.22, 0.26, 0.38, 0.60, 0.85, 1.00, 1.06, 1.08]
    weights += [1.02, 1.05, 1.08, 1.06, 1.00, 0.92, 0.84, 0.80, 0.78, 0.70, 0.58, 0.45]
    recorded = 4_334_561  # output tokens of the recording
    assert [tokens[hour] for hour in range(336)] == pytest.approx(
        [recorded * 100 * weights[hour % 24] for hour in range(336)]
    )
    nl = sum(d.tokens_out_per_s for d in demand if d.origin == "NL")
    assert nl == pytest.approx(0.30 * sum(d.tokens_out_per_s for d in demand))
    assert all(d.t == max(d.start - 300_000, T0 - 1) and d.end == d.start + 300_000 for d in demand)
    busiest = max(tokens.values()) / 3600 / 2400
    assert busiest == pytest.approx(54.2, abs=0.1)


def test_two_imports_give_the_same_bytes(reference: Path, flat: tuple[ImportReport, LogReader], tmp_path: Path) -> None:
    import_dataset(reference, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "manifest.json").read_bytes()) == msgspec.to_builtins(flat[1].manifest)


def test_a_day_of_the_fortnight_holds_its_submissions_and_the_prices_known_by_then(
    reference: Path, flat: tuple[ImportReport, LogReader], tmp_path: Path
) -> None:
    start, end = T0 + 168 * HOUR, T0 + 192 * HOUR
    report = import_dataset(reference, tmp_path / "day", start=start, end=end)
    everything = of(flat[1], "tasks", ev.TaskSubmitted)
    assert report.events["task.submitted.v1"] == sum(start <= task.t < end for task in everything)
    assert report.events["clock.v1"] == 10 * (24 * 12 + 1)
    assert report.events["power.price.v1"] == 7 * 36
    assert report.outside["power.price.v1"] == 7 * (336 - 36)
    assert LogReader(tmp_path / "day").manifest.first_t == start - 1
