"""A dispatcher that was killed goes on exactly: restored from its carry and a mirror built from stored cuts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.log import LogReader
from producers.scenario import generate
from streams.cli.demo import write_log
from tests.oracle.lives import HOUR, POLICIES, Life, lives, steps
from tests.unit.embedded_logs import run_log
from twin import events as ev
from twin.assembler import Partition, Step
from twin.dispatcher import Dispatcher
from twin.energy.meters import Meters
from twin.errors import TwinError
from twin.mirror import Mirror
from twin.plant import Plant
from twin.shards.shard import Cut

encode = msgspec.json.Encoder(order="deterministic").encode
policies = pytest.mark.parametrize("policy", POLICIES)


@dataclass
class Told:
    """What a dispatcher said: each window's record and decisions, or why it could not go on."""

    windows: list[bytes] = field(default_factory=list)
    carries: dict[int, tuple[bytes, dict[Partition, int]]] = field(default_factory=dict)
    """By number of windows decided: the carry, and the serials that the mirror stood at."""


def tell(dispatcher: Dispatcher, steps: Iterable[Step], carry_after: Iterable[int] = ()) -> Told:
    """Apply and decide ``steps`` to the end or to an error."""
    told, wanted = Told(), set(carry_after)
    for step in steps:
        for cut in step.cuts:
            dispatcher.mirror.apply(cut)
        if step.window is None:
            continue
        opened = dispatcher.mirror.shards["tasks", 0]
        try:
            window = dispatcher.decide(
                step.window,
                step.skipped,
                window_ms=opened.window_ms,
                lateness_ms=opened.lateness_ms,
                solve_clock=lambda: 0.0,
            )
        except TwinError as error:
            told.windows.append(repr(error).encode())
            break
        told.windows.append(encode([window.record, window.decisions]))
        assert_active_is_what_is_not_booked_to_its_end(dispatcher)
        if len(told.windows) in wanted:
            serials = {at: shard.serial for at, shard in dispatcher.mirror.shards.items()}
            told.carries[len(told.windows)] = dispatcher.carry(), serials
    return told


def assert_active_is_what_is_not_booked_to_its_end(dispatcher: Dispatcher) -> None:
    """A carry leaves it out."""
    ledger = dispatcher.ledger
    assert ledger is not None
    for meters in (ledger._runs.meters, ledger._servings.meters):
        assert isinstance(meters, Meters)
        rows = meters.rows
        assert np.array_equal(meters.active, (rows["stated"] > 0) & (rows["end"] != rows["booked"]))


def rebuilt(partitions: dict[str, int], cuts: dict[Partition, list[Cut]], serials: dict[Partition, int]) -> Mirror:
    """The mirror at ``serials``, from the last base before it and the deltas since."""
    mirror = Mirror(partitions)
    for at, serial in serials.items():
        known = [cut for cut in cuts[at] if cut.serial <= serial]
        base = max((i for i, cut in enumerate(known) if cut.base), default=0)
        for cut in known[base:]:
            mirror.apply(cut)
    return mirror


def left_of(cuts: dict[Partition, list[Cut]], serials: dict[Partition, int]) -> Iterable[Step]:
    return steps({at: [cut for cut in some if cut.serial > serials[at]] for at, some in cuts.items()})


def reports_read(dispatcher: Dispatcher) -> dict[str, Any]:
    """What reports read of a dispatcher besides its windows."""
    ledger = dispatcher.ledger
    assert ledger is not None
    return {
        "assumed": dict(ledger.assumed),
        "held": ledger.held,
        "by_cluster": ledger.by_cluster(),
        "device": ledger.device_cost_micro.tolist(),
        "names": [ledger.fleet.cluster_names.names, ledger.fleet.pool_names.names],
        "models": [ledger.fleet.models, ledger.fleet.tokens_per_s],
    }


def differs(life: Life, after: Iterable[int], base_every: int) -> str:
    """How runs that were killed after so many windows, and restored, differ from the run that was not; "" is not at all."""
    partitions = life.partitions
    whole = Dispatcher(partitions, seed=7)
    told = tell(whole, steps(life.cuts()), after)
    stored = life.cuts(base_every)
    for n, (carry, serials) in told.carries.items():
        dispatcher = Dispatcher.restore(partitions, rebuilt(partitions, stored, serials), carry, seed=7)
        if dispatcher.carry() != carry:
            return f"another carry at once after {n} windows"
        again = tell(dispatcher, left_of(stored, serials))
        for k, (one, other) in enumerate(zip(told.windows[n:], again.windows, strict=True), n + 1):
            if one != other:
                return f"window {k} after {n}: {_first_difference(one, other)}"
        if reports_read(dispatcher) != reports_read(whole):
            return f"other sums after {n} windows"
        if dispatcher.carry() != whole.carry():
            return f"another carry in the end after {n} windows"
    return ""


def _first_difference(one: bytes, other: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), -1)
    return f"{one[max(0, at - 200) : at + 60]!r} … {other[max(0, at - 200) : at + 60]!r}"


@policies
@settings(max_examples=20)
@given(data=st.data())
def test_a_dispatcher_that_was_killed_goes_on_exactly(policy: str, data: st.DataObject) -> None:
    life = data.draw(lives(policy))
    after = data.draw(st.sets(st.integers(1, 16), min_size=1, max_size=2))
    assert differs(life, after, data.draw(st.sampled_from([1, 2, 3, 5, 64]))) == ""


@policies
@settings(max_examples=20)
@given(data=st.data())
def test_nothing_depends_on_which_cuts_are_bases(policy: str, data: st.DataObject) -> None:
    life = data.draw(lives(policy))
    deltas, bases = (tell(Dispatcher(life.partitions), steps(life.cuts(every))) for every in (None, 1))
    assert deltas.windows == bases.windows


@policies
@pytest.mark.parametrize("preset", ["tiny", "edwc"])
def test_a_scenario_whose_dispatcher_was_killed_goes_on_exactly(preset: str, policy: str, tmp_path: Path) -> None:
    made = generate(preset, seed=3, hours=3, window_ms=900_000, scale=0.3 if preset == "edwc" else 1.0)
    zone = next(event.zone_id for event in made.events if isinstance(event, ev.ClusterRegistered))
    write_log(made, tmp_path / "log")
    faulty = Plant(reject=0.1, silent=0.05, delay_s=30)
    _, result, recorder = run_log(
        LogReader(tmp_path / "log"), policy=policy.replace(":x", f":{zone}"), plant=faulty, until=made.end
    )
    life = Life(recorder.folded, retain_ms=HOUR)
    assert result.windows == 12
    assert any(row is None for cuts in life.cuts().values() for cut in cuts for row in freed(cut))
    assert differs(life, {1, 6, 11}, base_every=4) == ""


def freed(cut: Cut) -> list[str | None]:
    return [name for _, name in cut.tables["tasks"].ids] if cut.topic == "tasks" else []
