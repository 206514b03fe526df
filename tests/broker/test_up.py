"""``cpn up`` as a user runs it: a whole twin from one command, and nothing left of it afterwards."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from producers.log import LogReader
from streams.cli.runs import route
from streams.embedded import Options, Run
from tests.golden.replays import events_of
from twin.dispatch.policy import Policy

CPN = str(Path(sys.executable).with_name("cpn"))
START_S = 90


def descendants(pid: int) -> set[int]:
    """Process ids of all that ``pid`` started, and what they started."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(stat[1]) == pid:
                found |= {int(entry.name)} | descendants(int(entry.name))
    return found


def gone(pids: set[int], within_s: float = 10) -> set[int]:
    """Which of ``pids`` are still there after so long."""
    until = time.monotonic() + within_s
    while (left := {pid for pid in pids if Path(f"/proc/{pid}").exists()}) and time.monotonic() < until:
        time.sleep(0.1)
    return left


@pytest.fixture
def started(tmp_path: Path) -> "subprocess.Popen[bytes]":
    """A twin whose windows pass fast, once it has decided some."""
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [CPN, "up", "--scenario", "tiny", "--speed", "3600x", "--workers", "1"],
            stdout=out,
            stderr=out,
            cwd=tmp_path,
            env=os.environ | {"TMPDIR": str(tmp_path)},
            start_new_session=True,
        )
    until = time.monotonic() + START_S
    while not re.search(r"^[1-9][\d,]* windows, [1-9]", log.read_text(), re.MULTILINE):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    return process


def test_lockstep_ends_where_the_embedded_run_ends(tmp_path: Path) -> None:
    log = events_of("tiny", tmp_path / "events", hours=3)
    embedded = Run(LogReader(log), Options(route=route, policy=Policy.parse("cost-greedy"))).run()
    argv = [CPN, "up", "--lockstep", "--log", str(log), "--workers", "1", "--policy", "cost-greedy"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"state      {embedded.state_sha256}\ndecisions  {embedded.decisions_sha256}\n" in done.stdout


def test_ctrl_c_stops_all_and_leaves_nothing(started: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    children = descendants(started.pid)
    assert len(children) >= 6
    os.kill(started.pid, signal.SIGINT)
    assert started.wait(60) == 0
    assert not gone(children)
    assert not list(tmp_path.glob("cpn-up-*"))


def test_servers_and_processes_that_are_killed_are_started_again(
    started: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    log = tmp_path / "log"
    named = {
        "redis-server": "Redis has ended",
        "kafka.Kafka": "Kafka has ended",
        "dispatcher": "dispatcher ended with",
    }
    for word in named:
        for pid in descendants(started.pid):
            with contextlib.suppress(OSError):  # it has gone by itself, with what was killed before
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                if word in command and "/bin/sh" not in command:
                    os.kill(pid, signal.SIGKILL)
    windows = re.compile(r"^([\d,]+) windows", re.MULTILINE)
    before = int(windows.findall(log.read_text())[-1].replace(",", ""))
    until = time.monotonic() + START_S

    def goes_on() -> bool:
        text = log.read_text()
        return all(said in text for said in named.values()) and (
            int(windows.findall(text)[-1].replace(",", "")) >= before + 3
        )

    while not goes_on():
        assert started.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.2)
    os.kill(started.pid, signal.SIGINT)
    assert started.wait(60) == 0


def test_kill_9_leaves_no_process_behind(started: "subprocess.Popen[bytes]") -> None:
    children = descendants(started.pid)
    assert len(children) >= 6
    started.kill()
    started.wait()
    assert not gone(children)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scenario", "nowhere"], "no scenario 'nowhere': one of edwc"),
        (["--scenario", "tiny", "--log", "x"], "--log and --scenario exclude each other"),
        (["--scenario", "tiny", "--speed", "max"], "a scenario follows a clock: give a factor such as 180x"),
        (["--log", "nothing-here"], "nothing-here"),
        (["--policy", "stay"], "--policy is for --lockstep"),
        (["--lockstep", "--speed", "10x"], "each window waits for the last"),
        (["--lockstep", "--policy", "nobody"], "nobody"),
    ],
)
def test_what_cannot_be_is_said_before_anything_starts(options: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run([CPN, "up", *options], capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
