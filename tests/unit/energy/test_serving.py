"""Energy of services."""

import pytest

from tests.unit.energy.worlds import HOUR, MINUTE, T0, World
from twin import events as ev
from twin.energy.ledger import Kind, Ledger

WINDOW = 15 * MINUTE


class Books:
    """One GPU cluster: 1,000 tokens per second of one accelerator, 300 W above idle, PUE 1.2: 0.36 W a token per second."""

    def __init__(self, world: World, *, tokens_per_s: float = 1000.0) -> None:
        self.world = world
        pool = ev.Pool(
            pool_id="gpu",
            accelerator=ev.Accelerator(model="A100"),
            nodes=4,
            accelerators_per_node=8,
            w_per_accelerator=ev.IdleMax(idle=100.0, max=400.0),
            tokens_per_s={"chat": tokens_per_s},
        )
        world.cluster("nl", "NL", pools=(pool,), pue=ev.PueCurve(a=1.2), idle_kw=0.0)
        world.price("NL", T0, 100.0, hours=24)
        self.ledger = Ledger(world.mirror, "EUR", "day_ahead", T0)
        self.t = T0

    def demand(self, model: str = "chat") -> None:
        self.world.send(
            ev.ServiceDemand, service="s", origin="NL", start=T0, end=T0 + HOUR, tokens_out_per_s=5.0, model=model
        )

    def serve(self, t: int, tokens_per_s: float, cluster: str = "nl") -> None:
        self.world.send(
            ev.ServiceServing,
            cluster_id=cluster,
            service="s",
            pool_id="gpu",
            origin="NL",
            tokens_per_s=tokens_per_s,
            t=t,
        )

    def windows(self, n: int = 1) -> None:
        for _ in range(n):
            self.t = self.world.clock(self.t + WINDOW)
            self.last = self.ledger.book(self.world.mirror, self.t)

    def wh(self) -> float:
        return self.ledger.totals.of(Kind.SERVICE)["energy_mwh"] / 1000


@pytest.fixture
def books(world: World) -> Books:
    return Books(world)


def test_a_serving_draws_by_its_tokens_until_its_next_word(books: Books) -> None:
    books.demand()
    books.serve(T0, 10_000.0)
    books.windows(2)
    assert books.wh() == pytest.approx(0.36 * 10_000 * 0.5)
    books.serve(books.t + 5 * MINUTE, 2_000.0)
    books.windows(2)
    assert books.wh() == pytest.approx(0.36 * (10_000 * 35 + 2_000 * 25) / 60, abs=0.01)
    assert books.ledger.totals.of(Kind.SERVICE)["cost_micro"] == pytest.approx(books.wh() * 100, abs=3)


def test_a_word_that_comes_late_takes_back_what_was_booked_at_the_old_rate(books: Books) -> None:
    books.demand()
    books.serve(T0, 10_000.0)
    books.windows(4)
    books.serve(T0 + 30 * MINUTE, 0.0)
    books.windows(2)
    assert books.wh() == pytest.approx(0.36 * 10_000 * 0.5)
    books.windows(1)
    assert not len(books.last)


def test_a_serving_is_held_until_its_cluster_and_model_are_known(books: Books) -> None:
    books.serve(T0, 10_000.0)
    books.windows(2)
    assert (books.wh(), books.ledger.held) == (0.0, 1)
    books.demand()
    books.windows(1)
    assert (books.wh(), books.ledger.held) == (pytest.approx(0.36 * 10_000 * 0.75), 0)


def test_a_pool_without_a_speed_for_the_model_draws_nothing_and_is_counted(books: Books) -> None:
    books.demand(model="other")
    books.serve(T0, 10_000.0)
    books.windows(1)
    assert books.wh() == 0.0
    assert books.ledger.assumed == {"tokens_per_s": 1}


def test_another_model_of_the_service_counts_from_the_window_that_brings_it(books: Books) -> None:
    books.demand()
    books.serve(T0, 10_000.0)
    books.windows(1)
    books.demand(model="other")
    books.windows(1)
    assert books.wh() == pytest.approx(0.36 * 10_000 * 0.25)
    books.world.send(
        ev.ServiceDemand,
        service="s",
        origin="NL",
        start=T0 + HOUR,
        end=T0 + 2 * HOUR,
        tokens_out_per_s=5.0,
        model="chat",
    )
    books.windows(1)
    assert books.wh() == pytest.approx(0.36 * 10_000 * 0.5)


def test_a_new_speed_of_the_pool_counts_from_the_window_that_brings_it(books: Books) -> None:
    books.demand()
    books.serve(T0, 10_000.0)
    books.windows(1)
    pool = ev.Pool(
        pool_id="gpu", nodes=4, accelerators_per_node=8, w_per_accelerator=ev.IdleMax(idle=100.0, max=400.0),
        tokens_per_s={"chat": 2000.0},
    )  # fmt: skip
    books.world.cluster("nl", "NL", pools=(pool,), pue=ev.PueCurve(a=1.2), idle_kw=0.0, t=books.t)
    books.windows(1)
    assert books.wh() == pytest.approx(0.36 * 10_000 * 0.25 * 1.5)
