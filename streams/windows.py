"""Reads what the dispatcher publishes: window records, each with its decisions, in order, committed ones only."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Self

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from streams.settings import Settings
from twin.decisions import Decision, WindowRecord
from twin.errors import AwayError

POLL_MS = 200
_record = msgspec.json.Decoder(WindowRecord).decode
_decision = msgspec.json.Decoder(Decision).decode


@dataclass(frozen=True, slots=True)
class DecidedWindow:
    """One window as published."""

    record: WindowRecord
    decisions: list[Decision]


class WindowReader:
    """Follows ``windows`` and ``decisions``, from the first window or from the one published next.

    Use as ``async with WindowReader(settings) as windows: window = await windows.next()``.
    """

    def __init__(self, settings: Settings, *, from_now: bool = False) -> None:
        self._settings, self._from_now = settings, from_now
        self._windows = TopicPartition(settings.topic("windows"), 0)
        self._decisions = TopicPartition(settings.topic("decisions"), 0)
        self._records: deque[WindowRecord] = deque()
        self._pending: deque[Decision] = deque()
        self._consumer: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        self._consumer = consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=POLL_MS,
        )
        try:
            await consumer.start()
        except KafkaError as error:
            await consumer.stop()
            raise AwayError(
                f"no broker at {self._settings.bootstrap} ({error}): start it, or set CPN_BOOTSTRAP"
            ) from error
        both = (self._windows, self._decisions)
        consumer.assign(both)
        if self._from_now:
            await consumer.seek_to_end(*both)
            for at in both:
                await consumer.position(at)
        else:
            await consumer.seek_to_beginning(*both)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def next(self) -> DecidedWindow:
        """The next window, once it is published with all its decisions."""
        while (window := self._complete()) is None:
            await self._poll()
        return window

    def _complete(self) -> DecidedWindow | None:
        if not self._records or len(self._pending) < self._records[0].counts["decisions"]:
            return None
        record = self._records.popleft()
        decisions = [self._pending.popleft() for _ in range(record.counts["decisions"])]
        return DecidedWindow(record, decisions)

    async def _poll(self) -> None:
        if self._consumer is None:
            raise RuntimeError("the reader is used outside of its `async with`")
        fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
        for record in fetched.get(self._windows, ()):
            self._records.append(_record(record.value))
        for record in fetched.get(self._decisions, ()):
            self._pending.append(_decision(record.value))
        if not fetched:
            await asyncio.sleep(0)
