"""A story told by a Python of its own, with CPU features switched off for NumPy."""

import os
import subprocess
import sys

import numpy as np

FEATURES = np._core._multiarray_umath.__cpu_features__
WITHOUT_AVX512 = "X86_V4 AVX512_ICL AVX512_SPR"
WITHOUT_AVX2 = f"X86_V3 {WITHOUT_AVX512}"


def told(story: str, repository: os.PathLike[str], disabled: str, *more: str) -> str:
    """What ``story`` prints. Its arguments are ``more``, then the ``disabled`` features: it checks that they are off."""
    environment = os.environ | {"NPY_DISABLE_CPU_FEATURES": disabled, "PYTHONPATH": str(repository)}
    command = [sys.executable, "-c", story, *more, *disabled.split()]
    done = subprocess.run(command, env=environment, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
