"""The comparison of policies: small scenarios for real, and the arithmetic of pairs on made-up outcomes."""

import pytest

from ops.bench import policies
from ops.bench.policies import Outcome, Pair


def outcome(policy: str, seed: int, total: float, share: float) -> Outcome:
    return Outcome(
        preset="tiny", seed=seed, policy=policy, total=total, energy=total, network=0.0, moves=0.0, penalty=0.0,
        share=share, violations=0, degraded=0, missed_deadline=0, cpu_s=1.0,
    )  # fmt: skip


def test_on_small_scenarios_price_breaks_no_rule_and_costs_no_more_than_the_baselines() -> None:
    outcomes = policies.run_all({"tiny": 1.0}, (1, 2), ("price", "cost-greedy", "round-robin"), jobs=1)
    assert [(o.policy, o.seed) for o in outcomes] == [
        (policy, seed) for seed in (1, 2) for policy in ("price", "cost-greedy", "round-robin")
    ]
    assert all(o.violations == o.degraded == 0 for o in outcomes)
    for pair in policies.pairs(outcomes):
        assert max(pair.differences) <= 0.001, f"price is above {pair.baseline}: {pair.differences}"
        assert pair.median_of_all() < 0


def test_a_pair_that_did_not_do_the_same_work_gives_no_saving() -> None:
    runs = [
        outcome("price", 1, 90.0, 0.99), outcome("stay", 1, 100.0, 0.99),
        outcome("price", 2, 50.0, 0.99), outcome("stay", 2, 100.0, 0.97),
        outcome("price", 3, 97.0, 0.99), outcome("stay", 3, 100.0, 0.9895),
    ]  # fmt: skip
    (pair,) = policies.pairs(runs)
    assert pair.comparable == (True, False, True)
    assert pair.differences == pytest.approx((-0.10, -0.50, -0.03))
    assert pair.median() == pytest.approx(-0.065)
    assert pair.median_of_all() == pytest.approx(-0.10)
    assert "50.0 99.00%" in policies.preset_table(runs, "tiny")
    assert "100.0 97.00%~" in policies.preset_table(runs, "tiny")


def test_without_a_comparable_pair_there_is_no_median() -> None:
    assert Pair("tiny", "stay", (-0.5,), (False,)).median() is None
    assert "not the same work" in policies.pair_table([Pair("tiny", "stay", (-0.5,), (False,))])


def test_a_negative_total_is_compared_by_its_distance() -> None:
    (pair,) = policies.pairs([outcome("price", 1, -12.0, 1.0), outcome("stay", 1, -10.0, 1.0)])
    assert pair.differences == pytest.approx((-0.2,))
