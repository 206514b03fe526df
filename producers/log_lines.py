"""Parts of an event log as gzip JSON Lines: one record a line, bytes kept exactly.

A line is ``{"o": offset, "t": ms, "k": key, "h": headers, "v": body}``. The body stands verbatim as ``v`` when it is one
line of UTF-8 JSON, else as ``b`` in base64; a key or headers that are not UTF-8 stand as ``kb`` and ``hb``. Absent: none.
"""

import operator
import os
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from producers.log_gzip import DamageError, blocks
from twin.errors import ConfigError, StoreError
from twin.records import Headers, Records

_DEEPEST = 400  # brackets in a body written verbatim: far below what any JSON reader takes as nesting

Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Pairs = list[tuple[str, str]]


class Line(msgspec.Struct, gc=False):
    """One line. Exactly one of ``v`` and ``b`` is present."""

    o: Annotated[int, Meta(ge=0, le=2**62)]
    t: Int64
    k: str | None = None
    kb: str | None = None
    h: Pairs | dict[str, str] | None = None
    hb: Pairs | None = None
    v: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    b: str | None = None


_decode_lines = msgspec.json.Decoder(Line).decode_lines
_decode_line = msgspec.json.Decoder(Line).decode
_raws = msgspec.json.Decoder(msgspec.Raw)
_text = msgspec.json.Encoder().encode


# -------------------------------------------------------------------------------------------------------- writing


def is_json_line(value: bytes) -> bool:
    """Whether ``value`` can stand verbatim in a line: one line of UTF-8 JSON, no blanks around it, not absurdly nested."""
    if b"\n" in value or b"\r" in value:
        return False
    if len(value) > 2 * _DEEPEST and value.count(b"[") + value.count(b"{") > _DEEPEST:
        return False
    try:
        value.decode()
        return bytes(_raws.decode(value)) == value
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False


def _all_json(values: list[bytes]) -> bool:
    """Whether every value satisfies ``is_json_line``, decided for all at once. False may also mean: ask one by one."""
    block = b"\n".join(values)
    if b"\r" in block or block.count(b"\n") != len(values) - 1 or max(map(len, values)) > 2 * _DEEPEST:
        return False
    try:
        block.decode()
        return list(map(bytes, _raws.decode_lines(block))) == values
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return False


def _key(key: bytes | None) -> bytes:
    if key is None:
        return b""
    try:
        return b',"k":' + _text(key.decode())
    except UnicodeDecodeError:
        return b',"kb":"' + b64encode(key) + b'"'


def _headers(headers: Headers) -> bytes:
    if not headers:
        return b""
    try:
        return b',"h":' + _text([(name, value.decode()) for name, value in headers])
    except UnicodeDecodeError:
        return b',"hb":' + _text([(name, b64encode(value).decode()) for name, value in headers])


def _body(value: bytes) -> bytes:
    return b',"v":' + value if is_json_line(value) else b',"b":"' + b64encode(value) + b'"'


def encode_lines(records: Records) -> bytes:
    """Return the lines of ``records``, each with its newline."""
    values = records.values
    if not values:
        return b""
    bodies = [b',"v":' + value for value in values] if _all_json(values) else list(map(_body, values))
    keys = map(_key, records.keys)
    heads = map(_headers, records.headers) if records.headers else [b""] * len(values)
    rows = zip(records.offsets, records.times, keys, heads, bodies, strict=True)
    return b"".join([b'{"o":%d,"t":%d%b%b%b}\n' % row for row in rows])


class LinesPart:
    """Writes one part. The same records at the same level give the same bytes: the gzip header carries no time, no name.

    ``size`` keeps that many bytes of a part that is there, which end with a whole gzip member, and goes on after them.
    """

    def __init__(self, path: Path, level: int, size: int = 0) -> None:
        self._file = path.open("r+b" if size else "wb")
        if size:
            self._file.truncate(size)
            self._file.seek(size)
        self._level = level
        self._gzip = zlib.compressobj(level, zlib.DEFLATED, 31)
        self._begun = not size  # an empty part is an empty gzip file, not an empty file

    def write(self, records: Records) -> None:
        """Add ``records``."""
        self._begun = True
        self._file.write(self._gzip.compress(encode_lines(records)))

    def sync(self) -> int:
        """End the gzip member, wait until the disk has everything, and return the bytes so far."""
        self._end_member()
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Write what is left and close the file."""
        try:
            self._end_member()
        finally:
            self._file.close()

    def _end_member(self) -> None:
        if self._begun:
            self._file.write(self._gzip.flush())
            self._gzip = zlib.compressobj(self._level, zlib.DEFLATED, 31)
            self._begun = False

    def abandon(self) -> None:
        """Close the file as it is."""
        with suppress(OSError):  # a full disk refuses the last buffer too
            self._file.close()


# -------------------------------------------------------------------------------------------------------- reading


def _parsed(block: bytes, lines_before: int) -> tuple[list[Line], str | None]:
    """The lines of a block up to the first that does not decode, and what is wrong with that one (None: nothing)."""
    try:
        lines = _decode_lines(block)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        lines = []
    if len(lines) == block.count(b"\n") + (not block.endswith(b"\n")):
        return lines, None
    good: list[Line] = []
    for number, text in enumerate(block.split(b"\n"), lines_before + 1):
        try:
            good.append(_decode_line(text))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return good, f"line {number}: not a record of an event log: {error}"
    return good, None


def _line_key(line: Line) -> bytes | None:
    if line.k is not None:
        return line.k.encode()
    return None if line.kb is None else b64decode(line.kb, validate=True)


def _line_value(line: Line) -> bytes:
    return b64decode(line.b or "", validate=True) if line.v is msgspec.UNSET else bytes(line.v)


def _line_headers(line: Line) -> Headers:
    pairs = line.h.items() if isinstance(line.h, dict) else line.h or ()
    plain = tuple((name, value.encode()) for name, value in pairs)
    return plain + tuple((name, b64decode(value, validate=True)) for name, value in line.hb or ())


def _line_fault(line: Line) -> str | None:
    """What is wrong with a line beyond its types and order."""
    if (line.v is msgspec.UNSET) == (line.b is None):
        return "expected exactly one of 'v' and 'b'"
    try:
        _line_value(line), _line_key(line), _line_headers(line)
    except ValueError as error:  # binascii.Error is one
        return f"not base64: {error}"
    return None


def _first_fault(lines: list[Line], after: int) -> tuple[int, str] | None:
    """The first line that is wrong beyond its types (its index, what is wrong); ``after`` is the offset before them."""
    unset = msgspec.UNSET
    odd = [i for i, line in enumerate(lines) if line.v is unset or line.b is not None or line.kb or line.hb]
    fault = next(((i, wrong) for i in odd if (wrong := _line_fault(lines[i])) is not None), None)
    offsets = [after] + [line.o for line in lines]
    if any(map(operator.ge, offsets, offsets[1:])):
        i = next(i for i in range(len(lines)) if offsets[i] >= offsets[i + 1])
        if fault is None or i <= fault[0]:
            return i, f"offset {offsets[i + 1]} after offset {offsets[i]}: offsets must rise"
    return fault


def _columns(lines: list[Line], base: int) -> Records:
    unset = msgspec.UNSET
    offsets = [line.o for line in lines]
    keys = [line.k.encode() if line.k is not None else _line_key(line) for line in lines]
    values = [bytes(line.v) if line.v is not unset else _line_value(line) for line in lines]
    headers = [_line_headers(line) for line in lines] if any(line.h or line.hb for line in lines) else []
    return Records(base, offsets[-1] + 1, offsets, [line.t for line in lines], keys, values, headers)


def _checked_lines(path: Path) -> Iterator[list[Line]]:
    """Yield the lines of a part in blocks.

    Raises:
        ConfigError: a damage, after everything before it was yielded.
    """
    count, last = 0, -1
    fault: str | None = None
    try:
        for block in blocks(path):
            lines, fault = _parsed(block, count)
            wrong = _first_fault(lines, last)
            if wrong is not None:
                fault = f"line {count + wrong[0] + 1}: {wrong[1]}"
                del lines[wrong[0] :]
            if lines:
                count, last = count + len(lines), lines[-1].o
                yield lines
            if fault is not None:
                break
    except DamageError as damage:
        fault = f"line {count + 1}: {damage}"
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror or error}") from error
    if fault is not None:
        raise ConfigError(f"{path}: {fault} ({count} whole records before it)")


def read_lines(path: Path, chunk: int) -> Iterator[Records]:
    """Yield the records of one part, ``chunk`` at a time.

    Raises:
        ConfigError: a damage, with file, line and how many whole records came before it. They are yielded first.
        StoreError: the file cannot be read.
    """
    held: list[Line] = []
    base = -1
    damage: ConfigError | None = None
    source = _checked_lines(path)
    while damage is None:
        try:
            lines = next(source, None)
        except ConfigError as error:
            damage, lines = error, None
        if lines is None:
            break
        base = lines[0].o if base < 0 else base
        held += lines
        for start in range(0, len(held) - chunk + 1, chunk):
            records = _columns(held[start : start + chunk], base)
            base = records.next
            yield records
        del held[: len(held) // chunk * chunk]
    if held:
        yield _columns(held, base)
    if damage is not None:
        raise damage
