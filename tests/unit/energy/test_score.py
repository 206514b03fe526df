"""What a run delivered and how well, against plain loops over what happened."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.energy.worlds import HOUR, MINUTE, T0, World
from twin import events as ev
from twin.energy.ledger import Ledger
from twin.score import History, Score, compare, score
from twin.score.quality import percentile
from twin.score.work import run_hours
from twin.view import Rates

WINDOW = 15 * MINUTE


class Run:
    """A world that is scored: two clusters, links and fees between their nodes."""

    def __init__(self, world: World) -> None:
        self.world = world
        pool = ev.Pool(
            pool_id="gpu",
            accelerator=ev.Accelerator(model="A100"),
            nodes=8,
            accelerators_per_node=8,
            cpu_cores=1000.0,
            w_per_accelerator=ev.IdleMax(idle=100.0, max=400.0),
            w_per_core=ev.IdleMax(idle=1.0, max=5.0),
            tokens_per_s={"chat": 1000.0},
        )
        for zone in ("NL", "FR"):
            world.cluster(zone.lower(), zone, pools=(pool,), pue=ev.PueCurve(a=1.0), idle_kw=1.0)
            world.price(zone, T0, {"NL": 100.0, "FR": 50.0}[zone], hours=48)
        world.send(ev.NetworkLink, src="NL", dst="FR", rtt_ms=ev.Percentiles(p50=12.0))
        world.send(ev.NetworkFee, src="FR", dst="NL", per_gb=0.01, currency="EUR")
        self.ledger = Ledger(world.mirror, "EUR", "day_ahead", T0)
        self.history = History()
        self.t = T0

    def windows(self, n: int = 1) -> None:
        for _ in range(n):
            self.t = self.world.clock(self.t + WINDOW)
            self.ledger.book(self.world.mirror, self.t)
            self.history.observe(self.world.mirror)

    def score(self, until: int | None = None) -> Score:
        return score(self.history, self.ledger, until=until or self.t, currency="EUR", rates=Rates())


@pytest.fixture
def run(world: World) -> Run:
    return Run(world)


def gpus(n: int) -> ev.Request:
    return ev.Request(accelerators=n)


# ----------------------------------------------------------------------------------------------------------- work


def test_a_finished_task_delivers_all_of_it_and_its_cost_is_split(run: Run) -> None:
    run.world.task("x", power_w=4000.0, data_in_gb=5.0, data_rate_gbph=1.0)
    run.world.started("x", T0, "fr")
    run.world.ended("x", T0 + HOUR, "fr")
    run.windows(5)
    found = run.score()
    assert (found.energy_kwh, found.unpriced_kwh) == (4.0, 0.0)
    assert found.cost.energy == pytest.approx(0.2)
    assert found.cost.network == pytest.approx(0.06)
    assert found.cost.idle == pytest.approx(1.25 * 0.15)
    assert found.cost.total == pytest.approx(0.26), "idle power is outside"
    assert found.delivered.share == 1.0
    assert (found.delivered.core_h, found.delivered.accelerator_h) == (16.0, 0.0)
    assert found.unit_cost.core_h == pytest.approx(0.26 / 16)
    assert found.unit_cost.accelerator_h is None
    assert found.tasks == msgspec.structs.replace(found.tasks, submitted=1, started=1, finished=1, unplaced=0)


def test_work_that_waits_or_still_runs_is_missing_up_to_the_end_of_the_comparison(run: Run) -> None:
    run.world.task("waits", request=gpus(2), est_duration_s=7200.0, priority=2)
    run.world.task("late", request=gpus(1), est_duration_s=7200.0, priority=1)
    run.world.started("late", T0 + 30 * MINUTE, "nl", pool="gpu")
    run.windows(4)
    found = run.score()
    assert found.delivered.deliverable_accelerator_h == pytest.approx(2 + 1)
    assert found.delivered.accelerator_h == pytest.approx(0.5)
    assert found.cost.penalty == pytest.approx(5 * (2 * 5 * 1.0 + 1 * 2 * 0.5))
    assert found.delivered.share == pytest.approx(0.5 / 3)
    assert found.tasks.unplaced == 1


def test_a_cancelled_task_is_wanted_only_until_then_and_one_may_not_start_earlier_than_allowed(run: Run) -> None:
    run.world.task("gone", request=gpus(1), est_duration_s=7200.0)
    run.world.send(ev.TaskCancelled, task_id="gone", t=T0 + 15 * MINUTE)
    run.world.task("later", request=gpus(1), est_duration_s=7200.0, earliest_start=T0 + 45 * MINUTE)
    run.world.task("after", request=gpus(1), t=T0 + 2 * HOUR)
    run.windows(4)
    found = run.score()
    assert found.delivered.deliverable_accelerator_h == pytest.approx(0.5)
    assert (found.tasks.submitted, found.tasks.unplaced, found.tasks.cancelled) == (2, 1, 1)


@pytest.mark.parametrize(
    ("interruptible", "how", "reported", "kept_h"),
    [
        (False, ev.TaskFailed, 0.5, 0.0),
        (True, ev.TaskFailed, 0.125, 0.25),
        (True, ev.TaskReleased, 0.125, 0.25),
        (False, ev.TaskReleased, None, 0.5),
    ],
)
def test_what_a_run_leaves_is_what_its_end_allows(
    run: Run, interruptible: bool, how: type, reported: float | None, kept_h: float
) -> None:
    run.world.task("x", request=gpus(1), est_duration_s=7200.0, interruptible=interruptible)
    run.world.started("x", T0, "nl", pool="gpu")
    run.world.ended("x", T0 + 30 * MINUTE, "nl", how=how, done_share=reported)
    run.windows(4)
    assert run.score().delivered.accelerator_h == pytest.approx(kept_h)
    run.world.started("x", T0 + HOUR, "fr", pool="gpu", attempt=2)
    run.windows(2)
    assert run.score().delivered.accelerator_h == pytest.approx(kept_h + 0.5)


def test_a_running_task_is_credited_its_run_time_or_its_reported_share(run: Run) -> None:
    run.world.task("x", request=gpus(1), est_duration_s=7200.0)
    run.world.started("x", T0, "nl", pool="gpu")
    run.world.send(ev.TaskProgress, task_id="x", attempt=1, cluster_id="nl", t=T0 + MINUTE, done_share=0.4)
    run.windows(1)
    assert run.score().delivered.accelerator_h == pytest.approx(0.25), "never more than could have been delivered"
    run.windows(3)
    assert run.score().delivered.accelerator_h == pytest.approx(1.0)


def test_a_score_up_to_an_earlier_time_forgets_what_came_after(run: Run) -> None:
    run.world.task("x", request=gpus(1))
    run.world.started("x", T0 + 30 * MINUTE, "nl", pool="gpu")
    run.world.ended("x", T0 + 90 * MINUTE, "nl")
    run.windows(8)
    found = run.score(T0 + 30 * MINUTE)
    assert (found.tasks.finished, found.delivered.accelerator_h) == (0, 0.0)
    assert found.delivered.deliverable_accelerator_h == pytest.approx(0.5)


def plain_work(task: dict[str, Any], until: int) -> tuple[float, float]:
    """(deliverable, delivered) hours of one task: the rule, read aloud."""
    start = max(task["submitted"], task["earliest"] or 0)
    stop = min(until, task["cancelled"] or until)
    deliverable = min(task["est_s"] / 3600, max(0, stop - start) / HOUR)
    done = 0.0
    for began, ended, how, share in task["runs"]:
        if began >= until:
            continue
        reported, ran = (share or 0.0) * task["est_s"] / 3600, max(0, min(ended or until, until) - began) / HOUR
        if ended is None or ended > until:
            done = max(reported, done + ran)
        elif how == "finished":
            return deliverable, deliverable
        elif how == "failed":
            done = reported if task["interruptible"] else 0.0
        else:
            done = reported or done + ran
    return deliverable, min(done, deliverable)


def test_work_of_many_tasks_is_that_of_a_plain_loop(run: Run) -> None:
    rng = np.random.default_rng(3)
    hows = {"finished": ev.TaskFinished, "failed": ev.TaskFailed, "released": ev.TaskReleased}
    tasks = {}
    for i in range(120):
        t, runs = T0 + int(rng.integers(0, 60)) * MINUTE, []
        task: dict[str, Any] = {"submitted": t, "est_s": float(rng.integers(600, 9000)), "runs": runs}
        task["earliest"] = int(t + rng.integers(0, HOUR)) if rng.random() < 0.3 else None
        task["cancelled"] = int(t + rng.integers(0, HOUR)) if rng.random() < 0.1 else None
        task["interruptible"] = bool(rng.random() < 0.5)
        for n in range(int(rng.integers(0, 3))):
            began = t = t + int(rng.integers(0, 40)) * MINUTE
            t += int(rng.integers(1, 40)) * MINUTE
            last = n == 1 or rng.random() < 0.3
            how = str(rng.choice(["finished", "failed"] if last else ["failed", "released"]))
            share = float(rng.integers(0, 8)) / 8 if rng.random() < 0.5 else None
            runs.append((began, t if rng.random() < 0.8 or not last else None, how, share))
            if last:
                break
        tasks[f"t{i}"] = task
    for name, task in tasks.items():
        run.world.task(
            name, t=task["submitted"], est_duration_s=task["est_s"], request=gpus(1),
            earliest_start=task["earliest"], interruptible=task["interruptible"],
        )  # fmt: skip
        if task["cancelled"]:
            run.world.send(ev.TaskCancelled, task_id=name, t=task["cancelled"])
        for attempt, (began, ended, how, share) in enumerate(task["runs"], 1):
            run.world.started(name, began, "nl", pool="gpu", attempt=attempt)
            if ended is not None:
                run.world.ended(name, ended, "nl", how=hows[how], attempt=attempt, done_share=share)
            elif share is not None:
                run.world.send(
                    ev.TaskProgress, task_id=name, attempt=attempt, cluster_id="nl", t=began, done_share=share
                )  # fmt: skip
    run.windows(12)
    for until in (run.t, T0 + 100 * MINUTE):
        found = run.score(until).delivered
        wanted = [plain_work(task, until) for task in tasks.values() if task["submitted"] < until]
        assert found.deliverable_accelerator_h == pytest.approx(sum(a for a, _ in wanted))
        assert found.accelerator_h == pytest.approx(sum(b for _, b in wanted))
        assert 0.2 < found.share < 0.95


# -------------------------------------------------------------------------------------------------------- quality


def plain_percentile(pairs: list[tuple[float, int]], share: float) -> float | None:
    every = sorted(value for value, weight in pairs for _ in range(weight))
    if not every:
        return None
    return next(v for i, v in enumerate(every, 1) if i >= share * len(every))


@given(
    st.lists(st.tuples(st.integers(0, 5).map(float), st.integers(0, 4)), max_size=8), st.sampled_from([0.25, 0.5, 1.0])
)
def test_a_percentile_is_the_lowest_value_that_enough_weight_lies_at_or_below(
    pairs: list[tuple[float, int]], share: float
) -> None:
    values, weights = (np.array([pair[k] for pair in pairs], np.float64) for k in (0, 1))
    assert percentile(values, weights, share) == plain_percentile(pairs, share)


def test_rtt_is_weighted_by_hours_and_a_limit_is_kept_by_hours_too(run: Run) -> None:
    run.world.task("near", latency_ms=5.0)
    run.world.started("near", T0, "nl")
    run.world.ended("near", T0 + HOUR, "nl")
    run.world.task("far", latency_ms=10.0)
    run.world.started("far", T0, "fr")
    run.world.ended("far", T0 + 30 * MINUTE, "fr")
    run.world.task("free")
    run.world.started("free", T0, "fr")
    run.world.ended("free", T0 + 15 * MINUTE, "fr")
    run.world.task("never", latency_ms=50.0, est_duration_s=1800.0)
    run.windows(5)
    found = run.score()
    assert found.rtt_ms == {"p50": 0.0, "p95": 12.0}
    assert found.slo == pytest.approx(1.0 / 2.0)


def test_an_unknown_rtt_keeps_no_limit_and_is_left_out_of_percentiles(run: Run) -> None:
    run.world.task("x", origin="DE", latency_ms=100.0)
    run.world.started("x", T0, "nl")
    run.windows(2)
    assert (run.score().rtt_ms["p50"], run.score().slo) == (None, 0.0)
    run.world.send(ev.NetworkLink, src="nl", dst="DE", rtt_ms=ev.Percentiles(p50=3.0))
    run.world.send(ev.NetworkLink, src="NL", dst="DE", rtt_ms=ev.Percentiles(p50=7.0))
    run.windows(1)
    assert (run.score().rtt_ms["p50"], run.score().slo) == (7.0, 1.0)


def test_waits_are_from_submission_to_the_first_start_and_by_kind(run: Run) -> None:
    for i, wait in enumerate((1, 2, 3, 40)):
        run.world.task(f"b{i}", kind="batch")
        run.world.started(f"b{i}", T0 + wait * MINUTE, "nl")
    run.world.task("edge", kind="edge")
    run.world.started("edge", T0 + MINUTE, "nl")
    run.world.ended("edge", T0 + 2 * MINUTE, "nl", how=ev.TaskFailed)
    run.world.started("edge", T0 + 50 * MINUTE, "nl", attempt=2)
    run.windows(5)
    found = run.score().wait_s
    assert (found["p50"], found["p95"]) == (120.0, 2400.0)
    assert found["by_kind"] == {
        "training": {"p50": None, "p95": None},
        "batch": {"p50": 120.0, "p95": 2400.0},
        "inference": {"p50": None, "p95": None},
        "edge": {"p50": 60.0, "p95": 60.0},
    }


def test_a_deadline_is_missed_when_it_has_passed_without_a_finish_or_a_cancellation(run: Run) -> None:
    for name, deadline in (("kept", 40), ("late", 20), ("never", 50), ("gone", 50), ("open", 600)):
        run.world.task(name, deadline=T0 + deadline * MINUTE)
    for name in ("kept", "late"):
        run.world.started(name, T0, "nl")
        run.world.ended(name, T0 + 30 * MINUTE, "nl")
    run.world.send(ev.TaskCancelled, task_id="gone", t=T0 + 10 * MINUTE)
    run.windows(5)
    assert run.score().tasks.missed_deadline == 2


def test_moves_are_counted_over_the_whole_run_and_rows_that_were_freed(run: Run) -> None:
    run.world.task("x", state_gb=30.0)
    run.world.started("x", T0, "nl")
    for attempt, cluster in ((2, "fr"), (3, "fr"), (4, "nl")):
        run.windows(2)
        run.world.ended("x", run.t, "?", how=ev.TaskReleased, attempt=attempt - 1)
        run.world.started("x", run.t, cluster, attempt=attempt)
    run.world.ended("x", run.t + HOUR, "nl", attempt=4)
    run.windows(110)
    assert not any(shard.tables["tasks"].ids.row_of for shard in run.world.mirror.of("tasks"))
    found = run.score()
    assert (found.moves.total, found.moves.state_gb) == (2, 60.0)
    assert found.cost.moves == pytest.approx(0.6)
    assert found.tasks.finished == 1


# ------------------------------------------------------------------------------------------------------- services


def test_tokens_served_count_per_interval_of_demand_and_never_beyond_it(run: Run) -> None:
    for hour, wanted in enumerate((2000.0, 500.0)):
        run.world.send(
            ev.ServiceDemand, service="s", origin="NL", start=T0 + hour * HOUR, end=T0 + (hour + 1) * HOUR,
            tokens_out_per_s=wanted, model="chat", compatible=["A100"],
        )  # fmt: skip
    for t, cluster, rate in ((0, "nl", 600.0), (0, "fr", 400.0), (30, "fr", 900.0), (90, "nl", 0.0), (90, "fr", 300.0)):
        run.world.send(
            ev.ServiceServing, cluster_id=cluster, pool_id="gpu", service="s", origin="NL", tokens_per_s=rate,
            t=T0 + t * MINUTE,
        )  # fmt: skip
        run.windows(int(t < 30 and cluster == "fr") * 2 + int(t == 30) * 4)
    run.windows(2)
    found = run.score()
    first = (1000 * 0.5 + 1500 * 0.5) * 3600
    second = 500 * 3600  # 1500 and then 300: a mean of 900 over the interval, of which 500 were wanted
    assert found.services.demanded_tokens == pytest.approx(2500 * 3600)
    assert found.services.served_tokens == pytest.approx(first + second)
    assert found.delivered.accelerator_h == pytest.approx((first + second) / 1000 / 3600)
    assert found.cost.penalty == pytest.approx(5 * (2500 * 3600 - first - second) / 1000 / 3600)
    assert found.unit_cost.accelerator_h == pytest.approx((found.cost.total - found.cost.penalty) / (1250 + 500) * 1000)


def test_demand_that_no_pool_can_serve_is_shown_apart(run: Run) -> None:
    run.world.send(
        ev.ServiceDemand, service="s", origin="NL", start=T0, end=T0 + HOUR, tokens_out_per_s=10.0, model="chat",
        compatible=["H100"],
    )  # fmt: skip
    run.windows(4)
    found = run.score()
    assert (found.services.no_speed_tokens, found.services.served_share, found.cost.penalty) == (36_000.0, 0.0, 0.0)


# ----------------------------------------------------------------------------------------------------- the record


def test_an_empty_run_has_a_score_with_nothing_in_it(run: Run) -> None:
    found = score(History(), None, until=T0, currency="EUR", rates=Rates())
    assert found.cost.total == 0.0
    assert (found.slo, found.wait_s["p50"], found.delivered.share) == (None, None, 1.0)


def test_a_score_encodes_to_the_json_that_runs_print(run: Run) -> None:
    run.windows(1)
    body = msgspec.json.decode(msgspec.json.encode(run.score()))
    assert body["cost"].keys() == {"energy", "network", "moves", "penalty", "idle", "total"}
    assert body["carbon_kg"] == {"location": 0.0, "market": None, "unknown_kwh": 0.0}
    assert body["tasks"].keys() >= {"submitted", "started", "finished", "unplaced", "missed_deadline"}
    assert body["delivered"].keys() >= {"core_h", "accelerator_h", "share"}
    assert body.keys() >= {"currency", "energy_kwh", "unpriced_kwh", "wait_s", "rtt_ms", "slo", "moves", "services"}


def test_a_saving_is_claimed_only_for_the_same_work(run: Run) -> None:
    run.world.task("x", power_w=4000.0)
    run.world.started("x", T0, "nl")
    run.world.ended("x", T0 + HOUR, "nl")
    run.windows(5)
    one = run.score()

    def other(total: float, share: float) -> Score:
        cost = msgspec.structs.replace(one.cost, total=total)
        delivered = msgspec.structs.replace(one.delivered, share=share)
        return msgspec.structs.replace(one, cost=cost, delivered=delivered)

    rows = compare([one, other(0.3, 1.0), other(0.3, 0.9985), other(0.3, 0.9995), other(-1.0, 1.0)])
    assert [row.same_work for row in rows] == [True, True, False, True, True]
    assert [row.saving for row in rows] == [0.0, pytest.approx(0.25), None, pytest.approx(0.25), pytest.approx(3.5)]
    assert compare(rows := [one, other(-1.0, 1.0)], against=1)[0].saving is None
    assert compare(rows)[0].per_core_h == one.unit_cost.core_h


def test_the_history_is_the_same_from_bases_and_from_deltas_and_agrees_with_the_ledger(
    new_world: Callable[..., World],
) -> None:
    scores, ledgers = [], []
    for every_cut_a_base in (False, True):
        run = Run(new_world(every_cut_a_base=every_cut_a_base))
        rng = np.random.default_rng(11)
        for window in range(30):
            name = f"t{window}"
            run.world.task(name, power_w=1000.0, request=gpus(1), est_duration_s=36_000.0, t=run.t)
            run.world.started(name, run.t, "nl", pool="gpu")
            if rng.random() < 0.5:
                run.world.ended(name, run.t + 7 * MINUTE, "nl", how=ev.TaskPaused)
                run.world.started(name, run.t + 9 * MINUTE, "nl", pool="gpu")
                run.world.ended(name, run.t + int(rng.integers(10, 50)) * MINUTE, "nl", how=ev.TaskReleased)
            if rng.random() < 0.5:
                run.world.started(name, run.t + 50 * MINUTE, "fr", pool="gpu", attempt=2)
            run.windows(1)
        scores.append(run.score())
        ledgers.append(run.ledger.sha())
        assert run.score().energy_kwh == pytest.approx(float(run_hours(run.history, run.t).sum()))
        assert run.score().cost.moves == 0.0
    assert scores[0] == scores[1]
    assert ledgers[0] == ledgers[1]
