"""Speed of the distributed runtime: ``python -m ops.bench.streaming`` (``make bench-stream``). README.md says what is measured and how."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable

from ops.bench import deciding, live, logs
from ops.bench.rig import REPOSITORY, Figures, Rig, preload, rig
from ops.bench.text import table

PARTITIONS = 4
WHO = ("ours", "aiokafka", "faust")
BODIES: dict[str, logs.Body] = {"flat": logs.flat_body, "pools": logs.pools_body}
PER_MILLION_S = {"flat": 3.0, "pools": 6.0}
"""Targets: CPU seconds per million records of our worker …"""
RECORDS_PER_S = {"flat": 250_000}
LATENCY_MS, CORES, RECOVERY_S = 60.0, 0.2, 2.0
WINDOW_S, WINDOW_MB = 0.5, 1536.0
"""… and of 10^6 live tasks."""
SECTIONS = (*BODIES, "workers", "latency", "recovery", "stored", "windows")


def contestant(rig: Rig, who: str, namespace: str, records: int) -> Figures:
    """Run one contestant in a process of its own, on an empty Redis.

    Raises:
        SystemExit: it failed.
    """
    rig.redis.flushall()
    rig.nobody_decides(namespace)
    command = [
        sys.executable,
        "-m",
        "ops.bench.contestants",
        who,
        rig.broker.bootstrap,
        rig.server.url,
        namespace,
        str(records),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False, timeout=1200)
    if done.returncode:
        raise SystemExit(f"{who} failed with exit code {done.returncode}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures | {"who": who, "per_million": figures["cpu_s"] * 1e6 / figures["records"]}


def side_by_side(rig: Rig, kind: str, wanted: argparse.Namespace) -> list[Figures]:
    """All contestants in turn, again and again; of each the run with the median CPU time."""
    found: dict[str, list[Figures]] = {who: [] for who in WHO}
    counts = {who: wanted.few if who == "faust" else wanted.records for who in WHO}
    for who, count in counts.items():
        if who != "aiokafka":
            rig.topics(f"{kind}-{who}", telemetry=PARTITIONS)
            log = logs.telemetry(count, wanted.entities, BODIES[kind])
            preload(rig.broker.bootstrap, f"{kind}-{who}.telemetry", PARTITIONS, log)
    for _ in range(wanted.repeat):
        for who, count in counts.items():
            found[who].append(contestant(rig, who, f"{kind}-{'ours' if who == 'aiokafka' else who}", count))
    medians = [sorted(runs, key=lambda run: float(run["cpu_s"]))[(len(runs) - 1) // 2] for runs in found.values()]
    return [run | {"kind": kind} for run in medians]


# -------------------------------------------------------------------------------------------------------- output


def verdict(value: float, target: float, unit: str = "", *, least: bool = False) -> str:
    """A target and whether it is kept."""
    kept = value >= target if least else value <= target
    return f"{'≥' if least else '≤'} {target:,g}{unit} {'reached' if kept else 'MISSED'}"


def contest(results: list[Figures]) -> str:
    """CPU first: it survives a busy machine. the worker's by stage: its thread that fetches, then the one that folds."""
    heading = [
        "record",
        "who",
        "CPU s per million",
        "records/s",
        "records",
        "RSS MB",
        "transport",
        "decode",
        "fold",
        "write",
        "rest",
        "target",
    ]
    by_hand = {r["kind"]: r["per_million"] for r in results if r["who"] == "aiokafka"}
    lines = []
    for r in results:
        kind, rate = r["kind"], r["records"] / r["wall_s"]
        verdicts = []
        if r["who"] == "ours":
            verdicts = [verdict(r["per_million"], PER_MILLION_S[kind])]
            if kind in RECORDS_PER_S:
                verdicts += [
                    verdict(rate, RECORDS_PER_S[kind], "/s", least=True),
                    f"by hand {'reached' if r['per_million'] <= by_hand[kind] else 'MISSED'}",
                ]
        split = ["–"] * 5
        if "cpu_s_by_stage" in r:
            seconds = [r["other_threads_s"], *r["cpu_s_by_stage"].values()]
            split = [f"{s * 1e6 / r['records']:.2f}" for s in (*seconds, r["cpu_s"] - sum(seconds))]
        lines.append(
            [kind, r["who"], f"{r['per_million']:.2f}", f"{rate:,.0f}", f"{r['records']:,}", f"{r['rss_mb']:.0f}", *split,
             ", ".join(verdicts) or "–"]
        )  # fmt: skip
    return table(heading, lines)


def shared(results: list[Figures]) -> str:
    """Two workers beside one."""
    heading = ["workers", "records/s", "CPU s per million", "cores", "partitions"]
    return table(
        heading,
        [
            [str(r["workers"]), f"{r['records_per_s']:,.0f}", f"{r['per_million']:.2f}", f"{r['cores']:.2f}",
             "+".join(map(str, r["partitions"]))]
            for r in results
        ],
    )  # fmt: skip


def late(r: Figures) -> str:
    """Latency."""
    return (
        f"latency at {r['rate']:,}/s: p50 {r['p50_ms']:.0f} ms, p99 {r['p99_ms']:.0f} ms ({verdict(r['p99_ms'], LATENCY_MS, ' ms')}), "
        f"max {r['max_ms']:.0f} ms; worker {r['cores']:.2f} core ({verdict(r['cores'], CORES)}), {r['rss_mb']:.0f} MB"
    )


def recovered(r: Figures) -> str:
    """Recovery."""
    return (
        f"recovery after SIGKILL, {r['n']} times at {r['rate']:,}/s: median {r['median']:.1f} s "
        f"({verdict(r['median'], RECOVERY_S, ' s')}), max {r['max']:.1f} s; imports alone {r['imports_s']:.1f} s"
    )


def in_redis(r: Figures) -> str:
    """Bytes."""
    return f"bytes in Redis: {r['task']:.0f} a task, {r['cluster']:.0f} a cluster"


def decided(results: list[Figures]) -> str:
    """Windows by the number of live tasks; the targets are for a million."""
    heading = [
        "live tasks",
        "changed",
        "windows",
        "p50 s",
        "max s",
        "fetch",
        "decide",
        "publish",
        "RSS MB",
        "first s",
        "target",
    ]
    lines = []
    for r in results:
        targets = f"{verdict(r['p50_s'], WINDOW_S, ' s')}, {verdict(r['rss_mb'], WINDOW_MB, ' MB')}"
        stages = [f"{r[f'{stage}_s']:.2f}" for stage in deciding.STAGES]
        lines.append(
            [f"{r['tasks']:,}", f"{r['changed']:,}", str(r["windows"]), f"{r['p50_s']:.2f}", f"{r['max_s']:.2f}", *stages,
             f"{r['rss_mb']:,.0f}", f"{r['first_s']:.1f}", targets]
        )  # fmt: skip
    return table(heading, lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.streaming", description=__doc__)
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be given again")
    parser.add_argument(
        "--records", type=int, default=2_000_000, help="of the contest (pools: as many) and of the workers"
    )
    parser.add_argument("--few", type=int, default=50_000, help="records for stock Faust, which is slow")
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each contestant; the median by CPU is shown")
    parser.add_argument("--seconds", type=float, default=15.0, help="of the measurement of latency")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--tasks", type=int, nargs="+", default=[100_000], help="live tasks; 1000000 takes minutes")
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print, section by section."""
    wanted = parse(arguments)
    only = wanted.only or SECTIONS
    found: Figures = {"load_before": os.getloadavg()[0], "cores": os.cpu_count()}
    show: Callable[[str], None] = (lambda _: None) if wanted.json else (lambda text: print(text, flush=True))
    show(f"load of the machine before: {found['load_before']:.1f} on {found['cores']} cores")
    with rig() as on:
        for kind in (kind for kind in BODIES if kind in only):
            found[kind] = side_by_side(on, kind, wanted)
            show(contest(found[kind]))
        if "workers" in only:
            found["workers"] = live.workers(on, wanted.records, wanted.entities)
            show(shared(found["workers"]))
        if "latency" in only:
            found["latency"] = live.latency(on, 5000, wanted.seconds, wanted.entities)
            show(late(found["latency"]))
        if "recovery" in only:
            found["recovery"] = live.recovery(on, wanted.kills, 2000, wanted.entities)
            show(recovered(found["recovery"]))
        if "stored" in only:
            found["stored"] = live.stored(on, 2 * wanted.entities, wanted.entities)
            show(in_redis(found["stored"]))
        if "windows" in only:
            found["windows"] = [deciding.windows(on, tasks, 3000, wanted.windows) for tasks in wanted.tasks]
            show(decided(found["windows"]))
    found["load_after"] = os.getloadavg()[0]
    if wanted.json:
        print(json.dumps(found, indent=2))
    show(f"load after: {found['load_after']:.1f}")


if __name__ == "__main__":
    main()
