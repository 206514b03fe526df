"""The wheel holds the whole tree and works with its runtime dependencies alone."""

import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

EXTRA_MODULES = ("faust", "mode", "aiokafka", "redis", "stamina", "prometheus_client")
PACKAGES = ("streams", "twin", "producers")
NOT_SHIPPED = {".pyc", ".pyo"}

pytestmark = pytest.mark.packaging


def _run(*command: str | Path, cwd: Path) -> str:
    """Return what ``command`` printed; fail the test with all it said when it fails."""
    # PYTHONPATH could make the checkout importable, and then a hole in the wheel would not show
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    words = [str(part) for part in command]
    done = subprocess.run(words, check=False, cwd=cwd, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _tree(root: Path) -> Iterator[str]:
    """Yield every file of the packages as the wheel should name it."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and path.suffix not in NOT_SHIPPED:
                yield path.relative_to(root).as_posix()


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel built from the checkout with the locked build tools."""
    out = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, repository, cwd=out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs folder of a fresh environment: the wheel and its runtime dependencies, nothing else."""
    home = tmp_path_factory.mktemp("fresh")
    uv = Path(sys.executable).with_name("uv")
    _run(uv, "--quiet", "venv", "--python", sys.executable, home / "env", cwd=home)
    bin_dir = home / "env" / ("Scripts" if os.name == "nt" else "bin")
    lock = repository / "requirements.lock"
    _run(uv, "--quiet", "pip", "install", "--python", bin_dir / "python", "--constraint", lock, wheel, cwd=home)
    return bin_dir


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path, repository: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert shipped == set(_tree(repository))


def test_every_folder_with_modules_is_a_package(repository: Path) -> None:
    folders = {Path(name).parent for name in _tree(repository) if name.endswith(".py")}
    assert [str(folder) for folder in sorted(folders) if not (repository / folder / "__init__.py").is_file()] == []


def test_the_wheel_carries_the_licence_and_only_the_three_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)


def test_the_command_answers_with_runtime_dependencies_alone(installed: Path, tmp_path: Path) -> None:
    assert "Usage: cpn" in _run(installed / "cpn", "--help", cwd=tmp_path)


def test_every_module_is_importable_with_runtime_dependencies_alone(installed: Path, tmp_path: Path) -> None:
    """But for those of the distributed runtime, which lack nothing but what the extra stream brings."""
    script = (
        "import importlib, pkgutil\n"
        f"for package in {PACKAGES!r}:\n"
        "    root = importlib.import_module(package)\n"
        "    for found in pkgutil.walk_packages(root.__path__, package + '.', onerror=lambda name: None):\n"
        "        if found.name.endswith('__main__'):\n"
        "            continue\n"
        "        try:\n"
        "            importlib.import_module(found.name)\n"
        "            print(found.name)\n"
        "        except ModuleNotFoundError as error:\n"
        f"            assert error.name.partition('.')[0] in {EXTRA_MODULES!r}, found.name\n"
        "            print('needs', found.name)\n"
    )
    said = _run(installed / "python", "-c", script, cwd=tmp_path).splitlines()
    needing = {line.split()[1] for line in said if line.startswith("needs ")}
    assert {"streams.cli", "streams.cli.up", "streams.embedded", "producers.produce"} <= set(said)
    assert "streams.worker" in needing
    assert not [name for name in needing if not name.startswith("streams.") or name.startswith("streams.cli")]


def test_no_test_or_development_tool_is_needed_at_run_time(installed: Path, tmp_path: Path) -> None:
    script = "import importlib.metadata as m; print(*[d.metadata['Name'].lower() for d in m.distributions()])"
    names = set(_run(installed / "python", "-c", script, cwd=tmp_path).split())
    assert {"cpn-twin", "numpy", "msgspec"} <= names
    assert names.isdisjoint({"pytest", "hypothesis", "pyarrow", "scipy", "ruff", "mypy"})


def test_the_lock_pins_every_name_and_holds_no_address(repository: Path) -> None:
    lines = (repository / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "==" not in line] == []
    assert [line for line in lines if "://" in line or line.startswith("-") or "@" in line] == []


def test_the_lock_covers_the_runtime_dependencies(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (repository / "requirements.lock").read_text(encoding="utf-8")
    locked = {line.split("==")[0] for line in lock.splitlines()}
    asked = {dependency.split(">=")[0] for dependency in project["dependencies"]}
    assert asked <= locked
