"""How a process of the twin ends when it cannot go on: at once, with a code that says why, for its supervisor to restart."""

import logging
import os
import sys
from enum import IntEnum
from typing import NoReturn

import structlog

from twin.errors import AwayError, ConfigError


class Exit(IntEnum):
    """Why a process ended. A supervisor restarts on any of them; ``CONFIG`` will not get better by it."""

    AWAY = 69
    """Broker or Redis did not answer at the start: it goes on once they are there again."""
    HANDLER = 70
    """A handler failed: the fold, a write to Redis, a dead letter that was not acknowledged."""
    WATCHDOG = 71
    """There was work and none was done for too long."""
    FAUST = 72
    """Faust crashed or stopped by itself."""
    CLAIM = 74
    """The assigned partitions could not be claimed, or not be read from where their state ends."""
    FENCED = 75
    """Another process has claimed the partition since: this one must not write any more."""
    CONTRADICTION = 76
    """A window was decided differently from what had been published for it."""
    CONFIG = 78
    """The user has to change something; the message says what."""

    @classmethod
    def of(cls, error: ConfigError) -> "Exit":
        """The code for an error that says what the user has to do."""
        return cls.AWAY if isinstance(error, AwayError) else cls.CONFIG


def die(code: int, message: str) -> NoReturn:
    """End the process now: nothing after this line may acknowledge, commit or write.

    Says so once in the log, with the traceback of the error in hand, and flushes what has been logged. Open files and
    connections are left to the system, ``finally`` and ``atexit`` do not run.
    """
    try:
        failing = sys.exc_info()[0] is not None
        structlog.get_logger("cpn").critical("process.ends", code=int(code), reason=message, exc_info=failing)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
