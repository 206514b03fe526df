"""Policies side by side on generated scenarios: ``python -m ops.bench.policies`` (``make bench-policies``).

Every policy runs in closed loop on the same events up to the same end. A pair of runs whose delivered shares differ by
more than ``SAME_WORK`` did not do the same work: it is marked ``~`` and no saving is claimed for it.
"""

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.bench.text import table
from producers.log import LogReader
from producers.scenario import generate, preset_names
from streams.cli.demo import write_log
from streams.cli.runs import route
from streams.embedded import Options, Run
from twin.dispatch.policy import POLICIES, Policy
from twin.score.summary import SAME_WORK

OURS = "price"
BASELINES = tuple(name for name in POLICIES if name not in {OURS, "pinned"})
SCALES = {"edwc": 0.3, "islands": 1.0, "edge-heavy": 1.0, "gpu-crunch": 1.0}
"""Presets and the factor on their number of tasks. The last three were not used to tune a policy."""
SEEDS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy on one scenario. ``total`` is energy + network + moves + penalty, ``share`` what was delivered of it all."""

    preset: str
    seed: int
    policy: str
    total: float
    energy: float
    network: float
    moves: float
    penalty: float
    share: float
    violations: int
    degraded: int
    missed_deadline: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Our policy against a baseline over the seeds of a preset (all presets: ``preset`` is "all").

    Attributes:
        differences: (ours − baseline) / |baseline| by seed.
        comparable: whether both delivered the same work, by seed.
    """

    preset: str
    baseline: str
    differences: tuple[float, ...]
    comparable: tuple[bool, ...]

    def median(self) -> float | None:
        """Median difference of the comparable pairs, None where there are none."""
        same = [d for d, ok in zip(self.differences, self.comparable, strict=True) if ok]
        return statistics.median(same) if same else None

    def median_of_all(self) -> float:
        """Median difference of all pairs, penalties for work not delivered included."""
        return statistics.median(self.differences)


def run_scenario(preset: str, seed: int, scale: float, window_ms: int, policies: tuple[str, ...]) -> list[Outcome]:
    """Generate a scenario and run every policy on it."""
    scenario = generate(preset, seed=seed, scale=scale, window_ms=window_ms)
    with tempfile.TemporaryDirectory(prefix="cpn-bench-") as folder:
        write_log(scenario, Path(folder))
        return [run_policy(Path(folder), preset, seed, name, scenario.end) for name in policies]


def run_policy(log: Path, preset: str, seed: int, policy: str, until: int) -> Outcome:
    """One policy in closed loop on a log."""
    began = time.process_time()
    run = Run(LogReader(log), Options(route=route, policy=Policy.parse(policy), until=until))
    result, score = run.run(), run.score()
    cost = score.cost
    return Outcome(
        preset=preset,
        seed=seed,
        policy=policy,
        total=cost.total,
        energy=cost.energy,
        network=cost.network,
        moves=cost.moves,
        penalty=cost.penalty,
        share=score.delivered.share,
        violations=len(result.violations),
        degraded=result.degraded,
        missed_deadline=score.tasks.missed_deadline,
        cpu_s=time.process_time() - began,
    )


def run_all(
    scales: dict[str, float],
    seeds: Iterable[int],
    policies: tuple[str, ...],
    *,
    window_ms: int = 900_000,
    jobs: int = 2,
    on_done: Callable[[str, int], None] = lambda _preset, _seed: None,
) -> list[Outcome]:
    """Every policy on every preset and seed, ``jobs`` scenarios at a time; in the order of presets, seeds, policies."""
    wanted = [(preset, seed, scale) for preset, scale in scales.items() for seed in seeds]
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = {
            pool.submit(run_scenario, preset, seed, scale, window_ms, policies): (preset, seed)
            for preset, seed, scale in wanted
        }
        for future in as_completed(futures):
            future.result()
            on_done(*futures[future])
        return [outcome for future in futures for outcome in future.result()]


def pairs(outcomes: list[Outcome], ours: str = OURS) -> list[Pair]:
    """``ours`` against every other policy, by preset, then over all of them."""
    runs = {(o.preset, o.seed, o.policy): o for o in outcomes}
    presets = list(dict.fromkeys(o.preset for o in outcomes))
    baselines = [policy for policy in dict.fromkeys(o.policy for o in outcomes) if policy != ours]
    found = []
    for preset in (*presets, "all") if len(presets) > 1 else presets:
        for baseline in baselines:
            at = [key[:2] for key in runs if key[2] == ours and preset in {key[0], "all"}]
            both = [(runs[*key, ours], runs[*key, baseline]) for key in at]
            found.append(
                Pair(
                    preset,
                    baseline,
                    tuple((a.total - b.total) / abs(b.total) for a, b in both),
                    tuple(abs(a.share - b.share) <= SAME_WORK for a, b in both),
                )
            )
    return found


# -------------------------------------------------------------------------------------------------------- output


def preset_table(outcomes: list[Outcome], preset: str) -> str:
    """Totals and delivered shares of a preset: a row a policy, a column a seed; ``~`` other work than ours."""
    mine = [o for o in outcomes if o.preset == preset]
    seeds = sorted({o.seed for o in mine})
    runs = {(o.policy, o.seed): o for o in mine}
    policies = list(dict.fromkeys(o.policy for o in mine))
    rows = []
    for policy in policies:
        cells = []
        for seed in seeds:
            run, ours = runs[policy, seed], runs[policies[0], seed]
            mark = "~" if abs(run.share - ours.share) > SAME_WORK else " "
            cells.append(f"{run.total:,.1f} {run.share:.2%}{mark}")
        of = [runs[policy, seed] for seed in seeds]
        faults = sum(o.violations for o in of), sum(o.degraded for o in of), sum(o.missed_deadline for o in of)
        rows.append([policy, *cells, *map(str, faults), f"{statistics.mean(o.cpu_s for o in of):.1f}"])
    heading = [preset, *(f"seed {seed}" for seed in seeds), "violations", "degraded", "late", "CPU s"]
    return table(heading, rows)


def pair_table(found: list[Pair]) -> str:
    """Paired median difference by preset and baseline."""
    rows = []
    for pair in found:
        median = pair.median()
        below = sum(d < 0 for d, ok in zip(pair.differences, pair.comparable, strict=True) if ok)
        rows.append(
            [
                pair.preset,
                pair.baseline,
                f"{below} of {sum(pair.comparable)}",
                "not the same work" if median is None else f"{median:+.2%}",
                f"{sum(d < 0 for d in pair.differences)} of {len(pair.differences)}",
                f"{pair.median_of_all():+.2%}",
            ]
        )
    heading = ["preset", f"{OURS} against", "below, same work", "median", "below, all", "median with penalties"]
    return table(heading, rows)


def as_json(outcomes: list[Outcome], found: list[Pair]) -> dict[str, Any]:
    """All runs and all pairs."""
    return {
        "runs": [asdict(o) for o in outcomes],
        "pairs": [asdict(p) | {"median": p.median(), "median_of_all": p.median_of_all()} for p in found],
    }


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.policies", description="Policies side by side.")
    parser.add_argument("--preset", choices=preset_names(), action="append", help="may be given again; default: four")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="scenarios of each preset")
    parser.add_argument(
        "--first-seed", type=int, default=1, help="the others follow; others than 1 are days nobody saw"
    )
    parser.add_argument("--baseline", action="append", help="policy to compare with; may be given again; default: all")
    parser.add_argument("--policy", default=OURS, help="the policy that the others are held against")
    parser.add_argument("--jobs", type=int, default=2, help="scenarios at the same time")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    wanted = parse(arguments)
    scales = {name: SCALES.get(name, 1.0) for name in wanted.preset or SCALES}
    policies = (wanted.policy, *(wanted.baseline or BASELINES))

    def on_done(preset: str, seed: int) -> None:
        print(f"{preset} seed {seed} done", file=sys.stderr, flush=True)

    seeds = range(wanted.first_seed, wanted.first_seed + wanted.seeds)
    outcomes = run_all(scales, seeds, policies, jobs=wanted.jobs, on_done=on_done)
    found = pairs(outcomes, wanted.policy)
    if wanted.json:
        print(json.dumps(as_json(outcomes, found), indent=2))
        return
    print("\n\n".join([preset_table(outcomes, preset) for preset in scales]))
    print("~ other delivered share than the first row by more than 0.1 %: not the same work, no saving claimed\n")
    print(pair_table(found))


if __name__ == "__main__":
    main()
