"""Clusters, pools and paths as columns: what was said of them last, wherever and whenever it was said."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.energy.worlds import MINUTE, T0, World
from twin import events as ev
from twin.sites import Columns, Sites

WINDOW = 5 * MINUTE


class Place:
    """A world and the sites that follow it."""

    def __init__(self) -> None:
        self.world = World(window_ms=WINDOW)
        self.sites = Sites()
        self.now = T0

    def register(self, name: str, *pools: ev.Pool, **more: Any) -> None:
        self.world.cluster(name, f"zone-{name}", pools=pools or (cpu(),), t=self.now, **more)

    def look(self) -> Columns:
        self.now = self.world.clock(self.now + WINDOW)
        return self.sites.refresh(self.world.mirror)

    def state(self, name: str, state: str, **more: Any) -> None:
        self.world.send(ev.ClusterState, cluster_id=name, state=state, t=self.now, **more)

    def command(self, kind: type[ev.Event], name: str) -> None:
        self.world.send(kind, id=name, t=self.now, seq=self.now)

    def pool(self, cluster: str, pool: str = "cpu") -> int:
        return self.sites.pool_index(cluster, pool)


def cpu(name: str = "cpu", **more: Any) -> ev.Pool:
    return ev.Pool(pool_id=name, **({"nodes": 10, "cpu_cores": 100.0, "mem_gib": 400.0} | more))


def gpu(name: str = "gpu", **more: Any) -> ev.Pool:
    body = {"nodes": 4, "accelerators_per_node": 8, "cpu_cores": 64.0, "mem_gib": 512.0, "tokens_per_s": {"m": 50.0}}
    return ev.Pool(pool_id=name, accelerator=ev.Accelerator(model="H20", domestic=True), **(body | more))


# ------------------------------------------------------------------------------------------------------- inventory


def test_a_cluster_is_what_it_was_registered_as() -> None:
    at = Place()
    watts = {"w_per_accelerator": ev.IdleMax(idle=60, max=400), "w_per_core": ev.IdleMax(idle=1, max=5)}
    at.register(
        "a", gpu(**watts), cpu(), power_cap_kw=90.0, pue=ev.PueCurve(a=1.25), province="Guizhou", labels=["green"]
    )
    found = at.look()
    assert found.pool_ids == (("a", "gpu"), ("a", "cpu"))
    assert found.capacity.tolist() == [[32.0, 64.0, 512.0], [0.0, 100.0, 400.0]]
    assert found.model == ("H20", "")
    assert found.domestic.tolist() == [True, False]
    assert found.w_per_accelerator.tolist() == [340.0, 0.0]
    assert found.w_per_core.tolist() == [4.0, 0.0]
    assert found.tokens == ({"m": 50.0}, {})
    assert (found.zone, found.province, found.labels) == (("zone-a",), ("Guizhou",), (frozenset({"green"}),))
    assert (found.pue.tolist(), found.cap_kw.tolist()) == ([1.25], [90.0])
    assert found.idle_kw.tolist() == [(32 * 60 + 64) / 1000]
    assert found.open.tolist() == found.holds.tolist() == [True, True]


def test_what_is_not_said_is_unlimited_or_neutral() -> None:
    at = Place()
    at.register("a", pue=None, idle_kw=None)
    found = at.look()
    assert (found.cap_kw[0], found.pue[0], found.idle_kw[0]) == (np.inf, 1.0, 0.0)
    assert np.isnan(found.lat[0])


def test_clusters_and_pools_keep_their_place_whatever_comes_and_goes() -> None:
    at = Place()
    at.register("b")
    at.register("a", cpu("x"), cpu("y"))
    first = at.look().pool_ids
    at.register("c")
    at.register("a", cpu("z"), cpu("y"))
    at.world.send(ev.ClusterRetired, cluster_id="b", t=at.now, seq=99)
    found = at.look()
    assert found.pool_ids[: len(first)] == first == (("b", "cpu"), ("a", "x"), ("a", "y"))
    assert set(found.pool_ids[len(first) :]) == {("c", "cpu"), ("a", "z")}
    is_open = dict(zip(found.pool_ids, found.open.tolist(), strict=True))
    assert is_open == {("b", "cpu"): False, ("a", "x"): False, ("a", "y"): True, ("c", "cpu"): True, ("a", "z"): True}
    assert dict(zip(found.pool_ids, found.holds.tolist(), strict=True)) == is_open


def test_a_retired_cluster_that_is_registered_again_is_open_again() -> None:
    at = Place()
    at.register("a")
    at.look()
    at.world.send(ev.ClusterRetired, cluster_id="a", t=at.now, seq=5)
    assert at.look().open.tolist() == [False]
    at.register("a", cpu(cpu_cores=7.0), seq=6)
    found = at.look()
    assert (found.open.tolist(), found.capacity[0, 1]) == ([True], 7.0)


def test_a_place_that_nobody_registered_has_no_index() -> None:
    at = Place()
    at.register("a")
    at.look()
    assert at.pool("a") == 0
    assert at.pool("a", "gpu") == at.pool("ghost") == at.pool("", "") == -1


# -------------------------------------------------------------------------------------------------------- state


@pytest.mark.parametrize(
    ("state", "is_open", "holds"),
    [("up", True, True), ("degraded", True, True), ("draining", False, False), ("down", False, False)],
)
def test_the_operators_state_opens_and_shuts(state: str, *, is_open: bool, holds: bool) -> None:
    at = Place()
    at.register("a")
    at.state("a", state)
    found = at.look()
    assert (found.open.tolist(), found.holds.tolist()) == ([is_open], [holds])


def test_nodes_that_fail_take_their_share_of_everything_until_the_next_word() -> None:
    at = Place()
    at.register("a", gpu(), cpu())
    at.state("a", "degraded", pools=[ev.PoolHealth(pool_id="gpu", healthy=3)])
    assert at.look().capacity.tolist() == [[24.0, 48.0, 384.0], [0.0, 100.0, 400.0]]
    at.state("a", "degraded", pools=[ev.PoolHealth(pool_id="cpu", healthy=99)])
    assert at.look().capacity.tolist() == [[32.0, 64.0, 512.0], [0.0, 100.0, 400.0]]
    at.state("a", "up")
    assert at.look().capacity.tolist() == [[32.0, 64.0, 512.0], [0.0, 100.0, 400.0]]


def test_the_lower_of_two_caps_holds() -> None:
    at = Place()
    at.register("a", power_cap_kw=100.0)
    at.register("b")
    for cap, then in ((60.0, [60.0, 60.0]), (500.0, [100.0, 500.0]), (None, [100.0, np.inf])):
        for name in ("a", "b"):
            at.state(name, "up", cap_kw=cap)
        assert at.look().cap_kw.tolist() == then


def test_a_state_that_is_said_before_the_cluster_is_registered_holds_for_it() -> None:
    at = Place()
    at.state("a", "down")
    assert len(at.look().pool_ids) == 0
    at.register("a")
    assert at.look().open.tolist() == [False]


def test_an_older_state_that_comes_late_changes_nothing() -> None:
    at = Place()
    at.register("a")
    at.state("a", "up", seq=9)
    at.look()
    at.state("a", "down", seq=8)
    assert at.look().open.tolist() == [True]


def test_commands_shut_a_cluster_and_only_a_drain_empties_it() -> None:
    at = Place()
    at.register("a")
    for kind, is_open, holds in (
        (ev.ClusterCordon, False, True),
        (ev.ClusterUncordon, True, True),
        (ev.ClusterDrain, False, False),
        (ev.ClusterUncordon, True, True),
    ):
        at.command(kind, "a")
        found = at.look()
        assert (found.open.tolist(), found.holds.tolist()) == ([is_open], [holds]), kind


def test_an_uncordoned_cluster_that_is_down_stays_shut() -> None:
    at = Place()
    at.register("a")
    at.state("a", "down")
    at.command(ev.ClusterUncordon, "a")
    assert at.look().open.tolist() == [False]


def test_columns_are_made_anew_only_when_something_has_changed() -> None:
    at = Place()
    at.register("a")
    at.world.send(ev.ClusterTelemetry, cluster_id="a", it_kw=1.0, t=at.now)
    first = at.look()
    version = at.sites.version
    at.world.send(ev.ClusterTelemetry, cluster_id="a", it_kw=2.0, t=at.now)
    at.world.task("x", t=at.now)
    assert at.look() is first
    assert at.sites.version == version
    at.state("a", "down")
    assert at.look() is not first
    assert at.sites.version > version


# -------------------------------------------------------------------------------------------------------- meters


def test_the_newest_reading_says_what_is_allocated_and_none_says_nothing() -> None:
    at = Place()
    at.register("a", gpu(), cpu())
    at.register("b", gpu())
    at.look()
    assert np.isnan(at.sites.allocated).all()
    use = [ev.PoolUse(pool_id="gpu", allocated=5.0), ev.PoolUse(pool_id="unheard-of", allocated=1.0)]
    at.world.send(ev.ClusterTelemetry, cluster_id="a", it_kw=1.0, t=at.now, pools=use, seq=1)
    at.world.send(ev.ClusterTelemetry, cluster_id="ghost", it_kw=1.0, t=at.now, pools=use, seq=1)
    at.look()
    assert at.sites.allocated[[at.pool("a", "gpu")]].tolist() == [5.0]
    assert np.isnan(at.sites.allocated[[at.pool("a"), at.pool("b", "gpu")]]).all()
    at.world.send(ev.ClusterTelemetry, cluster_id="a", it_kw=1.0, t=at.now, seq=2)
    at.look()
    assert np.isnan(at.sites.allocated).all()  # the newest reading does not speak of pools


# ---------------------------------------------------------------------------------------------------------- paths


def test_a_missing_direction_is_the_other_one_and_home_is_near() -> None:
    at = Place()
    send = at.world.send
    send(ev.NetworkLink, src="p", dst="q", rtt_ms=ev.Percentiles(p50=7.0), available_mbps=100.0)
    send(ev.NetworkLink, src="q", dst="r", rtt_ms=ev.Percentiles(p50=5.0))
    send(ev.NetworkLink, src="r", dst="q", rtt_ms=ev.Percentiles(p50=6.0))
    send(ev.NetworkLink, src="r", dst="r", rtt_ms=ev.Percentiles(p50=0.5))
    send(ev.NetworkFee, src="q", dst="p", per_gb=0.02, currency="EUR")
    at.look()
    paths, node = at.sites.paths, at.sites.nodes.index
    rtt = {(a, b): paths.rtt_ms[node[a], node[b]] for a in "pqr" for b in "pqr"}
    assert rtt["p", "q"] == rtt["q", "p"] == 7.0
    assert (rtt["q", "r"], rtt["r", "q"]) == (5.0, 6.0)
    assert (rtt["p", "p"], rtt["q", "q"], rtt["r", "r"]) == (0.0, 0.0, 0.5)
    assert np.isnan(rtt["p", "r"])
    assert paths.mbps[node["q"], node["p"]] == 100.0
    assert np.isnan(paths.mbps[node["q"], node["r"]])
    assert (paths.fee_per_gb[node["p"], node["q"]], paths.fee_known[node["p"], node["q"]]) == (0.02, True)
    assert (paths.fee_per_gb[node["p"], node["r"]], paths.fee_known[node["p"], node["r"]]) == (0.0, False)
    assert paths.fee_known[node["r"], node["r"]]


nodes = st.sampled_from("pqrs")


@given(st.lists(st.tuples(nodes, nodes, st.integers(1, 9)), max_size=12))
def test_paths_are_what_a_plain_loop_finds(links: list[tuple[str, str, int]]) -> None:
    at = Place()
    said: dict[tuple[str, str], float] = {}
    for seq, (src, dst, rtt) in enumerate(links):
        at.world.send(ev.NetworkLink, src=src, dst=dst, rtt_ms=ev.Percentiles(p50=rtt), seq=seq)
        said[src, dst] = float(rtt)
        if seq == len(links) // 2:
            at.look()
    at.look()
    index = at.sites.nodes.index
    named = {name for pair in said for name in pair}
    for a in named:
        for b in named:
            expected = said.get((a, b), said.get((b, a), 0.0 if a == b else None))
            found = float(at.sites.paths.rtt_ms[index[a], index[b]])
            assert (None if np.isnan(found) else found) == expected
