"""The fit of single heads: Gauss-Newton with bounds, many at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anymark.errors import AnymarkError
from anymark.fit.problem import POSE, Array, Bools, Camera, Problem, Settings, State, orthographic
from anymark.fit.rig import Points, Rig

LEAST_LABELS = 6

_AT_ONCE = 32  # heads; bounds memory
_FIRST_DAMPING, _LEAST_DAMPING, _HOPELESS = 1e-3, 1e-6, 1e3


@dataclass(frozen=True, eq=False)
class Fit:
    """B fitted heads."""

    R_camera_head: Array
    """(B, 3, 3)"""
    t_camera_head_mm: Array
    """(B, 3) the head's origin in the camera's frame."""
    identity: Array
    """(B, I)"""
    expression: Array
    """(B, E) in [0, 1]."""
    camera: Camera
    residual_px: Array
    """(B,) weighted mean distance of the labels to where the rig has them; NaN where the fit came to nothing."""
    converged: Bools
    """(B,)"""

    def __len__(self) -> int:
        return len(self.residual_px)

    def to_camera(self, points_mm: Array) -> Array:
        """Head frame (B, N, 3) -> camera frame (B, N, 3), millimetres."""
        return points_mm @ self.R_camera_head.swapaxes(1, 2) + self.t_camera_head_mm[:, None]

    def project(self, points_mm: Array) -> Array:
        """Head frame (B, N, 3) in millimetres -> pixels (B, N, 2)."""
        return self.camera.project(self.to_camera(points_mm))

    def __getitem__(self, index: slice | npt.NDArray[np.integer]) -> Fit:
        return Fit(
            self.R_camera_head[index],
            self.t_camera_head_mm[index],
            self.identity[index],
            self.expression[index],
            self.camera[index],
            self.residual_px[index],
            self.converged[index],
        )


def fit(
    rig: Rig,
    points: Points,
    labels_px: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    depth_px: npt.ArrayLike | None = None,
    pairs: npt.ArrayLike | None = None,
    camera: Camera | None = None,
    settings: Settings | None = None,
) -> Fit:
    """Fit a rig to the labels of B heads, each by itself.

    Args:
        points: where the L labels lie on the rig.
        labels_px: (B, L, 2).
        weights: (L,) or (B, L), not negative; 0 leaves a label out.
        depth_px: (B, L) relative depth in pixels, smaller is nearer, with any zero; None: not known.
        pairs: (M, 2) labels whose distance matters more than their places, such as those of the two lips: what is
            closed should be closed.
        camera: B cameras; None: not known, then each looks at the middle of its labels with the focal length that puts
            the head `settings.distance_mm` away.

    Raises:
        AnymarkError: shapes disagree, a label that counts is not finite, or fewer than six labels count.
    """
    problem = pose_problem(rig, points, labels_px, weights, depth_px, pairs, camera, settings or Settings())
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # labels of no head: the residual says so
        parts = [_solve(problem[i : i + _AT_ONCE]) for i in range(0, len(problem), _AT_ONCE)]
    states, residuals, converged = zip(*parts, strict=True)
    identity, expression = np.split(np.concatenate([state.c for state in states]), [problem.identities], 1)
    return Fit(
        np.concatenate([state.R_camera_head for state in states]),
        np.concatenate([state.t_camera_head_mm for state in states]),
        identity,
        expression,
        problem.camera,
        np.concatenate(residuals),
        np.concatenate(converged),
    )


def checked_weights(weights: npt.ArrayLike | None, shape: tuple[int, int]) -> Array:
    """Weights of labels, one each.

    Raises:
        AnymarkError: they are of another shape, negative or not finite.
    """
    w = np.ones(shape) if weights is None else np.asarray(weights, np.float64)
    if w.shape not in (shape, shape[1:]) or not (np.isfinite(w).all() and (w >= 0).all()):
        raise AnymarkError(f"fit: weights must be {shape} or {shape[1:]} numbers of 0 or more, not {w.shape}")
    return np.broadcast_to(w, shape)


def pose_problem(
    rig: Rig,
    points: Points,
    labels_px: npt.ArrayLike,
    weights: npt.ArrayLike | None,
    depth_px: npt.ArrayLike | None,
    pairs: npt.ArrayLike | None,
    camera: Camera | None,
    settings: Settings,
) -> Problem:
    """The problem of `fit`, checked."""
    labels = np.asarray(labels_px, np.float64)
    if labels.ndim != 3 or labels.shape[0] == 0 or labels.shape[1:] != (len(points), 2):
        raise AnymarkError(f"fit: labels must be (B, {len(points)}, 2), not {labels.shape}")
    shape = labels.shape[:2]
    w = checked_weights(weights, shape)
    depth = None if depth_px is None else np.asarray(depth_px, np.float64)
    if depth is not None and depth.shape != shape:
        raise AnymarkError(f"fit: depths must be {shape}, not {depth.shape}")
    counts = w > 0
    if not (np.isfinite(labels[counts]).all() and (depth is None or np.isfinite(depth[counts]).all())):
        raise AnymarkError("fit: a label that counts is not finite")
    if (counts.sum(1) < LEAST_LABELS).any():
        raise AnymarkError(f"fit: a head has fewer than {LEAST_LABELS} labels that count")
    labels = np.where(counts[..., None], labels, 0.0)
    depth = None if depth is None else np.where(counts, depth, 0.0)
    two = np.zeros((0, 2), np.int64) if pairs is None else np.asarray(pairs)
    if two.ndim != 2 or two.shape[1] != 2 or two.dtype.kind not in "iu":
        raise AnymarkError(f"fit: pairs must be (M, 2) whole numbers, not {two.shape} of {two.dtype}")
    if two.size and not 0 <= two.min() <= two.max() < len(points):
        raise AnymarkError(f"fit: pairs has a label outside 0..{len(points) - 1}")
    neutral, shapes = rig.linear(points)
    if camera is None:
        _, scale, _, middle = orthographic(neutral, labels, w)
        camera = Camera(scale * settings.distance_mm, middle)
    elif camera.focal_px.shape != shape[:1] or camera.principal_px.shape != (shape[0], 2):
        raise AnymarkError(f"fit: {shape[0]} heads need as many cameras")
    return Problem(neutral, shapes, len(rig.identity_mm), labels, w, depth, two, camera, settings)


def _solve(problem: Problem) -> tuple[State, Array, Bools]:
    s, (low, high) = problem.settings, problem.bounds
    state = problem.start()
    cost, residual = problem.cost(state)
    damping, shift = np.full(len(problem), _FIRST_DAMPING), np.full(len(problem), np.inf)
    for _ in range(s.rounds):
        active = shift > s.tolerance_mm
        if not active.any():
            break
        hessian, gradient = problem.normal(state)
        diagonal = np.einsum("bii->bi", hessian)
        diagonal += damping[:, None] * diagonal
        free = np.full((len(problem), POSE), np.inf)
        step = bounded_step(hessian, gradient, np.hstack([-free, low - state.c]), np.hstack([free, high - state.c]))
        step[~active] = 0.0
        trial = state.moved(step, low, high)
        new_cost, new_residual = problem.cost(trial)
        better = new_cost <= cost
        state = state.where(better, trial)
        cost, residual = np.where(better, new_cost, cost), np.where(better, new_residual, residual)
        shift = np.where(active & better, problem.shift_mm(step), shift)
        shift[~better & (damping > _HOPELESS)] = 0.0  # no step helps any more
        damping = np.where(better, np.maximum(damping / 10, _LEAST_DAMPING), damping * 10)
    residual = np.where(np.isfinite(cost), residual, np.nan)
    return state, residual, shift <= s.tolerance_mm


def bounded_step(hessian: Array, gradient: Array, low: Array, high: Array) -> Array:
    """The steps (B, P) to the minima of quadratics, within bounds: what leaves them is held there, up to four times."""
    held, step = np.zeros(gradient.shape, bool), np.zeros(gradient.shape)
    for _ in range(4):
        at_bound = np.where(held, step, 0.0)
        wanted = np.where(held, 0.0, gradient + (hessian @ at_bound[..., None])[..., 0])
        matrix = np.where(held[:, :, None] | held[:, None, :], 0.0, hessian)
        np.einsum("bii->bi", matrix)[held] = 1.0
        step = at_bound - np.linalg.solve(matrix, wanted[..., None])[..., 0]
        outside = (step < low) | (step > high)
        step = np.clip(step, low, high)
        if not outside.any():
            break
        held |= outside
    return step
