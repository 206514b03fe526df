"""Logs that say odd things of money and time: nothing is billed short, and what cannot be is refused in words."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from producers.log import LogReader
from tests.unit.embedded_logs import HOUR, MINUTE, T0, WINDOW, cluster, encode, price, run_log, task, write_log
from twin import events as ev
from twin.errors import ConfigError

WORLD = (cluster("A"), price("A", 100, hours=24), task("t", at=T0 + MINUTE))


def accounting(t: int, seq: int = 0, **params: Any) -> ev.PolicySet:
    return ev.PolicySet(seq=seq, t=t, name="accounting", params={"currency": "EUR", **params})


class Late:
    """A log whose clocks say another lateness."""

    def __init__(self, log: LogReader, lateness_ms: int) -> None:
        self._log, self._lateness_ms = log, lateness_ms

    def partitions(self) -> list[tuple[str, int]]:
        return self._log.partitions()

    def read(self, topic: str, partition: int) -> Any:
        for records in self._log.read(topic, partition):
            for i, value in enumerate(records.values):
                if b'"clock.v1"' in value:
                    clock = msgspec.json.decode(value, type=ev.Clock)
                    records.values[i] = encode(msgspec.structs.replace(clock, lateness_ms=self._lateness_ms))
            yield records


@pytest.mark.parametrize("lateness_min", [0, 1, 5, 10, 12, 60])
def test_a_run_goes_on_until_its_last_answer_is_booked_however_late_records_may_be(
    tmp_path: Path, lateness_min: int
) -> None:
    log = Late(write_log(tmp_path / "log", WORLD, windows=3), lateness_min * MINUTE)
    _, result, _ = run_log(log)
    score = result.score
    assert score is not None
    assert score.tasks.finished == 1
    assert score.energy_kwh == pytest.approx(1 / 3, abs=1e-6)
    assert score.cost.energy == pytest.approx(100 / 3 / 1000, abs=1e-6)


@pytest.mark.parametrize("name", ["penalty_per_core_h", "penalty_per_accelerator_h"])
@pytest.mark.parametrize("value", ["lots", "5", True, -1.0, 1e12])
def test_a_penalty_that_is_no_number_from_0_on_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    log = write_log(tmp_path / "log", [*WORLD, accounting(T0 - 1, **{name: value})])
    with pytest.raises(ConfigError, match=name):
        run_log(log)


@pytest.mark.parametrize(
    "params", [{"currency": "USD"}, {"settlement_market": "real_time"}, {"settlement_market": "bazaar"}]
)
def test_currency_and_market_of_a_run_do_not_change_under_way(tmp_path: Path, params: dict[str, str]) -> None:
    world = [*WORLD, accounting(T0 - 1), accounting(T0 + 2 * WINDOW, seq=1, **params)]
    with pytest.raises(ConfigError, match="a run has one from its first window on"):
        run_log(write_log(tmp_path / "log", world))


def test_penalties_may_change_under_way(tmp_path: Path) -> None:
    world = [*WORLD, accounting(T0 - 1), accounting(T0 + 2 * WINDOW, seq=1, penalty_per_core_h=3.0)]
    run, _, _ = run_log(write_log(tmp_path / "log", world))
    assert run.dispatcher.accounting().rates.penalty_per_core_h == 3.0


def test_prices_that_come_after_the_first_window_still_find_their_currency(tmp_path: Path) -> None:
    world = [cluster("A"), price("A", 100, hours=24, t=T0 + 2 * WINDOW), task("t", at=T0 + MINUTE, minutes=60)]
    _, result, _ = run_log(write_log(tmp_path / "log", [*world, accounting(T0 - 1)]))
    assert result.score is not None
    assert result.score.currency == "EUR"


def test_a_currency_that_nobody_named_before_the_first_window_is_asked_for(tmp_path: Path) -> None:
    world = [cluster("A"), price("A", 100, hours=24, t=T0 + 2 * WINDOW), task("t", at=T0 + MINUTE, minutes=60)]
    with pytest.raises(ConfigError, match=r"name it in a policy\.set\.v1 accounting"):
        run_log(write_log(tmp_path / "log", world))


def test_a_run_of_which_nothing_but_advice_comes_ends_soon_after_its_log(tmp_path: Path) -> None:
    advisory = ev.DispatchAdvisory(seq=0, t=T0 - 1)
    run, result, _ = run_log(write_log(tmp_path / "log", [*WORLD, advisory]))
    assert result.decisions > 0
    assert result.last_window <= T0 + 2 * HOUR
    assert run.score().tasks.started == 0
