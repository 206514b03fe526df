"""What all commands share: how they print, and how an error becomes a message and an exit code."""

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Annotated, NoReturn, ParamSpec, TypeVar

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from twin.errors import ConfigError, EventError, StoreError, TwinBug, TwinError

EXIT_CONFIG = 2
EXIT_RECORD = 65
EXIT_BUG = 70
EXIT_STORE = 74
EXIT_INTERRUPTED = 130

# emoji=False: ids and paths have colons, and `:car:` in one is not a picture
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]


P = ParamSpec("P")
R = TypeVar("R")


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    sys.stdout.flush()


def fail(message: str, code: int = EXIT_CONFIG) -> NoReturn:
    """Say what is wrong and stop."""
    err.print(f"[bold red]error:[/] {message}", soft_wrap=True, markup=True)
    raise typer.Exit(code)


def command(function: Callable[P, R]) -> Callable[P, R]:
    """A command whose errors are messages: 2 change something, 65 a bad record, 74 the world, 70 a bug, 130 Ctrl-C."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except ConfigError as error:
            _stop(error, EXIT_CONFIG)
        except EventError as error:
            _stop(error, EXIT_RECORD)
        except StoreError as error:
            _stop(error, EXIT_STORE)
        except TwinBug as error:
            _stop(error, EXIT_BUG)
        except TwinError as error:
            _stop(error, EXIT_STORE)
        except KeyboardInterrupt:
            err.print("interrupted")
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return run


def _stop(error: Exception, code: int) -> NoReturn:
    err.print("error:", style="bold red", end=" ")
    err.print(str(error), soft_wrap=True, markup=False)
    raise typer.Exit(code) from None


def progress(*, quiet: bool) -> Progress:
    """A progress bar on a terminal; nothing elsewhere, or if ``quiet``."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=quiet or not err.is_terminal,
        transient=True,
    )


_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?)(ms|s|m|h|d)")
_EPOCH_MS = re.compile(r"[0-9]{9,15}")


def duration_ms(text: str) -> int:
    """``5m``, ``90s``, ``1h``, ``500ms``, ``2d`` in ms.

    Raises:
        ConfigError: it is none of these.
    """
    found = _DURATION.fullmatch(text)
    value = float(found[1]) * _UNITS_MS[found[2]] if found else 0
    if value < 1 or value != int(value):
        raise ConfigError(f"{text!r} is no duration: write it as 5m, 90s, 1h or 500ms")
    return int(value)


_LONGEST_WINDOW_MS = 366 * _UNITS_MS["d"]


def window_length_ms(text: str) -> int:
    """The length of a window in ms: a duration that a clock can carry.

    Raises:
        ConfigError: it is no duration, or longer than 366 days.
    """
    length = duration_ms(text)
    if length > _LONGEST_WINDOW_MS:
        raise ConfigError(f"{text!r} is too long for a window: at most 366d")
    return length


def instant_ms(text: str) -> int:
    """An ISO 8601 time (UTC unless it has an offset) or epoch milliseconds, in epoch ms.

    Raises:
        ConfigError: it is neither.
    """
    if _EPOCH_MS.fullmatch(text):
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time: write it as 2022-09-26T00:00:00Z or in epoch milliseconds") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def iso(ms: int | None) -> str | None:
    """Epoch ms as ISO 8601 in UTC; as a bare number where no calendar reaches."""
    if ms is None:
        return None
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return str(ms)
