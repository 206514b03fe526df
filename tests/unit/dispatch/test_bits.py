"""What is decided does not depend on what the CPU can do."""

import os

import pytest

from tests.unit.cpu import FEATURES, WITHOUT_AVX2, WITHOUT_AVX512, told

STORY = """
import sys
from dataclasses import fields
from hashlib import sha256
import numpy as np
from tests.unit.dispatch.views import Mix, random_view
from twin.dispatch import POLICIES, Policy, dispatch
from twin.view import PriceCarry

features = np._core._multiarray_umath.__cpu_features__
assert not [name for name in sys.argv[1:] if features[name]], "these are still on"
seen, decided = sha256(), 0
for seed in range(7):
    view = random_view(seed, Mix(clusters=6, new=80, running=60, services=4, kinds=12, load=0.7, state_gb=2.0))
    for name in POLICIES:
        carry = PriceCarry.empty()
        for _ in range(2):
            d, carry = dispatch(view, carry, Policy.parse("pinned:z0" if name == "pinned" else name), seed)
            for f in fields(d):
                value = getattr(d, f.name)
                seen.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
            seen.update(carry.pool_prices.tobytes() + carry.power_prices.tobytes())
            decided += len(d.task)
assert decided > 3_000
print(seen.hexdigest())
"""


@pytest.mark.skipif(not FEATURES.get("X86_V4"), reason="this CPU has no AVX-512 to switch off")
def test_every_policy_decides_the_same_bytes_without_avx512_and_without_avx2(repository: os.PathLike[str]) -> None:
    everything = told(STORY, repository, "")
    assert len(everything) == 64
    assert told(STORY, repository, WITHOUT_AVX512) == everything
    assert told(STORY, repository, WITHOUT_AVX2) == everything
