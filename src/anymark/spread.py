"""A few of many, the same ones every time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def spread(available: int, count: int) -> npt.NDArray[np.int64]:
    """Indices of at most `count` of `available` things, in order and spread evenly from the first to the last."""
    return np.linspace(0, available - 1, min(count, available)).round().astype(np.int64)
