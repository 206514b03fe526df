"""Every command says what it does, what its options mean, and how it is called."""

import shlex
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest
import typer

from streams.cli import app
from tests.unit.cli.conftest import Said

ROOT = typer.main.get_command(app)


def commands(command: click.Command = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(words, command) of everything that can be called."""
    below = getattr(command, "commands", None)
    if below is None:
        yield path, command
        return
    for name, sub in below.items():
        yield from commands(sub, (*path, name))


ALL = dict(commands())
each = pytest.mark.parametrize("words", ALL, ids=" ".join)


def examples(words: tuple[str, ...]) -> list[str]:
    text = ALL[words].help or ""
    lines = [line.strip() for line in text.partition("Example")[2].splitlines()]
    return [line for line in lines if line.startswith("cpn ")]


def test_these_are_the_commands() -> None:
    assert {" ".join(words) for words in ALL} == {
        "demo",
        "import",
        "replay",
        "state",
        "log info",
        "log cat",
        "log validate",
        "up",
        "worker",
        "dispatcher",
        "plant",
        "topics create",
        "topics list",
        "topics check",
        "produce",
        "record",
        "clock",
        "deadletter list",
        "deadletter show",
        "deadletter requeue",
        "doctor",
    }


@each
def test_a_command_has_a_sentence_and_an_example(words: tuple[str, ...]) -> None:
    text = (ALL[words].help or "").partition("Example")[0].strip()
    assert text[:1].isupper()
    assert text.endswith(".")
    assert len(text) > 30
    assert examples(words)


@each
def test_every_option_and_argument_is_explained(words: tuple[str, ...]) -> None:
    for parameter in ALL[words].params:
        if parameter.name not in {"help", "install_completion", "show_completion"}:
            assert getattr(parameter, "help", None), f"{' '.join(words)} {parameter.name}"


@each
def test_help_shows_all_of_it(
    words: tuple[str, ...], cpn: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = cpn(*words, "--help")
    assert (shown.code, shown.err) == (0, "")
    for example in examples(words):
        assert example in shown.out
    for parameter in ALL[words].params:
        for option in parameter.opts if parameter.param_type_name == "option" else ():
            assert option in shown.out


@each
def test_examples_name_options_that_exist(words: tuple[str, ...]) -> None:
    for example in examples(words):
        called = shlex.split(example)[1:]
        assert tuple(called[: len(words)]) == words
        context = click.Context(ALL[words])
        ALL[words].make_parser(context).parse_args(called[len(words) :])  # an unknown option raises


def test_without_a_word_help_is_shown(cpn: Callable[..., Said]) -> None:
    for words in ((), ("log",)):
        shown = cpn(*words)
        assert "Usage" in shown.out + shown.err
        assert "Commands" in shown.out + shown.err


def test_commands_that_read_have_json() -> None:
    silent = {
        ("log", "cat"),
        ("worker",),
        ("dispatcher",),
        ("plant",),
        ("up",),
    }  # cat prints nothing but JSON; processes log
    for words, command in ALL.items():
        names = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in names or words in silent, words
