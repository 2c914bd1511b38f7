"""Guess where the rest of the head lies from the labelled points: weak labels for ears, scalp, neck and teeth."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

REACH_MM = 40.0
"""How far a labelled point's own displacement is felt."""

NOISE = 0.01
"""Variance of a label's error over that of its displacement."""


def extension_weights(
    known_mm: Float[np.ndarray, "P 3"], wanted_mm: Float[np.ndarray, "M 3"]
) -> Float[np.ndarray, "M P"]:
    """Weights that give the landmarks of any canonical points as sums of the known ones.

    Universal kriging in the head frame: an affine image of the head, fitted to the known landmarks, plus their
    residuals, carried over smoothly and fading out over `REACH_MM`. At a known point it gives its own landmark, up to
    the noise; far away it moves with the head. Each row sums to 1, and reproduces any affine image exactly.
    """

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(a[:, None] - b[None], axis=-1) * (np.sqrt(3) / REACH_MM)
        return (1 + r) * np.exp(-r)  # Matern 3/2: continuous, without overshoot

    known, wanted = known_mm.astype(np.float64), wanted_mm.astype(np.float64)
    count = len(known)
    drift_known, drift_wanted = (np.c_[np.ones(len(p)), p / 100] for p in (known, wanted))
    system = np.zeros((count + 4, count + 4))
    system[:count, :count] = kernel(known, known) + NOISE * np.eye(count)
    system[:count, count:] = drift_known
    system[count:, :count] = drift_known.T
    right = np.vstack([kernel(known, wanted), drift_wanted.T])
    return np.linalg.solve(system, right)[:count].T.astype(np.float32)
