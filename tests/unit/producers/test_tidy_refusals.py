"""Everything that can be wrong with a tidy dataset is named with file, line, column and what was expected."""

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from producers.importers import ImportReport, import_dataset
from twin.errors import ConfigError, StoreError


def imported(folder: Path, **options: object) -> tuple[ImportReport, Path]:
    out = folder.parent / "log"
    return import_dataset(folder, out, overwrite=True, **options), out


def change(folder: Path, file: str, old: str, new: str) -> None:
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))


def in_table(file: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: change(folder, file, old, new)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "tasks.csv",
            "a,0,600,4",
            "a,0,600,-4",
            "line 2, column cpu_cores: expected a number from 0 to 1000000000000, got '-4'",
        ),
        (
            "tasks.csv",
            "a,0,600,4",
            "a,0,nan,4",
            "line 2, column duration_s: expected a number from 0 to 1000000000, got 'nan'",
        ),
        ("tasks.csv", "a,0,600,4", "a,0,inf,4", "line 2, column duration_s: expected a number"),
        ("tasks.csv", "a,0,600,4", "a,soon,600,4", "line 2, column submit_s: expected a number"),
        ("tasks.csv", "a,0,600,4", "a,,600,4", "line 2, column submit_s: expected seconds after t0, got nothing"),
        (
            "tasks.csv",
            "a,0,600,4",
            "a,-1e10,600,4",
            "line 2, column submit_s: expected seconds after t0 that end up between",
        ),
        ("tasks.csv", "a,0,600,4", "a,0,600,1_000", "line 2, column cpu_cores: expected a number"),
        ("tasks.csv", "a,0,600,4,0", "a,0,600,4,1.5", "line 2, column gpus: expected a whole number, got '1.5'"),
        (
            "tasks.csv",
            "a,0,600,4,0",
            "a,0,600,4,99999999999",
            "line 2, column gpus: expected a whole number from 0 to 10000000",
        ),
        ("tasks.csv", "a,0,600,4,0,", "a,0,600,4,0", "line 2, column (all): expected 19 cells, got 18"),
        ("tasks.csv", "a,0,600", ",0,600", "line 2, column task_id: expected an id, got nothing"),
        (
            "tasks.csv",
            "a,0,600",
            f"{'x' * 201},0,600",
            "line 2, column task_id: expected at most 200 characters, got 'xx",
        ),
        (
            "tasks.csv",
            "\nc,",
            "\na,",
            "line 4, column task_id: expected a task that did not stand before; line 2 has it, got 'a'",
        ),
        (
            "tasks.csv",
            "south",
            "moon",
            "line 3, column origin: expected one of the nodes north, south, islet, got 'moon'",
        ),
        ("tasks.csv", ",no,", ",perhaps,", "line 3, column movable: expected true or false, got 'perhaps'"),
        ("tasks.csv", "lab,2", "lab,3", "line 3, column priority: expected a whole number from 0 to 2, got '3'"),
        ("prices.csv", "2024-03-01T00:00:00Z", "1 March", "line 3, column start_utc: expected a UTC time from 1970 on"),
        (
            "prices.csv",
            "2024-03-01T00:00:00Z",
            "1969-03-01T00:00:00Z",
            "line 3, column start_utc: expected a UTC time from 1970",
        ),
        ("prices.csv", "Z,60,-3", "Z,0,-3", "line 3, column minutes: expected more than 0 minutes, got '0'"),
        ("prices.csv", "-3,EUR", "-Infinity,EUR", "line 3, column price: expected a number from -1000000 to 1000000"),
        ("prices.csv", "-3,EUR/MWh", "-3,EUR/kWh", "line 3, column unit: expected EUR/MWh, got 'EUR/kWh'"),
        (
            "prices.csv",
            "-3,EUR/MWh,spot",
            "-3,EUR/MWh,forward",
            "line 3, column market: expected one of spot, mid_long, day_ahead",
        ),
        (
            "prices_rt.csv",
            "preliminary",
            "guess",
            "line 2, column stage: expected one of forecast, ex_ante, preliminary, final",
        ),
        (
            "prices_rt.csv",
            "final,1",
            "preliminary,0",
            "line 3, column start_utc: expected a new interval; this zone, market",
        ),
        (
            "carbon.csv",
            ",30,90",
            ",-30,90",
            "line 2, column gco2_per_kwh: expected a number from 0 to 100000, got '-30'",
        ),
        ("carbon.csv", ",30,90", ",30,190", "line 2, column renewable_pct: expected a number from 0 to 100, got '190'"),
        (
            "carbon_annual.csv",
            "Z2,2023",
            "Z2,2024",
            "line 4, column year: expected a new interval; this zone had it in line 3",
        ),
        ("sites.csv", "60.0", "95", "line 2, column lat: expected a number from -90 to 90, got '95'"),
        ("sites.csv", "regional", "huge", "line 3, column tier: expected one of national, regional, edge, got 'huge'"),
        ("sites.csv", "islet", "north", "line 4, column site: expected a site that did not stand before, got 'north'"),
        (
            "clusters.csv",
            "s1",
            "n1",
            "line 3, column cluster_id: expected a cluster that did not stand before, got 'n1'",
        ),
        (
            "clusters.csv",
            "s1,south",
            "s1,moon",
            "line 3, column site: expected one of the sites north, south, islet, got 'moon'",
        ),
        ("clusters.csv", "H100,4", "H100,3", "line 2, column gpus: expected a multiple of gpus_per_node (3), got '8'"),
        (
            "clusters.csv",
            "edge,50.5,11.5,64",
            "edge,50.5,11.5,",
            "line 3, column cpu_cores: expected a number of cores, got noth",
        ),
        ("clusters.csv", "50,1.2", "50,0.9", "line 2, column pue: expected a number from 1 to 10, got '0.9'"),
        (
            "latency.csv",
            "islet,10",
            "islet,-1",
            "line 3, column rtt_ms_modelled: expected a number from 0 to 3600000, got '-1'",
        ),
        ("latency.csv", "south,islet", "north,south", "line 3, column dst: expected a pair that did not stand before"),
        ("fees.csv", "south,north", "south,moon", "line 2, column dst: expected one of the nodes"),
        ("requests.csv", "r1,0,100", "r1,0,1.5", "line 2, column tokens_in: expected a whole number"),
        ("requests.csv", "code,south", "code,moon", "line 5, column origin: expected one of the nodes"),
    ],
)
def test_a_bad_row_stops_the_import_or_is_skipped_and_listed(
    tiny: Path, file: str, old: str, new: str, message: str
) -> None:
    good, _ = imported(tiny)
    change(tiny, file, old, new)
    with pytest.raises(ConfigError) as caught:
        import_dataset(tiny, tiny.parent / "never")
    assert str(caught.value).startswith(f"{file}: {message}")
    assert not (tiny.parent / "never").exists()
    skip_all = {"clusters.csv": "clusters", "sites.csv": "sites"}
    if file not in skip_all:  # a site or cluster that is left out takes rows of other tables with it
        report, _ = imported(tiny, on_error="skip")
        assert [str(fault) for fault in report.skipped] == [str(caught.value)]
        assert report.rows == good.rows


def gz(file: str, cut: int | None) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        data = gzip.compress((folder / file).read_bytes())
        (folder / f"{file}.gz").write_bytes(b"no gzip" if cut is None else data[:cut])
        change(folder, "dataset.toml", f'"{file}"', f'"{file}.gz"')

    return damage


def written(file: str, data: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / file).write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            in_table("tasks.csv", "duration_s,", "dauer,"),
            r"tasks\.csv: line 1: expected a column duration_s; the header has task_id",
        ),
        (
            in_table("latency.csv", "rtt_ms_modelled", "ms"),
            r"latency\.csv: line 1: expected a column rtt_ms or rtt_ms_modelled",
        ),
        (in_table("sites.csv", "site,", "place,"), r"sites\.csv: line 1: expected a column site or zone"),
        (
            in_table("tasks.csv", "tenant,priority", "tenant,tenant"),
            r"tasks\.csv: line 1: column tenant stands there twice",
        ),
        (written("tasks.csv", b""), r"tasks\.csv: the file is empty: expected a header row"),
        (written("tasks.csv", b'task_id,"submit'), r"tasks\.csv: line 1: not readable as CSV"),
        (written("tasks.csv", b"task_id\n\xff\xfe\n"), r"tasks\.csv: at or after line \d: not UTF-8"),
        (gz("tasks.csv", -20), r"tasks\.csv\.gz: line \d: the gzip stream ends early"),
        (gz("tasks.csv", None), r"tasks\.csv\.gz: line 1: not readable as gzip"),
        (lambda folder: (folder / "tasks.csv").unlink(), r"tasks\.csv: no such file"),
        (in_table("dataset.toml", '"tasks.csv"', '"sites.xls"'), r"sites\.xls: no such file"),
        (lambda folder: (folder / "dataset.toml").unlink(), r"dataset\.toml: no such file"),
        (shutil.rmtree, r"tiny: no such folder"),
        (
            in_table("prices.csv", "80,EUR", "80,CNY"),
            r"prices\.csv: line 4, column unit: the price is in CNY, .* is EUR",
        ),
        (
            in_table("dataset.toml", 'market = "spot"', ""),
            r"settlement\.market: prices of day_ahead, real_time: name the one",
        ),
        (
            in_table("dataset.toml", 'market = "spot"', 'market = "intraday"'),
            r"'intraday': there are only prices of day_ahead, real",
        ),
        (in_table("dataset.toml", "[files]", "[files"), r"dataset\.toml: not readable as TOML"),
        (
            in_table("dataset.toml", "latency_ms = 100", "latency = 100"),
            r"dataset\.toml: .*unknown field `latency`.*task_defaults",
        ),
        (
            in_table("dataset.toml", "state_gb = 1", "state_gb = -1"),
            r"dataset\.toml: Expected `float` >= 0.*task_defaults\.state_gb",
        ),
        (
            in_table("dataset.toml", "state_gb = 1", 'state_gb = "1"'),
            r"dataset\.toml: Expected `float.*task_defaults\.state_gb",
        ),
        (in_table("dataset.toml", '"EUR"', '"euro"'), r"dataset\.toml: Expected `str` matching.*currency"),
        (in_table("dataset.toml", "+01:00", ""), r"dataset\.toml: t0 = .*: expected a time with its offset"),
        (in_table("dataset.toml", "2024", "1824"), r"dataset\.toml: t0 = .*: expected a time from 1970 on"),
        (in_table("dataset.toml", "spot = ", 'mid = "x"\nspot = '), r"dataset\.toml: .*markets"),
        (in_table("dataset.toml", "south = 0.25", "south = 0.3"), r"origin_shares add up to 1\.05: expected 1"),
        (in_table("dataset.toml", "south = 0.25", "moon = 0.25"), r"request_defaults: there is no node 'moon'"),
        (
            in_table("dataset.toml", 'origin = "north"', 'origin = "moon"'),
            r"task_defaults\.origin = 'moon': there is no such node",
        ),
        (in_table("dataset.toml", 'clusters = "clusters.csv"', ""), r"no clusters: expected \[files\] clusters"),
        (
            in_table("dataset.toml", "scale = 2", "repeat_hourly_weights = [1]"),
            r"dataset\.toml: .*repeat_hourly_weights",
        ),
        (
            in_table("prices.csv", "2024-03-01T00:00:00Z", "3000-03-01T00:00:00Z"),
            r"windows from .* to 3000-03-01T01:00:00Z, .*a price of zone Z1",
        ),
    ],
)
def test_a_dataset_that_cannot_be_read_is_refused_even_where_rows_may_be_skipped(
    tiny: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(tiny)
    for on_error in ("stop", "skip"):
        with pytest.raises(ConfigError, match=message):
            import_dataset(tiny, tiny.parent / "log", on_error=on_error)
    assert not (tiny.parent / "log").exists()


def test_an_origin_is_needed_for_tasks_and_requests(tiny: Path) -> None:
    change(tiny, "dataset.toml", 'origin = "north"\n', "")
    with pytest.raises(ConfigError, match=r"tasks\.csv: line 2, column origin: expected a node, got nothing"):
        imported(tiny)
    change(tiny, "tasks.csv", "origin", "from")
    with pytest.raises(ConfigError, match=r"tasks\.csv: line 1: expected a column origin"):
        imported(tiny)
    change(tiny, "dataset.toml", "latency_ms = 100", 'latency_ms = 100\norigin = "north"')
    change(tiny, "dataset.toml", "origin_shares = { north = 0.75, south = 0.25 }\n", "")
    with pytest.raises(ConfigError, match=r"requests\.csv: line 2, column origin: expected a node, got nothing"):
        imported(tiny)


def test_a_recording_longer_than_an_hour_cannot_fill_an_hour(tiny: Path) -> None:
    change(tiny, "dataset.toml", "scale = 2", f"repeat_hourly_weights = {[1] * 24}")
    change(tiny, "requests.csv", "r3,1800", "r3,3600")
    with pytest.raises(ConfigError, match="repeats one hour; the recording has 61 minutes"):
        imported(tiny)


def test_a_log_that_is_there_is_not_overwritten(tiny: Path) -> None:
    imported(tiny)
    with pytest.raises(ConfigError, match="there is an event log here already"):
        import_dataset(tiny, tiny.parent / "log")


def test_a_full_disk_stops_the_import_and_leaves_no_log(tiny: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    out = tmp_path / "full"
    out.mkdir()
    (out / "tasks-00.jsonl.gz").symlink_to("/dev/full")
    with pytest.raises(StoreError, match=r"tasks-00\.jsonl\.gz: No space left on device"):
        import_dataset(tiny, out)
    assert not (out / "manifest.json").exists()
