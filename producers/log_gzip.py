"""Whole lines out of a gzip file, and as many as there are out of a damaged one."""

import zlib
from collections.abc import Iterator
from pathlib import Path

_BLOCK = 1 << 18  # compressed bytes read at once
_LONGEST_LINE = 1 << 26


class DamageError(Exception):
    """The bytes of a part cannot be read on from here."""


def _inflated(path: Path) -> Iterator[bytes]:
    """Yield the inflated bytes of a gzip file; what comes before a damage is yielded before it is raised."""
    with path.open("rb") as file:
        inflate = zlib.decompressobj(31)
        fresh = True  # at the start of a gzip member
        while block := file.read(_BLOCK):
            while block:
                before = inflate.copy()
                try:
                    data = inflate.decompress(block)
                except zlib.error as error:
                    yield from _up_to_damage(before, block)
                    raise DamageError(f"not readable as gzip: {error}") from error
                yield data
                block, fresh = inflate.unused_data, inflate.eof
                if fresh:
                    inflate = zlib.decompressobj(31)
        if not file.tell():
            raise DamageError("the file is empty, not a gzip file")
        if not fresh:
            raise DamageError("the gzip stream ends early")


def _up_to_damage(inflate: "zlib._Decompress", block: bytes) -> Iterator[bytes]:
    """Yield what a damaged block gives when it is fed byte by byte: zlib throws away the output of a call that fails."""
    for i in range(len(block)):
        try:
            yield inflate.decompress(block[i : i + 1])
        except zlib.error:
            return


def blocks(path: Path) -> Iterator[bytes]:
    """Yield blocks of whole lines."""
    rest = b""
    for piece in _inflated(path):
        cut = piece.rfind(b"\n") + 1
        if cut:
            yield rest + piece[:cut]
            rest = piece[cut:]
        else:
            rest += piece
        if len(rest) > _LONGEST_LINE:
            raise DamageError(f"a line of more than {_LONGEST_LINE} bytes")
    if rest:
        yield rest
