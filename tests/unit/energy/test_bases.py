"""What is booked does not depend on whether a cut is a base or a delta: what an event brings is looked at when it comes."""

from collections.abc import Callable

import pytest

from tests.unit.energy.test_ledger import Books
from tests.unit.energy.test_serving import Books as Served
from tests.unit.energy.worlds import HOUR, MINUTE, T0, World
from twin import events as ev
from twin.energy.ledger import Kind

New = Callable[..., World]
every_kind_of_cut = pytest.mark.parametrize("bases", [False, True], ids=["deltas", "bases"])


@every_kind_of_cut
def test_a_held_task_that_is_submitted_anew_draws_its_new_power_where_it_runs(new_world: New, *, bases: bool) -> None:
    books = Books(new_world(every_cut_a_base=bases))
    books.world.task("x", power_w=4000.0)
    books.world.started("x", T0, "nl")
    books.windows(1)
    books.world.task("x", power_w=8000.0, t=books.t)
    books.world.started("x", books.t, "nowhere")
    books.windows(2)
    assert books.ledger.held == 1
    assert books.kwh(Kind.TASK) == pytest.approx(1 + 2 + 2)


@every_kind_of_cut
def test_what_is_taken_back_goes_at_the_power_it_was_booked_at(new_world: New, *, bases: bool) -> None:
    books = Books(new_world(every_cut_a_base=bases))
    books.world.task("x", power_w=4000.0)
    books.world.started("x", T0, "nl")
    books.windows(2)
    books.world.task("x", power_w=8000.0, t=books.t)
    books.world.ended("x", T0 + 10 * MINUTE, "nl")
    books.windows(2)
    assert books.kwh(Kind.TASK) == pytest.approx(4 * 10 / 60, abs=1e-6)


@every_kind_of_cut
def test_the_model_asked_for_at_an_origin_goes_before_that_asked_for_elsewhere(new_world: New, *, bases: bool) -> None:
    books = Served(new_world(every_cut_a_base=bases))
    books.serve(T0, 10_000.0)  # to NL
    for origin, model, start in (("FR", "chat", T0), ("NL", "other", T0 - HOUR)):
        demand = {"service": "s", "start": start, "end": T0 + HOUR, "tokens_out_per_s": 5.0, "t": books.t}
        books.world.send(ev.ServiceDemand, origin=origin, model=model, **demand)
        books.windows(1)
    assert books.wh() == pytest.approx(0.36 * 10_000 * 0.25)
