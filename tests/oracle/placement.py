"""The placement table in plain words: one task, one event after the other."""

from dataclasses import dataclass, field

RETRY_WINDOWS = 2


@dataclass
class Plain:
    """One task as the dispatcher should see it. Pools are names; None is nowhere."""

    state: str = "waiting"
    desired: str | None = None
    attempt: int = 0
    timeout_at: int = 0
    start_at: int = 0
    overridden: int = 0
    bars: dict[str, int] = field(default_factory=dict)
    runs: dict[int, str] = field(default_factory=dict)  # attempt -> pool, as reported
    known: set[int] = field(default_factory=set)  # the latest two attempts reported on
    broke: set[int] = field(default_factory=set)  # of these, runs that failed

    # --------------------------------------------------------------------------------------------- what is reported

    def reported(self) -> str | None:
        return self.runs[max(self.runs)] if self.runs else None

    def leaving(self) -> str | None:
        return self.runs[min(self.runs)] if len(self.runs) == 2 else None

    def turn(self, answer: tuple[str, int, str]) -> int:
        """What a window brings is seen at once: late starts, then the newest attempt, then how older ones ended."""
        what, attempt, _ = answer
        if attempt >= self.attempt:
            return 1
        return 0 if what == "started" else 2

    def hear(self, what: str, attempt: int, pool: str, now: int, window_ms: int) -> None:
        """An executor's (or for ``cancelled`` the tenant's) word."""
        if self.state == "done":
            return
        if what != "cancelled":
            self._know(attempt)
            if attempt not in self.known:
                return
        if what in {"finished", "cancelled", "final"}:
            self.state, self.desired = "done", None
            self.runs.clear()
            return
        ahead, self.attempt = attempt > self.attempt, max(self.attempt, attempt)
        newest = attempt == self.attempt
        if what == "started":
            self.runs[attempt] = pool
            if newest:
                self.overridden += pool != self.desired
                self.state, self.desired = "running", pool
            elif self.state == "assigned":
                self.state = "moving"
        elif what not in {"progress", "paused"}:
            if self.runs.pop(attempt, None) and what == "failed":
                self.broke.add(attempt)
            if newest and self.state in {"assigned", "moving"}:
                if what == "rejected" and not ahead:
                    self.bars[self.desired or ""] = now + RETRY_WINDOWS * window_ms
                self._fall_back()
        self._look_where_it_runs()

    def _know(self, attempt: int) -> None:
        """Only the latest two attempts are kept; a run that is forgotten is over."""
        self.known.add(attempt)
        for old in sorted(self.known)[:-2]:
            self.known.discard(old)
            self.broke.discard(old)
            self.runs.pop(old, None)

    def _look_where_it_runs(self) -> None:
        if self.state == "moving" and not self.runs:
            self.state = "waiting" if self.broke else "assigned"
        elif self.state == "running":
            self._fall_back()
        if self.state == "waiting":
            self.desired = None

    def _fall_back(self) -> None:
        self.desired = self.reported()
        self.state = "running" if self.runs else "waiting"

    def tick(self, now: int, window_ms: int) -> None:
        """The end of a window: a start that was not reported in time is lost."""
        if self.state in {"assigned", "moving"} and now >= self.timeout_at:
            assert self.desired is not None
            self.bars[self.desired] = now + RETRY_WINDOWS * window_ms
            self._fall_back()

    def barred(self, now: int) -> set[str]:
        return {pool for pool, until in self.bars.items() if until > now}

    # ---------------------------------------------------------------------------------------------- what is decided

    def decide(self, action: str, pool: str | None, *, start_at: int, now: int, patience_ms: int) -> None:
        if action == "defer":
            self.start_at = start_at
        elif action in {"place", "move"}:
            self.attempt += 1
            self.desired, self.start_at = pool, 0
            self.state = "moving" if self.runs else "assigned"
            self.timeout_at = max(now, start_at) + patience_ms
        elif action == "preempt":
            if self.state == "moving":
                self.state, self.desired = "running", self.reported()
            elif self.state == "assigned":
                self.state, self.desired = "waiting", None
