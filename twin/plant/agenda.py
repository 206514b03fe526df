"""What is due when. At one instant the order is by rank, within a rank the order in which it was put down."""

from heapq import heappop, heappush
from typing import Any, Final

FINISH, STATE, TASK, DECISION, READY = range(5)
INPUTS: Final = (STATE, TASK, DECISION)


class Agenda:
    """A heap of what is due. Nothing is due before ``now``, up to which everything has been done."""

    def __init__(self) -> None:
        self.now = 0
        self.inputs = 0
        """How much of what is due came from outside."""
        self._due: list[tuple[int, int, int, Any]] = []  # (t, rank, number, what)
        self._number = 0

    def add(self, t: int, rank: int, what: object) -> None:
        """Put ``what`` down for ``t``, or for now where that is past."""
        self._number += 1
        self.inputs += rank in INPUTS
        heappush(self._due, (max(t, self.now), rank, self._number, what))

    def next(self, to: int) -> int | None:
        """When the next thing before ``to`` is due; None if there is none."""
        return self._due[0][0] if self._due and self._due[0][0] < to else None

    def take(self, t: int) -> Any | None:  # noqa: ANN401 - whatever was put down
        """The next thing that is due at ``t``; None when there is no more."""
        if not self._due or self._due[0][0] != t:
            return None
        _, rank, _, what = heappop(self._due)
        self.inputs -= rank in INPUTS
        return what
