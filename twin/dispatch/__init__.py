"""Deciding where work runs: ``dispatch(view, carry, policy, seed) -> (Decisions, PriceCarry)``.

Pure and reproducible to the bit: no BLAS, no libm, stable sorts, ties to the lowest index.
"""

from twin.dispatch.baselines import baseline
from twin.dispatch.check import Violation, check, violations
from twin.dispatch.policy import POLICIES, Policy
from twin.dispatch.price import least_cost
from twin.view import Decisions, PriceCarry, View

__all__ = ["POLICIES", "Policy", "Violation", "check", "dispatch", "violations"]


def dispatch(view: View, carry: PriceCarry, policy: Policy, seed: int) -> tuple[Decisions, PriceCarry]:
    """Return what ``policy`` decides on ``view``, and what it keeps for the next window.

    A function of its arguments alone. ``seed`` only turns ties of rounding.
    """
    if policy.name == "price":
        return least_cost(view, carry, policy, seed)
    return baseline(view, carry, policy)
