"""A partition's clock, window by window."""

from typing import Any


class OracleClock:
    """Closes one window after the other; each keeps the length and lateness it was opened with."""

    def __init__(self) -> None:
        self.time: int | None = None
        self.closed = 0
        self.max_ahead_ms = 0
        self._length = 0
        self._lateness = 0

    def advance(self, body: dict[str, Any]) -> list[int]:
        length, lateness = body["window_ms"], body.get("lateness_ms", 0)
        if self.time is None:
            while self.closed + length <= body["t"] - lateness:
                self.closed += length
            self._length, self._lateness = length, lateness
            self._tell(body)
            return []
        if body["t"] < self.time:
            return []
        self._tell(body)
        ends = []
        while True:
            end = self.closed + self._length - self.closed % self._length
            if body["t"] < end + self._lateness:
                return ends
            ends.append(end)
            self.closed = end
            self._length, self._lateness = length, lateness

    def _tell(self, body: dict[str, Any]) -> None:
        self.time, self.max_ahead_ms = body["t"], body.get("max_ahead_ms", 366 * 86_400_000)
