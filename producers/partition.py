"""Which partition a key belongs to: Kafka's default partitioner, so that a log and a topic agree on every key.

Source: Apache Kafka, ``org.apache.kafka.common.utils.Utils`` (``murmur2``, ``toPositive``), the variant of Austin
Appleby's MurmurHash2 with the seed 0x9747b28c. A different hash would send a key elsewhere than a Kafka producer does.
"""

from functools import lru_cache

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return Kafka's murmur2 of ``data`` as a signed 32-bit integer."""
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    h ^= h >> 15
    return h - (1 << 32) if h & 0x80000000 else h


@lru_cache(maxsize=1 << 17)
def partition_of(key: bytes, count: int) -> int:
    """Return the partition, 0 to ``count`` - 1, of a record with ``key``."""
    return (murmur2(key) & 0x7FFFFFFF) % count
