"""The round trip between the query model and the dense one: query(dense(x)) = x and dense(query(p)) = p.

Where it closes, a point is seen, and can be moved to where the dense map has it; where it does not, something covers
it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from anymark.detect.dense import DenseMap, RoundTrip
from anymark.detect.landmarks import Landmarks

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

_STEPS = 3
_FARTHEST = 2.0  # sigmas that a point may be moved
_STRANGE = 2.0  # expected gaps beyond which a map loses its say


@dataclass(frozen=True, eq=False)
class Refiner:
    """What a head's landmarks are refined with."""

    dense: DenseMap
    weights: RoundTrip

    def __call__(self, landmarks: Landmarks, canonical_mm: npt.ArrayLike) -> Landmarks:
        """See `refined`."""
        return refined(landmarks, canonical_mm, self.dense, self.weights)


def gaps(landmarks: Landmarks, canonical_mm: npt.ArrayLike, dense: DenseMap) -> tuple[Array, Array, Array]:
    """How far each landmark's round trip is from closing.

    Args:
        landmarks: N points that the query model found.
        canonical_mm: (N, 3) the canonical points that they are.
        dense: A map of the same head.

    Returns:
        (N,) the gaps over what is to be expected, (N,) the gaps in millimetres, and (N,) how likely there is the head.
    """
    there = dense.at(landmarks.xy_px)
    gap_mm = np.linalg.norm(there.points_mm - np.asarray(canonical_mm), axis=-1).astype(np.float64)
    px_per_mm = landmarks.camera.focal_px / max(float(landmarks.camera.t_camera_head_mm[2]), 1.0)
    expected = np.sqrt(3 * there.sigma_mm.astype(np.float64) ** 2 + 2 * (landmarks.sigma_px / px_per_mm) ** 2)
    return gap_mm / np.maximum(expected, 1e-6), gap_mm, there.head.astype(np.float64)


def uncovered(landmarks: Landmarks, canonical_mm: npt.ArrayLike, dense: DenseMap, weights: RoundTrip) -> Floats:
    """(N,) 0..1: how likely each landmark is seen, as far as both models can tell."""
    over, _, head = gaps(landmarks, canonical_mm, dense)
    return _sigmoid(features(landmarks.uncovered, head, over) @ np.array(weights.visible))


def features(seen: npt.ArrayLike, head: npt.ArrayLike, over: npt.ArrayLike) -> Array:
    """(N, 4) what `RoundTrip.visible` weighs."""
    over = np.asarray(over, np.float64)
    return np.column_stack([_logit(seen), _logit(head), np.log1p(over**2), np.ones(len(over))])


def refined(landmarks: Landmarks, canonical_mm: npt.ArrayLike, dense: DenseMap, weights: RoundTrip) -> Landmarks:
    """Landmarks with the dense map's word on where they are, and on whether they are seen.

    Each point goes, by a few steps of Gauss-Newton, to where the two models' words, weighed by their sigmas, agree
    best; where the round trip does not close, the dense map has no say. Points in 3D stay what they are.

    Args:
        landmarks: N points that the query model found.
        canonical_mm: (N, 3) the canonical points that they are.
        dense: A map of the same head.
    """
    points = np.asarray(canonical_mm, np.float64)
    start = landmarks.xy_px.astype(np.float64)
    over, _, head = gaps(landmarks, points, dense)
    say = head / (1 + (over / _STRANGE) ** 4)
    sigma_px = np.maximum(landmarks.sigma_px.astype(np.float64), 1e-3)
    xy, spread = start.copy(), np.zeros((len(start), 2, 2))
    for _ in range(_STEPS):
        at = dense.at(xy)
        jacobian = dense.gradient(xy)
        weight = say / (weights.trust * np.maximum(at.sigma_mm, 1e-3).astype(np.float64)) ** 2
        own = np.eye(2) / sigma_px[:, None, None] ** 2
        normal = np.einsum("nki,nkj,n->nij", jacobian, jacobian, weight) + own
        pull = (
            np.einsum("nki,nk,n->ni", jacobian, at.points_mm - points, weight) + (xy - start) / sigma_px[:, None] ** 2
        )
        xy = xy - np.linalg.solve(normal, pull[..., None])[..., 0]
        reach = _FARTHEST * sigma_px[:, None]
        xy = start + np.clip(xy - start, -reach, reach)
        spread = np.linalg.inv(normal)
    sigma = np.sqrt(np.trace(spread, axis1=1, axis2=2) / 2)
    seen = uncovered(landmarks, points, dense, weights)
    return replace(landmarks, xy_px=xy.astype(np.float32), sigma_px=sigma.astype(np.float32), uncovered=seen)


def _logit(p: npt.ArrayLike) -> Array:
    p = np.clip(np.asarray(p, np.float64), 1e-4, 1 - 1e-4)
    return np.log(p / (1 - p))


def _sigmoid(x: Array) -> Floats:
    return (1 / (1 + np.exp(-np.clip(x, -50, 50)))).astype(np.float32)
