"""Arrays as bytes: small, fast, and the same for equal arrays.

Integers are stored as their distance to the least one, in as few bytes as the widest needs; bytes of equal weight stand
together, and are compressed where that pays. Rows of nothing but zeros cost a bit each. Whoever reads says which dtype it
expects; another one means another version of the program.
"""

import math
import zlib
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from twin.arrays import AnyArray, Bool1, Int1
from twin.errors import ConfigError

OTHER_VERSION = (
    "the carry is of another version of the program: empty the topic of carries and let it be computed from the log"
)

_LEVEL = 1
_WORTH = 512
"""Bytes below which nothing is compressed."""
_PROBE = 1 << 16
"""So many bytes are compressed first, to see whether it pays."""
_PAYS = 0.85


class Packed(msgspec.Struct, array_like=True, frozen=True):
    """An array of ``dtype`` and ``shape``; see the module for how ``data`` holds it."""

    dtype: str
    shape: tuple[int, ...]
    least: int
    width: int
    zipped: bool
    data: bytes


class Sparse(msgspec.Struct, array_like=True, frozen=True):
    """Columns of rows that stand in several parts; ``used`` says per part which rows are there, the others are zero."""

    used: list[Packed]
    columns: dict[str, Packed]


def pack(array: AnyArray) -> Packed:
    """``array`` (integers, floats or booleans of any shape)."""
    flat = np.ascontiguousarray(array).reshape(-1)
    least = 0
    if flat.dtype.kind == "i" and len(flat):
        least, most = int(flat.min()), int(flat.max())
        width = _width(most - least)
        if width < flat.dtype.itemsize:
            flat = (flat - least).astype(f"<u{width}") if width else flat[:0]
        else:
            least = 0
    width = flat.dtype.itemsize if len(flat) or not array.size else 0
    data = flat.view(np.uint8).reshape(-1, max(width, 1)).T.tobytes()
    zipped = _zipped(data)
    return Packed(array.dtype.str, array.shape, least, width, zipped is not None, data if zipped is None else zipped)


def _width(spread: int) -> int:
    """Bytes that 0 … ``spread`` needs: 0, 1, 2, 4 or 8."""
    return 0 if spread == 0 else next(width for width in (1, 2, 4, 8) if spread < 1 << 8 * width)


def _zipped(data: bytes) -> bytes | None:
    if len(data) < _WORTH:
        return None
    # the probe is of both ends: bytes of low weight come first and look random where those of high weight do not
    probe = data if len(data) <= 2 * _PROBE else data[:_PROBE] + data[-_PROBE:]
    if len(zlib.compress(probe, _LEVEL)) > _PAYS * len(probe):
        return None
    zipped = zlib.compress(data, _LEVEL)
    return zipped if len(zipped) <= _PAYS * len(data) else None


def unpack(packed: Packed, dtype: np.dtype[np.generic] | type | str) -> AnyArray:
    """The array, which the reader expects to be of ``dtype``; it may be written to.

    Raises:
        ConfigError: it is of another dtype, or not whole.
    """
    wanted = np.dtype(dtype)
    if packed.dtype != wanted.str:
        raise ConfigError(f"{OTHER_VERSION} (it holds {packed.dtype} instead of {wanted.str})")
    size = math.prod(packed.shape)
    data = zlib.decompress(packed.data) if packed.zipped else packed.data
    if len(data) != size * packed.width:
        raise ConfigError(f"{OTHER_VERSION} ({len(data)} bytes for {size} numbers of {packed.width})")
    if not packed.width:
        return np.full(packed.shape, packed.least, wanted)
    spread = np.frombuffer(data, np.uint8).reshape(packed.width, size)
    flat = spread.T.copy().reshape(-1)
    if packed.width == wanted.itemsize:
        return flat.view(wanted).reshape(packed.shape)
    narrow = flat.view(f"<u{packed.width}").astype(wanted)
    narrow += packed.least
    return narrow.reshape(packed.shape)


def pack_columns(columns: Mapping[str, AnyArray] | AnyArray) -> dict[str, Packed]:
    """Columns, or those of a structured array."""
    names = columns.dtype.names or () if isinstance(columns, np.ndarray) else columns
    return {name: pack(columns[name]) for name in names}


def unpack_columns(packed: Mapping[str, Packed], dtypes: Mapping[str, np.dtype[np.generic]]) -> dict[str, AnyArray]:
    """Columns that are expected to be these, of these dtypes.

    Raises:
        ConfigError: they are others.
    """
    if list(packed) != list(dtypes):
        raise ConfigError(f"{OTHER_VERSION} (it holds {', '.join(packed)} instead of {', '.join(dtypes)})")
    rows = {column.shape[:1] for column in packed.values()}
    if len(rows) > 1 or any(column.shape[1:] != dtypes[name].shape for name, column in packed.items()):
        raise ConfigError(f"{OTHER_VERSION} (its columns have the shapes {[c.shape for c in packed.values()]})")
    return {name: unpack(column, dtypes[name].base) for name, column in packed.items()}


def unpack_rows(packed: Mapping[str, Packed], dtype: np.dtype[np.void]) -> AnyArray:
    """A structured array, (n,), from its columns.

    Raises:
        ConfigError: they are of another dtype.
    """
    columns = unpack_columns(packed, columns_of(dtype))
    rows = np.zeros(len(next(iter(columns.values()))), dtype)
    for name, column in columns.items():
        rows[name] = column
    return rows


def columns_of(dtype: np.dtype[np.void]) -> dict[str, np.dtype[np.generic]]:
    """The dtype of each column of a structured dtype."""
    return {name: dtype[name] for name in dtype.names or ()}


def pack_used(used: Sequence[Bool1], columns: Mapping[str, AnyArray] | AnyArray) -> Sparse:
    """Rows of several parts: ``used`` says where they stand in each, ``columns`` are theirs, part after part."""
    return Sparse([pack(np.packbits(part)) for part in map(_trimmed, used)], pack_columns(columns))


def unpack_used(
    sparse: Sparse, sizes: Sequence[int], dtypes: Mapping[str, np.dtype[np.generic]]
) -> tuple[list[Int1], dict[str, AnyArray]]:
    """The rows that are used in each part of so many rows, and their columns, part after part.

    Raises:
        ConfigError: there are more rows, other parts or other columns.
    """
    used = [np.flatnonzero(np.unpackbits(unpack(part, np.uint8))) for part in sparse.used]
    if len(used) != len(sizes) or any(len(at) and at[-1] >= size for at, size in zip(used, sizes, strict=False)):
        raise ConfigError(f"{OTHER_VERSION} (its rows do not fit into {list(sizes)})")
    columns = unpack_columns(sparse.columns, dtypes)
    if any(len(column) != sum(map(len, used)) for column in columns.values()):
        raise ConfigError(f"{OTHER_VERSION} (it says where {sum(map(len, used))} rows are and holds others)")
    return used, columns


def _trimmed(used: Bool1) -> Bool1:
    """Without what follows the last used row, so that spare room does not show."""
    return used[: int(used.nonzero()[0].max(initial=-1)) + 1]
