"""A worker that has work and does none is ended, and no other."""

import time
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
from faust.types import TP

from streams import worker as module
from streams.exits import Exit
from streams.settings import Settings
from streams.worker import REBALANCE_S, Worker

AT = TP("cpn.tasks", 0)


class Died(BaseException):
    """Instead of ending the process of the tests."""


class Consumer:
    """A broker that has records up to ``end``, or does not answer."""

    def __init__(self, end: int | None) -> None:
        self._end = end

    def assignment(self) -> set[TP]:
        return {AT}

    async def highwaters(self, *tps: TP) -> dict[TP, int]:
        if self._end is None:
            raise OSError("no route")
        return dict.fromkeys(tps, self._end)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Worker:
    def die(code: int, message: str) -> NoReturn:
        raise Died(code, message)

    monkeypatch.setattr(module, "die", die)
    made = Worker(Settings())
    made.app.rebalancing = False
    made.ingest = SimpleNamespace(  # type: ignore[assignment]
        progress=time.monotonic() - made.settings.stall_s, parts={AT: SimpleNamespace(written=5, paused=False)}
    )
    return made


def stale_s(worker: Worker) -> float:
    assert worker.ingest
    return time.monotonic() - worker.ingest.progress


def part_of(worker: Worker) -> Any:
    assert worker.ingest
    return worker.ingest.parts[AT]


async def test_a_worker_that_is_behind_and_does_nothing_is_ended(watched: Worker) -> None:
    watched.app._consumer = Consumer(6)
    with pytest.raises(Died, match="behind in") as died:
        await watched._check_stalled()
    assert died.value.args[0] == Exit.WATCHDOG


async def test_a_worker_whose_broker_is_silent_is_ended(watched: Worker) -> None:
    watched.app._consumer = Consumer(None)
    with pytest.raises(Died, match="no answer from the broker"):
        await watched._check_stalled()


async def test_a_worker_that_has_everything_or_waits_for_the_dispatcher_is_left_alone(watched: Worker) -> None:
    watched.app._consumer = Consumer(5)
    await watched._check_stalled()
    assert stale_s(watched) < 5
    watched.app._consumer, part_of(watched).paused = Consumer(6), True
    await watched._check_stalled()


async def test_a_rebalance_may_take_its_time_but_not_for_ever(watched: Worker) -> None:
    watched.app._consumer, watched.app.rebalancing = Consumer(6), True
    await watched._check_stalled()
    assert stale_s(watched) >= watched.settings.stall_s, "it is still being counted"
    assert watched.ingest
    watched.ingest.progress -= REBALANCE_S
    with pytest.raises(Died, match="in a rebalance for 180 s"):
        await watched._check_stalled()
