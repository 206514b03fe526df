"""Keeps processes of the twin running: they are crash-only, so somebody has to start them again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from streams.exits import Exit
from streams.local import WATCHED

QUICK_S = 5.0
"""A process that lived shorter than this is started again only after ``PAUSE_S``: a crash loop must not become a storm."""
PAUSE_S = 1.0
GRACE_S = 15.0
LAST_LINES = 8


class Supervised:
    """One process: started, started again when it crashes, stopped. It ends with whoever started it, however that ends.

    Args:
        name: for messages, and of its log file.
        argv: arguments of ``cpn``.
        env: added to the environment.
        folder: where its log goes.
        once: it has an end of its own: exit code 0 is that, and not to be mended.
    """

    def __init__(
        self, name: str, argv: Sequence[str], env: Mapping[str, str], folder: Path, *, once: bool = False
    ) -> None:
        self.name, self.once = name, once
        self.log = folder / f"{name}.log"
        self.exits: list[int] = []
        self._argv, self._env = list(argv), dict(env)
        self._process: subprocess.Popen[bytes] | None = None
        self._began = self._ended = 0.0
        self._lived_short = self._wanted = False

    @property
    def pid(self) -> int | None:
        """The id of its process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def uptime_s(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._began if self.pid else 0.0

    @property
    def state(self) -> str:
        """``runs``, ``waits`` (to be started again), ``done``, ``wrong`` (it says what has to be changed) or ``stopped``."""
        if self.pid:
            return "runs"
        if not self.exits:
            return "stopped"
        if self.done:
            return "done"
        if self.exits[-1] == Exit.CONFIG:
            return "wrong"
        return "waits" if self._wanted else "stopped"

    @property
    def done(self) -> bool:
        """Whether it came to its own end."""
        return self.once and bool(self.exits) and self.exits[-1] == 0 and self.pid is None

    def start(self) -> None:
        """Start it."""
        self._wanted, self._began = True, time.monotonic()
        command = ["/bin/sh", "-c", WATCHED, "sh", sys.executable, "-m", "streams.cli", *self._argv]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                command,
                env=os.environ | self._env,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def tend(self) -> bool:
        """Look after it: note an end, start it again. Whether something happened."""
        process = self._process
        if process is not None and process.poll() is not None:
            self._bury(process)
            return True
        due = self._ended + (PAUSE_S if self._lived_short else 0.0)
        if self._wanted and process is None and self.state == "waits" and time.monotonic() >= due:
            self.start()
            return True
        return False

    def _bury(self, process: "subprocess.Popen[bytes]") -> None:
        self.exits.append(process.returncode)
        self._ended = time.monotonic()
        self._lived_short = self._ended - self._began < QUICK_S
        self._end(process)

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        with suppress(ProcessLookupError):  # the group outlives its leader by its watcher
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._process = None

    def ask_to_stop(self) -> None:
        """Send it SIGTERM; it is not started again."""
        self._wanted = False
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """Wait until it has stopped, by force if that takes too long."""
        self.ask_to_stop()
        process = self._process
        if process is not None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
            self._bury(process)

    def last_lines(self) -> str:
        """The end of its log."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])
        return ""
