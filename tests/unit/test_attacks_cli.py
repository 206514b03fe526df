"""What people type and what files claim: every mistake gets a sentence, and names are printed as they are."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from producers.log import LogReader
from producers.log_check import cat, validate
from streams.cli import app
from streams.cli.output import iso
from tests.unit.embedded_logs import HOUR, MINUTE, T0, cluster, price, task, write_log
from twin.errors import ConfigError

WORLD = (cluster("A"), price("A", 100, hours=24), task("t", at=T0 + MINUTE))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log", WORLD).path


def cpn(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def lie(log: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = log / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(manifest))


# ----------------------------------------------------------------------------------------------------- manifests


@pytest.mark.parametrize("run", ["yes", ["price"], 7])
def test_a_manifest_whose_run_is_no_object_is_refused_with_its_name(log: Path, run: object) -> None:
    lie(log, lambda manifest: manifest["meta"].update(run=run))
    found = cpn("replay", log)
    assert found.exit_code == 2
    assert "meta.run" in found.output


@pytest.mark.parametrize("length", ["x", -1, 0, 1.5, None])
def test_a_window_length_in_the_manifest_that_is_none_only_takes_the_progress_bar_its_end(
    log: Path, length: object
) -> None:
    lie(log, lambda manifest: manifest["meta"].update(window_ms=length))
    assert cpn("replay", log).exit_code == 0


@pytest.mark.parametrize("field", ["records", "first_t", "last_t"])
def test_validate_holds_the_whole_against_its_parts(log: Path, field: str) -> None:
    lie(log, lambda manifest: manifest.update({field: 5}))
    problems = validate(LogReader(log)).problems
    assert [name for name in problems if field.replace("_", " ") in name] == problems
    assert len(problems) == 1


def test_a_time_beyond_every_calendar_is_shown_as_a_number(log: Path) -> None:
    lie(log, lambda manifest: manifest.update(last_t=10**30))
    found = cpn("log", "info", log)
    assert found.exit_code == 0
    assert str(10**30) in found.output
    assert iso(-(10**20)) == str(-(10**20))


def test_cat_of_a_log_without_topics_says_that_there_are_none(log: Path) -> None:
    lie(log, lambda manifest: manifest.update(topics={}, parts=[]))
    with pytest.raises(ConfigError, match="no partition"):
        list(cat(LogReader(log)))


# ------------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize("command", [["replay", "LOG"], ["demo", "--preset", "tiny"]])
def test_a_window_longer_than_a_clock_can_say_is_refused(log: Path, tmp_path: Path, command: list[str]) -> None:
    found = cpn(*(log if word == "LOG" else word for word in command), "--window", "400d", "--out", tmp_path / "out")
    assert found.exit_code == 2
    assert "366d" in found.output


def test_an_end_before_the_log_begins_is_refused_and_says_when_it_begins(log: Path) -> None:
    found = cpn("replay", log, "--until", "2020-01-01")
    assert found.exit_code == 2
    assert "the log begins at 2022-09-25T21:59:59.999000Z" in found.output


def test_a_run_that_is_replaced_has_no_summary_until_it_is_finished(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    assert cpn("replay", log, "--out", out).exit_code == 0

    def broken(*_: object) -> Iterator[None]:
        raise KeyboardInterrupt

    monkeypatch.setattr("streams.embedded.Run.run", broken)
    assert cpn("replay", log, "--out", out, "--overwrite").exit_code == 130
    assert not (out / "summary.json").exists()


# --------------------------------------------------------------------------------------------------------- names


def test_brackets_and_colons_of_names_and_folders_are_printed_as_they_are(tmp_path: Path) -> None:
    name = "[red]x:car:"
    world = (cluster(name), price(name, 100, hours=24), task(name, at=T0 + MINUTE, origin=name))
    log, out = write_log(tmp_path / "lo[b]g", world).path, tmp_path / "r[b]un:moon:"
    shown = cpn("replay", log, "--policy", f"pinned:{name}", "--out", out)
    assert f"pinned:{name} (closed loop)" in shown.output
    assert f"{out}" in shown.output
    assert name in cpn("state", "task", name, "--log", out).output
    assert f"no zone or cluster '{name}y'" in cpn("replay", log, "--policy", f"pinned:{name}y").output
    assert f"{log}" in cpn("log", "info", log).output


def test_the_log_of_an_hour_still_runs_to_its_end_where_an_end_is_given_within_it(log: Path) -> None:
    assert cpn("replay", log, "--until", T0 + HOUR // 2).exit_code == 0
