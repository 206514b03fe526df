"""What is decided does not depend on what the CPU can do."""

import os
import subprocess
import sys

import numpy as np
import pytest

FEATURES = np._core._multiarray_umath.__cpu_features__
WITHOUT_AVX512 = "X86_V4 AVX512_ICL AVX512_SPR"

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


def decisions_sha256(repository: os.PathLike[str], disabled: str) -> str:
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled, "PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", STORY, *disabled.split()]
    done = subprocess.run(command, env=environment, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not FEATURES.get("X86_V4"), reason="this CPU has no AVX-512 to switch off")
def test_every_policy_decides_the_same_bytes_without_avx512_and_without_avx2(repository: os.PathLike[str]) -> None:
    everything = decisions_sha256(repository, "")
    assert len(everything) == 64
    assert decisions_sha256(repository, WITHOUT_AVX512) == everything
    assert decisions_sha256(repository, f"X86_V3 {WITHOUT_AVX512}") == everything
