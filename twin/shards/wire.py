"""Cuts as bytes: what a store keeps for whoever follows the shard.

A version byte, a CRC-32, then msgpack. Rows and indices are little-endian arrays; the index of a base is every row and
not written. The names of text columns are those of the topic's tables and not written either, so that a cut in which
nothing changed has little more than its hashes.
"""

import zlib
from functools import cache

import msgspec
import numpy as np

from twin.arrays import Int1
from twin.errors import StoreError
from twin.ids import ZERO_SHA
from twin.shards.fold import Tables
from twin.shards.shard import Cut, empty_tables
from twin.shards.table import TableDelta

VERSION = 1

_PREFIX = 5
_SHA = len(ZERO_SHA)


class _Delta(msgspec.Struct, array_like=True):
    index: memoryview
    rows: memoryview
    ids: list[tuple[int, str | None]]
    ids_sha: bytes
    texts: dict[str, list[str]]
    texts_sha: bytes
    count: int


class _Cut(msgspec.Struct, array_like=True):
    topic: str
    partition: int
    window: int
    skipped: tuple[int, ...]
    serial: int
    next: int
    time: int
    window_ms: int
    lateness_ms: int
    base: bool
    tables: dict[str, _Delta]
    sums: dict[str, int]


_encode = msgspec.msgpack.Encoder().encode_into
_decode = msgspec.msgpack.Decoder(_Cut).decode
_known = cache(empty_tables)
"""Tables of a topic, for their widths and text columns."""


def encode_cut(cut: Cut) -> bytes:
    """``cut`` as bytes, the same for equal cuts."""
    tables = {name: _packed(delta, base=cut.base) for name, delta in cut.tables.items()}
    fields = {name: getattr(cut, name) for name in _Cut.__struct_fields__}
    out = bytearray(_PREFIX)
    _encode(_Cut(**(fields | {"tables": tables})), out, _PREFIX)
    out[0] = VERSION
    out[1:_PREFIX] = zlib.crc32(memoryview(out)[_PREFIX:]).to_bytes(4, "little")
    return bytes(out)


def _packed(delta: TableDelta, *, base: bool) -> _Delta:
    index = b"" if base else delta.index.astype("<i8").tobytes()
    return _Delta(
        memoryview(index),
        np.ascontiguousarray(delta.rows).view(np.uint8).data,
        delta.ids,
        delta.ids_sha,
        delta.texts,
        b"".join(delta.texts_sha.values()),
        delta.count,
    )


def decode_cut(data: bytes) -> Cut:
    """The cut that ``data`` was made of; its rows are a view of ``data`` and not to be written.

    Raises:
        StoreError: ``data`` is damaged, or of a newer version.
    """
    if data[:1] != bytes([VERSION]):
        raise StoreError(f"a stored cut is of version {data[0] if data else 'none'}, this version reads {VERSION}")
    body = memoryview(data)[_PREFIX:]
    if zlib.crc32(body).to_bytes(4, "little") != data[1:_PREFIX]:
        raise StoreError(f"a stored cut of {len(data)} bytes is damaged")
    try:
        stored = _decode(body)
        known = _known(stored.topic)
        tables = {name: _unpacked(delta, known, name, base=stored.base) for name, delta in stored.tables.items()}
    except (msgspec.DecodeError, KeyError, ValueError) as error:
        raise StoreError(f"a stored cut cannot be read: {error}") from error
    fields = {name: getattr(stored, name) for name in _Cut.__struct_fields__}
    return Cut(**(fields | {"tables": tables}))


def _unpacked(delta: _Delta, known: Tables, name: str, *, base: bool) -> TableDelta:
    table = known[name]
    rows = np.frombuffer(delta.rows, f"V{table.width}")
    index: Int1 = np.arange(delta.count) if base else np.frombuffer(delta.index, "<i8").astype(np.int64)
    shas = [delta.texts_sha[at : at + _SHA] for at in range(0, len(delta.texts_sha), _SHA)]
    texts_sha = dict(zip(table.texts, shas, strict=True))
    if len(rows) != len(index):
        raise ValueError(f"{len(rows)} rows for {len(index)} indices")
    return TableDelta(index, rows, delta.ids, delta.ids_sha, delta.texts, texts_sha, delta.count)
