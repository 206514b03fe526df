"""A chunk of records → events and columns. Bytes stop here: what does not decode leaves as a dead letter."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from twin import events as ev
from twin.arrays import Byte1, Int1
from twin.records import Records
from twin.topics import TYPES, decoder

BAD, CLOCK, NOT_FOLDED = 255, 254, 253
MAX_DEPTH = 64
"""Deepest nesting of a body. A bound of our own: where an interpreter gives up depends on its version and its stack."""
_MAX_DETAIL = 300
_OPENING = 0x5B
"""The byte of ``[``, and that of ``{`` without its bit 0x20."""
_TOGETHER = 256
"""Records that are decoded, then looked through for brackets, while they are in the processor's cache."""


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

    def until(self, t: int) -> "Columns":
        """The part up to and with the last clock at or before ``t`` that no later clock precedes."""
        late = [i for i in self.clocks.tolist() if self.events[i].t > t]
        before = self.clocks[: np.searchsorted(self.clocks, late[0])] if late else self.clocks
        end = int(before[-1]) + 1 if late and len(before) else 0 if late else len(self)
        bad = {i: why for i, why in self.bad.items() if i < end}
        return Columns(self.records, self.events[:end], self.group[:end], self.t[:end], before, bad)


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

    def read(self, value: bytes) -> ev.Event:
        """The event in ``value``, which has to be one.

        Raises:
            msgspec.DecodeError: it is none.
        """
        event: ev.Event = self._decode(value)
        return event

    def code(self, struct: type) -> int:
        """The group code of an event type."""
        return self._code[struct]

    def decode(self, records: Records) -> Columns:
        """Decode a whole chunk. A record that is wrong becomes an entry of ``bad`` with its reason and detail."""
        values = records.values
        bad: dict[int, tuple[str, str]] = {}
        events: list[Any] = []
        try:
            for start in range(0, len(values), _TOGETHER):
                some = values[start : start + _TOGETHER]
                events += map(self._decode, some)
                if _many_brackets(some, least=1):  # an event is an object
                    events = []
                    break
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            events = []
        if len(events) < len(values):
            events = [self._one(i, value, bad) for i, value in enumerate(values)]
        t = np.array(
            [0 if event is None else event.t for event in events] if bad else [event.t for event in events], np.int64
        )
        kinds = set(map(type, events))
        if len(kinds) == 1:
            group = np.full(len(events), self._code[kinds.pop()], np.uint8)
        else:
            group = np.frombuffer(bytes(map(self._code.__getitem__, map(type, events))), np.uint8)
        return Columns(records, events, group, t, np.flatnonzero(group == CLOCK), bad)

    def _one(self, i: int, value: bytes, bad: dict[int, tuple[str, str]]) -> ev.Event | None:
        if _too_deep(value):
            bad[i] = "json.too_deep", f"nested more than {MAX_DEPTH} deep"
            return None
        try:
            event: ev.Event = self._decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            reason, detail = why(self.topic, value, error)
            bad[i] = reason, detail[:_MAX_DETAIL]
            return None
        return event


def _many_brackets(values: list[bytes], least: int = 0) -> bool:
    """Whether a value opens enough brackets to be nested too deep; each is known to open at least ``least``.

    Values are looked at together: where no ``MAX_DEPTH + 1`` opening brackets lie as near as the longest value is long, no
    value has so many.
    """
    body = np.frombuffer(b"".join(values), np.uint8)
    is_open = (body & 0xDF) == _OPENING
    if np.count_nonzero(is_open) <= MAX_DEPTH + least * (len(values) - 1):
        return False
    opens = np.flatnonzero(is_open)
    near = len(opens) > MAX_DEPTH and int((opens[MAX_DEPTH:] - opens[:-MAX_DEPTH]).min()) < max(map(len, values))
    return near and any(value.count(b"{") + value.count(b"[") > MAX_DEPTH for value in values)


_bracket = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|([\[{])|([\]}])', re.DOTALL).finditer


def _too_deep(value: bytes) -> bool:
    """Whether ``value`` is nested more than ``MAX_DEPTH`` deep, brackets in texts aside."""
    if value.count(b"{") + value.count(b"[") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _bracket(value):
        depth += (token[1] is not None) - (token[2] is not None)
        if depth > MAX_DEPTH:
            return True
    return False


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
    return _not_this(topic, tag) or ("body.invalid", str(error))


def _not_this(topic: str, tag: str) -> tuple[str, str] | None:
    """What is wrong with a type on a topic; None where nothing is."""
    known = {"clock.v1", *TYPES}
    if tag in known:
        right = tag == "clock.v1" or TYPES[tag].topic == topic
        return None if right else ("topic.wrong", f"{tag} belongs on {TYPES[tag].topic}")
    stem = tag.rpartition(".v")[0]
    versions = sorted(other for other in known if other.rpartition(".v")[0] == stem)
    if versions:
        return "version.unknown", f"this reader knows {', '.join(versions)}, not {tag}"
    return "type.unknown", f"no type {tag!r}"
