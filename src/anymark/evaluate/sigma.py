"""Whether sigma says how large errors are.

A landmark's error is taken for a circular Gaussian with standard deviation sigma along each axis: its length over sigma
follows Rayleigh's law, and the mean of its square is 2. So the normalised error, the root mean square of |error| /
(sqrt 2 sigma), is 1 where sigma is right; above, errors are larger than it says.
"""

from __future__ import annotations

import math

import numpy as np

from anymark.evaluate.benchmark import Array
from anymark.evaluate.metrics import point_distances
from anymark.evaluate.report import Detail
from anymark.evaluate.score import Scores

WITHIN = (1, 2)
"""Sigmas within which the share of the points is told."""


def errors_over_sigma(scores: Scores) -> Array:
    """(M, N) |error| / sigma of every point; NaN where a face was missed."""
    labels = np.stack([face.points_px for face in scores.benchmark.faces])
    return point_distances(scores.found_px, labels) / scores.sigma_px


def normalised_error(over_sigma: Array) -> float:
    """Of M photos with N points each (M, N): each photo weighs the same."""
    return float(np.sqrt((over_sigma**2).mean() / 2))


def sigma_details(scores: Scores) -> tuple[Detail, ...]:
    """Normalised errors by source, beside what a Gaussian has, and by region."""
    over_sigma, found = errors_over_sigma(scores), np.isfinite(scores.nme)
    rows: dict[str, dict[str, float]] = {}
    for row in scores.benchmark.rows:
        index = scores.benchmark.row(row)
        here = over_sigma[index[found[index]]]
        if len(here):
            rows[row] = {
                "n": len(here),
                "normalised error": normalised_error(here),
                "median photo": float(np.median(np.sqrt((here**2).mean(1) / 2))),
                **{f"within {k} sigma": float((here <= k).mean()) for k in WITHIN},
            }
    law = {f"within {k} sigma": -math.expm1(-(k**2) / 2) for k in WITHIN}
    rows["a Gaussian"] = {"n": math.nan, "normalised error": 1.0, "median photo": math.nan, **law}
    regions = {
        name: {"normalised error": normalised_error(over_sigma[found][:, index])}
        for name, index in scores.layout.regions.items()
    }
    return Detail("errors over sigma", rows), Detail("by region", regions)
