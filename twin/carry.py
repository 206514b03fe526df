"""The dispatcher's carry as bytes: what it needs, besides the cuts, to go on exactly as if it had never stopped.

It holds what is history: desired placement, prices, splits, the ledger, and the order in which names were met. What
follows from the shards as they stand (columns of places, matrices of paths, price curves, fees) is built from the mirror
again. A header says which mirror that is; it can be read without the rest.
"""

import zlib

import msgspec

from twin.assembler import Partition
from twin.energy.ledger import LedgerCarry
from twin.errors import ConfigError, StoreError, TwinBug
from twin.mirror import Mirror
from twin.packed import OTHER_VERSION, Packed, Sparse
from twin.shards.shard import SCHEMA
from twin.sites import SitesCarry

VERSION = 1

_CRC, _LENGTH = slice(1, 5), slice(5, 9)
_PREFIX = 9


class At(msgspec.Struct, array_like=True, frozen=True):
    """Where one shard of the mirror stands."""

    topic: str
    partition: int
    next: int
    serial: int


class CarryHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a carry is of: the window decided last, the shards at it, and the hashes in its record."""

    schema: int
    window: int
    seed: int
    shards: list[At]
    state_sha256: str
    carry_sha256: str

    @property
    def serials(self) -> dict[Partition, int]:
        """Serial of the last cut of each shard."""
        return {(at.topic, at.partition): at.serial for at in self.shards}

    def require(self, mirror: Mirror, seed: int) -> None:
        """Refuse to go on with another mirror or seed than the carry is of.

        Raises:
            ConfigError: the seed, the partitions or what the log says are others.
            TwinBug: the mirror stands elsewhere.
        """
        if seed != self.seed:
            raise ConfigError(f"the carry was made with seed {self.seed}, not {seed}: give that seed again")
        stands = {at: (shard.next, shard.serial) for at, shard in mirror.shards.items()}
        wanted = {(at.topic, at.partition): (at.next, at.serial) for at in self.shards}
        if stands.keys() != wanted.keys():
            named = ", ".join(f"{topic}-{partition}" for topic, partition in sorted(stands.keys() ^ wanted.keys()))
            raise ConfigError(f"the carry is of other partitions ({named}): a twin keeps its number of partitions")
        for (topic, partition), place in stands.items():
            if place != wanted[topic, partition]:
                message = (
                    f"{topic}-{partition} stands at (next, serial) {place}, the carry at {wanted[topic, partition]}"
                )
                raise TwinBug(message)
        if mirror.state_sha256() != self.state_sha256:
            raise ConfigError(
                f"the shards hold something else at window {self.window} than when the carry was made: the log was "
                "changed; empty the topics of carries and windows, or go on in a new namespace"
            )


class PricesCarry(msgspec.Struct, array_like=True, frozen=True):
    """What a policy keeps (``PriceCarry``)."""

    pool_prices: Packed
    power_prices: Packed
    cursor: int


class Carry(msgspec.Struct, array_like=True, frozen=True):
    """All of it. ``splits`` are rows, by ``split_keys``."""

    decisions_sha: bytes
    sites: SitesCarry
    placement: Sparse
    prices: PricesCarry
    split_keys: list[str]
    splits: Packed
    ledger: LedgerCarry


_encoder = msgspec.msgpack.Encoder()
_header = msgspec.msgpack.Decoder(CarryHeader).decode
_carry = msgspec.msgpack.Decoder(Carry).decode


def encode_carry(header: CarryHeader, carry: Carry) -> bytes:
    """Both as bytes, the same for equal ones."""
    out = bytearray(_PREFIX)
    _encoder.encode_into(header, out, _PREFIX)
    out[_LENGTH] = (len(out) - _PREFIX).to_bytes(4, "little")
    _encoder.encode_into(carry, out, len(out))
    out[0] = VERSION
    with memoryview(out) as view:
        crc = zlib.crc32(view[_LENGTH.start :])
    out[_CRC] = crc.to_bytes(4, "little")
    return bytes(out)


def carry_header(data: bytes) -> CarryHeader:
    """The header of a carry.

    Raises:
        ConfigError: the carry is of another version.
        StoreError: it is damaged.
    """
    if data[:1] != bytes([VERSION]):
        raise ConfigError(f"{OTHER_VERSION} (it is of {data[0] if data else 'none'}, this program reads {VERSION})")
    if zlib.crc32(memoryview(data)[_LENGTH.start :]).to_bytes(4, "little") != data[_CRC]:
        raise StoreError(f"a carry of {len(data)} bytes is damaged")
    try:
        header = _header(memoryview(data)[_PREFIX : _body_at(data)])
    except msgspec.DecodeError as error:
        raise ConfigError(f"{OTHER_VERSION} ({error})") from error
    if header.schema != SCHEMA:
        raise ConfigError(f"{OTHER_VERSION} (it is of schema {header.schema}, this program has {SCHEMA})")
    return header


def decode_carry(data: bytes) -> tuple[CarryHeader, Carry]:
    """Header and body.

    Raises:
        ConfigError: the carry is of another version.
        StoreError: it is damaged.
    """
    header = carry_header(data)
    try:
        return header, _carry(memoryview(data)[_body_at(data) :])
    except msgspec.DecodeError as error:
        raise ConfigError(f"{OTHER_VERSION} ({error})") from error


def _body_at(data: bytes) -> int:
    return _PREFIX + int.from_bytes(data[_LENGTH], "little")
