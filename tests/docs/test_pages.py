"""The pages against the code: commands, links, the walk, policies, files, reasons and numbers."""

import ast
import importlib.util
import pkgutil
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import msgspec
import pytest

from producers.importers import config
from producers.log import DEFAULT_PARTITIONS
from streams.cli import output
from streams.embedded import Options, Run
from twin.decisions import Decision, WindowRecord
from twin.dispatch.policy import POLICIES
from twin.events import Market
from twin.topics import TYPES

_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")


@pytest.fixture(scope="module")
def cli(repository: Path) -> ModuleType:
    """Return the script that writes cli.md."""
    spec = importlib.util.spec_from_file_location("docs_cli", repository / "ops/docs/cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def read(repository: Path) -> Any:
    """Return a function that reads a page of ops/docs."""
    return lambda name: (repository / "ops/docs" / name).read_text("utf-8")


# ------------------------------------------------------------------------------------------------- the command line


def test_the_page_of_commands_is_what_its_script_writes(cli: ModuleType, read: Any) -> None:
    assert read("cli.md") == cli.render(), "write it again: .venv/bin/python ops/docs/cli.py"


def test_every_command_and_option_stands_on_the_page_of_commands(cli: ModuleType, read: Any) -> None:
    sections = dict(part.partition("\n")[::2] for part in read("cli.md").split("\n## ")[1:])
    commands = dict(cli.commands())
    assert set(sections) == set(commands)
    for name, function in commands.items():
        for option in cli.options(function):
            assert f"`{option}" in sections[name], f"{name} {option}"


def test_every_command_in_a_block_exists_with_the_options_it_is_given(cli: ModuleType, all_blocks: list[Any]) -> None:
    options = {name: set(cli.options(function)) for name, function in cli.commands()}
    seen = 0
    for block in all_blocks:
        for line in block.body.splitlines() if block.language == "sh" else ():
            words = shlex.split(line.removeprefix(".venv/bin/"), comments=True)
            if words[:1] != ["cpn"]:
                continue
            name = next((n for n in (" ".join(words[:3]), " ".join(words[:2])) if n in options), line)
            where = f"{block.page.name}:{block.line}: {line}"
            assert name in options, where
            assert {word for word in words if word.startswith("--")} <= options[name], where
            seen += 1
    assert seen > 10


def test_every_exit_code_stands_in_the_readme(repository: Path) -> None:
    table = (repository / "README.md").read_text("utf-8").partition("## Exit codes")[2]
    for name in dir(output):
        if name.startswith("EXIT_"):
            assert f"| {getattr(output, name)} |" in table, name


# ------------------------------------------------------------------------------------------------ links and places


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_link_within_the_repository_leads_somewhere(pages: list[Path]) -> None:
    for page in pages:
        for target, anchor in _LINK.findall(page.read_text("utf-8")):
            to = (page.parent / target).resolve() if target else page
            assert to.exists(), f"{page.name}: {target}"
            if anchor:
                assert anchor[1:] in anchors(to), f"{page.name}: {target}{anchor}"


def test_every_path_that_a_page_names_exists(pages: list[Path], repository: Path) -> None:
    for page in pages:
        for name in re.findall(r"`((?:twin|streams|producers|tests|ops)/[\w./-]*)`", page.read_text("utf-8")):
            assert (repository / name).exists(), f"{page.name}: {name}"


def names_in(path: Path) -> set[str]:
    """Return what a module or the modules of a package define, methods as Class.method."""
    found: set[str] = set()
    for file in [path] if path.is_file() else sorted(path.glob("*.py")):
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(node.name)
                found |= {f"{node.name}.{sub.name}" for sub in ast.walk(node) if isinstance(sub, ast.FunctionDef)}
    return found


def test_the_walk_opens_five_files_whose_functions_are_there(repository: Path) -> None:
    walk = (repository / "README.md").read_text("utf-8").partition("five files\n")[2].partition("\n## ")[0]
    steps = re.findall(r"^\d\. \[`([\w./]+)`\]\(([\w./]+)\)(.*?)(?=^\d\. |\Z)", walk, re.DOTALL | re.MULTILINE)
    assert len(steps) == 5
    everywhere = {name for folder in ("twin", "producers", "streams") for path in (repository / folder).rglob("*.py")
                  for name in names_in(path)}  # fmt: skip
    for shown, target, text in steps:
        assert shown == target
        own = re.search(r"— `([\w.]+)`|— .*?`([\w.]+)`", text)
        assert own is not None, shown
        named = [name for name in re.findall(r"`([A-Za-z_][\w.]*)`", text) if "/" not in name]
        assert (own[1] or own[2]) in names_in(repository / target), f"{shown}: {own[0]}"
        for name in named:
            assert name in everywhere, f"{shown}: {name}"


# ------------------------------------------------------------------------------------------------ what pages list


def test_every_policy_stands_on_its_page_with_every_parameter_and_default(read: Any) -> None:
    page = read("policies.md")
    for name, kind in POLICIES.items():
        assert f"`{name}`" in page or f"## {name}\n" in page, name
        rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` ")]
        for key, parameter in kind.params.items():
            if rows:
                assert f"`{key}` {parameter.default}".strip() in rows[0], f"{name}: {key}"
            else:
                assert f"| `{key}` | {parameter.default} |" in page, f"{name}: {key}"


def test_every_type_and_every_topic_stands_on_the_page_of_files(read: Any) -> None:
    page = read("files.md")
    for tag in TYPES:
        assert f"`{tag}`" in page, tag
    for topic in DEFAULT_PARTITIONS:
        assert f"`{topic}`" in page, topic


def test_every_key_of_a_dataset_stands_on_the_page_of_files(read: Any) -> None:
    keys = read("files.md").partition("### dataset.toml")[2].partition("### Tables")[0]
    for section in msgspec.structs.fields(config.Config):
        inner = next((t for t in (section.type, *get_args(section.type)) if isinstance(t, type)
                      and issubclass(t, config.Section)), None)  # fmt: skip
        row = next((line for line in keys.splitlines() if f"[{section.name}]" in line), None)
        if inner is None:
            assert f"`{section.name}`" in keys or row is not None, section.name
            continue
        assert row is not None, section.name
        for key in msgspec.structs.fields(inner):
            assert f"`{key.name}`" in row, f"[{section.name}] {key.name}"
    for market in get_args(Market):
        assert f"`{market}`" in keys, market


def test_every_column_of_a_dataset_stands_on_the_page_of_files(read: Any, repository: Path) -> None:
    tables = read("files.md").partition("### Tables")[2]
    for path in sorted((repository / "tests/data/tiny").glob("*.csv")):
        for column in path.read_text("utf-8").splitlines()[0].split(","):
            assert column == "note" or f"`{column}`" in tables, f"{path.name}: {column}"


def test_every_field_of_a_decision_and_of_a_window_stands_on_the_page_of_files(read: Any) -> None:
    page = read("files.md")
    for struct, heading in ((Decision, "### decisions.jsonl"), (WindowRecord, "### windows.jsonl")):
        section = page.partition(heading)[2].partition("\n##")[0]
        for field in msgspec.structs.fields(struct):
            assert f"`{field.encode_name}`" in section, f"{heading}: {field.encode_name}"


def test_every_key_of_a_summary_stands_on_the_page_of_files(read: Any, repository: Path, tmp_path: Path) -> None:
    from producers.importers.tidy import import_dataset
    from producers.log import LogReader
    from streams.cli.runs import route, summarise

    import_dataset(repository / "tests/data/tiny", tmp_path / "log")
    options = Options(route=route)
    summary = summarise(Run(LogReader(tmp_path / "log"), options).run(), "price")
    section = read("files.md").partition("### summary.json")[2].partition("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    rows = {key: line for line in lines for key in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert set(summary) == set(rows)
    for key in ("cost", "carbon_kg", "tasks", "delivered", "unit_cost", "services", "rtt_ms"):
        for inner in summary[key]:
            assert inner in rows[key], f"{key}: {inner}"


def test_every_reason_of_a_dead_letter_stands_on_the_page_of_files(read: Any, repository: Path) -> None:
    reason = re.compile(r'"((?:value|json|type|topic|version|body|time|seq|attempt)\.[a-z_]+)"')
    files = [*(repository / "twin").glob("*.py"), *(repository / "twin/shards").glob("*.py")]
    found = {name for path in files for name in reason.findall(path.read_text("utf-8"))}
    assert len(found) >= 12
    for name in found:
        assert f"`{name}`" in read("files.md"), name


def test_every_number_in_the_rules_is_the_one_in_the_code(read: Any) -> None:
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| `([\w.]+)` \|$", read("semantics.md"), re.MULTILINE)
    assert len(rows) >= 15
    for said, where in rows:
        owner, _, name = where.rpartition(".")
        found: Any = pkgutil.resolve_name(owner)
        value = getattr(found() if isinstance(found, type) else found, name)  # a default of a slot is in an instance
        value = value["tasks"] if isinstance(value, dict) else value
        assert ast.literal_eval(said) == value, where
