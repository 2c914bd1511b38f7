"""Errors of head pose: pure functions of numpy arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def turned_by_deg(first: npt.ArrayLike, second: npt.ArrayLike) -> Array:
    """Angles (...), in degrees, of the rotations that lie between two (..., 3, 3): 0 to 180."""
    between = np.swapaxes(np.asarray(first, np.float64), -1, -2) @ np.asarray(second, np.float64)
    axis = np.stack([between[..., i, j] - between[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], -1)
    cosine = np.trace(between, axis1=-2, axis2=-1) - 1
    return np.asarray(np.degrees(np.arctan2(np.linalg.norm(axis, axis=-1), cosine)))  # of one pair, too


def difference_deg(found: npt.ArrayLike, labels: npt.ArrayLike) -> Array:
    """found - labels of angles in degrees, the short way round: from -180 to 180."""
    return (np.asarray(found, np.float64) - np.asarray(labels, np.float64) + 180) % 360 - 180
