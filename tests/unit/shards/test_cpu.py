"""The state hash does not depend on what the CPU can do."""

import os

import pytest

from tests.unit.cpu import FEATURES, WITHOUT_AVX2, WITHOUT_AVX512, told

STORY = """
import sys
from random import Random
import numpy as np
from tests.oracle.feeding import feed
from tests.oracle.logs import DELAYS_H, SEQS, build
from twin.mirror import Mirror
from twin.shards.shard import Shard
from twin.topics import IN_TOPICS

features = np._core._multiarray_umath.__cpu_features__
assert not [name for name in sys.argv[1:] if features[name]], "these are still on"
mirror = Mirror(dict.fromkeys(IN_TOPICS, 1))
for topic in IN_TOPICS:
    rng = Random(topic)
    sizes = (17, 3, len(SEQS), len(DELAYS_H), 1001)
    items = build(topic, [tuple(rng.randrange(n) for n in sizes) for _ in range(3000)])
    cuts, _ = feed(Shard(topic, 0), items)
    assert len(cuts) > 50
    for cut in cuts:
        mirror.apply(cut)
print(mirror.state_sha256())
"""


@pytest.mark.skipif(not FEATURES.get("X86_V4"), reason="this CPU has no AVX-512 to switch off")
def test_the_state_hash_is_the_same_without_avx512_and_without_avx2(repository: os.PathLike[str]) -> None:
    everything = told(STORY, repository, "")
    assert len(everything) == 64
    assert told(STORY, repository, WITHOUT_AVX512) == everything
    assert told(STORY, repository, WITHOUT_AVX2) == everything
