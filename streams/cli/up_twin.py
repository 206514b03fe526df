"""The processes of ``cpn up``: kept running, and asked what they have done."""

import contextlib
import urllib.request
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rich.markup import escape

from streams.cli.output import out
from streams.local import Broker, RedisServer, free_port
from streams.supervise import Supervised

ASK_TIMEOUT_S = 1.0


class LocalTwin:
    """The processes, and what they tell of themselves."""

    def __init__(
        self, commands: Sequence[tuple[str, list[str], bool]], broker: Broker, server: RedisServer, place: Path
    ) -> None:
        self.broker, self.server, self.place = broker, server, place
        self.restarts = {broker.name: 0, server.name: 0}
        self._told: dict[str, dict[str, float]] = {}
        self._before: dict[str, float] = {}
        self.processes: list[Supervised] = []
        self._ports: dict[str, int] = {}
        (place / "logs").mkdir(exist_ok=True)
        (place / "tmp").mkdir(exist_ok=True)
        for name, argv, once in commands:
            env = {
                "TMPDIR": str(place / "tmp"),
                "CPN_BOOTSTRAP": broker.bootstrap,
                "CPN_REDIS_URL": server.url,
                "CPN_NAMESPACE": "cpn",
            }
            if argv[0] in {"worker", "dispatcher"}:
                self._ports[name] = free_port()
                env["CPN_METRICS_PORT"] = str(self._ports[name])
            self.processes.append(Supervised(name, argv, env, place / "logs", once=once))

    def start(self) -> None:
        """Start all."""
        for process in self.processes:
            process.start()

    def stop(self) -> None:
        """Stop all, those that write first."""
        for process in reversed(self.processes):
            process.ask_to_stop()
        for process in reversed(self.processes):
            process.stop()

    def tend(self) -> str:
        """Start again what has ended, and ask for metrics; what is wrong for good, or nothing.

        Raises:
            ConfigError: Kafka or Redis does not come up again.
        """
        for process in self.processes:
            if process.tend() and process.exits and process.pid is None and not process.done:
                self._keep(process.name)
                say(
                    f"{process.name} ended with {_said(process.exits[-1])}; it is started again. Its log: {process.log}"
                )
            if process.state == "wrong":
                return f"{process.name} cannot run:\n{escape(process.last_lines())}"
        for server in (self.broker, self.server):
            if not server.alive:
                self.restarts[server.name] += 1
                say(f"{server.name} has ended; it is started again on its data. Its log: {server.log}")
                server.start()
        for name, port in self._ports.items():
            if told := _ask(port):
                self._told[name] = told
        return ""

    def _keep(self, name: str) -> None:
        """Add what a process that has ended had counted; the next one counts from 0."""
        for metric, value in self._told.pop(name, {}).items():
            if metric.endswith("_total"):
                self._before[metric] = self._before.get(metric, 0.0) + value

    def total(self, name: str) -> float:
        """Sum of a metric over all processes, and over those before them."""
        return self._before.get(name, 0.0) + sum(told.get(name, 0.0) for told in self._told.values())

    def latest(self, name: str) -> float:
        """Largest value of a metric that was ever told."""
        now = max((told.get(name, 0.0) for told in self._told.values()), default=0.0)
        self._before[name] = max(now, self._before.get(name, 0.0))
        return self._before[name]

    @property
    def sent(self) -> bool:
        """Whether a producer has sent all it had."""
        return any(process.name == "producer" and process.done for process in self.processes)


def say(message: str) -> None:
    """A line for people, with the time, above the screen."""
    out.print(f"[yellow]{datetime.now().astimezone():%H:%M:%S}[/] {escape(message)}", soft_wrap=True)


def _said(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _ask(port: int) -> dict[str, float]:
    """Metrics of a process, summed over their labels; nothing while it does not answer."""
    found: dict[str, float] = {}
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=ASK_TIMEOUT_S) as answer:
            text = answer.read().decode()
        for line in text.splitlines():
            if line and not line.startswith("#") and 'how="compared"' not in line:  # windows decided once more
                name, value = line.partition("{")[0].partition(" ")[0], line.rpartition(" ")[2]
                found[name] = found.get(name, 0.0) + float(value)
    return found
