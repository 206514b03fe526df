"""When Python looks for cycles among its objects: seldom, for a chunk is tens of thousands of objects and in no cycle."""

import gc

GC_THRESHOLD = 200_000
"""Objects that may be made and not freed before cycles are looked for."""


def collect_rarely() -> None:
    """From now on this process looks for cycles only every ``GC_THRESHOLD`` objects."""
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
