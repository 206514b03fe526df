"""Speed of the embedded runtime: ``python -m ops.bench`` (``make bench``). README.md says what is measured and how."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.bench import logs
from ops.bench.text import table
from producers.importers import import_dataset
from producers.log_manifest import FileFormat

REPOSITORY = Path(__file__).resolve().parents[2]
FILES: tuple[FileFormat, ...] = ("jsonl", "parquet")
TARGETS = {("flat", "jsonl"): 150_000, ("flat", "parquet"): 300_000}
"""Events per second on one core."""
FORTNIGHT_S = 60.0
KINDS = ("flat", "pools", "tasks")
FORTNIGHT_POLICIES = ("pinned:NL", "price")

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure: telemetry records, entities that send them, repeats of each measurement."""

    records: int
    entities: int
    repeat: int


def child(*arguments: str) -> Figures:
    """Run one measurement in a fresh process.

    Raises:
        SystemExit: it failed; its own words are on stderr.
    """
    command = [sys.executable, "-m", "ops.bench.measure", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {done.returncode}")
    figures: Figures = json.loads(done.stdout)
    return figures


def median(runs: list[Figures]) -> Figures:
    """The run with the median CPU time: its figures belong together, the mean of several would not."""
    return sorted(runs, key=lambda run: float(run["cpu_s"]))[(len(runs) - 1) // 2]


def write_log(kind: str, files: FileFormat, folder: Path, size: Size) -> tuple[Path, logs.Stream]:
    """Make the log of ``kind``; records of tasks and pools are fewer, since each costs more."""
    path = folder / f"{kind}-{files}"
    if kind == "tasks":
        return path, logs.write_lifecycles(path, files, size.records * 3 // 10)
    body, records = (logs.flat_body, size.records) if kind == "flat" else (logs.pools_body, size.records * 3 // 10)
    return path, logs.write_telemetry(path, files, records, size.entities, body)


def measure(kind: str, files: FileFormat, folder: Path, size: Size) -> Figures:
    """One log through the twin and, beside it, through the plain loop."""
    path, stream = write_log(kind, files, folder, size)
    ours = median([child("replay", str(path)) for _ in range(size.repeat)])
    plain = child("plain", str(path))
    return ours | {
        "kind": kind,
        "files": files,
        "bytes_per_record": stream.bytes / stream.records,
        "cpu_us": {stage: s * 1e6 / ours["events"] for stage, s in ours["cpu_s_by_stage"].items()},
        "plain_events_per_cpu_s": plain["events_per_cpu_s"],
        "times_plain": ours["events_per_cpu_s"] / plain["events_per_cpu_s"],
        "target_events_per_s": TARGETS.get((kind, files)),
    }


def fortnight(data: Path, folder: Path) -> list[Figures]:
    """Two weeks of real jobs and prices at 5-minute windows, closed loop."""
    log = folder / "fortnight"
    import_dataset(data, log)
    rows = []
    for policy in FORTNIGHT_POLICIES:
        run = child("closed", str(log), policy)
        per_window = {stage: s * 1e3 / run["windows"] for stage, s in run["cpu_s_by_stage"].items()}
        rows.append(run | {"policy": policy, "cpu_ms_per_window": per_window, "target_s": FORTNIGHT_S})
    return rows


# -------------------------------------------------------------------------------------------------------- output


def verdict(by_wall: bool, by_cpu: bool) -> str:
    """What became of a target; where others use the machine too, CPU time alone may keep it."""
    return "reached" if by_wall else "by CPU time only" if by_cpu else "MISSED"


def event_rows(results: list[Figures]) -> str:
    """Logs by speed and by CPU time of an event."""
    stages = ("read", "decode", "fold", "cut", "dispatch", "other")
    heading = [
        "log",
        "records",
        "bytes",
        "events/s",
        "per CPU s",
        *(f"{stage} µs" for stage in stages),
        "all µs",
        "RSS MB",
        "× plain",
        "target",
    ]
    rows = []
    for r in results:
        target = r["target_events_per_s"]
        reached = "–"
        if target is not None:
            reached = f"{target:,} {verdict(r['events_per_s'] >= target, r['events_per_cpu_s'] >= target)}"
        rows.append(
            [
                f"{r['kind']} {r['files']}", f"{r['events']:,}", f"{r['bytes_per_record']:.0f}",
                f"{r['events_per_s']:,.0f}", f"{r['events_per_cpu_s']:,.0f}",
                *(f"{r['cpu_us'][stage]:.2f}" for stage in stages), f"{1e6 / r['events_per_cpu_s']:.2f}",
                f"{r['rss_mb']:.0f}", f"{r['times_plain']:.1f}", reached,
            ]
        )  # fmt: skip
    return table(heading, rows)


def fortnight_rows(results: list[Figures]) -> str:
    """Policies by the time of a window."""
    stages = ("read", "decode", "fold", "plant", "cut", "dispatch", "other")
    heading = [
        "fortnight",
        "windows",
        "events",
        "wall s",
        "CPU s",
        *(f"{stage} ms" for stage in stages),
        "RSS MB",
        "target",
    ]
    rows = []
    for r in results:
        reached = verdict(r["wall_s"] < r["target_s"], r["cpu_s"] < r["target_s"])
        rows.append(
            [
                r["policy"], f"{r['windows']:,}", f"{r['events']:,}", f"{r['wall_s']:.1f}", f"{r['cpu_s']:.1f}",
                *(f"{r['cpu_ms_per_window'][stage]:.2f}" for stage in stages), f"{r['rss_mb']:.0f}",
                f"< {r['target_s']:.0f} s {reached}",
            ]
        )  # fmt: skip
    return table(heading, rows)


def data_folder(given: Path | None) -> Path | None:
    """The reference dataset, where it is present: ``--data``, else CPN_DATA_DIR, else beside the checkout."""
    root = given or Path(os.environ.get("CPN_DATA_DIR") or REPOSITORY.parent / "shared" / "data") / "reference"
    return root if (root / "dataset.toml").is_file() else None


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench", description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, help="flat telemetry records (pools, tasks: 3/10)")
    parser.add_argument("--entities", type=int, default=10_000, help="entities that send the telemetry")
    parser.add_argument("--repeat", type=int, default=3, help="replays of each log; the median by CPU is shown")
    parser.add_argument("--only", choices=(*KINDS, "fortnight"), action="append", help="may be given again")
    parser.add_argument("--data", type=Path, help="folder with dataset.toml of the fortnight")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Make the logs in a temporary folder, measure, print."""
    wanted = parse(arguments)
    only = wanted.only or [*KINDS, "fortnight"]
    size = Size(wanted.records, wanted.entities, wanted.repeat)
    data = data_folder(wanted.data) if "fortnight" in only else None
    with tempfile.TemporaryDirectory(prefix="cpn-bench-") as name:
        folder = Path(name)
        results = [measure(kind, files, folder, size) for kind in KINDS if kind in only for files in FILES]
        weeks = fortnight(data, folder) if data else []
    if wanted.json:
        print(json.dumps({"logs": results, "fortnight": weeks}, indent=2))
        return
    if results:
        print(event_rows(results))
    if weeks:
        print(fortnight_rows(weeks))
    elif "fortnight" in only:
        print("fortnight: no reference data (CPN_DATA_DIR or --data), not measured")


if __name__ == "__main__":
    main()
