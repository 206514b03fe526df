"""A small log and a run of it, made by the command line itself, and ways to call it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from producers.scenario import generate
from streams.cli import app
from streams.cli.demo import write_log


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(scope="session")
def cpn() -> Callable[..., Said]:
    """Call the command line in this process."""

    def call(*args: object) -> Said:
        done = CliRunner().invoke(app, [str(arg) for arg in args])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Said(done.exit_code, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def process(repository: Path) -> Callable[..., "subprocess.Popen[bytes]"]:
    """Start the command line as a process of its own, in a process group of its own."""

    def start(*args: object, **how: Any) -> "subprocess.Popen[bytes]":
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True} | how
        environment = os.environ | {"PYTHONPATH": str(repository), "PYTHONUNBUFFERED": "1"}
        program = [sys.executable, "-c", "from streams.cli import main; main()"]
        return subprocess.Popen([*program, *map(str, args)], env=environment, **how)

    return start


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The events of the tiny scenario, two hours of it."""
    path = tmp_path_factory.mktemp("cli") / "events"
    write_log(generate("tiny", seed=1, hours=2, window_ms=300_000), path)
    return path


@pytest.fixture(scope="session")
def run_folder(cpn: Callable[..., Said], log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the log, made by ``cpn replay``."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    done = cpn("replay", log, "--policy", "price", "--out", folder, "--json")
    assert done.code == 0, done.err
    return folder
