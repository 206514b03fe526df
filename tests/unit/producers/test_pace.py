import pytest

from producers.pace import END_OF_TIME, Pace
from twin.errors import ConfigError

T0 = 1_751_299_200_000


class Clock:
    """A clock that stands still but for sleeping, each time longer than asked for by ``oversleep`` seconds."""

    def __init__(self, oversleep: float = 0.0) -> None:
        self.s, self.oversleep, self.slept = 1000.0, oversleep, list[float]()

    def now(self) -> float:
        return self.s

    def sleep(self, s: float) -> None:
        self.slept.append(s)
        self.s += s + self.oversleep


def paced(speed: str, clock: Clock) -> Pace:
    return Pace(speed, now=clock.now, sleep=clock.sleep)


def test_an_hour_of_events_takes_a_minute_at_sixty_times_the_speed() -> None:
    clock = Clock()
    pace = paced("60x", clock)
    assert pace.wait(T0) == T0
    pace.wait(T0 + 3_600_000)
    assert clock.slept == [60.0]


def test_what_was_overslept_is_made_up_so_that_a_long_run_does_not_drift() -> None:
    clock = Clock(oversleep=0.3)
    pace = paced("1x", clock)
    for i in range(1000):
        pace.wait(T0 + i * 1000)
    assert clock.s - 1000 == pytest.approx(999.3)


def test_a_wait_says_how_far_event_time_has_come_by_then() -> None:
    pace = paced("10x", Clock(oversleep=0.5))
    pace.wait(T0)
    assert pace.wait(T0 + 1000) == T0 + 6000


def test_the_greatest_speed_never_sleeps_and_has_everything_due() -> None:
    clock = Clock()
    pace = paced("max", clock)
    assert pace.wait(T0) == pace.wait(T0 + 10**9) == END_OF_TIME
    assert pace.due(T0 + 10**9) < clock.s
    assert clock.slept == []


@pytest.mark.parametrize("speed", ["", "fast", "60", "0x", "-1x", "1e3x", "0.0x"])
def test_a_speed_that_is_none_is_refused(speed: str) -> None:
    with pytest.raises(ConfigError, match="write max, or a factor such as 60x"):
        Pace(speed)
