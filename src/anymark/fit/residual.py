"""Beyond the labels: what a fit leaves over, spread by a Gaussian process, and how far off the rest may be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anymark.canonical.frame import FACING
from anymark.canonical.kriging import matern
from anymark.fit.problem import POSE, Settings, skew
from anymark.fit.rig import Points, Rig

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
    inner = matern(a, a, REACH_MM) + NOISE * np.eye(len(a))
    return np.linalg.solve(inner, matern(a, b, REACH_MM)).T.astype(np.float32)


def unexplained(
    weights: npt.NDArray[np.floating], labelled_mm: npt.ArrayLike, points_mm: npt.ArrayLike
) -> npt.NDArray[np.float32]:
    """(N,) share of a residual's variance that `residual_weights`, given, leave: about 0 at labels, 1 far from them."""
    a, b = np.asarray(labelled_mm, np.float64), np.asarray(points_mm, np.float64)
    explained = (weights * matern(b, a, REACH_MM)).sum(1)
    return np.clip(1 - explained, 0, 1).astype(np.float32)


def spread_mm(
    rig: Rig, points: Points, weights: npt.ArrayLike, other: Rig, settings: Settings | None = None
) -> npt.NDArray[np.float32]:
    """How far a fit to these labels may be off elsewhere: the posterior of pose and coefficients, linearised.

    Args:
        points, weights: (L,) the labels of a frontal, neutral head in its image.
        other: the same rig with V vertices of its own (same coefficients).

    Returns:
        (V,) standard deviation along an axis of the image, millimetres.
    """
    s = settings or Settings()
    prior = np.repeat([s.identity, s.expression], [len(rig.identity_mm), len(rig.expression_mm)]) ** -2.0
    root = np.sqrt(np.asarray(weights, np.float64)) / s.noise_mm
    a = _image_rows(*rig.linear(points), s.distance_mm) * root[:, None]
    information = np.einsum("alp,alq->pq", a, a) + np.diag(np.r_[np.zeros(POSE), prior])
    rows = _image_rows(other.neutral_mm, np.concatenate([other.identity_mm, other.expression_mm]), s.distance_mm)
    solved = np.linalg.solve(information, rows.reshape(-1, rows.shape[-1]).T).T.reshape(rows.shape)
    return np.sqrt((rows * solved).sum(-1).mean(0)).astype(np.float32)


def _image_rows(neutral: Array, shapes: Array, distance: float) -> npt.NDArray[np.float64]:
    """(2, L, 6 + K) how pose and coefficients move the image of a frontal head's points, in its millimetres."""
    seen = neutral.astype(np.float64) @ FACING.T
    move = np.empty((len(neutral), 3, POSE + len(shapes)))
    move[..., :3] = -skew(seen)
    move[..., 3:POSE] = np.eye(3)
    move[..., POSE:] = np.einsum("ij,klj->lik", FACING, shapes)
    z = seen[:, 2] + distance
    ratio = seen[:, :2] / z[:, None]
    return (move[:, :2] - ratio[..., None] * move[:, 2:]).swapaxes(0, 1) * (distance / z)[:, None]
