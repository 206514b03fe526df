"""A partition's time and its windows."""

from hypothesis import given
from hypothesis import strategies as st

from tests.oracle.clock import OracleClock
from twin.events import Clock
from twin.window import MOST_LISTED, NEVER, WindowClock


def tick(clock: WindowClock, t: int, window_ms: int = 10, lateness_ms: int = 0) -> list[int]:
    return clock.advance(Clock(seq=0, t=t, window_ms=window_ms, lateness_ms=lateness_ms))


def test_the_first_clock_closes_what_lies_before_it_without_cuts() -> None:
    clock = WindowClock()
    assert (clock.time, clock.closed) == (NEVER, NEVER)
    assert tick(clock, 35) == []
    assert (clock.time, clock.closed) == (35, 30)
    assert tick(clock, 39) == []
    assert tick(clock, 40) == [40]


def test_a_clock_that_closes_several_windows_names_them_all() -> None:
    clock = WindowClock()
    tick(clock, 10)
    assert tick(clock, 45) == [20, 30, 40]
    assert clock.closed == 40


def test_a_clock_that_is_far_off_does_not_fill_the_memory() -> None:
    clock = WindowClock()
    tick(clock, 10, window_ms=1)
    ends = tick(clock, 253_402_300_799_999, window_ms=1)
    assert (ends[0], ends[-1], len(ends)) == (11, 253_402_300_799_999, MOST_LISTED + 1)
    assert clock.closed == 253_402_300_799_999


def test_a_window_closes_when_the_clock_reaches_its_end_plus_lateness() -> None:
    clock = WindowClock()
    tick(clock, 13, lateness_ms=3)
    assert clock.closed == 10
    assert tick(clock, 22, lateness_ms=3) == []
    assert tick(clock, 23, lateness_ms=3) == [20]


def test_the_open_window_keeps_its_length_and_lateness() -> None:
    clock = WindowClock()
    tick(clock, 20)
    assert tick(clock, 25, window_ms=60, lateness_ms=7) == []
    assert (clock.window_ms, clock.next_window_ms) == (10, 60)
    assert tick(clock, 30, window_ms=60, lateness_ms=7) == [30]
    assert tick(clock, 66, window_ms=60, lateness_ms=7) == []
    assert tick(clock, 67, window_ms=60, lateness_ms=7) == [60]


def test_a_shorter_window_holds_from_the_next_one_on() -> None:
    clock = WindowClock()
    tick(clock, 100, window_ms=100)
    assert tick(clock, 230, window_ms=10) == [200, 210, 220, 230]


def test_an_older_clock_changes_nothing() -> None:
    clock = WindowClock()
    tick(clock, 50)
    before = (clock.time, clock.closed, clock.window_ms, clock.next_window_ms, clock.max_ahead_ms)
    assert clock.advance(Clock(seq=0, t=49, window_ms=7, max_ahead_ms=1)) == []
    assert (clock.time, clock.closed, clock.window_ms, clock.next_window_ms, clock.max_ahead_ms) == before


def test_lateness_beyond_the_first_clock_starts_at_zero() -> None:
    clock = WindowClock()
    assert tick(clock, 5, lateness_ms=100) == []
    assert clock.closed == 0
    assert tick(clock, 110, lateness_ms=100) == [10]


steps = st.tuples(
    st.integers(-5, 40), st.sampled_from([1, 5, 7, 10, 30]), st.sampled_from([0, 0, 3, 12]), st.integers(0, 9)
)


@given(start=st.integers(0, 50), ticks=st.lists(steps, max_size=15))
def test_windows_are_those_of_a_plain_loop(start: int, ticks: list[tuple[int, int, int, int]]) -> None:
    clock, oracle, t = WindowClock(), OracleClock(), start
    for step, window_ms, lateness_ms, ahead in ticks:
        t = max(0, t + step)
        told = {"t": t, "window_ms": window_ms, "lateness_ms": lateness_ms, "max_ahead_ms": ahead}
        assert clock.advance(Clock(seq=0, **told)) == oracle.advance(told)
        assert (clock.time, clock.closed, clock.max_ahead_ms) == (oracle.time, oracle.closed, oracle.max_ahead_ms)
