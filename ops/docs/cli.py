"""Writes cli.md from the command line itself.

    .venv/bin/python ops/docs/cli.py

A test holds the page to be what this writes.
"""

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer

from streams.cli import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """\
# The command line

Written by `ops/docs/cli.py` from the commands themselves. Exit codes stand in the [README](../../README.md#exit-codes).
Times are ISO 8601 (UTC unless they say otherwise) or epoch milliseconds; durations are `5m`, `90s`, `1h`, `500ms`, `2d`.
A folder of a run stands for its `log/` wherever a log is asked for.
"""
_NAMES = {str: "TEXT", int: "N", float: "X", Path: "PATH"}


def render() -> str:
    """Return the page."""
    return HEAD + "".join(_section(name, function) for name, function in commands())


def commands(group: typer.Typer = app, prefix: str = "cpn") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield (full name, function) of every command that can be run."""
    for command in group.registered_commands:
        if command.callback is not None:
            yield f"{prefix} {command.name}", command.callback
    for below in group.registered_groups:
        if below.typer_instance is not None:
            yield from commands(below.typer_instance, f"{prefix} {below.name}")


def options(function: Callable[..., Any]) -> list[str]:
    """Return the options of a command as they are typed, such as ``--json``."""
    return [name for name, *_ in _parameters(function) if name.startswith("--")]


def _parameters(function: Callable[..., Any]) -> Iterator[tuple[str, Any, str, str]]:
    """Yield (name as typed, type, help, what it is when left out) of each parameter of a command."""
    hints = get_type_hints(function, include_extras=True)
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        kind, said = get_args(hint)[:2] if get_origin(hint) is Annotated else (hint, None)
        option = isinstance(said, typer.models.OptionInfo)
        given = parameter.default
        # typer takes the first name for a default and only sorts that out when it builds the command
        written = (getattr(said, "default", None), *(getattr(said, "param_decls", None) or ()))
        declared = [name for name in written if isinstance(name, str) and name.startswith("--")]
        name = (declared or ["--" + parameter.name.replace("_", "-")])[0]
        if not option:
            name = (getattr(said, "metavar", None) or parameter.name).upper()
        default = (
            "required" if given is inspect.Parameter.empty else "" if given in (None, False) else f"default `{given}`"
        )
        yield name, kind, getattr(said, "help", None) or "", default


def _section(name: str, function: Callable[..., Any]) -> str:
    text, _, examples = inspect.cleandoc(function.__doc__ or "").partition("Example")
    rows = [_row(*parameter) for parameter in _parameters(function)]
    table = "\n| | | |\n|---|---|---|\n" + "\n".join(rows) + "\n" if rows else ""
    lines = [line.strip() for line in examples.partition(":")[2].splitlines() if line.strip()]
    block = "\n```sh\n" + "\n".join(lines) + "\n```\n" if lines else ""
    return f"\n## {name}\n\n{text.strip()}\n{table}{block}"


def _row(name: str, kind: Any, text: str, default: str) -> str:  # noqa: ANN401 - any type a parameter may have
    option = name.startswith("--") and kind is not bool
    words = f"{name} {_kind(kind)}" if option else name
    about = text if name.startswith("--") or not _choices(kind) else f"{text} One of {', '.join(_choices(kind))}."
    return f"| `{words}` | {about} | {default} |"


def _kind(kind: Any) -> str:  # noqa: ANN401 - any type a parameter may have
    if get_origin(kind) is UnionType:
        return _kind(next(part for part in get_args(kind) if part is not NoneType))
    if get_origin(kind) is list:
        return _kind(get_args(kind)[0])
    return "/".join(_choices(kind)) or _NAMES[kind]


def _choices(kind: Any) -> list[str]:  # noqa: ANN401 - any type a parameter may have
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return [str(choice.value) for choice in kind] if isinstance(kind, type) and issubclass(kind, Enum) else []


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
