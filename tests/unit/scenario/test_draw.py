"""Time axis, random numbers by part, and arrivals over the day."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.scenario import tables
from producers.scenario.draw import HOUR_MS, Timeline, at_hours, draw_submissions, rng_of

TIME = Timeline(1_751_299_200_000, 1_751_299_200_000 + 24 * HOUR_MS, 8.0)


def test_parts_have_their_own_random_numbers() -> None:
    assert rng_of(1, "tasks").random() == rng_of(1, "tasks").random()
    assert rng_of(1, "tasks").random() != rng_of(1, "power").random()
    assert rng_of(1, "tasks").random() != rng_of(2, "tasks").random()


def test_the_scenario_begins_at_midnight_local_time() -> None:
    assert TIME.local_hour(np.array([TIME.t0, TIME.t0 + 90 * 60_000])).tolist() == [0.0, 1.5]
    assert TIME.intervals == 96


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_arrivals_lie_between_the_start_and_an_hour_before_the_end(seed: int, hours: int) -> None:
    axis = Timeline(TIME.t0, TIME.t0 + hours * HOUR_MS, 8.0)
    submit, done = draw_submissions(50, tables.workload().profiles["office"], 0.2, axis, rng_of(seed, "tasks"))
    assert (submit >= axis.t0).all()
    assert (submit < axis.end - HOUR_MS).all()
    assert ((done >= 0) & (done < 1)).all()
    assert (submit[done > 0] < axis.t0 + 60_000).all()
    assert (axis.room_s(submit, np.ones(50, np.bool_)) > 0).all()


@given(st.lists(st.floats(0, 10), min_size=24, max_size=24), st.floats(0, 24, exclude_max=True))
def test_between_two_hours_a_profile_is_a_straight_line(profile: list[float], hour: float) -> None:
    low = int(np.floor(hour - 0.5))
    part = hour - 0.5 - low
    expected = profile[low % 24] * (1 - part) + profile[(low + 1) % 24] * part
    assert float(at_hours(profile, np.array([hour]))[0]) == pytest.approx(expected, abs=1e-9)
