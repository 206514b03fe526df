"""A chunk of records → events and columns. Bytes stop here: what does not decode leaves as a dead letter."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from twin import events as ev
from twin.arrays import Byte1, Int1
from twin.records import Records
from twin.topics import TYPES, decoder

BAD, CLOCK, NOT_FOLDED = 255, 254, 253


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that the twin refused: where it stood, why, and its bytes."""

    topic: str
    partition: int
    offset: int
    reason: str
    detail: str
    key: bytes | None
    value: bytes


@dataclass(slots=True)
class Columns:
    """A decoded chunk. ``events``, ``group`` and ``t`` have the length of the chunk; a bad record is None, BAD and 0.

    ``group`` is a code of the topic's folds (CLOCK, NOT_FOLDED and BAD aside); ``clocks`` are the positions of clocks.
    """

    records: Records
    events: list[Any]
    group: Byte1
    t: Int1
    clocks: Int1
    bad: dict[int, tuple[str, str]]

    def __len__(self) -> int:
        return len(self.events)


class Decoder:
    """Decodes the records of one topic into columns; ``folds`` names the topic's folds in the order of their codes."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self._decode = decoder(topic).decode
        infos = [info for info in TYPES.values() if info.topic == topic]
        self.folds: tuple[str, ...] = tuple(dict.fromkeys(info.fold for info in infos if info.fold is not None))
        self._code: dict[type, int] = {ev.Clock: CLOCK, type(None): BAD}
        for info in infos:
            self._code[info.struct] = NOT_FOLDED if info.fold is None else self.folds.index(info.fold)

    def decode(self, records: Records) -> Columns:
        """Decode a whole chunk. A record that is wrong becomes an entry of ``bad`` with its reason and detail."""
        bad: dict[int, tuple[str, str]] = {}
        decode = self._decode
        events: list[Any]
        try:
            events = [decode(value) for value in records.values]
        except (msgspec.DecodeError, UnicodeDecodeError):
            events = [self._one(i, value, bad) for i, value in enumerate(records.values)]
        code = self._code
        group = np.array([code[type(event)] for event in events], np.uint8)
        if bad:
            t = np.array([0 if event is None else event.t for event in events], np.int64)
        else:
            t = np.array([event.t for event in events], np.int64)
        return Columns(records, events, group, t, np.flatnonzero(group == CLOCK), bad)

    def _one(self, i: int, value: bytes, bad: dict[int, tuple[str, str]]) -> ev.Event | None:
        try:
            event: ev.Event = self._decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            bad[i] = why(self.topic, value, error)
            return None
        return event


class _Tagged(msgspec.Struct):
    type: str


_tag = msgspec.json.Decoder(_Tagged).decode


def why(topic: str, value: bytes, error: Exception) -> tuple[str, str]:
    """(reason, detail) for a value that did not decode."""
    if not value:
        return "value.empty", "the record has no value"
    try:
        tag = _tag(value).type
    except msgspec.ValidationError:
        return "type.missing", "the body is no object with a text field 'type'"
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        return "json.malformed", str(malformed)
    info = TYPES.get(tag)
    if info is not None:
        wrong = info.topic != topic
        return ("topic.wrong", f"{tag} belongs on {info.topic}") if wrong else ("body.invalid", str(error))
    stem = tag.rpartition(".v")[0]
    known = [other for other in TYPES if other.rpartition(".v")[0] == stem] or (["clock.v1"] if stem == "clock" else [])
    if known and tag not in known:
        return "version.unknown", f"this reader knows {', '.join(known)}, not {tag}"
    if tag == "clock.v1":
        return "body.invalid", str(error)
    return "type.unknown", f"no type {tag!r}"

