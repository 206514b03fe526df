"""Long runs made small, with nothing invented and nothing lost that is summed."""

from types import ModuleType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.report import thin
from streams.report.data import ReportData


@given(st.lists(st.one_of(st.none(), st.integers(-9, 9).map(float)), max_size=20), st.integers(1, 7))
def test_means_of_neighbours_equal_a_plain_loop(values: list[float | None], k: int) -> None:
    expected = []
    for start in range(0, len(values), k):
        known = [value for value in values[start : start + k] if value is not None]
        expected.append(round(sum(known) / len(known), 6) if known else None)
    assert thin.means(values, k, 6) == expected


def test_a_short_run_keeps_every_window(made_up: ModuleType) -> None:
    data: ReportData = made_up.synthetic()
    run, step = thin.thin_run(data.run)
    assert step == 1
    assert run.t_ms == data.run.t_ms
    assert run.running == data.run.running
    assert run.gap == pytest.approx(data.run.gap, abs=1e-6, nan_ok=True)
    assert [zone.price for zone in run.zones] == [zone.price for zone in data.run.zones]


def test_a_long_run_is_cut_to_size_keeps_its_end_and_its_sums(made_up: ModuleType) -> None:
    data: ReportData = made_up.synthetic(windows=4_033)
    run, step = thin.thin_run(data.run)
    assert step > 1
    assert len(run.t_ms) * len(run.zones) <= thin.MOST_CELLS
    assert run.t_ms[-1] == data.run.t_ms[-1]
    assert run.t_ms[0] == data.run.t_ms[step - 1]
    assert sum(run.placed) == sum(data.run.placed)
    assert sum(run.cost_energy) == pytest.approx(sum(data.run.cost_energy), abs=0.1)
    assert {len(getattr(run, name)) for name in run.__struct_fields__ if name != "zones"} == {len(run.t_ms)}


def test_a_list_of_another_length_is_refused_by_name(made_up: ModuleType) -> None:
    run = made_up.synthetic(windows=4, zones=2).run
    with pytest.raises(ValueError, match=r"waiting has 3 values, expected one a window \(4\)"):
        thin.check_run(msgspec.structs.replace(run, waiting=[1, 2, 3]))
    short = msgspec.structs.replace(run.zones[1], price=[1.0])
    with pytest.raises(ValueError, match="price of zone CN-01 has 1 values"):
        thin.check_run(msgspec.structs.replace(run, zones=[run.zones[0], short]))


def test_flows_without_coordinates_are_not_drawn_and_the_largest_are_kept(
    made_up: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thin, "MOST_FLOWS", 3)
    flows = made_up.synthetic().flows
    lost = msgspec.structs.replace(flows[0], hours=1e9, src_lat=None)
    kept = thin.thin_flows([lost, *flows])
    assert [flow.kind for flow in kept] == ["serve"] * 3 + ["move"] * 3
    assert kept[0].hours == max(flow.hours for flow in flows if flow.kind == "serve")
    assert lost not in kept


def test_clusters_beyond_the_limit_are_those_with_the_least_work(
    made_up: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thin, "MOST_CLUSTERS", 10)
    clusters = made_up.synthetic().clusters
    kept = thin.thin_clusters(clusters)
    assert len(kept) == 10
    assert kept == [cluster for cluster in clusters if cluster in kept]
    assert min(c.task_h for c in kept) >= max(c.task_h for c in clusters if c not in kept)
