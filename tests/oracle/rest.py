"""Services, power, network and control: one row per key, the newest word holds."""

import json
from collections import defaultdict
from typing import Any

from tests.oracle.book import Book, Seen, identity, latest, number
from tests.oracle.inventory import canonical


class Register:
    """A table whose rows each hold the newest event of their key."""

    def __init__(self) -> None:
        self.book = Book()
        self._seen: dict[str, Seen] = defaultdict(Seen)
        self._order: dict[str, tuple[int, ...]] = {}

    def fold(self, key: str, body: dict[str, Any], texts: dict[str, str], values: dict[str, Any], *order: int) -> str:
        """Fold an event; ``order`` comes before its sequence number in what is newer."""
        row = self.book.row(key)
        outcome = self._seen[key].judge(body["seq"])
        if outcome not in {"folded", "older"}:
            return outcome
        identity(row, self._seen[key])
        latest(row, body["t"])
        for column, text in texts.items():
            self.book.note(column, text)
        mine = (*order, body["seq"])
        if key not in self._order or mine > self._order[key]:
            self._order[key] = mine
            row.update(texts)
            row.update(values, applied=body["seq"] + 1)
        return outcome

    def free(self, over: Any) -> None:
        gone = [name for name in self.book.names if name is not None and over(self.book.rows[name])]
        self.book.free(gone)
        for name in gone:
            del self._seen[name], self._order[name]


def _ended(before: int) -> Any:
    return lambda row: max(row["end"], row["last_t"]) <= before


class Services:
    """Demand by service, origin and start; servings by cluster, pool, service and origin."""

    def __init__(self) -> None:
        self._demand, self._serving = Register(), Register()
        self.books = {"demand": self._demand.book, "serving": self._serving.book}

    def fold(self, body: dict[str, Any]) -> str:
        if body["type"] == "service.demand.v1":
            names = ("requests_per_s", "tokens_in_per_s", "tokens_out_per_s", "latency_ms", "ttft_ms_limit")
            texts = {name: body[name] for name in ("service", "origin", "model")}
            texts["compatible"] = canonical(body.get("compatible"))
            values = {name: number(body.get(name)) for name in names} | {"start": body["start"], "end": body["end"]}
            return self._demand.fold(f"{body['service']}@{body['origin']}|{body['start']}", body, texts, values)
        texts = {"pool_id": "default", "origin": ""} | {
            name: body[name] for name in ("cluster_id", "pool_id", "service", "origin") if name in body
        }
        ttft = body.get("ttft_ms") or {}
        values = {
            "since": body["t"],
            "replicas": body.get("replicas", 0.0),
            "tokens_per_s": body["tokens_per_s"],
            "queue": number(body.get("queue")),
            "ttft_p50_ms": number(ttft.get("p50")),
            "ttft_p99_ms": number(ttft.get("p99")),
        }
        key = "|".join(texts[name] for name in ("cluster_id", "pool_id", "service", "origin"))
        return self._serving.fold(key, body, texts, values)

    def expire(self, before: int) -> None:
        self._demand.free(_ended(before))
        self._serving.free(lambda row: row["tokens_per_s"] == 0 and row["last_t"] <= before)


class Power:
    """Prices and carbon; the greatest revision holds, of equal ones the greatest sequence number."""

    MARKETS = ("mid_long", "day_ahead", "intraday", "real_time", "interprovincial", "retail")
    STAGES = ("forecast", "ex_ante", "preliminary", "final")
    BASES = ("average", "marginal")
    SCOPES = ("location", "residual")
    ORIGINS = ("measured", "forecast", "estimated")

    def __init__(self) -> None:
        self._prices, self._carbon = Register(), Register()
        self.books = {"prices": self._prices.book, "carbon": self._carbon.book}

    def fold(self, body: dict[str, Any]) -> str:
        if body["type"] not in {"power.price.v1", "power.carbon.v1"}:
            return "not_folded"
        revision = body.get("revision", 0)
        values: dict[str, Any] = {name: body[name] for name in ("start", "end")}
        values |= {"published_at": body["t"], "revision": revision + 1}
        texts = {"zone_id": body["zone_id"]}
        if body["type"] == "power.price.v1":
            market, stage = body["market"], body.get("stage", "final")
            values |= {"market": self.MARKETS.index(market), "stage": self.STAGES.index(stage)}
            values |= {name: number(body.get(name)) for name in ("price_per_mwh", "floor", "cap")}
            texts["currency"] = body["currency"]
            key = f"{body['zone_id']}|{market}|{body['start']}|{stage}"
            return self._prices.fold(key, body, texts, values, revision)
        basis, scope = body.get("basis", "average"), body.get("scope", "location")
        values |= {"basis": self.BASES.index(basis), "scope": self.SCOPES.index(scope)}
        values["origin"] = self.ORIGINS.index(body.get("origin", "measured"))
        values |= {name: number(body.get(name)) for name in ("gco2e_per_kwh", "renewable_share", "carbon_free_share")}
        key = f"{body['zone_id']}|{basis}|{scope}|{body['start']}"
        return self._carbon.fold(key, body, texts, values, revision)

    def expire(self, before: int) -> None:
        self._prices.free(_ended(before))
        self._carbon.free(_ended(before))


class Network:
    """Links and fees by ``src|dst``."""

    def __init__(self) -> None:
        self._links, self._fees = Register(), Register()
        self.books = {"links": self._links.book, "fees": self._fees.book}

    def fold(self, body: dict[str, Any]) -> str:
        key, texts = f"{body['src']}|{body['dst']}", {"src": body["src"], "dst": body["dst"]}
        if body["type"] == "network.link.v1":
            values = {name: number(body.get(name)) for name in ("jitter_ms", "loss", "available_mbps")}
            values["rtt_p50_ms"] = number(body["rtt_ms"]["p50"])
            values["rtt_p99_ms"] = number(body["rtt_ms"].get("p99"))
            return self._links.fold(key, body, texts, values)
        texts["currency"] = body["currency"]
        fee = {"per_gb": number(body["per_gb"]), "per_mbps_month": number(body.get("per_mbps_month"))}
        fee |= {"from_": body.get("from") or 0, "to": body.get("to") or 0}
        return self._fees.fold(key, body, texts, fee)

    def expire(self, before: int) -> None:
        """Nothing ends."""


class Control:
    """A register per target, whole commands in it."""

    def __init__(self) -> None:
        self._commands = Register()
        self.books = {"commands": self._commands.book}

    def fold(self, body: dict[str, Any]) -> str:
        first = body["type"].split(".")[0]
        kind = "quota" if first == "tenant" else first
        target = body.get("name") or body.get("id") or "dispatch"
        whole = {name: value for name, value in body.items() if name != "unknown_field"}
        text = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return self._commands.fold(f"{kind}|{target}", body, {"body": text}, {"at": body["t"]})

    def expire(self, before: int) -> None:
        """A command stands until the next."""
