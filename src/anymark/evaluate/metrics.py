"""Metrics of landmark detectors: pure functions of numpy arrays.

All errors here are fractions (0.05 = 5 %). The error of one head is the mean distance of its N points to their labels
over one length of that head (the normaliser); a benchmark's NME is the mean of its heads' errors. A head that was not
found has the error infinity: a failure in `failure_rate` and `auc`. It is left out of `mean_error` and `quantile`:
the number of missed heads belongs beside them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

MISSED = float("inf")
"""The error of a head that was not found."""


def point_distances(found_px: npt.ArrayLike, labels_px: npt.ArrayLike) -> Array:
    """Euclidean distances (..., N) of landmarks (..., N, 2) to their labels (..., N, 2), pixels."""
    return np.linalg.norm(np.asarray(found_px, np.float64) - np.asarray(labels_px, np.float64), axis=-1)


def point_pair_distance(points: npt.ArrayLike, first: int, second: int) -> float:
    """Distance of two points of (N, D): inter-ocular with the outer corners of the eyes."""
    p = np.asarray(points, np.float64)
    return float(np.linalg.norm(p[first] - p[second]))


def mean_pair_distance(points: npt.ArrayLike, first: list[int], second: list[int]) -> float:
    """Distance of the means of two groups of points of (N, D): inter-pupil with six points around each eye."""
    p = np.asarray(points, np.float64)
    return float(np.linalg.norm(p[first].mean(0) - p[second].mean(0)))


def box_size(points_px: npt.ArrayLike) -> float:
    """Square root of the area of the box of points (N, 2), pixels."""
    p = np.asarray(points_px, np.float64)
    return float(np.sqrt(np.prod(p.max(0) - p.min(0))))


def mean_error(errors: npt.ArrayLike) -> float:
    """NME: mean of heads' errors (M,) over the heads that were found; NaN if none was."""
    found = _found(errors)
    return float(found.mean()) if found.size else float("nan")


def quantile(errors: npt.ArrayLike, share: float) -> float:
    """The error that `share` of the found heads stay below; NaN if none was found."""
    found = _found(errors)
    return float(np.quantile(found, share)) if found.size else float("nan")


def failure_rate(errors: npt.ArrayLike, threshold: float) -> float:
    """FR: share of all heads (M,) whose error is above the threshold, missed heads among them."""
    e = _checked(errors)
    return float((e > threshold).mean()) if e.size else float("nan")


def auc(errors: npt.ArrayLike, threshold: float) -> float:
    """Area under the cumulative error distribution on [0, threshold], over the threshold: 1 is perfect.

    Exact: each head adds the part of the interval that lies above its error. Missed heads add nothing.
    """
    e = _checked(errors)
    if threshold <= 0:
        raise ValueError(f"the threshold of an AUC must be positive, not {threshold}")
    return float(np.maximum(0.0, 1.0 - e / threshold).mean()) if e.size else float("nan")


def cumulative(errors: npt.ArrayLike, at: npt.ArrayLike) -> Array:
    """CED: share of all heads whose error is at most each value of `at` (A,)."""
    e = np.sort(_checked(errors))
    return np.searchsorted(e, np.asarray(at, np.float64), side="right") / max(len(e), 1)


def _checked(errors: npt.ArrayLike) -> Array:
    e = np.asarray(errors, np.float64)
    if np.isnan(e).any():
        raise ValueError("an error is NaN: a head that was not found has the error infinity")
    return e


def _found(errors: npt.ArrayLike) -> Array:
    e = _checked(errors)
    return e[np.isfinite(e)]
