"""Kafka's partitioner, against the vectors of Kafka's own tests."""

import pytest

from producers.partition import murmur2, partition_of

VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), VECTORS.items())
def test_murmur2_gives_the_numbers_of_kafkas_own_tests(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected


def test_a_negative_hash_is_made_positive_by_dropping_its_sign_bit() -> None:
    assert partition_of(b"21", 7) == (-973932308 & 0x7FFFFFFF) % 7
    assert partition_of(b"abc", 7) == 479470107 % 7


def test_every_key_belongs_to_the_only_partition() -> None:
    assert {partition_of(str(i).encode(), 1) for i in range(50)} == {0}


def test_keys_spread_over_all_partitions() -> None:
    counts = [0] * 4
    for i in range(4000):
        counts[partition_of(f"task-{i}".encode(), 4)] += 1
    assert min(counts) > 800
