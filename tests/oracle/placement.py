"""The placement table in plain words: one task, one event after the other."""

from dataclasses import dataclass, field

ACK_WINDOWS = RETRY_WINDOWS = 2


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

    # --------------------------------------------------------------------------------------------- what is reported

    def reported(self) -> str | None:
        return self.runs[max(self.runs)] if self.runs else None

    def leaving(self) -> str | None:
        return self.runs[min(self.runs)] if len(self.runs) == 2 else None

    def hear(self, what: str, attempt: int, pool: str, now: int, window_ms: int) -> None:
        """An executor's (or for ``cancelled`` the tenant's) word."""
        if self.state == "done":
            return
        if what in {"finished", "cancelled", "final"}:
            self.state, self.desired = "done", None
            self.runs.clear()
            return
        self.known.add(attempt)
        while len(self.known) > 2:
            self.runs.pop(min(self.known), None)
            self.known.discard(min(self.known))
        if attempt not in self.known:
            return
        self.attempt = max(self.attempt, attempt)
        newest = attempt == self.attempt
        if what == "started":
            self.runs[attempt] = pool
            if newest:
                self.overridden += pool != self.desired
                self.state, self.desired = "running", pool
            return
        if what in {"progress", "paused"}:
            return
        self.runs.pop(attempt, None)
        if newest:
            self._newest_ended(rejected=what == "rejected", until=now + RETRY_WINDOWS * window_ms)
        elif not self.runs:
            self._older_ended(failed=what in {"failed", "rejected"})

    def _newest_ended(self, *, rejected: bool, until: int) -> None:
        if self.state in {"assigned", "moving"} and rejected and self.desired is not None:
            self.bars[self.desired] = until
        if self.state != "waiting":
            self._fall_back()

    def _older_ended(self, *, failed: bool) -> None:
        """The last run that was still reported is over."""
        if self.state == "moving":
            self.state = "waiting" if failed else "assigned"
        elif self.state == "running":
            self.state = "waiting"
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

    def decide(self, action: str, pool: str | None, start_at: int, now: int, window_ms: int, transfer_ms: int) -> None:
        if action == "defer":
            self.start_at = start_at
        elif action in {"place", "move"}:
            self.attempt += 1
            self.desired, self.start_at = pool, 0
            self.state = "moving" if self.runs else "assigned"
            self.timeout_at = max(now, start_at) + ACK_WINDOWS * window_ms + transfer_ms
        elif action == "preempt":
            if self.state == "moving":
                self.state, self.desired = "running", self.reported()
            elif self.state == "assigned" and not self.runs:
                self.state, self.desired = "waiting", None
