"""Query optimisation (Continuous Landmark Detection, section 4.2): a layout moves to where annotators put its points.

The networks stay as they are; only the canonical points move, so that the detector's answers on a few annotated photos
come to lie on the labels. Points are independent of each other: each has 3 unknowns and 2 equations a photo.
Levenberg-Marquardt with central differences through `Head.query`, all points at once, so it needs no gradient of the
networks and no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anymark.canonical import Layout, load_layout
from anymark.canonical.frame import mm_to_uvw, uvw_to_mm
from anymark.detect.detector import Head
from anymark.errors import AnymarkError

Array = npt.NDArray[np.float64]

NOISE = 0.03
"""Expected distance of a label to the answer, as a fraction of the face's length: what the prior is weighed by."""

CANDIDATES = ("mediapipe478", "dense-5k")
"""Layouts whose points a layout that is made from scratch starts from."""

STENCIL = np.vstack([np.zeros(3), np.eye(3), -np.eye(3)])
"""(7, 3) where a point is asked: itself, then a step forth and a step back along each axis."""


@dataclass(frozen=True, eq=False)
class View:
    """An encoded head and where an annotator put the points of the layout on it."""

    head: Head
    labels_px: Array
    """(N, 2) in the pixels of the head's photo."""
    length_px: float
    """The unit of errors on this head, such as the distance of its eyes."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Optimised canonical points, and how well they explain the labels they were optimised on."""

    points_mm: Array
    """(N, 3) head frame, millimetres."""
    moved_mm: Array
    """(N,) distance to where each point started."""
    error_before: float
    """Mean distance to the labels at the start, a fraction of the heads' lengths."""
    error_after: float
    """The same at the end."""


def calibrate(
    views: Sequence[View],
    start_mm: npt.ArrayLike,
    *,
    prior_mm: float = 15.0,
    step_mm: float = 1.0,
    longest_move_mm: float = 8.0,
    tolerance_mm: float = 0.02,
    rounds: int = 40,
) -> Calibration:
    """Move canonical points so that the detector finds them where the labels are.

    Args:
        views: annotated heads, at least one.
        start_mm: (N, 3) first guess, such as the layout's points or `nearest_points`.
        prior_mm: standard deviation of the distance to the first guess. It decides only what the photos do not: the
            depth of a point that was seen from one side alone. Infinity: no prior.
        step_mm: of the central differences.
        longest_move_mm: of a point in one round.
        tolerance_mm: it ends when no point wants to move further than this.
        rounds: it ends after so many.

    Raises:
        ValueError: no views, or labels and points differ in number.
        AnymarkError: a label that is not finite, or a first guess outside the canonical cube.
    """
    start = np.array(start_mm, np.float64)
    _check(views, len(start))
    Layout("the first guess", start.astype(np.float32))  # refuses by the point's own index; below it is one of seven
    labels = _labels(views)
    prior = (NOISE / prior_mm) ** 2

    def residuals(points: Array) -> tuple[Array, Array, Array]:
        """Residuals (V, N, 2), their derivatives (V, N, 2, 3) per millimetre and each point's cost (N,)."""
        asked = _inside(points[:, None] + step_mm * STENCIL)
        steps = np.einsum("nij,ij->ni", asked[:, 1:4] - asked[:, 4:], np.eye(3))  # shorter at the cube's faces
        found = _answers(views, asked.reshape(-1, 3)).reshape(len(views), len(points), 7, 2)
        slope = (found[:, :, 1:4] - found[:, :, 4:]) / steps[..., None]
        residual = found[:, :, 0] - labels
        cost = (residual**2).sum((0, 2)) + prior * ((points - start) ** 2).sum(1)
        return residual, slope.swapaxes(2, 3), cost

    points = start.copy()
    residual, slope, cost = residuals(points)
    before = float(np.linalg.norm(residual, axis=2).mean())
    damping = np.full(len(points), 1e-3)
    for _ in range(rounds):
        normal = np.einsum("vnij,vnik->njk", slope, slope) + prior * np.eye(3)
        gradient = np.einsum("vnij,vni->nj", slope, residual) + prior * (points - start)
        scale = np.maximum(np.trace(normal, axis1=1, axis2=2) / 3, 1e-12)
        damped = normal + (damping * scale)[:, None, None] * np.eye(3)
        move = -np.linalg.solve(damped, gradient[..., None])[..., 0]
        length = np.linalg.norm(move, axis=1)
        move *= np.minimum(1, longest_move_mm / np.maximum(length, 1e-12))[:, None]
        trial = _inside(points + move)
        if np.linalg.norm(trial - points, axis=1).max() < tolerance_mm:
            break
        new_residual, new_slope, new_cost = residuals(trial)
        better = new_cost <= cost
        points[better] = trial[better]
        residual[:, better], slope[:, better] = new_residual[:, better], new_slope[:, better]
        cost = np.where(better, new_cost, cost)
        damping = np.where(better, np.maximum(damping / 4, 1e-6), np.minimum(damping * 8, 1e6))
    after = float(np.linalg.norm(residual, axis=2).mean())
    return Calibration(points, np.linalg.norm(points - start, axis=1), before, after)


def nearest_points(views: Sequence[View], candidates_mm: npt.ArrayLike) -> Array:
    """(N, 3) for each label the candidate (M, 3) whose answers lie nearest to it, over all views: a first guess.

    Raises:
        ValueError: no views, or views that differ in the number of their labels.
    """
    candidates = np.asarray(candidates_mm, np.float64)
    _check(views, len(views[0].labels_px) if views else 0)
    labels, found = _labels(views), _answers(views, candidates)
    cost = np.zeros((labels.shape[1], len(candidates)))
    for label, answer in zip(labels, found, strict=True):
        cost += ((label[:, None] - answer[None]) ** 2).sum(2)
    return candidates[cost.argmin(1)]


def _check(views: Sequence[View], count: int) -> None:
    if not views:
        raise ValueError("calibration needs at least one annotated head")
    counts = {len(view.labels_px) for view in views}
    if counts != {count}:
        raise ValueError(f"calibration: labels of {sorted(counts)} points for a layout of {count}")
    for i, view in enumerate(views):
        wrong = np.flatnonzero(~np.isfinite(view.labels_px).all(1))
        if len(wrong):
            raise AnymarkError(f"calibration: head {i}: the label of point {wrong[0]} is not finite")


def _inside(points_mm: Array) -> Array:
    """The nearest points of the cube that canonical points lie in: a label far away pulls its point out of it."""
    return uvw_to_mm(np.clip(mm_to_uvw(points_mm), 0, 1))


def _labels(views: Sequence[View]) -> Array:
    return np.stack([view.labels_px / view.length_px for view in views])


def _answers(views: Sequence[View], points_mm: npt.NDArray[Any]) -> Array:
    """(V, M, 2) where the detector finds points (M, 3), in lengths of each head."""
    points = points_mm.astype(np.float32)
    return np.stack([view.head.query(points).xy_px.astype(np.float64) / view.length_px for view in views])


def calibrate_layout(views: Sequence[View], layout: Layout | None, name: str) -> tuple[Layout, Calibration]:
    """A layout with its points optimised on annotated heads, and how well that went.

    Args:
        views: annotated heads, at least one.
        layout: where to start; None starts each point from the nearest of the shipped dense layouts' points.
        name: what the labels are called; the result is named after it where no layout is given.

    Raises:
        AnymarkError: labels and layout differ in the number of points.
    """
    count = len(views[0].labels_px)
    if layout is not None and len(layout) != count:
        raise AnymarkError(f"layout {layout.name!r} has {len(layout)} points, {name} labels {count}")
    if layout is None:
        candidates = np.vstack([load_layout(name).points_mm for name in CANDIDATES])
        layout = Layout(name, nearest_points(views, candidates).astype(np.float32))
    result = calibrate(views, layout.points_mm)
    return replace(layout, name=f"{layout.name}-calibrated", points_mm=result.points_mm.astype(np.float32)), result
