"""A run that is stopped from outside, by Ctrl-C or by a disk that is full, says so and leaves nothing that looks whole."""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Said

Process = Callable[..., "subprocess.Popen[bytes]"]


def wait_for(path: Path, running: "subprocess.Popen[bytes]") -> None:
    """Return when ``path`` exists."""
    for _ in range(600):
        if path.exists():
            return
        assert running.poll() is None, running.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{path} did not come")


@pytest.mark.parametrize("closed", [True, False])
def test_ctrl_c_ends_a_long_replay_at_once(
    process: Process, log: Path, run_folder: Path, tmp_path: Path, *, closed: bool
) -> None:
    source = [log, "--policy", "stay"] if closed else [run_folder]
    running = process("replay", *source, "--speed", "1x", "--out", tmp_path / "run")
    wait_for(tmp_path / "run" / "windows.jsonl", running)
    time.sleep(0.5)
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    out, errors = running.communicate(timeout=20)
    assert running.returncode == 130, errors
    assert time.monotonic() - began < 5
    assert b"Traceback" not in errors
    assert b"interrupted" in errors
    assert out == b""
    assert not (tmp_path / "run" / "log" / "manifest.json").exists()
    assert not (tmp_path / "run" / "summary.json").exists()


def test_ctrl_c_ends_a_demo_and_its_workers(process: Process, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    running = process("demo", "--preset", "islands", "--out", folder, "--json")
    wait_for(folder / "run" / "windows.jsonl", running)
    os.killpg(running.pid, signal.SIGINT)  # what a terminal does
    out, errors = running.communicate(timeout=30)
    assert running.returncode == 130, errors
    assert b"Traceback" not in errors, errors.decode()
    assert out == b""
    assert not (folder / "run" / "log" / "manifest.json").exists()
    assert not (folder / "summary.json").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB; needs root."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("what", ["replay", "import", "demo"])
def test_a_disk_that_is_full_is_named_with_the_file(
    cpn: Callable[..., Said], log: Path, small_disk: Path, repository: Path, what: str
) -> None:
    words = {
        "replay": ["replay", log, "--policy", "stay", "--out", small_disk / "run"],
        "import": ["import", repository / "tests" / "data" / "tiny", "--out", small_disk / "log"],
        "demo": ["demo", "--preset", "tiny", "--baseline", "stay", "--out", small_disk / "demo"],
    }[what]
    if what == "import":
        (small_disk / "ballast").write_bytes(b"x" * 180_000)
    said = cpn(*words)
    assert said.code == 74, said
    assert "No space left on device" in " ".join(said.err.split())
    assert str(small_disk) in said.err.replace("\n", "")
    assert "Traceback" not in said.err
    assert not list(small_disk.rglob("run/log/manifest.json"))
    assert not (small_disk / "log" / "manifest.json").exists()


@pytest.mark.parametrize(
    "name", ["decisions.jsonl", "windows.jsonl", "summary.json", "manifest.json.tmp", "control-00"]
)
def test_each_file_of_a_run_may_be_the_one_that_does_not_fit(
    cpn: Callable[..., Said], log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = Path.open

    def open_(self: Path, mode: str = "r", *args: object, **more: object) -> object:
        if name in self.name and "w" in mode and tmp_path in self.parents:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, mode, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", open_)
    said = cpn("replay", log, "--policy", "stay", "--out", tmp_path / "run")
    assert said.code == 74, said
    assert name.removesuffix(".tmp") in said.err.replace("\n", "")
    assert "No space left" in " ".join(said.err.split())
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_place_that_may_not_be_written_is_said_so(cpn: Callable[..., Said], log: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file stands where the folder should be")
    said = cpn("replay", log, "--policy", "stay", "--out", tmp_path / "run")
    assert said.code in {2, 74}
    assert str(tmp_path / "run") in said.err.replace("\n", "")
