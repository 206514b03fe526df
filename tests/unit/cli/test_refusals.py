"""What is asked for wrongly: exit code 2 and a sentence that helps; nothing is written, nothing is a traceback."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--policy", "nonsense"], ["nonsense", "cost-greedy"]),
        (["--policy", ""], ["cost-greedy"]),
        (["--policy", "price:break_even_h"], ["break_even_h"]),
        (["--policy", "price:break_even_h=two"], ["break_even_h", "two"]),
        (["--policy", "price:break_even_h=nan"], ["break_even_h"]),
        (["--policy", "price:no_such=1"], ["no_such", "break_even_h"]),
        (["--policy", "pinned"], ["pinned"]),
        (["--policy", "pinned:"], ["pinned"]),
        (["--policy", "pinned:nowhere"], ["nowhere"]),
        (["--policy", "missing.toml"], ["missing.toml", "No such file"]),
        (["--window", "5"], ["'5'", "5m"]),
        (["--window", "5 parsecs"], ["5m"]),
        (["--window", "0m"], ["0m"]),
        (["--window", "-5m"], ["-5m"]),
        (["--window", "²m"], ["5m"]),
        (["--window", "9" * 400 + "d"], ["d"]),
        (["--window", "1000d"], ["1000d"]),
        (["--until", "tomorrow"], ["tomorrow", "2022-09-26T00:00:00Z"]),
        (["--until", "2022-13-40"], ["2022-13-40"]),
        (["--until", "²²²²²²²²²²"], ["²²²²²²²²²²"]),
        (["--until", "1990-01-01"], ["1990-01-01"]),
        (["--speed", "fast"], ["fast", "60x"]),
        (["--speed", "60"], ["60x"]),
        (["--speed", "0x"], ["0x"]),
        (["--speed", "-1x"], ["-1x"]),
        (["--speed", "²x"], ["60x"]),
        (["--speed", "x"], ["60x"]),
    ],
)
def test_replay_refuses_and_says_what_would_do(
    cpn: Callable[..., Said], log: Path, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    said = cpn("replay", log, "--out", tmp_path / "run", *options)
    assert said.code == 2, said
    assert said.out == ""
    assert "error" in said.err.lower()
    for word in words:
        assert word in " ".join(said.err.split()), said.err
    assert not (tmp_path / "run" / "log" / "manifest.json").exists()


@pytest.mark.parametrize("options", [["--from", "noon"], ["--to", "later"], ["--to", "1990-01-01T00:00:00Z"]])
def test_import_refuses_spans_that_are_none(cpn: Callable[..., Said], tmp_path: Path, options: list[str]) -> None:
    tiny = Path(__file__).parents[2] / "data" / "tiny"
    said = cpn("import", tiny, "--out", tmp_path / "log", *options)
    assert (said.code, said.out) == (2, "")
    assert options[1] in said.err or "1990" in said.err
    assert not (tmp_path / "log" / "manifest.json").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("replay", "{}"),
        ("log", "info", "{}"),
        ("log", "cat", "{}"),
        ("log", "validate", "{}"),
        ("state", "cluster", "x", "--log", "{}"),
        ("import", "{}", "--out", "{}/log"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_a_folder_that_holds_nothing_is_named(
    cpn: Callable[..., Said], tmp_path: Path, words: tuple[str, ...], what: str
) -> None:
    path = tmp_path / "place"
    if what == "empty":
        path.mkdir()
    elif what == "file":
        path.write_text("no folder")
    said = cpn(*(word.format(path) for word in words))
    assert said.code == 2, said
    assert str(path) in said.err.replace("\n", "")
    assert said.out == ""


def damaged(log: Path, to: Path, damage: str) -> Path:
    to.mkdir()
    for part in log.iterdir():
        (to / part.name).write_bytes(part.read_bytes())
    part = to / "tasks-00.jsonl.gz"
    if damage == "truncated":
        part.write_bytes(part.read_bytes()[:-200])
    elif damage == "not gzip":
        part.write_bytes(b"{}\n")
    elif damage == "empty":
        part.write_bytes(b"")
    elif damage == "not records":
        part.write_bytes(gzip.compress(b'{"o":0,"t":0}\nrubbish\n'))
    elif damage == "gone":
        part.unlink()
    else:
        manifest = to / "manifest.json"
        text = manifest.read_text()
        manifest.write_text({"half manifest": text[:100], "other version": text.replace('n": 1', 'n": 99', 1)}[damage])
    return to


@pytest.mark.parametrize(
    "damage", ["truncated", "not gzip", "empty", "not records", "gone", "half manifest", "other version"]
)
def test_a_damaged_log_is_refused_by_name(cpn: Callable[..., Said], log: Path, tmp_path: Path, damage: str) -> None:
    broken = damaged(log, tmp_path / "log", damage)
    said = cpn("replay", broken, "--policy", "stay", "--out", tmp_path / "run")
    assert said.code == 2, said
    assert "tasks-00" in said.err or "manifest.json" in said.err
    assert not (tmp_path / "run" / "log" / "manifest.json").exists()
    assert not (tmp_path / "run" / "summary.json").exists()
    assert cpn("log", "validate", broken).code in {2, 65}


def test_validate_says_with_65_that_a_log_is_not_whole(cpn: Callable[..., Said], log: Path, tmp_path: Path) -> None:
    said = cpn("log", "validate", damaged(log, tmp_path / "log", "truncated"), "--json")
    assert said.code == 65
    assert any("tasks-00" in problem for problem in said.json()["problems"])


# -------------------------------------------------------------------------------------------------------- output


def test_a_run_is_not_overwritten_unasked(cpn: Callable[..., Said], log: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first = cpn("replay", log, "--policy", "stay", "--out", folder, "--json").json()
    said = cpn("replay", log, "--policy", "first-fit", "--out", folder)
    assert said.code == 2
    assert str(folder) in said.err.replace("\n", "")
    assert json.loads((folder / "summary.json").read_bytes()) == first
    second = cpn("replay", log, "--policy", "first-fit", "--out", folder, "--overwrite", "--json").json()
    assert json.loads((folder / "summary.json").read_bytes()) == second
    assert cpn("replay", folder, "--json").json()["decisions_sha256"] == second["decisions_sha256"]


def test_an_open_loop_does_not_mix_with_the_run_that_is_there(
    cpn: Callable[..., Said], log: Path, run_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    cpn("replay", log, "--policy", "stay", "--out", folder)
    before = (folder / "decisions.jsonl").read_bytes()
    assert cpn("replay", run_folder, "--out", folder).code == 2
    assert (folder / "decisions.jsonl").read_bytes() == before
    assert cpn("replay", run_folder, "--out", folder, "--overwrite").code == 0
    assert (folder / "decisions.jsonl").read_bytes() == (run_folder / "decisions.jsonl").read_bytes()
    assert not (folder / "log").exists()


def test_a_run_does_not_write_where_it_reads(cpn: Callable[..., Said], log: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    cpn("replay", log, "--policy", "stay", "--out", folder)
    kept = {path.name: path.read_bytes() for path in (folder / "log").iterdir()}
    for source, out in ((folder, folder), (folder / "log", folder), (folder / "log", folder / "log")):
        said = cpn("replay", source, "--policy", "first-fit", "--out", out, "--overwrite")
        assert said.code == 2, (source, out)
        assert "where the log is read from" in " ".join(said.err.split())
    assert {path.name: path.read_bytes() for path in (folder / "log").iterdir()} == kept


def test_an_import_does_not_replace_a_log_unasked(cpn: Callable[..., Said], tmp_path: Path) -> None:
    tiny = Path(__file__).parents[2] / "data" / "tiny"
    assert cpn("import", tiny, "--out", tmp_path / "log").code == 0
    said = cpn("import", tiny, "--out", tmp_path / "log")
    assert said.code == 2
    assert "already" in said.err
    assert cpn("import", tiny, "--out", tmp_path / "log", "--overwrite").code == 0


def test_a_demo_does_not_touch_a_folder_of_somebody_else(cpn: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    said = cpn("demo", "--preset", "tiny", "--out", tmp_path)
    assert said.code == 2
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_open_loop_windows_are_kept(cpn: Callable[..., Said], run_folder: Path) -> None:
    said = cpn("replay", run_folder, "--window", "15m")
    assert said.code == 2
    assert "keeps the recorded windows" in " ".join(said.err.split())


# --------------------------------------------------------------------------------------------- what does not exist


@pytest.mark.parametrize("entity", ["cluster", "task", "zone", "service"])
def test_an_unknown_name_is_answered_with_names_that_exist(
    cpn: Callable[..., Said], run_folder: Path, entity: str
) -> None:
    said = cpn("state", entity, "no-such-thing", "--log", run_folder)
    assert said.code == 2
    assert "no-such-thing" in said.err
    lines = cpn("log", "cat", run_folder).out.splitlines()
    values = [json.loads(line)["value"] for line in lines]
    field = {"cluster": "cluster_id", "task": "task_id", "zone": "zone_id", "service": "service"}[entity]
    names = {str(value[field]) for value in values if isinstance(value, dict) and field in value}
    assert any(name in said.err for name in names)


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(cpn: Callable[..., Said], run_folder: Path) -> None:
    lines = cpn("log", "cat", run_folder, "--topic", "inventory", "--type", "cluster.registered.v1").out.splitlines()
    name = max(json.loads(line)["value"]["cluster_id"] for line in lines)
    for wrong in (name[:-1], name.upper(), name[1:], name[:-1] + "x"):
        said = cpn("state", "cluster", wrong, "--log", run_folder)
        assert said.code == 2
        assert name in said.err, wrong


def test_topics_and_partitions_that_are_not_there_are_named(cpn: Callable[..., Said], log: Path) -> None:
    for options in (["--topic", "nonsense"], ["--partition", "99"], ["--topic", "tasks", "--partition", "4"]):
        said = cpn("log", "cat", log, *options)
        assert (said.code, said.out) == (2, "")
        assert "the log has" in " ".join(said.err.split())
