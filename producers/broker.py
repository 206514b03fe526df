"""Whether a Kafka broker can be talked to: the client libraries are an extra, and an address may be wrong."""

import importlib
import logging
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twin.errors import AwayError, ConfigError, StoreError

PATIENCE_S = 5.0
"""How long a broker may take to answer before it counts as not there."""


def client_library(module: str = "kafka") -> Any:  # noqa: ANN401 - the libraries ship no types
    """Return a client library, ``kafka`` (kafka-python) or ``aiokafka`` or a module of theirs.

    It is imported only here: the import takes longer than most commands.

    Raises:
        ConfigError: it is not installed; says what to install.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the libraries, about themselves
            found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'cpn-twin[stream]'") from error
    # their errors come as exceptions, which say it once; the loggers would say it again for every attempt
    for name in ("kafka", "aiokafka"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return found


def addresses(bootstrap: str) -> list[tuple[str, int]]:
    """Return the hosts and ports of ``host:port,host:port``.

    Raises:
        ConfigError: it is written otherwise.
    """
    found = []
    for part in bootstrap.split(","):
        host, _, port = part.strip().rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise ConfigError(
                f"{bootstrap!r} is no broker address: write it as HOST:PORT (--bootstrap or CPN_BOOTSTRAP)"
            )
        found.append((host.strip("[]"), int(port)))
    return found


def check_broker(bootstrap: str) -> None:
    """Look whether anything listens at ``bootstrap``, before a client library tries again and again.

    Raises:
        AwayError: nobody does, within ``PATIENCE_S`` an address.
    """
    reasons = []
    for address in addresses(bootstrap):
        try:
            socket.create_connection(address, timeout=PATIENCE_S).close()
            return
        except OSError as error:
            reasons.append(error.strerror or str(error))
    raise AwayError(
        f"no broker at {bootstrap} ({reasons[0]}): start one, or say where it is with --bootstrap or CPN_BOOTSTRAP"
    )


@contextmanager
def connecting(bootstrap: str) -> Iterator[None]:
    """Turn what the client libraries raise while they look for a broker into errors of ours.

    Raises:
        AwayError: no Kafka broker answers at ``bootstrap``, or not in time.
        StoreError: the broker refuses or fails.
    """
    errors, others = client_library("kafka.errors"), client_library("aiokafka.errors")
    try:
        with talking(bootstrap):
            yield
    except StoreError as error:
        silence = (
            errors.KafkaTimeoutError,
            errors.KafkaConnectionError,
            others.KafkaTimeoutError,
            others.KafkaConnectionError,
        )
        if isinstance(error.__cause__, silence):
            raise AwayError(
                f"no Kafka broker answers at {bootstrap} ({error.__cause__}): start it, or say where it is with "
                "--bootstrap or CPN_BOOTSTRAP"
            ) from error
        raise


@contextmanager
def talking(bootstrap: str) -> Iterator[None]:
    """Turn what the client libraries raise into errors of ours.

    Raises:
        StoreError: the broker refuses, fails or is silent.
    """
    errors, others = client_library("kafka.errors"), client_library("aiokafka.errors")
    try:
        yield
    except (errors.KafkaError, others.KafkaError) as error:
        raise StoreError(f"broker {bootstrap}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Return the name of an error of a client library and what it says, the name once."""
    name = type(error).__name__
    said = str(error).removeprefix(name).lstrip(": ")
    return f"{name}: {said}" if said else name
