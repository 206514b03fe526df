"""A day of the published fortnight: its run log is changed in one place, and the bill no longer agrees with the plain loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from producers.log import LogReader, LogWriter
from streams.cli.runs import RunRequest, execute
from tests.golden import bills
from tests.golden.bills import HOUR, MINUTE, T0
from twin.dispatch.policy import Policy

pytestmark = pytest.mark.published
START, END = T0 + 24 * HOUR, T0 + 48 * HOUR
Body = dict[str, Any]


@pytest.fixture(scope="module")
def reference(data_dir: Path) -> Path:
    return bills.reference_folder(data_dir)


@pytest.fixture(scope="module")
def day(reference: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run log of a day under a policy that moves tasks."""
    folder = tmp_path_factory.mktemp("day")
    config = bills.with_limit(reference, 15, folder / "limit.toml")
    log = bills.imported(reference, folder / "log", start=START, end=END, config=config)
    policy = Policy.parse("price")
    execute(RunRequest(log=log, policy=policy, closed=True, until=END, out=folder / "run"))
    return folder / "run" / "log"


@pytest.fixture(scope="module")
def plain(reference: Path, day: Path) -> bills.Bill:
    ran = bills.intervals(answers(day), END)
    assert len(ran) > 1000
    return bills.plain_bill(bills.Tables.read(reference), ran)


def answers(log: Path) -> list[Body]:
    reader = LogReader(log)
    parts = [p for topic, p in reader.partitions() if topic == "tasks"]
    values = [value for p in parts for chunk in reader.read("tasks", p) for value in chunk.values]
    bodies = [msgspec.json.decode(value) for value in values if b'"source":"plant"' in value]
    return sorted(bodies, key=lambda body: (body["t"], body["task_id"], body["seq"]))


def changed(log: Path, out: Path, change: Callable[[Body], list[Body]]) -> Path:
    """A copy of a log in which ``change`` makes none, one or several bodies of each."""
    reader = LogReader(log)
    with LogWriter(out, reader.manifest.topics, meta=reader.meta) as writer:
        for topic, p in reader.partitions():
            for records in reader.read(topic, p):
                for t, key, value in zip(records.times, records.keys, records.values, strict=True):
                    for body in change(msgspec.json.decode(value)):
                        writer.append(topic, p, t=t, key=key, value=msgspec.json.encode(body))
    return out


def booked(log: Path) -> bills.Bill:
    return bills.run(log, "price", until=END, closed=False)[2].booked


def test_the_bill_of_a_day_with_moves_is_the_plain_loops(day: Path, plain: bills.Bill) -> None:
    assert bills.kinds(answers(day))["task.released.v1"] > 0
    assert booked(day) == plain


def test_a_record_that_is_there_twice_counts_once(day: Path, plain: bills.Bill, tmp_path: Path) -> None:
    assert (
        booked(changed(day, tmp_path / "log", lambda body: [body, body] if body["type"] != "clock.v1" else [body]))
        == plain
    )


def test_a_finish_that_is_missing_in_the_log_shows(day: Path, plain: bills.Bill, tmp_path: Path) -> None:
    last = next(body for body in answers(day) if body["type"] == "task.finished.v1")
    bill = booked(changed(day, tmp_path / "log", lambda body: [] if body == last else [body]))
    assert bill != plain
    assert bills.priced_kwh(bill) > bills.priced_kwh(plain)


def test_prices_that_are_off_by_an_hour_in_the_log_show(day: Path, plain: bills.Bill, tmp_path: Path) -> None:
    def later(body: Body) -> list[Body]:
        if body["type"] != "power.price.v1":
            return [body]
        return [body | {"start": body["start"] + HOUR, "end": body["end"] + HOUR}]

    bill = booked(changed(day, tmp_path / "log", later))
    assert bill != plain
    assert bills.total_eur(bill) != pytest.approx(bills.total_eur(plain), rel=1e-4)


def test_a_job_that_is_there_under_two_names_shows(day: Path, plain: bills.Bill, tmp_path: Path) -> None:
    name = next(body["task_id"] for body in answers(day) if body["type"] == "task.finished.v1")
    copies: Callable[[Body], list[Body]] = lambda body: (  # noqa: E731 - a change in one expression
        [body, body | {"task_id": f"{name}-copy"}] if body.get("task_id") == name else [body]
    )
    bill = booked(changed(day, tmp_path / "log", copies))
    assert bill != plain
    assert bills.priced_kwh(bill) > bills.priced_kwh(plain)


def test_a_start_that_is_a_window_late_in_the_log_shows(day: Path, plain: bills.Bill, tmp_path: Path) -> None:
    first = next(body for body in answers(day) if body["type"] == "task.finished.v1")
    begin = {"type": "task.started.v1", "task_id": first["task_id"]}

    def late(body: Body) -> list[Body]:
        is_it = begin.items() <= body.items()
        return [body | {"t": body["t"] + 5 * MINUTE}] if is_it else [body]

    bill = booked(changed(day, tmp_path / "log", late))
    assert bill != plain
    assert bills.priced_kwh(bill) < bills.priced_kwh(plain)
