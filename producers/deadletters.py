"""Dead letters: records that the twin refused, with the reason; looked through, and sent back once the cause is gone.

A worker writes a letter before it moves past the record, so after a crash the same record may have several: they have one key,
``topic:partition:offset``, and count once. A letter stays where it is when its record is sent back; a record that is refused
again gets a new letter.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from producers.publish import KafkaPublisher
from producers.read import TopicReader
from twin.errors import ConfigError
from twin.records import Record
from twin.topics import IN_TOPICS

REQUEUED = "cpn-requeued-from"
"""Header of a record that was sent back: the key of its letter."""


class _Timed(msgspec.Struct):
    t: int


_timed = msgspec.json.Decoder(_Timed).decode


@dataclass(frozen=True, slots=True)
class Letter:
    """A refused record: where it stood (short name of the topic), why it was refused, its key and its bytes.

    ``t`` is the event time in its body where there is one that can be read, else the time of the letter, ms. ``cut`` is
    empty, or says how large the record was: the letter has only its beginning.
    """

    id: str
    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes
    t: int
    cut: str = ""


def letter_of(record: Record) -> Letter | None:
    """Return the letter that a record of the topic ``deadletter`` is; None if it is none of ours."""
    heads = dict(record.headers)
    try:
        name = (record.key or b"").decode("ascii")
        topic, partition, offset = heads["topic"].decode(), int(heads["partition"]), int(heads["offset"])
        reason, detail = heads["reason"].decode(), heads["detail"].decode(errors="replace")
    except (KeyError, ValueError):
        return None
    t = _event_time(record.value)
    return Letter(
        name,
        topic,
        partition,
        offset,
        reason,
        detail,
        heads.get("key"),
        record.value,
        record.t if t is None else t,
        heads.get("cut", b"").decode(errors="replace"),
    )


def read_letters(
    reader: TopicReader, namespace: str, *, reason: str | None = None, topic: str | None = None
) -> dict[str, Letter]:
    """Return the letters by key, in the order they were first written; copies once.

    Args:
        reader: of the broker.
        namespace: of the twin.
        reason: only those with this reason, or with one below it: ``seq`` finds ``seq.too_old``.
        topic: only those of this topic, by its short name.
    """
    at = f"{namespace}.deadletter", 0
    begin, end = reader.ends([at])[at]
    found: dict[str, Letter] = {}
    for chunk in reader.read(at, begin, end):
        for letter in filter(None, (letter_of(chunk.record(i)) for i in range(len(chunk)))):
            if topic in {None, letter.topic} and (
                reason is None or letter.reason == reason or letter.reason.startswith(f"{reason}.")
            ):
                found.setdefault(letter.id, letter)
    return found


def choose(letters: dict[str, Letter], ids: Iterable[str]) -> list[Letter]:
    """Return the letters with these keys.

    Raises:
        ConfigError: there is none with such a key; says which keys look like it.
    """
    chosen = []
    for name in ids:
        if name not in letters:
            near = ", ".join([key for key in letters if key.startswith(name.partition(":")[0])][:3])
            raise ConfigError(
                f"no dead letter {name!r}; `cpn deadletter list` shows them" + (f", such as {near}" if near else "")
            )
        chosen.append(letters[name])
    return chosen


def requeue(
    publisher: KafkaPublisher,
    namespace: str,
    letters: Iterable[Letter],
    *,
    on_sent: Callable[[int], None] = lambda _count: None,
) -> int:
    """Send refused records back to where they stood, key and bytes as they were, and return how many were taken.

    Raises:
        ConfigError: a letter is of a topic that the twin does not read, or has only the beginning of its record.
        StoreError: the broker did not take all of them.
    """
    chosen = list(letters)
    for letter in chosen:
        if letter.topic not in IN_TOPICS:
            raise ConfigError(f"dead letter {letter.id}: the twin reads no topic {letter.topic!r}")
        if letter.cut:
            raise ConfigError(
                f"dead letter {letter.id} has only the beginning of its record ({letter.cut}): nothing was sent back. "
                "The record itself still stands at that position of its topic"
            )
    before = publisher.acknowledged
    for letter in chosen:
        publisher.send_one(
            f"{namespace}.{letter.topic}",
            letter.partition,
            t=letter.t,
            key=letter.key,
            value=letter.value,
            headers=((REQUEUED, letter.id.encode()),),
        )
        on_sent(1)
    publisher.flush()
    return publisher.acknowledged - before


def _event_time(value: bytes) -> int | None:
    try:
        t = _timed(value).t
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return t if 0 <= t < 2**63 else None
