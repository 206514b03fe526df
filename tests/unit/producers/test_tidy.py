"""A small dataset with every column and key of the tidy format, read as it is meant."""

import gzip
import shutil
from pathlib import Path

import pytest

from producers.importers import ImportReport, import_dataset
from producers.log import LogReader
from twin import events as ev
from twin.errors import ConfigError
from twin.topics import decoder

T0 = 1_709_247_600_000  # 2024-02-29T23:00Z
MIN = 60_000
HOUR = 60 * MIN


def events(log: Path) -> list[ev.Event]:
    reader = LogReader(log)
    found = []
    for topic, p in reader.partitions():
        decode = decoder(topic).decode
        found += [decode(value) for chunk in reader.read(topic, p) for value in chunk.values]
    return found


def of(log: Path, kind: type) -> list:
    return [event for event in events(log) if isinstance(event, kind)]


def imported(folder: Path, **options: object) -> tuple[ImportReport, Path]:
    out = folder.parent / "log"
    return import_dataset(folder, out, overwrite=True, **options), out


def change(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


def test_the_report_counts_rows_by_file_and_events_by_type(tiny: Path) -> None:
    report, _ = imported(tiny)
    assert report.rows == {
        "sites.csv": 3,
        "clusters.csv": 2,
        "latency.csv": 2,
        "fees.csv": 1,
        "prices.csv": 3,
        "prices_rt.csv": 2,
        "carbon.csv": 2,
        "carbon_annual.csv": 3,
        "tasks.csv": 4,
        "requests.csv": 4,
    }
    assert report.events == {
        "clock.v1": 10 * 9,
        "cluster.registered.v1": 2,
        "network.fee.v1": 3,
        "network.link.v1": 2,
        "policy.set.v1": 1,
        "power.carbon.v1": 3,
        "power.price.v1": 5,
        "service.demand.v1": 2 * 3 + 1,
        "task.submitted.v1": 4,
    }
    assert report.records == sum(report.events.values())
    assert (report.start, report.end, report.skipped) == (T0, T0 + 2 * HOUR, [])
    assert report.outside == {"power.carbon.v1": 1}
    assert report.warnings == [
        "carbon of Z1: yearly values left out, there are finer ones",
        "no RTT for 1 pairs of origin and cluster node, such as islet and north",
    ]


def test_clusters_take_what_they_lack_from_their_site_and_the_defaults(tiny: Path) -> None:
    _, log = imported(tiny)
    n1, s1 = of(log, ev.ClusterRegistered)
    assert n1.pools == [
        ev.Pool(
            pool_id="default",
            accelerator=ev.Accelerator(model="H100", kind="gpu"),
            nodes=2,
            accelerators_per_node=4,
            cpu_cores=100,
            mem_gib=400,
            w_per_accelerator=ev.IdleMax(max=300),
            w_per_core=ev.IdleMax(max=10),
            tokens_per_s={"chat": 1000, "code": 1000},
        )
    ]
    assert (n1.tier, n1.lat, n1.zone_id, n1.node_id) == ("national", 60, "Z1", "north")
    assert (n1.power_cap_kw, n1.idle_kw, n1.pue) == (50, 3, ev.PueCurve(a=1.2))
    assert (s1.tier, s1.lat, s1.zone_id, s1.node_id) == ("edge", 50.5, "Z2", "south")
    assert (s1.power_cap_kw, s1.idle_kw, s1.pue) == (None, None, ev.PueCurve(a=1.5))
    pool = s1.pools[0]
    assert (pool.nodes, pool.accelerator, pool.tokens_per_s, pool.mem_gib) == (1, None, {}, 1e9)


def test_links_are_as_given_and_fees_cover_every_pair_once(tiny: Path) -> None:
    _, log = imported(tiny)
    assert [(link.src, link.dst, link.rtt_ms.p50) for link in of(log, ev.NetworkLink)] == [
        ("north", "south", 20),
        ("south", "islet", 10),
    ]
    assert [(fee.src, fee.dst, fee.per_gb, fee.currency) for fee in of(log, ev.NetworkFee)] == [
        ("south", "north", 0.01, "EUR"),
        ("north", "islet", 0.05, "EUR"),
        ("south", "islet", 0.05, "EUR"),
    ]


def test_a_price_is_known_when_it_is_published(tiny: Path) -> None:
    _, log = imported(tiny)
    told = {
        (p.zone_id, p.market, p.start - T0, p.stage): (p.t - T0, p.price_per_mwh, p.revision, p.seq)
        for p in of(log, ev.PowerPrice)
    }
    assert told == {
        ("Z1", "day_ahead", 0, "final"): (-1, 50.5, 0, 0),
        ("Z1", "day_ahead", HOUR, "final"): (-1, -3, 0, 1),
        ("Z2", "day_ahead", 0, "final"): (-1, 80, 0, 0),
        ("Z1", "real_time", 0, "preliminary"): (0, 61, 0, 2),
        ("Z1", "real_time", 0, "final"): (90 * MIN, 62, 1, 3),
    }
    published = [p.published_at for p in of(log, ev.PowerPrice) if p.published_at is not None]
    assert published == [T0 - 11 * HOUR, T0 + 90 * MIN]


def test_the_accounting_policy_says_currency_and_market(tiny: Path) -> None:
    _, log = imported(tiny)
    (policy,) = of(log, ev.PolicySet)
    assert (policy.name, policy.t, policy.params) == (
        "accounting",
        T0 - 1,
        {"currency": "EUR", "settlement_market": "day_ahead"},
    )
    meta = LogReader(log).meta
    assert (meta["name"], meta["currency"], meta["t0"], meta["window_ms"]) == ("tiny", "EUR", T0, 900_000)


def test_carbon_is_known_from_its_start_and_yearly_values_serve_zones_without_finer_ones(tiny: Path) -> None:
    _, log = imported(tiny)
    rows = [(c.zone_id, c.t - T0, c.gco2e_per_kwh, c.origin) for c in of(log, ev.PowerCarbon)]
    assert sorted(rows) == [
        ("Z1", -1 + 1, 30, "measured"),
        ("Z1", HOUR, 31, "measured"),
        ("Z2", -1, 280, "estimated"),
    ]
    first = next(c for c in of(log, ev.PowerCarbon) if c.gco2e_per_kwh == 30)
    assert (first.renewable_share, first.carbon_free_share) == (0.9, 0.955)


def test_tasks_read_every_column_and_default(tiny: Path) -> None:
    _, log = imported(tiny)
    tasks = {task.task_id: task for task in of(log, ev.TaskSubmitted)}
    assert tasks["a"] == ev.TaskSubmitted(
        seq=0,
        t=T0,
        source="tiny",
        task_id="a",
        origin="north",
        latency_ms=100,
        request=ev.Request(cpu_cores=4, mem_gib=2),
        power_w=40,
        est_duration_s=600,
        state_gb=1,
        movable=True,
    )
    assert tasks["b"] == ev.TaskSubmitted(
        seq=0,
        t=T0 + 600_500,
        source="tiny",
        task_id="b",
        tenant="lab",
        kind="training",
        priority=2,
        origin="south",
        latency_ms=100,
        request=ev.Request(accelerators=8, nodes=2, cpu_cores=16),
        power_w=5500,
        est_duration_s=3600,
        earliest_start=T0 + 1_200_000,
        deadline=T0 + 7_200_000,
        data_in_gb=12.5,
        state_gb=40,
        interruptible=True,
    )
    assert (tasks["c"].kind, tasks["c"].power_w, tasks["c"].latency_ms) == ("inference", 8 * 10 + 2 * 300, 15)
    assert (tasks["d"].origin, tasks["d"].state_gb, tasks["d"].movable, tasks["d"].power_w) == ("islet", 0, False, 5)


def test_requests_become_mean_demand_per_window_origin_and_application(tiny: Path) -> None:
    _, log = imported(tiny)
    demand = {
        (d.service, d.origin, (d.start - T0) // MIN): (
            d.tokens_out_per_s,
            d.tokens_in_per_s,
            d.requests_per_s,
            (d.t - T0) // MIN,
        )
        for d in of(log, ev.ServiceDemand)
    }
    chat = {0: (2700 / 900, 150 / 900, 2 / 900), 1: (0, 0, 0), 2: (90 / 900, 10 / 900, 1 / 900)}
    expected = {
        ("chat", node, 15 + 15 * i): (*(2 * share * rate for rate in rates), 15 * i)
        for i, rates in chat.items()
        for node, share in (("north", 0.75), ("south", 0.25))
    } | {("code", "south", 15): (2 * 450 / 900, 2 * 7 / 900, 2 / 900, 0)}
    assert demand.keys() == expected.keys()
    for key, values in expected.items():
        assert demand[key] == pytest.approx(values)
    assert all((d.latency_ms, d.model) == (40, d.service) for d in of(log, ev.ServiceDemand))


def test_recorded_minutes_fill_every_hour_scaled_by_its_weight(tiny: Path) -> None:
    weights = [2, *[1] * 22, 3]
    change(tiny, "dataset.toml", "scale = 2", f"repeat_hourly_weights = {weights}")
    (tiny / "requests.csv").write_text(
        "request_id,submit_s,tokens_in,tokens_out\na,0,0,900\nb,1790,0,1800\n"  # 30 minutes: twice an hour
    )
    change(tiny, "dataset.toml", "start_s = 900", "start_s = 0")
    change(tiny, "dataset.toml", "origin_shares = { north = 0.75, south = 0.25 }", 'origin = "islet"\napp = "talk"')
    _, log = imported(tiny, end=T0 + 25 * HOUR)
    rates = {(d.start - T0) // MIN: d.tokens_out_per_s * 900 for d in of(log, ev.ServiceDemand)}
    assert {(d.service, d.origin) for d in of(log, ev.ServiceDemand)} == {("talk", "islet")}
    pattern = [900, 1800, 900, 1800]
    assert rates == pytest.approx({15 * i: pattern[i % 4] * weights[i // 4 % 24] for i in range(100)})


def test_a_window_that_does_not_divide_the_hour_takes_its_share_of_each_minute(tiny: Path) -> None:
    change(tiny, "dataset.toml", "scale = 2", f"repeat_hourly_weights = {[1] * 24}")
    change(tiny, "dataset.toml", "length_s = 900", "length_s = 420")
    change(tiny, "dataset.toml", "start_s = 900", "start_s = 0")
    _, log = imported(tiny)
    demand = of(log, ev.ServiceDemand)
    whole = sum(d.tokens_out_per_s * 420 for d in demand if d.end <= T0 + 2 * HOUR)
    last = max(d.end for d in demand if d.end <= T0 + 2 * HOUR)
    assert last > T0 + 110 * MIN
    # twice the recording of 31 minutes an hour, but for the windows that reach over either end
    assert 2 * 2 * 3240 * 0.8 < whole < 2 * 2 * 3240


def test_the_same_dataset_in_gzip_and_parquet_gives_the_same_events(tiny: Path) -> None:
    pa_csv = pytest.importorskip("pyarrow.csv")
    pq = pytest.importorskip("pyarrow.parquet")
    _, log = imported(tiny)
    expected = events(log)
    for file in ("tasks", "prices", "requests"):
        pq.write_table(pa_csv.read_csv(tiny / f"{file}.csv"), tiny / f"{file}.parquet")
        change(tiny, "dataset.toml", f'"{file}.csv"', f'"{file}.parquet"')
    (tiny / "carbon.csv.gz").write_bytes(gzip.compress((tiny / "carbon.csv").read_bytes()))
    change(tiny, "dataset.toml", '"carbon.csv"', '"carbon.csv.gz"')
    report, log = imported(tiny, format="parquet")
    assert LogReader(log).manifest.files == "parquet"
    assert events(log) == expected
    assert report.rows["tasks.parquet"] == 4


def test_without_a_cluster_table_every_site_is_a_cluster(tiny: Path) -> None:
    change(tiny, "dataset.toml", 'clusters = "clusters.csv"\n', "")
    change(
        tiny, "dataset.toml", "pue = 1.5", 'pue = 1.5\ncpu_cores = 1_000\ngpus = 16\ngpus_per_node = 8\ngpu_model = "X"'
    )
    _, log = imported(tiny)
    told = [(c.cluster_id, c.node_id, c.zone_id, c.tier, c.pools[0].nodes) for c in of(log, ev.ClusterRegistered)]
    assert told == [
        ("north", "north", "Z1", "national", 2),
        ("south", "south", "Z2", "regional", 2),
        ("islet", "islet", "Z1", "edge", 2),
    ]


def test_a_span_keeps_submissions_in_it_and_prices_that_matter_then(tiny: Path) -> None:
    report, log = imported(tiny, start=T0 + HOUR, end=T0 + 90 * MIN)
    assert report.outside == {"power.price.v1": 3, "power.carbon.v1": 2, "task.submitted.v1": 4, "service.demand.v1": 7}
    assert [(p.zone_id, p.start - T0, p.t - T0) for p in of(log, ev.PowerPrice)] == [
        ("Z1", HOUR, HOUR - 1),
        ("Z2", 0, HOUR - 1),
    ]
    clocks = sorted({c.t - T0 for c in of(log, ev.Clock)})
    assert clocks == [HOUR, 75 * MIN + MIN, 90 * MIN + MIN]
    with pytest.raises(ConfigError, match=r"nothing from 2024-03-01T01:00:00Z to 2024-03-01T00:00:00Z"):
        imported(tiny, start=T0 + 2 * HOUR, end=T0 + HOUR)


def test_tasks_of_an_unknown_class_count_as_batch_and_are_told_of(tiny: Path) -> None:
    change(tiny, "tasks.csv", "inference", "rendering")
    report, log = imported(tiny)
    assert next(t for t in of(log, ev.TaskSubmitted) if t.task_id == "c").kind == "batch"
    assert any("klass 'rendering' count as batch" in warning for warning in report.warnings)


def test_what_is_not_known_is_told(tiny: Path) -> None:
    change(tiny, "dataset.toml", "watts_per_gpu = 300\n", "")
    change(tiny, "dataset.toml", "tokens_per_s_per_gpu = 1000\n", "")
    change(tiny, "dataset.toml", '"carbon_annual.csv"', "")
    change(tiny, "prices.csv", "Z2", "Z9")
    change(tiny, "latency.csv", "south,islet,10,\n", "")
    report, log = imported(tiny)
    assert report.warnings == [
        "1 tasks without power: no column kw, and task_defaults lacks watts_per_core or watts_per_gpu",
        "requests, but no request_defaults.tokens_per_s_per_gpu: no pool can serve them",
        "no day_ahead prices for Z2: energy used there will be unpriced",
        "no carbon intensity for Z2: it is unknown there, not zero",
        "no RTT for 2 pairs of origin and cluster node, such as islet and north",
    ]
    assert next(t for t in of(log, ev.TaskSubmitted) if t.task_id == "c").power_w is None


def test_a_configuration_may_lie_in_the_dataset_or_elsewhere(tiny: Path, tmp_path: Path) -> None:
    for place in (tiny / "other.toml", tmp_path / "other.toml"):
        shutil.copy(tiny / "dataset.toml", place)
        change(place.parent, "other.toml", 'name = "tiny"', 'name = "other"\nlicence = "none"')
        report, _ = imported(tiny, config=Path("other.toml") if place.parent == tiny else place)
        assert report.name == "other"
        assert "other.toml: key 'licence' means nothing here" in report.warnings


def test_the_only_market_there_is_bills_the_energy(tiny: Path) -> None:
    change(tiny, "dataset.toml", 'market = "spot"', "")
    change(tiny, "dataset.toml", ', "prices_rt.csv"', "")
    _, log = imported(tiny)
    assert of(log, ev.PolicySet)[0].params["settlement_market"] == "day_ahead"


def test_a_dataset_without_prices_has_no_market_and_says_so(tiny: Path) -> None:
    change(tiny, "dataset.toml", 'market = "spot"', "")
    change(tiny, "dataset.toml", 'prices = ["prices.csv", "prices_rt.csv"]', "")
    report, log = imported(tiny)
    assert of(log, ev.PolicySet)[0].params == {"currency": "EUR"}
    assert "no energy prices for Z1, Z2: energy used there will be unpriced" in report.warnings
    assert report.end == T0 + 7_199_001


def test_a_byte_order_mark_blank_lines_and_quotes_are_no_trouble(tiny: Path) -> None:
    text = (tiny / "tasks.csv").read_text().replace("\nb,", '\n\n"b",').replace("lab", '"lab,\nwest"')
    (tiny / "tasks.csv").write_text("\ufeff" + text)
    _, log = imported(tiny)
    tasks = {task.task_id: task for task in of(log, ev.TaskSubmitted)}
    assert len(tasks) == 4
    assert tasks["b"].tenant == "lab,\nwest"
    change(tiny, "tasks.csv", "c,900", "c,never")
    with pytest.raises(ConfigError, match=r"tasks\.csv: line 6, column submit_s"):
        imported(tiny)
