"""Where points of a head go, from where others went: kriging in the head frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

REACH_MM = 40.0
"""How far a known point's own displacement is felt."""

NOISE = 0.01
"""Variance of a known point's error over that of its displacement."""


def matern(a_mm: npt.ArrayLike, b_mm: npt.ArrayLike, reach_mm: float) -> npt.NDArray[np.float64]:
    """(A, B) how alike points (A, 3) and (B, 3) are: 1 at no distance, fading out over the reach.

    Matérn 3/2: continuous, but not so smooth that what is far is extrapolated.
    """
    a, b = np.asarray(a_mm, np.float64), np.asarray(b_mm, np.float64)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    r = np.sqrt(np.maximum(squared, 0)) * (np.sqrt(3) / reach_mm)
    return (1 + r) * np.exp(-r)


def extension_weights(known_mm: npt.ArrayLike, wanted_mm: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Weights (M, P) that give the places of any canonical points (M, 3) as sums of those of known ones (P, 3).

    Universal kriging: an affine image of the head, fitted to the known places, plus their residuals, carried over
    smoothly and fading out over `REACH_MM`. At a known point it gives its own place, up to the noise; far away it moves
    with the head. Each row sums to 1, and reproduces any affine image exactly.
    """
    known, wanted = np.asarray(known_mm, np.float64), np.asarray(wanted_mm, np.float64)
    count = len(known)
    drift_known, drift_wanted = (np.c_[np.ones(len(p)), p / 100] for p in (known, wanted))
    system = np.zeros((count + 4, count + 4))
    system[:count, :count] = matern(known, known, REACH_MM) + NOISE * np.eye(count)
    system[:count, count:] = drift_known
    system[count:, :count] = drift_known.T
    right = np.vstack([matern(known, wanted, REACH_MM), drift_wanted.T])
    return np.linalg.solve(system, right)[:count].T.astype(np.float32)
