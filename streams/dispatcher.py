"""The dispatcher: cuts of all shards → a decision at every window → one transaction on Kafka.

    faust -A streams.dispatcher worker          or          cpn dispatcher

Any number of processes may stand by: the one that has the partition of ``cpn.cuts`` decides. How, is in ``deciding``.
"""

import asyncio
import time
from typing import Any

import faust
from faust.types import TP

from streams.app import create_app, raw_topic
from streams.deciding import Deciding, DifferentError
from streams.exits import Exit, die
from streams.metrics import DispatchMetrics, serve_metrics
from streams.outbox import Outbox
from streams.partitions import agree_on_partitions, in_partitions
from streams.settings import Settings
from streams.store.base import FencedError, TwinStore
from streams.store.redis import RedisStore
from streams.transport import Chunk, Claim
from twin.errors import ConfigError


class DispatchApp:
    """The Faust app around ``Deciding``: who has the partition of ``cpn.cuts`` is the dispatcher, the others stand by.

    Args:
        settings: of this process.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        cuts = settings.topic("cuts")
        self.app = create_app(settings, "dispatch", self._claim)
        self.store: TwinStore | None = None
        self.deciding: Deciding | None = None
        self._outbox = Outbox(settings)
        self._task: asyncio.Task[None] | None = None
        self._claims = 0
        self.app.agent(raw_topic(self.app, cuts), name="dispatch")(self._hear)
        self.app.on_partitions_revoked.connect(self._revoked, weak=False)
        if settings.metrics_port:
            serve_metrics(self.app, DispatchMetrics(lambda: self.deciding), live=self._live, ready=self._ready)

    def _live(self) -> str:
        deciding, stall_s = self.deciding, self.settings.stall_s
        if deciding and time.monotonic() - deciding.progress > stall_s:
            return f"no look for cuts for {stall_s:g} s"
        return ""

    def _ready(self) -> str:
        return "" if self._claims else "not in the group yet"

    async def _hear(self, stream: faust.StreamT[Chunk]) -> None:
        """A notice says that there is something to look for; where, is in the store."""
        async for _ in stream:
            if self.deciding:
                self.deciding.notice.set()

    async def _claim(self, tps: set[TP]) -> dict[TP, Claim]:
        """Begin to decide if the partition of ``cpn.cuts`` is ours; notices are read from now on."""
        await self._stop()
        self._claims += 1
        end = await self.app.consumer.highwaters(*tps) if tps else {}
        if tps:
            self.store = self.store or RedisStore(self.settings.redis_url, self.settings.namespace)
            self._task = asyncio.create_task(self._decide(self.store))
        return {tp: Claim(self._claims, end[tp] or 0) for tp in tps}

    async def _decide(self, store: TwinStore) -> None:
        try:
            partitions = await in_partitions(self.settings)
            await agree_on_partitions(store, partitions)
            self.deciding = Deciding(self.settings, store, self._outbox, partitions)
            await self.deciding.run()
        except FencedError as error:
            die(Exit.FENCED, str(error))
        except DifferentError as error:
            die(Exit.CONTRADICTION, str(error))
        except ConfigError as error:
            die(Exit.of(error), str(error))
        except Exception as error:  # noqa: BLE001  # whatever it is, nothing may be published after it
            die(Exit.HANDLER, f"{type(error).__name__}: {error}")

    async def _revoked(self, *_args: Any, **_kwargs: Any) -> None:  # noqa: ANN401  # a Faust signal
        await self._stop()

    async def _stop(self) -> None:
        task, self._task, self.deciding = self._task, None, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._outbox.close()


dispatcher = DispatchApp(Settings())
app = dispatcher.app
