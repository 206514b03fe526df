"""Which of a plant's answers stand in the log already, so that one that starts again writes none twice and leaves none out.

A plant computes the same answers again and writes those of a partition in the order in which it computes them, each step
acknowledged before the next. So what a plant that was killed has left in a partition is how the sequence begins, and the
last of it says where to go on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from twin import events as ev
from twin.assembler import Partition
from twin.columns import Columns
from twin.errors import TwinError
from twin.plant.answers import SOURCE
from twin.topics import BY_STRUCT, Role


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it stands in a partition: event time in ms and body."""

    t: int
    value: bytes


class ContradictionError(TwinError):
    """What stands in the topics does not follow from the logs as this plant reads them."""


def answers_in(columns: Columns) -> Iterator[tuple[int, ev.Event]]:
    """The answers among decoded records, whoever wrote them: (place in ``columns``, answer)."""
    for i, event in enumerate(columns.events):
        if event is not None and not isinstance(event, ev.Clock) and BY_STRUCT[type(event)].role is Role.ANSWER:
            yield i, event


def last_answer(columns: Columns) -> Answer | None:
    """The last answer of a plant among decoded records."""
    last = None
    for i, event in answers_in(columns):
        if event.source == SOURCE:
            last = Answer(event.t, columns.records.values[i])
    return last


class Standing:
    """Holds answers that are computed against ``last``, the last one that stands in each partition, if any."""

    def __init__(self, last: Mapping[Partition, Answer | None]) -> None:
        self._last = {at: answer for at, answer in last.items() if answer is not None}

    def adds(self, at: Partition, value: bytes) -> bool:
        """Whether the answer that was computed next for a partition is new to it."""
        last = self._last.get(at)
        if last is None:
            return True
        if value == last.value:
            del self._last[at]
        return False

    def passed(self, t: int) -> None:
        """Everything before ``t`` (ms) has been computed.

        Raises:
            ContradictionError: an answer before it stands in the log and was not.
        """
        for (topic, partition), last in self._last.items():
            if last.t < t:
                raise ContradictionError(
                    f"{topic}-{partition} ends with an answer that does not follow from the log: "
                    f"{last.value.decode(errors='replace')[:300]}. Were --reject, --silent, --delay, --telemetry-every or "
                    "the program others then, or was a log with recorded answers sent? Start it as before, or use a new "
                    "CPN_NAMESPACE with topics of its own"
                )
