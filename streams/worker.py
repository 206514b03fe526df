"""A worker: the Faust app whose one agent folds chunks of all in-topics into the twin.

    faust -A streams.worker worker          or          cpn worker

Crash-only: run it under something that starts it again.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import faust
import structlog
from faust.types import TP

from streams import notices
from streams.app import create_app, raw_topic
from streams.exits import Exit, die
from streams.ingest import Ingest
from streams.metrics import IngestMetrics, serve_metrics
from streams.notices import Notice
from streams.settings import Settings
from streams.store.base import FencedError
from streams.store.redis import RedisStore
from streams.transport import Chunk, Claim
from twin.columns import DeadLetter
from twin.errors import ConfigError

BURY_TIMEOUT_S = 30.0
REBALANCE_S = 180.0
"""A rebalance that takes longer has got stuck: members have 60 s to join, and a claim has less."""
MOST_LETTER_BYTES = 900_000
"""Of key and value of a dead letter; brokers take 1 MB."""
CUT_KEY_BYTES = 1_000
"""What is left of the key of a record that is too large for its letter."""
log = structlog.get_logger()


class Worker:
    """The ingest app: its agent, its outputs, and the watchdog.

    Args:
        settings: of this process.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.app = create_app(settings, "ingest", self._claim)
        self._events = raw_topic(self.app, *settings.in_topics.values())
        self._dead = raw_topic(self.app, settings.topic("deadletter"))
        self._cuts = raw_topic(self.app, settings.topic("cuts"))
        self.ingest: Ingest | None = None
        self.app.agent(self._events, name="ingest")(self._fold_chunks)
        self.app.task(self._tend)
        self.app.task(self._watch)
        self.app.on_partitions_revoked.connect(self._revoked, weak=False)
        if settings.metrics_port:
            metrics = IngestMetrics(lambda: self.ingest, lambda tp: self.app.consumer.highwater(tp))
            serve_metrics(self.app, metrics, live=self._is_live, ready=self._is_ready)

    def _is_live(self) -> str:
        """What is wrong with it; the watchdog sees to it that there is progress as long as there is work."""
        return ""

    def _is_ready(self) -> str:
        if self.ingest is None or not self.ingest.work.claims:
            return "no partition was claimed yet"
        return "in a rebalance" if self.app.rebalancing else ""

    # ---------------------------------------------------------------------------------------------------- the agent

    async def _fold_chunks(self, stream: faust.StreamT[Chunk]) -> None:
        """One in-order task: an exception must not leave it, or Faust would acknowledge the chunk and go on."""
        async for chunk in stream:
            try:
                await self._ready().handle(chunk, last=stream.channel.empty())  # type: ignore[attr-defined]  # a Faust channel
            except FencedError as error:
                die(Exit.FENCED, str(error))
            except ConfigError as error:
                die(Exit.of(error), str(error))
            except Exception as error:  # noqa: BLE001  # whatever it is, nothing may be acknowledged after it
                die(Exit.HANDLER, f"{type(error).__name__}: {error}")

    def _ready(self) -> Ingest:
        if self.ingest is None:
            self.ingest = Ingest(
                self.settings,
                RedisStore(self.settings.redis_url, self.settings.namespace),
                bury=self._bury,
                tell=self._tell,
                pause=self._pause,
                resume=self._resume,
            )
        return self.ingest

    async def _claim(self, tps: set[TP]) -> dict[TP, Claim]:
        return await self._ready().claim(tps)

    async def _revoked(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: ANN401  # a Faust signal
        if self.ingest:
            self.ingest.revoke()

    # ------------------------------------------------------------------------------------------------------- outputs

    async def _bury(self, letters: list[DeadLetter]) -> None:
        """Write dead letters to their topic and wait until the broker has them."""
        sent = [
            await self._dead.send(
                key=f"{letter.topic}:{letter.partition}:{letter.offset}".encode(),
                value=value,
                headers=headers,
            )
            for letter in letters
            for value, headers in [dead_letter_record(letter)]
        ]
        await asyncio.wait_for(asyncio.gather(*sent), BURY_TIMEOUT_S)

    async def _tell(self, notice: Notice) -> None:
        await self._cuts.send(value=notices.encode(notice))

    def _pause(self, tps: Iterable[TP]) -> None:
        self.app.consumer.pause_partitions(tps)

    def _resume(self, tps: Iterable[TP]) -> None:
        self.app.consumer.resume_partitions(tps)

    # ----------------------------------------------------------------------------------------------------- beside it

    async def _tend(self) -> None:
        try:
            await self._ready().tend()
        except FencedError as error:
            die(Exit.FENCED, str(error))
        except ConfigError as error:
            die(Exit.of(error), str(error))
        except Exception as error:  # noqa: BLE001  # as in the agent
            die(Exit.HANDLER, f"{type(error).__name__}: {error}")

    async def _watch(self) -> None:
        """End a process that has work and does none: Faust and aiokafka have several ways to stall silently."""
        while True:
            await asyncio.sleep(self.settings.stall_s / 4)
            if time.monotonic() - self._ready().progress >= self.settings.stall_s:
                await self._check_stalled()

    async def _check_stalled(self) -> None:
        ingest = self._ready()
        if self.app.rebalancing:  # which ends in a claim, and that is progress
            if time.monotonic() - ingest.progress >= self.settings.stall_s + REBALANCE_S:
                die(Exit.WATCHDOG, f"in a rebalance for {REBALANCE_S:g} s")
            return
        try:
            tps = {TP(*tp) for tp in self.app.consumer.assignment()}
            end = await asyncio.wait_for(self.app.consumer.highwaters(*tps), 10) if tps else {}
        except Exception as error:  # noqa: BLE001  # the broker's silence is a stall too
            die(Exit.WATCHDOG, f"no answer from the broker: {error!r}")
        parts = ingest.parts
        behind = [tp for tp in tps if tp not in parts or (parts[tp].written < (end[tp] or 0) and not parts[tp].paused)]
        if not behind:
            ingest.progress = time.monotonic()
        else:
            die(Exit.WATCHDOG, f"no progress for {self.settings.stall_s:g} s; behind in {sorted(behind)}")


def dead_letter_record(letter: DeadLetter) -> tuple[bytes, dict[str, bytes]]:
    """Value and headers of a dead letter: the bytes of the record, and what is to be said of it.

    With its headers a record may be larger than a broker takes: then the letter has its beginning, and says so in ``cut``.
    """
    key, value = letter.key, letter.value
    headers = {
        "reason": letter.reason.encode(),
        "detail": letter.detail.encode(),
        "topic": letter.topic.encode(),
        "partition": str(letter.partition).encode(),
        "offset": str(letter.offset).encode(),
    }
    if len(key or b"") + len(value) > MOST_LETTER_BYTES:
        headers["cut"] = f"key {len(key or b'')}, value {len(value)} bytes".encode()
        key, value = key and key[:CUT_KEY_BYTES], value[: MOST_LETTER_BYTES - CUT_KEY_BYTES]
    if key is not None:
        headers["key"] = key
    return value, headers


worker = Worker(Settings())
app = worker.app
