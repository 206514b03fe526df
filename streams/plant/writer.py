"""Writes a plant's answers to the in-topics, each step acknowledged before the next."""

from collections import Counter
from collections.abc import Callable

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from streams.plant.answers import Standing, answers_in
from streams.settings import Settings
from twin import events as ev
from twin.assembler import Partition
from twin.columns import Columns
from twin.errors import StoreError
from twin.plant.answers import SOURCE
from twin.topics import address

Route = Callable[[str, int], int]
"""(key, number of partitions) → partition."""
_encode = msgspec.json.encode
log = structlog.get_logger()


class AnswerWriter:
    """Writes answers to the in-topics, those that stand there already aside, and looks who else writes some.

    ``ends``: of every partition, the log position up to which ``standing`` looked.
    """

    def __init__(
        self,
        settings: Settings,
        producer: AIOKafkaProducer,
        route: Route,
        standing: Standing,
        ends: dict[Partition, int],
    ) -> None:
        self.written = self.stood = 0
        self._settings, self._producer, self._route = settings, producer, route
        self._standing, self._ends = standing, ends
        self._counts = Counter(topic for topic, _ in ends)
        self._own: dict[Partition, set[int]] = {at: set() for at in ends}
        """Offsets of answers that were written and not read back yet."""
        self._warned = set[str]()

    async def write(self, answers: list[ev.Event], t: int) -> None:
        """Write what the plant answered up to ``t`` (ms); returns when the broker has it.

        Raises:
            ContradictionError: the log holds answers up to ``t`` that were never given.
            StoreError: the broker did not take it.
        """
        sent = []
        try:
            for answer in answers:
                topic, key = address(answer)
                at = topic, self._route(key, self._counts[topic])
                value = _encode(answer)
                if self._standing.adds(at, value):
                    where = self._settings.topic(topic)
                    sent.append((at, await self._producer.send(where, value, key.encode(), at[1], answer.t)))
            for at, future in sent:
                self._own[at].add((await future).offset)
        except KafkaError as error:
            raise StoreError(f"the broker at {self._settings.bootstrap} did not take an answer: {error!r}") from error
        self._standing.passed(t)
        self.written += len(sent)
        self.stood += len(answers) - len(sent)

    def look(self, at: Partition, columns: Columns) -> None:
        """Look at records that were read for answers of others, and say so once."""
        own, end = self._own[at], self._ends[at]
        for i, answer in answers_in(columns):
            offset = columns.records.offsets[i]
            if answer.source != SOURCE:
                self._warn("plant.other_answers", at, offset, answer.source)
            elif offset in own:
                own.remove(offset)
            elif offset >= end:
                self._warn("plant.second_plant", at, offset, answer.source)

    def _warn(self, what: str, at: Partition, offset: int, source: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            log.warning(what, topic=at[0], partition=at[1], offset=offset, source=source, said="once")
