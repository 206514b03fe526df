"""``cpn doctor``: what is here, what is missing, and what to do about it."""

import importlib.util
import platform
import shutil
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import typer

from streams.cli.output import JsonFlag, command, out, print_json

LEAST_PYTHON = (3, 11)
LEAST_FREE_MB = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``ok``, ``optional`` (missing, only some features need it) or ``bad``."""

    what: str
    status: str
    found: str
    do: str = ""


@command
def doctor(as_json: JsonFlag = False) -> None:
    """Check this machine: Python, packages, a writable disk. Exit code 1 if something needed is missing.

    Example:
      cpn doctor --json
    """
    findings = examine()
    if as_json:
        print_json([_row(finding) for finding in findings])
    else:
        for finding in findings:
            mark = {"ok": "[green]ok[/]", "optional": "[yellow]–[/]", "bad": "[red]bad[/]"}[finding.status]
            out.print(
                f"{mark:>3} {finding.what}: {finding.found}" + (f"  → {finding.do}" if finding.do else ""), markup=True
            )
    if any(finding.status == "bad" for finding in findings):
        raise typer.Exit(1)


def examine() -> list[Finding]:
    """Everything that is looked at, in the order it is shown."""
    return [_python(), *_packages(), _numpy(), _parquet(), _disk()]


def _row(finding: Finding) -> dict[str, Any]:
    return {"what": finding.what, "status": finding.status, "found": finding.found, "do": finding.do}


def _python() -> Finding:
    good = sys.version_info >= LEAST_PYTHON
    need = ".".join(map(str, LEAST_PYTHON))
    return Finding(
        "Python", "ok" if good else "bad", platform.python_version(), "" if good else f"install Python {need} or newer"
    )


def _packages() -> list[Finding]:
    findings = []
    for name in ("cpn-twin", "numpy", "msgspec", "orjson", "typer", "rich"):
        try:
            findings.append(Finding(name, "ok", version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, "bad", "not installed", "pip install cpn-twin"))
    return findings


def _numpy() -> Finding:
    features = getattr(getattr(np, "_core", None), "_multiarray_umath", None)
    flags = getattr(features, "__cpu_features__", {})
    used = [name for name in ("X86_V4", "X86_V3", "AVX512F", "AVX2", "NEON") if flags.get(name)]
    return Finding("CPU features NumPy uses", "ok", ", ".join(used) or "baseline")


def _parquet() -> Finding:
    if importlib.util.find_spec("pyarrow") is None:
        return Finding("Parquet logs", "optional", "pyarrow is not installed", "pip install 'cpn-twin[parquet]'")
    return Finding("Parquet logs", "ok", f"pyarrow {version('pyarrow')}")


def _disk() -> Finding:
    folder = Path(tempfile.gettempdir())
    free_mb = shutil.disk_usage(Path.cwd()).free // 2**20
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return Finding("disk", "bad", f"{folder}: {error.strerror}", "set TMPDIR to a folder that can be written")
    status = "ok" if free_mb >= LEAST_FREE_MB else "bad"
    return Finding("disk", status, f"{free_mb:,} MB free here", "" if status == "ok" else "make room for run folders")
