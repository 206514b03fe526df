"""A real Kafka broker and a real Redis on this machine, from packages alone: no Docker, no Maven, no Java needed.

Both listen on 127.0.0.1 only, keep their data in a folder of their own and find it again when started there anew. They
run in a session of their own, so Ctrl-C in the terminal reaches only the process that started them, and they end with
that process, however it ends: each has a watcher in its process group that reads from a pipe to the starter and kills
the group when the pipe closes. Limits of that: a child that the starter made by a bare ``fork`` holds the pipe open as
well, and a watcher that somebody kills on purpose watches no more.
"""

import atexit
import base64
import fcntl
import os
import random
import signal
import socket
import struct
import subprocess
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from streams.programs import find_java, find_redis, kafka_class_path
from twin.errors import ConfigError

HOST = "127.0.0.1"
# Below the ports that systems give to outgoing connections: a client that retries against a server that is down could
# otherwise be given the very port it calls, connect to itself, and keep the server from coming back.
_FREE_PORTS = range(15_000, 32_000)
# The shell becomes the program; before that it leaves a watcher behind, whose `read` fails when the starter is gone.
# `kill 0` means the process group, which cannot be somebody else's by now, as a process id could.
WATCHED = 'exec 3<&0; (read _ <&3 || kill -KILL 0) & exec "$@" </dev/null 3<&-'
_LOG_LINES = 15
# Kafka's Metadata request, version 1, of no topic: size, api, version, correlation id, client id, topics. Written out
# here because a client library takes longer to import than Redis to start.
_METADATA = struct.pack(">ihhih3si", 17, 3, 1, 0, 3, b"cpn", 0)


class Service(ABC):
    """A server in a process of its own. Also a context manager: starts on entry, stops on exit.

    Args:
        folder: where its data, settings and log are; made if need be. A folder serves one process at a time.
        port: of 127.0.0.1. ``None``: the one this folder had before, or a free one.
    """

    name: ClassVar[str]
    patience_s: ClassVar[float]
    grace_s: ClassVar[float] = 20.0

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "log"
        self.port = _former_port(self.folder) or free_port() if port is None else port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{HOST}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The id of its process, while it runs."""
        return self._process.pid if self._process is not None and self.alive else None

    def start(self) -> None:
        """Start it and wait until it answers; nothing if it runs.

        Raises:
            ConfigError: it does not come up. The message has the end of its log and what to do.
        """
        if self.alive:
            return
        self.kill()
        self.folder.mkdir(parents=True, exist_ok=True)
        with _Lock(self.folder) as lock:
            if not _can_bind(self.port):
                raise ConfigError(
                    f"{self.name} cannot listen on {self.address}: the port is taken. Name another port, or end what "
                    "listens there"
                )
            self._spawn(self._command(), lock)
        (self.folder / "port").write_text(str(self.port))
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in an orderly way, by force if that takes too long."""
        if self._process is not None and self.alive:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self.grace_s)
        self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):  # the group outlives its leader by its watcher
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        atexit.unregister(self.kill)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _command(self) -> list[str]:
        """The command that runs it; prepares the folder."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it serves requests; takes a few seconds at most."""

    def _spawn(self, command: list[str], lock: int) -> None:
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603
                    ["/bin/sh", "-c", WATCHED, "sh", *command],
                    cwd=self.folder,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=[lock],
                )
            except OSError as error:
                raise ConfigError(f"{self.name} does not start: {error}") from error
        atexit.register(self.kill)

    def _wait(self) -> None:
        end = time.monotonic() + self.patience_s
        while time.monotonic() < end:
            if self._answers() and self.alive:
                return
            if not self.alive:
                raise ConfigError(f"{self.name} ended while starting. {self._last_lines()}")
            time.sleep(0.05)
        raise ConfigError(
            f"{self.name} does not answer on {self.address} after {self.patience_s:g} s. {self._last_lines()}"
        )

    def _last_lines(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n  ".join([f"Its log, {self.log}, ends with:", *lines]) + "\nPut right what it says, and start again"


class Broker(Service):
    """A Kafka broker that is its own controller (KRaft, one node).

    Args:
        folder: as for every service.
        port: as for every service.
        java_options: handed to Java. ``-XX:TieredStopAtLevel=1`` halves the work of a start and costs speed later.
    """

    name = "Kafka"
    patience_s = 60.0

    def __init__(self, folder: Path, port: int | None = None, *, java_options: Sequence[str] = ()) -> None:
        super().__init__(folder, port)
        self._java_options = tuple(java_options)

    @property
    def bootstrap(self) -> str:
        """Where clients connect, ``host:port``."""
        return self.address

    def _command(self) -> list[str]:
        java = [find_java(), "-cp", kafka_class_path(), *_LOGGING]
        settings = self.folder / "server.properties"
        settings.write_text(_KAFKA.format(port=self.port, controller=free_port(), data=self.folder / "data"))
        if not (self.folder / "data" / "meta.properties").exists():
            self._format([*java, "-XX:TieredStopAtLevel=1"], settings)  # a short run: not worth the second compiler
        return [*java, "-Xms512M", "-Xmx512M", *self._java_options, "kafka.Kafka", str(settings)]

    def _format(self, java: list[str], settings: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster}", "-c", str(settings)]
        with self.log.open("ab") as log:
            try:
                done = subprocess.run([*java, *tool], stdout=log, stderr=log, timeout=self.patience_s, check=False)  # noqa: S603
            except (OSError, subprocess.TimeoutExpired) as error:
                raise ConfigError(f"Kafka's storage cannot be made: {error}. {self._last_lines()}") from error
        if done.returncode:
            raise ConfigError(f"Kafka's storage cannot be made. {self._last_lines()}")

    def _answers(self) -> bool:
        with suppress(OSError, struct.error), socket.create_connection((HOST, self.port), timeout=2) as link:
            link.sendall(_METADATA)
            _, _, brokers = struct.unpack(">iii", link.recv(12, socket.MSG_WAITALL))
            return bool(brokers > 0)  # it is in its own list as soon as the controller lets it serve
        return False


class RedisServer(Service):
    """A Redis (or Valkey) server that logs every write to its append-only file."""

    name = "Redis"
    patience_s = 30.0

    @property
    def url(self) -> str:
        """Where clients connect, ``redis://host:port/0``."""
        return f"redis://{self.address}/0"

    def _command(self) -> list[str]:
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",  # the append-only file has everything; snapshots beside it would only cost
            "maxmemory-policy": "noeviction",  # a full Redis must refuse a write, not forget a shard
            "daemonize": "no",
        }
        return [find_redis(), *(word for key, value in options.items() for word in (f"--{key}", value))]

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection((HOST, self.port), timeout=2) as link:
            link.sendall(b"PING\r\n")
            return link.recv(16).startswith(b"+PONG")  # -LOADING while it reads its file
        return False


class _Lock:
    """Holds a folder for one server: the program inherits the lock, so it lasts exactly as long as the program."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> int:
        self._file = (self._folder / "lock").open("w")
        end = time.monotonic() + 3  # a program that was killed just now may still be on its way out
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    self._file.close()
                    raise ConfigError(
                        f"{self._folder} is in use by another server: stop that one, or name another folder"
                    ) from None
                time.sleep(0.05)
            else:
                return self._file.fileno()

    def __exit__(self, *_: object) -> None:
        self._file.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    # not the seeded generator: test workers with the same seed would draw the same ports
    draw = random.SystemRandom()
    for _ in range(1_000):
        if _can_bind(port := draw.choice(_FREE_PORTS)):
            return port
    raise ConfigError(f"no free port on {HOST} between {_FREE_PORTS.start} and {_FREE_PORTS.stop}")


def _former_port(folder: Path) -> int | None:
    try:
        port = int((folder / "port").read_text())
    except (OSError, ValueError):
        return None
    return port if _can_bind(port) else None


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections do not matter
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


_LOGGING = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
_KAFKA = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dir={data}

# topics are made on purpose, with the partitions the twin is laid out for
auto.create.topics.enable=false
# a replay has event times of years ago: retention by age would delete it at once
log.retention.ms=-1
# and an accelerated scenario has event times ahead of the wall clock, which Kafka refuses beyond an hour by default
log.message.timestamp.after.max.ms=9223372036854775807

# one node: its own topics cannot have three copies; few partitions, because each costs files and start-up time
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

# a group begins at once instead of waiting 3 s for more members
group.initial.rebalance.delay.ms=0
# members may choose to be missed after 1 s instead of 6
group.min.session.timeout.ms=1000
# after a crash the controller lets the broker back in after 3 s instead of 9
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
"""
