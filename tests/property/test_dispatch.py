"""Whatever the view: decisions break no hard constraint, the same call gives the same bytes, reasons are complete."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.dispatch.views import Mix, random_view
from twin.dispatch import POLICIES, Policy, check, dispatch
from twin.view import Action, Decisions, PriceCarry, Reason, State

POLICY_TEXTS = [name if name != "pinned" else "pinned:z0" for name in POLICIES] + ["price:carbon=0.1,hysteresis=0"]

MIXES = st.builds(
    Mix,
    clusters=st.integers(0, 5),
    pools_each=st.integers(1, 3),
    new=st.integers(0, 60),
    running=st.integers(0, 60),
    assigned=st.integers(0, 4),
    moving=st.integers(0, 4),
    services=st.integers(0, 4),
    kinds=st.integers(1, 8),
    load=st.sampled_from([0.1, 0.6, 1.0, 1.5]),
    closed=st.sampled_from([0.0, 0.3, 1.0]),
    down=st.sampled_from([0.0, 0.3]),
    caps=st.sampled_from([0.0, 0.5, 1.0]),
    unknown_rtt=st.sampled_from([0.0, 0.5]),
    negative=st.sampled_from([0.0, 0.5, 1.0]),
    fees=st.sampled_from([0.0, 0.05]),
    state_gb=st.sampled_from([0.0, 20.0]),
)


def as_bytes(d: Decisions) -> list[bytes]:
    values = [getattr(d, f.name) for f in fields(d)]
    return [v.tobytes() if isinstance(v, np.ndarray) else repr(v).encode() for v in values]


@pytest.mark.parametrize("text", POLICY_TEXTS)
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), mix=MIXES)
def test_decisions_break_no_hard_constraint_and_are_complete(text: str, seed: int, mix: Mix) -> None:
    view = random_view(seed, mix)
    policy = Policy.parse(text)
    d, carry = dispatch(view, PriceCarry.empty(), policy, 7)
    assert check(view, d) == []
    again, carry_again = dispatch(view, PriceCarry.empty(), policy, 7)
    assert as_bytes(d) == as_bytes(again)
    assert carry.pool_prices.tobytes() == carry_again.pool_prices.tobytes()
    assert (np.diff(d.task) > 0).all()
    waits = view.tasks.state == State.WAITING
    waits[d.task[d.action == Action.PLACE]] = False
    assert ((d.unplaced != Reason.NONE) == waits).all()
    if policy.name == "stay":
        assert (d.action == Action.PLACE).all()
    second, _ = dispatch(view, carry, policy, 7)
    assert check(view, second) == []


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), mix=MIXES, text=st.sampled_from(POLICY_TEXTS))
def test_a_carry_of_fewer_pools_still_serves_a_grown_network(seed: int, mix: Mix, text: str) -> None:
    view = random_view(seed, replace(mix, clusters=2))
    grown = random_view(seed, replace(mix, clusters=4))
    policy = Policy.parse(text)
    _, carry = dispatch(view, PriceCarry.empty(), policy, 0)
    d, _ = dispatch(grown, carry, policy, 0)
    assert check(grown, d) == []
