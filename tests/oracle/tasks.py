"""Tasks, one event at a time: two roles, the latest two attempts."""

from collections import defaultdict
from typing import Any

from tests.oracle.book import Book, Seen, identity, latest, number
from tests.oracle.inventory import canonical

KINDS = ["training", "batch", "inference", "edge"]
FLOATS = ["latency_ms", "power_w", "est_duration_s", "value_per_h", "checkpoint_s"]
AMOUNTS = ["data_in_gb", "data_rate_gbph", "state_gb"]
EVENTS = {
    "task.started.v1": "started",
    "task.paused.v1": "paused",
    "task.released.v1": "released",
    "task.finished.v1": "finished",
    "task.failed.v1": "failed",
}


class Tasks:
    """A row per task; ``runs[task]`` has the reports on each of its latest two attempts."""

    def __init__(self) -> None:
        self.books = {"tasks": Book()}
        self._submitter: dict[str, Seen] = defaultdict(Seen)
        self._executor: dict[tuple[str, int], Seen] = defaultdict(Seen)
        self._runs: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)

    def fold(self, body: dict[str, Any]) -> str:
        if body["type"] in {"task.submitted.v1", "task.cancelled.v1"}:
            return self._submit(body)
        return self._answer(body)

    def _submit(self, body: dict[str, Any]) -> str:
        book, name = self.books["tasks"], body["task_id"]
        row = book.row(name)
        outcome = self._submitter[name].judge(body["seq"])
        if outcome not in {"folded", "older"}:
            return outcome
        identity(row, self._submitter[name])
        latest(row, body["t"])
        mark = body["seq"] + 1
        if body["type"] == "task.cancelled.v1":
            if mark > row.get("cancelled", 0):
                row.update(cancelled=mark, cancelled_at=body["t"])
            return outcome
        texts = {
            "tenant": body.get("tenant", "default"),
            "compatible": canonical(body["request"].get("compatible")),
            "residency": canonical(body.get("residency")),
        }
        texts |= {key: body.get(key, "") for key in ("scenario", "qos", "origin", "failure_domains")}
        for key, text in texts.items():
            book.note(key, text)
        if mark > row.get("submitted", 0):
            row.update(texts, submitted=mark, submitted_at=body["t"], kind=KINDS.index(body.get("kind", "batch")))
            row.update({key: number(body.get(key)) for key in FLOATS})
            row.update({key: body.get(key, 0.0) for key in AMOUNTS})
            row.update({key: body.get(key) or 0 for key in ("earliest_start", "deadline", "priority")})
            row.update({key: int(body.get(key, False)) for key in ("gang", "movable", "interruptible")})
            row["replicas"] = body.get("replicas", 1)
            request = {"accelerators": 0, "nodes": 1, "cpu_cores": 0.0, "mem_gib": 0.0}
            row.update({key: body["request"].get(key, zero) for key, zero in request.items()})
        return outcome

    def _answer(self, body: dict[str, Any]) -> str:
        book, name, attempt = self.books["tasks"], body["task_id"], body["attempt"]
        row, runs = book.row(name), self._runs[name]
        if attempt not in runs:
            if len(runs) == 2 and attempt < min(runs):
                return "attempt.too_old"
            runs[attempt] = {"attempt": attempt}
            if len(runs) > 2:
                gone = min(runs)
                del runs[gone], self._executor[name, gone]
        seen, run = self._executor[name, attempt], runs[attempt]
        outcome = seen.judge(body["seq"])
        if outcome not in {"folded", "older"}:
            return outcome
        identity(run, seen)
        latest(row, body["t"])
        run["done"] = max(run.get("done", 0), round((body.get("done_share") or 0) * 1_000_000_000))
        run["energy_mwh"] = max(run.get("energy_mwh", 0), round((body.get("energy_wh") or 0) * 1000))
        self._end(book, run, body)
        newest_first = [runs[number] for number in sorted(runs, reverse=True)]
        row["run"] = [*newest_first, {}, {}][:2]
        return outcome

    def _end(self, book: Book, run: dict[str, Any], body: dict[str, Any]) -> None:
        end = EVENTS.get(body["type"])
        if end is None:
            return
        texts = {}
        if end == "started":
            texts = {"cluster": body["cluster_id"], "pool": body.get("pool_id", "default")}
        elif end == "failed":
            texts = {"reason": body.get("reason", "")}
        for key, text in texts.items():
            book.note(key, text)
        if body["seq"] + 1 > run.get(end, 0):
            run.update(texts)
            run.update({end: body["seq"] + 1, f"{end}_at": body["t"]})

    def expire(self, before: int) -> None:
        book = self.books["tasks"]
        gone = [
            name for name in book.names if name is not None and self._over(name) and book.rows[name]["last_t"] <= before
        ]
        book.free(gone)
        for name in gone:
            self._submitter.pop(name, None)
            for attempt in self._runs.pop(name, {}):
                del self._executor[name, attempt]

    def _over(self, name: str) -> bool:
        runs = self._runs[name].values() if name in self._runs else ()
        final = any("finished" in run or ("failed" in run and run["reason"] == "final") for run in runs)
        return final or "cancelled" in self.books["tasks"].rows[name]
