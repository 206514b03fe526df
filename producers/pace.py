"""When an event is due: event time passes so many times as fast as the wall clock, or as fast as it goes."""

import re
import time
from collections.abc import Callable

from twin.errors import ConfigError

_FACTOR = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)x")
ALWAYS = -float("inf")
END_OF_TIME = 2**63 - 1


class Pace:
    """Due times are counted from one start, so that what a step takes too long is made up by the next ones.

    The first event time it is asked about is due at once. ``speed`` is ``max`` (everything is due) or a factor such as
    ``60x``: an hour in a minute.

    Raises:
        ConfigError: ``speed`` is neither.
    """

    def __init__(
        self,
        speed: str,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.factor = speed_factor(speed)
        self._now, self._sleep = now, sleep
        self._start: tuple[float, int] | None = None

    def due(self, t: int) -> float:
        """Return when event time ``t`` (ms) is due, in seconds of ``time.monotonic``."""
        if self.factor is None:
            return ALWAYS
        if self._start is None:
            self._start = (self._now(), t)
        return self._start[0] + (t - self._start[1]) / 1000 / self.factor

    def wait(self, t: int) -> int:
        """Return when event time ``t`` (ms) is due: the event time that has come by then, ``t`` or later."""
        due = self.due(t)
        if self.factor is None or self._start is None:
            return END_OF_TIME
        while (left := due - self._now()) > 0:
            self._sleep(left)
        return max(t, self._start[1] + int((self._now() - self._start[0]) * 1000 * self.factor))


def speed_factor(speed: str) -> float | None:
    """Return the factor in ``60x``, None for ``max``.

    Raises:
        ConfigError: it is neither.
    """
    if speed == "max":
        return None
    found = _FACTOR.fullmatch(speed)
    if not found or float(found[1]) <= 0:
        raise ConfigError(f"--speed {speed!r}: write max, or a factor such as 60x")
    return float(found[1])
