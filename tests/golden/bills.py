"""The published fortnight run through the twin, and its bill added up by hand from the run log's task events.

The plain side shares nothing with the twin but the event log's answers: cores and prices are read from the tables.
"""

import csv
import gzip
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from producers.importers import import_dataset
from producers.log import LogReader
from streams.cli.runs import route
from streams.embedded import Options, Result, Run
from twin.columns import DeadLetter
from twin.dispatch.policy import Policy
from twin.dispatcher import Window
from twin.records import Records

HOUR, MINUTE = 3_600_000, 60_000
T0 = 1_664_143_200_000  # 2022-09-25T22:00:00Z
HORIZON = T0 + 14 * 24 * HOUR
WATTS_PER_CORE = 21.875
Bill = dict[tuple[str, int], tuple[int, int]]
"""(zone, start of the hour, -1 where there is no price) → (energy in mWh, cost in micro-EUR)."""
Answer = dict[str, Any]


def reference_folder(data_dir: Path) -> Path:
    folder = data_dir / "reference"
    if not (folder / "dataset.toml").is_file():
        pytest.skip(f"no reference data at {folder}")
    return folder


def with_limit(reference: Path, limit_ms: float, to: Path) -> Path:
    """A copy of the configuration whose tasks have this RTT limit."""
    text = (reference / "dataset.toml").read_text()
    limit = tomllib.loads(text)["task_defaults"]["latency_ms"]
    changed = text.replace(f"latency_ms = {limit}", f"latency_ms = {limit_ms}")
    assert changed != text
    to.write_text(changed)
    return to


@dataclass
class Recorder:
    """Keeps what tasks answered, what was decided and what was booked; nothing is written."""

    answers: list[Answer] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    windows: int = 0
    violations: list[str] = field(default_factory=list)
    booked: Bill = field(default_factory=dict)

    def records(self, topic: str, partition: int, records: Records) -> None:
        if topic == "tasks":
            self.answers += [msgspec.json.decode(v) for v in records.values if b'"source":"plant"' in v]

    def window(self, window: Window) -> None:
        self.windows += 1
        self.violations += window.record.violations


class _Sink:
    def __init__(self, recorder: Recorder) -> None:
        self.records, self.window = recorder.records, recorder.window
        self.dead = recorder.dead.extend


def run(
    log: Path, policy: str, *, window_ms: int | None = None, until: int = HORIZON, closed: bool = True
) -> tuple[Run, Result, Recorder]:
    """Run a log; the ledger's bill is in ``Recorder.booked``."""
    recorder = Recorder()
    sums: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    options = Options(route=route, policy=Policy.parse(policy), window_ms=window_ms, until=until, closed=closed)
    live = Run(LogReader(log), options, sink=_Sink(recorder))
    result = live.run(lambda window: _add(sums, window))
    ledger = live.dispatcher.ledger
    assert ledger is not None
    names = ledger.fleet.cluster_names.names
    recorder.booked = {(names[c], hour): (mwh, micro) for (c, hour), (mwh, micro) in sums.items()}
    return live, result, recorder


def _add(sums: dict[tuple[int, int], list[int]], window: Window) -> None:
    b = window.bookings
    task = b.kind == 0
    hours = np.where(b.priced, b.t0 // HOUR * HOUR, -1)[task]
    columns = (b.cluster[task], hours, b.energy_mwh[task], b.cost_micro[task])
    for cluster, hour, mwh, micro in zip(*(column.tolist() for column in columns), strict=True):
        at = sums[cluster, hour]
        at[0] += mwh
        at[1] += micro


# -------------------------------------------------------------------------------------------------- the plain side


def rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def epoch_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


@dataclass(frozen=True)
class Tables:
    """Jobs and prices as published: when a job came, mW it draws; milli-EUR per MWh by zone and hour."""

    submitted: dict[str, int]
    power_mw: dict[str, int]
    price: dict[tuple[str, int], int]

    @classmethod
    def read(cls, reference: Path) -> "Tables":
        jobs = list(rows(reference / "tasks_surf.csv.gz"))
        return cls(
            {row["task_id"]: T0 + round(float(row["submit_s"]) * 1000) for row in jobs},
            {row["task_id"]: round(float(row["cpu_cores"]) * WATTS_PER_CORE * 1000) for row in jobs},
            {
                (row["zone"], epoch_ms(row["start_utc"])): round(float(row["price"]) * 1000)
                for row in rows(reference / "prices.csv.gz")
            },
        )


def intervals(answers: Iterable[Answer], until: int) -> list[tuple[str, str, int, int]]:
    """(task, zone, from, to) of every attempt that ran, up to ``until``."""
    open_: dict[tuple[str, int], tuple[str, int]] = {}
    found = []
    for answer in answers:
        at = (answer["task_id"], answer["attempt"])
        if answer["type"] == "task.started.v1":
            open_[at] = (answer["cluster_id"], answer["t"])
        elif at in open_:
            zone, start = open_.pop(at)
            found.append((at[0], zone, start, min(answer["t"], until)))
    found += [(task, zone, start, until) for (task, _), (zone, start) in open_.items()]
    return [each for each in found if each[2] < each[3]]


def plain_bill(tables: Tables, ran: Iterable[tuple[str, str, int, int]]) -> Bill:
    """What the intervals cost, hour by hour."""
    sums: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for task, zone, start, end in ran:
        power = tables.power_mw[task]
        for hour in range(start // HOUR * HOUR, end, HOUR):
            low, high = max(start, hour) - start, min(end, hour + HOUR) - start
            mwh = power * high // HOUR - power * low // HOUR
            price = tables.price.get((zone, hour))
            at = sums[zone, hour if price is not None else -1]
            at[0] += mwh
            at[1] += half_even(mwh * (price or 0))
    return {key: (mwh, micro) for key, (mwh, micro) in sums.items()}


def half_even(millionths: int) -> int:
    whole, rest = divmod(millionths, 10**6)
    return whole + (rest > 500_000 or (rest == 500_000 and whole % 2 == 1))


def starts_by_rule(tables: Tables, window_ms: int) -> dict[str, int]:
    """With room for all, a job starts at the end of the window it was submitted in."""
    return {task: t // window_ms * window_ms + window_ms for task, t in tables.submitted.items()}


def first_starts(answers: Iterable[Answer]) -> dict[str, int]:
    found: dict[str, int] = {}
    for answer in answers:
        if answer["type"] == "task.started.v1":
            found.setdefault(answer["task_id"], answer["t"])
    return found


def total_eur(bill: Bill) -> float:
    return sum(micro for _, micro in bill.values()) / 1e6


def priced_kwh(bill: Bill) -> float:
    return sum(mwh for (_, hour), (mwh, _) in bill.items() if hour >= 0) / 1e6


def differences(left: Bill, right: Bill) -> dict[str, list[str]]:
    """Where two bills differ: the hours of each zone, readable."""
    found: dict[str, list[str]] = defaultdict(list)
    for zone, hour in sorted(left.keys() | right.keys()):
        if left.get((zone, hour), (0, 0)) != right.get((zone, hour), (0, 0)):
            when = "unpriced" if hour < 0 else datetime.fromtimestamp(hour / 1000, UTC).isoformat()
            found[zone].append(when)
    return found


def kinds(answers: Iterable[Answer]) -> Counter[str]:
    return Counter(answer["type"] for answer in answers)


def imported(reference: Path, out: Path, **how: Any) -> Path:
    import_dataset(reference, out, **how)
    return out
