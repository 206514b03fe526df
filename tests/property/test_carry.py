"""A dispatcher that was killed goes on exactly: restored from its carry and a mirror built from stored cuts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.lives import PARTITIONS, POLICIES, Life, lives, steps
from twin.assembler import Partition, Step
from twin.dispatcher import Dispatcher
from twin.energy.meters import Meters
from twin.errors import TwinError
from twin.mirror import Mirror
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


Spoil = Callable[[Dispatcher], None]


def differs(life: Life, after: Iterable[int], base_every: int, spoil: Spoil | None = None) -> str:
    """How runs that were cut after so many windows, and restored, differ from the run that was not; "" is not at all.

    ``spoil`` is done to each restored dispatcher: whoever breaks it should be told.
    """
    whole = Dispatcher(PARTITIONS, seed=7)
    told = tell(whole, steps(life.cuts()), after)
    stored = life.cuts(base_every)
    for n, (carry, serials) in told.carries.items():
        mirror = rebuilt(PARTITIONS, stored, serials)
        dispatcher = Dispatcher.restore(PARTITIONS, mirror, carry, seed=7)
        if spoil is None and dispatcher.carry() != carry:
            return f"another carry at once after {n} windows"
        if spoil is not None:
            spoil(dispatcher)
        again = tell(dispatcher, left_of(stored, serials))
        for k, (one, other) in enumerate(zip(told.windows[n:], again.windows, strict=True), n + 1):
            if one != other:
                return f"window {k} after {n}: {_first_difference(one, other)}"
        if reports_read(dispatcher) != reports_read(whole):
            return f"other sums after {n} windows"
        if spoil is None and dispatcher.carry() != whole.carry():
            return f"another carry in the end after {n} windows"
    return ""


def _first_difference(one: bytes, other: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), -1)
    return f"{one[max(0, at - 200) : at + 60]!r} … {other[max(0, at - 200) : at + 60]!r}"


@policies
@settings(max_examples=25)
@given(data=st.data())
def test_a_dispatcher_that_was_killed_goes_on_exactly(policy: str, data: st.DataObject) -> None:
    life = data.draw(lives(policy))
    after = data.draw(st.sets(st.integers(1, 16), min_size=1, max_size=2))
    assert differs(life, after, data.draw(st.integers(1, 5))) == ""
