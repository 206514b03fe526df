"""Array types: the digit is the number of dimensions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bool1 = NDArray[np.bool_]
Bool2 = NDArray[np.bool_]
Int1 = NDArray[np.int64]
Int2 = NDArray[np.int64]
UInt1 = NDArray[np.uint64]
Byte1 = NDArray[np.uint8]
Float1 = NDArray[np.float64]
Float2 = NDArray[np.float64]
Rows = NDArray[np.void]
"""A structured array: one row per entity."""
AnyArray = NDArray[Any]


def packed(rows: AnyArray) -> Rows:
    """``rows`` (structured) as opaque bytes in the same memory, (n,).

    NumPy moves opaque rows by memcpy, structured ones column by column, at more than twenty times the cost. ``take`` is
    fast on both.
    """
    return rows.view(f"V{rows.dtype.itemsize}")
