"""What a fit leaves over, spread from labels to the rest of the head by a Gaussian process on the canonical head."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

REACH_MM = 22.0
"""Distance over which residuals are alike."""
NOISE = 0.15
"""Variance of a label's own error against that of the residuals."""


def residual_weights(labelled_mm: npt.ArrayLike, points_mm: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """How the residuals of labels make those of other points.

    Args:
        labelled_mm: (L, 3) canonical points that have labels.
        points_mm: (N, 3) canonical points.

    Returns:
        (N, L): `weights @ residuals`; near the labels it follows them, far from them it is 0.
    """
    a, b = np.asarray(labelled_mm, np.float64), np.asarray(points_mm, np.float64)
    inner = _kernel(a, a) + NOISE * np.eye(len(a))
    return np.linalg.solve(inner, _kernel(a, b)).T.astype(np.float32)


def _kernel(a: Array, b: Array) -> Array:
    """Matérn 3/2: smooth, but not so smooth that far residuals are extrapolated."""
    d = np.sqrt(np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)) * (np.sqrt(3) / REACH_MM)
    return (1 + d) * np.exp(-d)
