"""States and meter readings, one at a time."""

from collections import defaultdict
from typing import Any

from tests.oracle.book import Book, Seen, identity, latest, number

STATES = ["up", "degraded", "draining", "down"]
ORIGINS = ["measured", "forecast", "estimated"]


class Telemetry:
    """Per cluster and per pool the newest word of each of the two roles; readings that count are summed."""

    def __init__(self) -> None:
        self.books = {"clusters": Book(), "pools": Book()}
        self._seen: dict[tuple[str, str], Seen] = defaultdict(Seen)

    def fold(self, body: dict[str, Any]) -> str:
        role = "state" if body["type"] == "cluster.state.v1" else "meter"
        name, row = body["cluster_id"], self.books["clusters"].row(body["cluster_id"])
        seen = self._seen[name, role]
        outcome = seen.judge(body["seq"])
        if outcome not in {"folded", "older"}:
            return outcome
        identity(row, seen, f"{role}_")
        latest(row, body["t"])
        newer = body["seq"] + 1 > row.get(f"{role}_seq", 0)
        if newer:
            row.update({f"{role}_seq": body["seq"] + 1, f"{role}_at": body["t"]})
        if role == "state":
            if newer:
                row.update(state=STATES.index(body["state"]), cap_kw=number(body.get("cap_kw")))
            self._pools(body, "state_seq", ("healthy",))
            return outcome
        row["readings"] = row.get("readings", 0) + 1
        row["it_w_sum"] = row.get("it_w_sum", 0) + round(body["it_kw"] * 1000)
        if newer:
            row["meter_origin"] = ORIGINS.index(body.get("origin", "measured"))
            for column in ("it_kw", "facility_kw", "queue_tasks", "inlet_c"):
                row[column] = number(body.get(column))
        self._pools(body, "meter_seq", ("allocated", "util", "stranded"))
        return outcome

    def _pools(self, body: dict[str, Any], key: str, columns: tuple[str, ...]) -> None:
        named_here = {pool["pool_id"]: pool for pool in body.get("pools", [])}  # the last of a name
        for name, pool in named_here.items():
            row = self.books["pools"].row(f"{body['cluster_id']}|{name}")
            latest(row, body["t"])
            if body["seq"] + 1 > row.get(key, 0):
                row[key] = body["seq"] + 1
                row.update({column: number(pool.get(column)) for column in columns})

    def expire(self, before: int) -> None:
        """Nothing ends."""
