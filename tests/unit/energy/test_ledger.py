"""What the ledger books in single situations."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.unit.energy.worlds import HOUR, MINUTE, T0, World
from twin import events as ev
from twin.energy.ledger import Kind, Ledger
from twin.errors import ConfigError, TwinBug

WINDOW = 15 * MINUTE


class Books:
    """A world, its ledger, and the windows that go by."""

    def __init__(self, world: World, **clusters: Any) -> None:
        self.world = world
        for zone in ("NL", "FR"):
            world.cluster(zone.lower(), zone, **({"pue": ev.PueCurve(a=1.0), "idle_kw": 0.0} | clusters))
            for hour in range(12):
                world.price(zone, T0 + hour * HOUR, {"NL": 100.0, "FR": -50.0}[zone])
                world.carbon(zone, T0 + hour * HOUR, {"NL": 400.0, "FR": 50.0}[zone])
        self.ledger = Ledger(world.mirror, "EUR", "day_ahead", T0)
        self.t = T0

    def windows(self, n: int = 1) -> None:
        for _ in range(n):
            self.t = self.world.clock(self.t + WINDOW)
            self.last = self.ledger.book(self.world.mirror, self.t)

    def kwh(self, *kinds: Kind) -> float:
        return self.ledger.totals.of(*kinds)["energy_mwh"] / 1e6

    def cost(self, *kinds: Kind) -> float:
        return self.ledger.totals.of(*kinds)["cost_micro"] / 1e6


@pytest.fixture
def books(world: World) -> Books:
    return Books(world)


def test_a_running_task_is_booked_up_to_the_window_and_then_to_its_end(books: Books) -> None:
    books.world.task("x", power_w=4000.0)
    books.world.started("x", T0 + 5 * MINUTE, "nl")
    books.windows(2)
    assert books.kwh(Kind.TASK) == pytest.approx(4 * 25 / 60, abs=1e-6)
    books.world.ended("x", books.t + 60_000, "nl")
    books.windows(3)
    assert books.kwh(Kind.TASK) == pytest.approx(4 * 26 / 60, abs=1e-6)
    assert books.cost(Kind.TASK) == pytest.approx(0.4 * 26 / 60, abs=1e-6)
    assert books.ledger.totals.of(Kind.TASK)["carbon_mg"] == pytest.approx(4 * 26 / 60 * 400_000, abs=2)


def test_a_finish_that_is_reported_late_takes_back_what_was_booked_after_it(books: Books) -> None:
    books.world.task("x", power_w=4000.0)
    books.world.started("x", T0, "nl")
    books.windows(8)
    assert books.kwh() == pytest.approx(8.0)
    books.world.ended("x", T0 + 50 * MINUTE, "nl")
    books.windows(1)
    assert books.kwh() == pytest.approx(4 * 50 / 60, abs=1e-6)
    assert books.cost() == pytest.approx(0.4 * 50 / 60, abs=1e-6)
    assert (books.last.energy_mwh < 0).all()
    assert (books.last.cost_micro < 0).all()
    assert books.last.t0.min() == T0 + 50 * MINUTE
    assert books.last.t1.max() == T0 + 2 * HOUR


def test_a_start_that_is_reported_late_is_caught_up(books: Books) -> None:
    books.world.task("x", power_w=4000.0)
    books.windows(4)
    books.world.started("x", T0 + 10 * MINUTE, "nl")
    books.windows(1)
    assert books.kwh() == pytest.approx(4 * 65 / 60, abs=1e-6)


def test_a_start_reported_before_its_task_or_cluster_is_known_is_held_and_then_caught_up(books: Books) -> None:
    books.world.started("x", T0, "be")
    books.windows(2)
    assert (books.kwh(), books.ledger.held) == (0.0, 1)
    books.world.task("x", power_w=4000.0)
    books.windows(1)
    assert (books.kwh(), books.ledger.held) == (0.0, 1)
    books.world.cluster("be", "NL", pue=ev.PueCurve(a=1.5), idle_kw=0.0)
    books.windows(1)
    assert (books.kwh(), books.ledger.held) == (pytest.approx(6.0), 0)


def test_a_corrected_start_replaces_the_one_booked_before(books: Books) -> None:
    books.world.send(ev.NetworkFee, src="NL", dst="FR", per_gb=0.5, currency="EUR")
    books.world.task("x", power_w=4000.0, data_in_gb=2.0)
    books.world.started("x", T0, "nl")
    books.windows(4)
    books.world.started("x", T0 + 30 * MINUTE, "fr")
    books.windows(1)
    by_cluster = books.ledger.by_cluster(Kind.TASK)
    assert by_cluster["nl"]["energy_mwh"] == by_cluster["nl"]["cost_micro"] == 0
    assert by_cluster["fr"]["energy_mwh"] == 3_000_000
    assert books.cost(Kind.DATA_IN) == 1.0


def test_a_paused_attempt_that_starts_again_keeps_what_it_had_and_pays_its_data_once(books: Books) -> None:
    books.world.send(ev.NetworkFee, src="NL", dst="FR", per_gb=0.5, currency="EUR")
    books.world.task("x", power_w=4000.0, data_in_gb=2.0)
    books.world.started("x", T0, "fr")
    books.windows(1)
    books.world.ended("x", T0 + 20 * MINUTE, "fr", how=ev.TaskPaused)
    books.world.started("x", T0 + 40 * MINUTE, "fr")
    books.windows(2)
    books.world.ended("x", T0 + 50 * MINUTE, "fr")
    books.windows(1)
    assert books.kwh() == pytest.approx(4 * 30 / 60, abs=1e-6)
    assert books.cost(Kind.DATA_IN) == 1.0


def test_a_move_pays_for_the_state_and_bills_each_place_its_part(books: Books) -> None:
    books.world.send(ev.NetworkFee, src="NL", dst="FR", per_gb=0.01, currency="EUR")
    books.world.task("x", power_w=4000.0, state_gb=30.0)
    books.world.started("x", T0, "nl")
    books.windows(2)
    books.world.ended("x", books.t, "nl", how=ev.TaskReleased)
    books.world.started("x", books.t, "fr", attempt=2)
    books.windows(2)
    by_cluster = books.ledger.by_cluster(Kind.TASK)
    assert [by_cluster[name]["energy_mwh"] for name in ("nl", "fr")] == [2_000_000, 2_000_000]
    assert books.cost(Kind.MOVE) == pytest.approx(0.3)
    books.windows(1)
    assert books.cost(Kind.MOVE) == pytest.approx(0.3)


def test_a_start_elsewhere_after_a_failure_is_no_move_even_when_the_failure_is_heard_of_later(books: Books) -> None:
    books.world.send(ev.NetworkFee, src="NL", dst="FR", per_gb=0.01, currency="EUR")
    books.world.task("x", state_gb=30.0)
    books.world.started("x", T0, "nl")
    books.windows(1)
    books.world.started("x", books.t + MINUTE, "fr", attempt=2)
    books.windows(1)
    assert books.cost(Kind.MOVE) == pytest.approx(0.3)
    books.world.ended("x", books.t - 5 * MINUTE, "nl", how=ev.TaskFailed, reason="power")
    books.windows(1)
    assert books.cost(Kind.MOVE) == 0.0


def test_a_run_whose_end_was_never_heard_of_ends_where_the_attempt_after_next_starts(books: Books) -> None:
    books.world.task("x", power_w=4000.0)
    books.world.started("x", T0, "nl")
    books.windows(1)
    books.world.started("x", T0 + 30 * MINUTE, "fr", attempt=2)
    books.world.started("x", T0 + 45 * MINUTE, "fr", attempt=3)
    books.windows(5)
    assert books.ledger.by_cluster(Kind.TASK)["nl"]["energy_mwh"] == 3_000_000


def test_data_is_paid_at_every_start_and_traffic_while_it_runs(books: Books) -> None:
    books.world.send(ev.NetworkFee, src="FR", dst="NL", per_gb=0.02, currency="EUR")
    books.world.task("x", data_in_gb=10.0, data_rate_gbph=4.0)
    books.world.started("x", T0, "fr")
    books.world.ended("x", T0 + 30 * MINUTE, "fr", how=ev.TaskFailed)
    books.windows(2)
    books.world.started("x", T0 + 60 * MINUTE, "fr", attempt=2)
    books.windows(6)
    assert books.cost(Kind.DATA_IN) == pytest.approx(0.4), "a missing direction is the other one"
    assert books.cost(Kind.DATA_RATE) == pytest.approx(4 * 0.02 * 1.5)
    assert books.ledger.assumed == {}


def test_an_unknown_fee_costs_nothing_and_is_counted(books: Books) -> None:
    books.world.task("x", data_in_gb=10.0)
    books.world.task("y", data_in_gb=10.0)
    books.world.started("x", T0, "fr")
    books.world.started("y", T0, "nl")
    books.windows(3)
    assert books.cost(Kind.DATA_IN) == 0.0
    assert books.ledger.assumed == {"fee": 1}, "within a node nothing is assumed"


def test_energy_without_a_price_or_intensity_is_counted_apart_and_costs_nothing(books: Books) -> None:
    books.world.cluster("es", "ES", pue=ev.PueCurve(a=1.0), idle_kw=0.0)
    books.world.price("ES", T0 + HOUR, 10.0)
    books.world.task("x", power_w=4000.0)
    books.world.started("x", T0, "es")
    books.windows(8)
    sums = books.ledger.totals.of(Kind.TASK)
    assert (sums["energy_mwh"], sums["unpriced_mwh"]) == (8_000_000, 4_000_000)
    assert (sums["carbon_unknown_mwh"], sums["carbon_mg"]) == (8_000_000, 0)
    assert sums["cost_micro"] == 40_000


def test_devices_without_known_watts_draw_nothing_and_are_counted(books: Books) -> None:
    books.world.task("x", power_w=None)
    books.world.started("x", T0, "nl")
    books.windows(2)
    assert books.kwh() == 0.0
    assert books.ledger.assumed == {"device_w": 1}


def test_a_task_draws_what_its_devices_add_to_idle_times_pue(world: World) -> None:
    pool = ev.Pool(
        pool_id="gpu",
        accelerator=ev.Accelerator(model="A100"),
        nodes=2,
        accelerators_per_node=4,
        cpu_cores=64.0,
        w_per_accelerator=ev.IdleMax(idle=50.0, max=400.0),
        w_per_core=ev.IdleMax(idle=1.0, max=5.0),
    )
    books = Books(world, pools=(pool,), pue=ev.PueCurve(a=1.25, b=0.5), idle_kw=None)
    world.task("x", power_w=None, request=ev.Request(accelerators=4, cpu_cores=16.0))
    world.started("x", T0, "nl", pool="gpu")
    books.windows(4)
    assert books.kwh(Kind.TASK) == pytest.approx((4 * 350 + 16 * 4) / 1000 * 1.25)
    assert books.kwh(Kind.IDLE) == pytest.approx(2 * (8 * 50 + 64 * 1) / 1000 * 1.25), "two clusters"
    chips = books.ledger.device_cost_micro[Kind.TASK]
    assert chips.tolist() == [0, books.ledger.totals.of(Kind.TASK)["cost_micro"]]


def test_idle_energy_runs_from_the_first_clock_or_registration_to_retirement(world: World) -> None:
    books = Books(world, idle_kw=2.0)
    world.price("BE", T0, 80.0, hours=12)
    books.windows(2)
    assert books.kwh(Kind.IDLE) == pytest.approx(2.0)
    world.cluster("be", "BE", idle_kw=10.0, pue=ev.PueCurve(a=1.2), t=books.t)
    world.send(ev.ClusterRetired, cluster_id="nl", t=books.t + 5 * MINUTE)
    books.windows(2)
    by_cluster = books.ledger.by_cluster(Kind.IDLE)
    assert by_cluster["be"]["energy_mwh"] == 6_000_000
    assert by_cluster["nl"]["energy_mwh"] == pytest.approx(2_000_000 * 35 / 60, abs=1)
    assert by_cluster["fr"]["energy_mwh"] == 2_000_000


def test_a_changed_power_counts_from_the_window_that_brings_it(books: Books) -> None:
    books.world.task("x", power_w=4000.0)
    books.world.started("x", T0, "nl")
    books.windows(2)
    books.world.cluster("nl", "NL", pue=ev.PueCurve(a=1.5), idle_kw=0.0, t=books.t)
    books.windows(2)
    assert books.kwh() == pytest.approx(2.0 + 3.0)


def test_what_was_booked_too_much_is_taken_back_at_the_power_it_was_booked_at(books: Books) -> None:
    books.world.task("x", power_w=4000.0)
    books.world.started("x", T0, "nl")
    books.world.ended("x", T0 + HOUR, "nl", seq=9)
    books.windows(5)
    books.world.cluster("nl", "NL", pue=ev.PueCurve(a=1.5), idle_kw=0.0, t=books.t)
    books.windows(1)
    books.world.ended("x", T0 + 30 * MINUTE, "nl", how=ev.TaskFailed, seq=8)
    books.windows(1)
    assert books.kwh() == pytest.approx(2.0)


def test_a_reused_row_starts_from_nothing(books: Books) -> None:
    books.world.task("x", power_w=4000.0)
    books.world.started("x", T0, "nl")
    books.world.ended("x", T0 + 10 * MINUTE, "nl")
    books.windows(100)
    before = books.kwh()
    assert not any(shard.tables["tasks"].ids.row_of for shard in books.world.mirror.of("tasks"))
    for zone in ("NL", "FR"):
        books.world.price(zone, books.t, 100.0, t=books.t)
    for name in ("y", "z"):
        books.world.task(name, power_w=4000.0, t=books.t)
        books.world.started(name, books.t, "nl")
    books.windows(2)
    assert books.kwh() - before == pytest.approx(4.0)


def test_an_absurd_power_is_cut_off_and_counted(books: Books) -> None:
    books.world.task("x", power_w=1e12)
    books.world.started("x", T0, "nl")
    books.windows(1)
    assert books.kwh() == pytest.approx(2**40 / 1e6 / 4)
    assert books.ledger.assumed == {"power_limit": 1}


def test_a_fee_in_another_currency_is_refused_with_what_to_do(books: Books) -> None:
    books.world.send(ev.NetworkFee, src="NL", dst="FR", per_gb=0.5, currency="CNY")
    with pytest.raises(ConfigError, match=r"fee from NL is in CNY.*accounts in EUR"):
        books.windows(1)


def test_going_back_in_time_is_refused(books: Books) -> None:
    books.windows(2)
    with pytest.raises(TwinBug):
        books.ledger.book(books.world.mirror, books.t - 1)


def test_the_ledger_is_the_same_from_bases_and_from_deltas(new_world: Callable[..., World]) -> None:
    hashes = []
    for every_cut_a_base in (False, True):
        books = Books(new_world(every_cut_a_base=every_cut_a_base), idle_kw=1.0)
        rng = np.random.default_rng(5)
        mine = []
        for window in range(40):
            name = f"t{window}"
            books.world.task(name, power_w=float(rng.integers(1, 5000)), state_gb=1.0, t=books.t)
            books.world.started(name, books.t, "nl")
            if window % 3 == 0:
                books.world.ended(name, books.t + 7 * MINUTE, "nl", how=ev.TaskReleased)
                books.world.started(name, books.t + 8 * MINUTE, "fr", attempt=2)
            books.windows(1)
            mine.append(books.ledger.sha())
        hashes.append(mine)
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 40
